"""Calling out: knows a connection that is not there yet, and why it may never be. Does not know what is said on it."""

import errno
import os
import socket
from typing import Protocol

from attrs import define

from gaproxy.proto.actions import Connect
from gaproxy.proto.events import Address
from gaproxy.sockets.ground import Ground
from gaproxy.sockets.options import BIND_ADDRESS_NO_PORT, EXHAUSTED, address_of, family_of, stream_socket

# What the kernel says about a connection that it could not make; all else is `unreachable`.
KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EADDRNOTAVAIL: "overload",  # the source was bound already, so it is the ports that are used up
    errno.EAGAIN: "overload",
    **dict.fromkeys(EXHAUSTED, "overload"),
}


class CannotDialError(Exception):
    """There will be no connection: the kind that `ConnectFailed` tells, and its text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind = kind
        self.text = text


def cannot_connect(number: int) -> CannotDialError:
    return CannotDialError(KINDS.get(number, "unreachable"), os.strerror(number))


def packed(address: str, kind: str) -> bytes:
    """A literal address as the kernel holds it; anything else would be looked up as a name, and block us all."""
    try:
        return socket.inet_pton(family_of(address), address)
    except OSError:
        raise CannotDialError(kind, f"{address!r} is no IP address") from None


def call(source: str, destination: Address) -> socket.socket:
    """A socket, bound to the source, that is connecting. Raises CannotDialError."""
    packed(source, "source_unavailable")
    packed(destination[0], "unreachable")
    family = family_of(destination[0])
    if family != family_of(source):
        raise CannotDialError("source_unavailable", f"{source} and {destination[0]} are of two families")
    try:
        sock = stream_socket(family)
    except OSError as error:
        raise cannot_connect(error.errno or 0) from None
    try:
        begin(sock, source, destination)
    except CannotDialError:
        sock.close()
        raise
    return sock


def begin(sock: socket.socket, source: str, destination: Address) -> None:
    """Bind, then connect without waiting. Raises CannotDialError."""
    try:
        sock.setsockopt(*BIND_ADDRESS_NO_PORT)
        sock.bind((source, 0))
    except OSError as error:
        raise CannotDialError("source_unavailable", f"{source}: {error.strerror}") from None
    number = sock.connect_ex(destination)
    if number not in (0, errno.EINPROGRESS):
        raise cannot_connect(number)


class Caller(Ground, Protocol):
    """Who ordered the dials, and learns what became of each."""

    def connected(self, dialled: "Dial", source: Address) -> None:
        """The socket is yours."""

    def failed(self, dialled: "Dial", kind: str, text: str) -> None:
        """The socket is closed."""


@define(eq=False)
class Dial:
    """A connection that is being made for one `Connect`."""

    caller: Caller
    id: int
    source: str
    sock: socket.socket
    fd: int
    interest: int = 0

    def ready(self, _reads: bool, _writes: bool) -> None:
        """The kernel knows: we are connected, or never will be."""
        try:
            source = self.settle()
        except CannotDialError as error:
            self.fail(error.kind, error.text)
            return
        self.caller.readiness.watch(self, False, False)
        self.caller.connected(self, source)

    def settle(self) -> Address:
        """The local address of the connection that stands. Raises CannotDialError."""
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number not in (0, errno.ECONNRESET):  # a reset before we looked: it stood, and may have said why it left
            raise cannot_connect(number)
        source = address_of(self.sock.getsockname())
        if packed(source[0], "source_unavailable") != packed(self.source, "source_unavailable"):
            raise CannotDialError("source_unavailable", f"asked for {self.source}, the kernel chose {source[0]}")
        return source

    def fail(self, kind: str, text: str) -> None:
        """Give up, and say why."""
        self.close()
        self.caller.failed(self, kind, text)

    def close(self) -> None:
        self.caller.readiness.watch(self, False, False)
        self.sock.close()


def dial(caller: Caller, order: Connect) -> Dial:
    """Begin what a `Connect` orders. Raises CannotDialError."""
    sock = call(order.source, order.destination)
    begun = Dial(caller, order.id, order.source, sock, sock.fileno())
    caller.readiness.watch(begun, False, True)
    return begun
