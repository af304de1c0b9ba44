"""What is measured, row by row, and what we aim at. Knows which subjects a row takes and how a figure is got of each.

Does not know how figures become ratios, nor how those are shown.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from math import inf
from pathlib import Path
from socket import socket

from attrs import frozen

from bench.load import Calls, Dialogue, Exchanges, Load, Measured, Pair, measure, open_pairs
from bench.memory import Fill, at_rest, idle_sessions, most_pairs, relayed_pairs, tls_connections, tls_sessions
from bench.sessions import (
    BODY,
    CALL,
    END_OF_DATA,
    LINE,
    NOOP,
    SMTP,
    Caller,
    Guest,
    Sessions,
    Steps,
    message,
    open_sessions,
)
from bench.subjects import Bare, Haproxy, Native, Opaque, Ours, Smtp, SmtpTls, Subject

CONNECTIONS = 32
CLIENTS = 16
TLS_CONNECTIONS_MOST = 500
KB = 1000
ANSWER_BYTES = 50
BIG_BODY = LINE * 1000 + END_OF_DATA  # 70 KB
NO_AIM = inf


@frozen
class Options:
    """How long, how often, how many, and for which runtimes."""

    rounds: int
    seconds: float
    pairs: int
    runtimes: Sequence[str]
    descriptors: int  # that a process may have open


@frozen
class Figure:
    """One figure of one subject in one round. The shares are of a core, none where time alone sets the pace.

    A load that takes a whole core while the proxy does not is what sets the pace, and makes a proxy look dearer.
    """

    value: float
    proxy_share: float = 0.0
    load_share: float = 0.0


@frozen
class Row:
    """One row of the table of aims.

    `aim`: the most that asyncio and uvloop may be, as a ratio to HAProxy or, where there is no HAProxy to compare with,
    as it is; the least, where `more` is better. `trio`: the most that trio may be, as a ratio to asyncio, where it has
    another aim. `fresh`: each figure needs a subject of its own. `waits`: it is a time that passes, so whatever else
    the machine does is part of it. `peers`: HAProxy, first as all are compared with it.
    """

    number: str
    what: str
    kinds: Sequence[Callable[[str, Path], Ours]]
    figure: Callable[[Subject, socket, Options], Figure]
    aim: float | None = None
    trio: float | None = None
    unit: str = "×"
    fresh: bool = False
    waits: bool = False
    more: bool = False
    peers: Sequence[Callable[[Path], Subject]] = (partial(Haproxy, "haproxy"),)

    @property
    def compared(self) -> bool:
        """Whether HAProxy does it too."""
        return self.unit == "×"

    def subjects(self, options: Options, folder: Path) -> list[Subject]:
        peers = [peer(folder) for peer in self.peers] if self.compared else []
        return peers + [kind(runtime, folder) for kind in self.kinds for runtime in options.runtimes]


Opening = Callable[[Subject, socket, int, ExitStack], list[Pair]]
Measuring = Callable[[Subject, socket, Options], Measured]


def exchange(dialogue: Dialogue, opened: Opening) -> Measuring:
    """The same dialogue over and over, on connections that stand."""

    def measured(subject: Subject, sink: socket, options: Options) -> Measured:
        with ExitStack() as stack:
            pairs = opened(subject, sink, CONNECTIONS, stack)
            return run(subject, Exchanges(pairs, dialogue), options)

    return measured


def raw(request_bytes: int) -> Measuring:
    """Bytes that mean nothing to anybody."""
    return exchange(((os.urandom(request_bytes), os.urandom(ANSWER_BYTES)),), open_pairs)


def smtp(dialogue: Dialogue) -> Measuring:
    """What is said within a session."""
    return exchange(dialogue, open_sessions)


def calls(subject: Subject, sink: socket, options: Options) -> Measured:
    return run(subject, Calls(subject, sink, CONNECTIONS), options)


def sessions(steps: Steps, count: int) -> Measuring:
    """Whole sessions, one after the other at each of so many clients."""

    def measured(subject: Subject, sink: socket, options: Options) -> Measured:
        clients = [Guest(subject, n) if isinstance(subject, Native) else Caller(subject, n) for n in range(count)]
        return run(subject, Sessions(clients, sink, steps), options)

    return measured


def run(subject: Subject, load: Load, options: Options) -> Measured:
    with closing(load):
        return measure(subject, load, options.seconds)


def cpu(measured: Measuring) -> Callable[[Subject, socket, Options], Figure]:
    """The proxy's time for each."""

    def figure(subject: Subject, sink: socket, options: Options) -> Figure:
        got = measured(subject, sink, options)
        return Figure(got.cpu_us, got.proxy_share, got.load_share)

    return figure


