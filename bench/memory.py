"""What an idle connection takes: of memory once traffic has gone through it, and of time. Knows how to fill a proxy."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

from attrs import frozen

from bench.load import WAIT_S, open_pairs
from bench.sessions import (
    END_OF_DATA,
    ENVELOPE,
    HELLO,
    LINE,
    REPLIES,
    TAKEN,
    answer_ehlo,
    enter,
    greet,
    open_sessions,
    read_until,
)
from bench.subjects import Native, NoBench, Subject
from gaproxy.sockets.certificate import own_policy

GREETING_BYTES = 50
PING_LINES, PING_BYTES = 4, 16_000  # 64 KB in the longest lines that the door hears
LETTER = LINE * 920 + END_OF_DATA  # 64 KB
OFFER_TLS = b"250-mx.example.com\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
SETTLE_S = 0.5
IDLE_S = 1.0


@frozen
class Rest:
    """What one idle connection takes, and the share of a core that all of them take together."""

    bytes_each: float
    idle_share: float


Fill = Callable[[Subject, int, ExitStack], None]
"""Opens so many connections that last as long as the stack."""


def at_rest(subject: Subject, fill: Fill, count: int) -> Rest:
    """Fill a proxy that has already served some; then leave it in peace, and look."""
    with ExitStack() as warm:
        fill(subject, min(count, 20), warm)
    time.sleep(SETTLE_S)
    with ExitStack() as open_ones:
        empty = subject.memory_bytes()
        fill(subject, count, open_ones)
        time.sleep(SETTLE_S)
        full, cpu = subject.memory_bytes(), subject.cpu_ns()
        time.sleep(IDLE_S)
        if full <= empty:
            raise NoBench(f"{count} connections are too few to show in the memory of {subject.name}")
        return Rest((full - empty) / count, (subject.cpu_ns() - cpu) / 1e9 / IDLE_S)


def relayed_pairs(sink: socket.socket) -> Fill:
    """Pairs through which 50 bytes have gone each way."""

    def fill(subject: Subject, count: int, stack: ExitStack) -> None:
        for client, server in open_pairs(subject, sink, count, stack):
            for sender, receiver in ((client, server), (server, client)):
                sender.send(bytes(GREETING_BYTES))
                receiver.settimeout(WAIT_S)
                receiver.recv(GREETING_BYTES)

    return fill


def idle_sessions(sink: socket.socket) -> Fill:
    """Sessions behind their EHLO, in which no mail has begun."""

    def fill(subject: Subject, count: int, stack: ExitStack) -> None:
        open_sessions(subject, sink, count, stack)

    return fill


def tls_sessions(sink: socket.socket) -> Fill:
    """Sessions whose remote speaks TLS with the proxy, and took a message of 64 KB."""

    def fill(subject: Subject, count: int, stack: ExitStack) -> None:
        for pair in open_pairs(subject, sink, count, stack):
            deliver(*pair, stack)

    return fill


def deliver(client: socket.socket, server: socket.socket, stack: ExitStack) -> None:
    """From the greeting to the reply to a message, the sink's side under TLS."""
    greet(client, server)
    answer_ehlo(server, OFFER_TLS)
    read_until(server, b"STARTTLS\r\n")
    server.sendall(b"220 go on\r\n")
    secured = stack.enter_context(own_policy().context.wrap_socket(server, server_side=True))
    answer_ehlo(secured, REPLIES[b"EHLO"])
    read_until(client, HELLO[1])
    client.sendall(ENVELOPE)
    read_until(secured, b"DATA\r\n")
    secured.sendall(REPLIES[b"MAIL"] + REPLIES[b"RCPT"] + REPLIES[b"DATA"])
    read_until(client, REPLIES[b"DATA"])
    client.sendall(LETTER)
    read_until(secured, b"\r\n" + END_OF_DATA)
    secured.sendall(TAKEN)
    read_until(client, TAKEN)


def tls_connections(subject: Subject, count: int, stack: ExitStack) -> None:
    """MTAs at the native door that have proved themselves and sent 64 KB, in PING lines with much behind them."""
    assert isinstance(subject, Native)
    for _ in range(count):
        sock, client = enter(subject, tls=True)
        stack.enter_context(sock)
        ping = client.ping(1)
        padded = ping[:-2] + b" pad=" + b"x" * (PING_BYTES - len(ping) - 5) + b"\r\n"
        for _ in range(PING_LINES):
            sock.sendall(padded)
            heard = sock.recv(PING_BYTES)
            assert heard.startswith(b"PONG"), heard


def most_pairs(descriptors: int, wanted: int) -> int:
    """As many pairs as the limit of open files allows: two for each, with us as with the proxy."""
    return min(wanted, (descriptors - 200) // 2)
