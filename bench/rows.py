"""What is measured, row by row, and what we aim at. Knows which subjects a row takes and how a figure is got of each.

Does not know how figures become ratios, nor how those are shown.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from math import inf
from pathlib import Path
from socket import socket

from attrs import frozen

from bench.load import Calls, Exchanges, Load, Measured, measure, open_pairs
from bench.memory import Fill, at_rest, most_pairs, relayed_pairs, tls_connections
from bench.sessions import Caller, Guest, Sessions
from bench.subjects import Bare, Haproxy, Native, Subject

CONNECTIONS = 32
CLIENTS = 16
TLS_CONNECTIONS_MOST = 500
KB = 1000
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
    """One figure of one subject in one round; less is better. The shares are of a core.

    A load that takes a whole core while the proxy does not is what sets the pace, and makes a proxy look dearer.
    """

    value: float
    proxy_share: float = 0.0
    load_share: float = 0.0


@frozen
class Row:
    """One row of the table of aims.

    `aim`: the most that asyncio and uvloop may be, as a ratio to HAProxy or, where there is no HAProxy to compare with,
    as it is. `trio`: the most that trio may be, as a ratio to asyncio, where it has another aim. `fresh`: each figure
    needs a subject of its own. `waits`: it is a time that passes, so whatever else the machine does is part of it.
    """

    number: str
    what: str
    kind: type["Bare | Native"]
    figure: Callable[[Subject, socket, Options], Figure]
    aim: float | None = None
    trio: float | None = None
    unit: str = "×"
    fresh: bool = False
    waits: bool = False

    @property
    def compared(self) -> bool:
        """Whether HAProxy does it too."""
        return self.unit == "×"

    def subjects(self, options: Options, folder: Path) -> list[Subject]:
        peers: list[Subject] = [Haproxy("haproxy", folder)] if self.compared else []
        return peers + [self.kind(runtime, folder) for runtime in options.runtimes]


def exchange(request_bytes: int, answer_bytes: int = 50) -> Callable[[Subject, socket, Options], Measured]:
    """Requests and answers on connections that stand."""

    def measured(subject: Subject, sink: socket, options: Options) -> Measured:
        with ExitStack() as stack:
            pairs = open_pairs(subject, sink, CONNECTIONS, stack)
            return run(subject, Exchanges(pairs, request_bytes, answer_bytes), options)

    return measured


def calls(subject: Subject, sink: socket, options: Options) -> Measured:
    return run(subject, Calls(subject, sink, CONNECTIONS), options)


def sessions(subject: Subject, sink: socket, options: Options) -> Measured:
    clients = [Guest(subject, n) if isinstance(subject, Native) else Caller(subject, n) for n in range(CLIENTS)]
    return run(subject, Sessions(clients, sink), options)


def run(subject: Subject, load: Load, options: Options) -> Measured:
    with closing(load):
        return measure(subject, load, options.seconds)


def cpu(measured: Callable[[Subject, socket, Options], Measured]) -> Callable[[Subject, socket, Options], Figure]:
    """The proxy's time for each."""

    def figure(subject: Subject, sink: socket, options: Options) -> Figure:
        got = measured(subject, sink, options)
        return Figure(got.cpu_us, got.proxy_share, got.load_share)

    return figure


def p99(measured: Callable[[Subject, socket, Options], Measured]) -> Callable[[Subject, socket, Options], Figure]:
    """What 99 of 100 do not exceed."""

    def figure(subject: Subject, sink: socket, options: Options) -> Figure:
        got = measured(subject, sink, options)
        return Figure(got.p99_us, got.proxy_share, got.load_share)

    return figure


def memory_of_pairs(subject: Subject, sink: socket, options: Options) -> Figure:
    return resting(subject, relayed_pairs(sink), most_pairs(options.descriptors, options.pairs))


def memory_of_tls(subject: Subject, sink: socket, options: Options) -> Figure:
    return resting(subject, tls_connections, min(options.pairs, TLS_CONNECTIONS_MOST), KB)


def resting(subject: Subject, fill: Fill, count: int, divisor: int = 1) -> Figure:
    rest = at_rest(subject, fill, count)
    return Figure(rest.bytes_each / divisor, rest.idle_share)


ROWS = (
    Row("3", "CPU per relayed 7 KB message", Bare, cpu(exchange(7000)), 1.25, 1.1),
    Row("4", "CPU per relayed 70 KB message", Bare, cpu(exchange(70_000)), 0.65, NO_AIM),
    Row("5", f"p99 of a 50-byte exchange at {CONNECTIONS} connections", Bare, p99(exchange(50)), 1.2, waits=True),
    Row("6", "CPU per new connection and dial", Bare, cpu(calls), 1.8, 1.0),
    Row("7", "memory of an idle relayed pair", Bare, memory_of_pairs, 0.5, fresh=True),
    Row("8", "memory of an idle TLS connection after 64 KB", Native, memory_of_tls, 22, unit="KB", fresh=True),
    Row("-", "CPU per whole SMTP session with one 7 KB message", Native, cpu(sessions)),
)