def p99(measured: Measuring) -> Callable[[Subject, socket, Options], Figure]:
    """What 99 of 100 do not exceed."""

    def figure(subject: Subject, sink: socket, options: Options) -> Figure:
        got = measured(subject, sink, options)
        return Figure(got.p99_us, got.proxy_share, got.load_share)

    return figure


def memory_of_pairs(subject: Subject, sink: socket, options: Options) -> Figure:
    return resting(subject, relayed_pairs(sink), most_pairs(options.descriptors, options.pairs))


def memory_of_sessions(subject: Subject, sink: socket, options: Options) -> Figure:
    return resting(subject, idle_sessions(sink), most_pairs(options.descriptors, options.pairs))


def memory_of_tls_sessions(subject: Subject, sink: socket, options: Options) -> Figure:
    return resting(subject, tls_sessions(sink), min(options.pairs, TLS_CONNECTIONS_MOST), KB)


def memory_of_tls(subject: Subject, sink: socket, options: Options) -> Figure:
    return resting(subject, tls_connections, min(options.pairs, TLS_CONNECTIONS_MOST), KB)


def resting(subject: Subject, fill: Fill, count: int, divisor: int = 1) -> Figure:
    rest = at_rest(subject, fill, count)
    return Figure(rest.bytes_each / divisor, rest.idle_share)


CARRIERS = (Bare, Opaque)

ROWS = (
    Row("3", "CPU per relayed 7 KB message", CARRIERS, cpu(raw(7000)), 1.25, 1.1),
    Row("3", "the same in SMTP, its envelope with it", [Smtp], cpu(smtp(message(BODY))), 1.25, 1.1),
    Row("4", "CPU per relayed 70 KB message", CARRIERS, cpu(raw(70_000)), 0.65, NO_AIM),
    Row("4", "the same in SMTP, its envelope with it", [Smtp], cpu(smtp(message(BIG_BODY))), 0.65, NO_AIM),
    Row("5", f"p99 of a 50-byte exchange at {CONNECTIONS} connections", CARRIERS, p99(raw(50)), 1.2, waits=True),
    Row("5", "the same in SMTP: NOOP and its reply", [Smtp], p99(smtp(NOOP)), 1.2, waits=True),
    Row("6", "CPU per new connection and dial", CARRIERS, cpu(calls), 1.8, 1.0),
    Row("6", "the same in SMTP: greeting, EHLO, QUIT", [Smtp], cpu(sessions(CALL, CONNECTIONS)), 1.8, 1.0),
    Row("7", "memory of an idle relayed pair", CARRIERS, memory_of_pairs, 0.5, fresh=True),
    Row("7", "the same in SMTP, behind its EHLO", [Smtp], memory_of_sessions, 0.5, fresh=True),
    Row("8", "memory of an idle TLS connection after 64 KB", [Native], memory_of_tls, 22, unit="KB", fresh=True),
    Row("8", "a session whose remote speaks TLS", [SmtpTls], memory_of_tls_sessions, 22, unit="KB", fresh=True),
    Row("-", "CPU per whole SMTP session with one 7 KB message", [Native, Smtp], cpu(sessions(SMTP, CLIENTS))),
)
