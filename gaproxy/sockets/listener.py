"""Where MTAs come in: knows which listening sockets stand and which are prepared.

Does not know what a peer wants.
"""

import socket
from typing import Protocol

from attrs import define

from gaproxy.proto.actions import Listener
from gaproxy.proto.events import Address, Exhausted
from gaproxy.sockets.ground import Ground
from gaproxy.sockets.options import EXHAUSTED, address_of, family_of, stream_socket

BACKLOG = 1024
ACCEPTED_A_TURN = 32  # then the others have their turn


class Host(Ground, Protocol):
    """Who lets in those that come."""

    def accepted(self, listener: str, sock: socket.socket, client: Address, tls: str) -> None:
        """The socket is yours. `tls`: the listener's mode."""


@define(eq=False)
class ListeningSocket:
    """A socket that listens, for one `Listener` of a `Prepare`. It accepts from `Adopt` on."""

    host: Host
    room: "Listeners"
    name: str
    address: Address
    sock: socket.socket
    fd: int
    interest: int = 0
    tls: str = "none"

    def accept(self, wanted: bool) -> None:
        """Accept from now on, or wait."""
        self.host.readiness.watch(self, wanted, False)

    def ready(self, _reads: bool, _writes: bool) -> None:
        for _ in range(ACCEPTED_A_TURN):
            try:
                sock, name = self.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self.room.pause()
                    return
                continue  # whoever knocked is gone already
            sock.setblocking(False)  # all other options are the listener's (tcp(7))
            self.host.accepted(self.name, sock, address_of(name), self.tls)

    def close(self) -> None:
        self.accept(False)
        self.sock.close()


class Listeners:
    """The listeners that stand, and those that the last `Prepare` made ready."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.standing: dict[str, ListeningSocket] = {}
        self.prepared: dict[str, ListeningSocket] = {}
        self.modes: dict[str, str] = {}  # of those that are prepared
        self.paused = False

    def prepare(self, wanted: tuple[Listener, ...]) -> list[str]:
        """Bind what does not stand yet. Returns a sentence for each that cannot be had."""
        self.discard()
        self.modes = {listener.name: listener.tls for listener in wanted}
        problems = []
        for listener in wanted:
            stands = self.standing.get(listener.name)
            if stands is not None and stands.address == listener.address:
                self.prepared[listener.name] = stands
                continue
            try:
                self.prepared[listener.name] = self.listen(listener)
            except OSError as error:
                problems.append(f"cannot listen at {listener.name}: {error.strerror or error}")
        return problems

    def listen(self, listener: Listener) -> ListeningSocket:
        """Bind and listen; what connects meanwhile waits in the backlog. Raises OSError."""
        family = family_of(listener.address[0])
        sock = stream_socket(family)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(listener.address)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        return ListeningSocket(self.host, self, listener.name, listener.address, sock, sock.fileno())

    def adopt(self) -> None:
        """Let what was prepared stand, and nothing else."""
        gone = [listener for listener in self.standing.values() if listener not in self.prepared.values()]
        self.standing = dict(self.prepared)
        for listener in gone:
            listener.close()
        for name, listener in self.standing.items():
            listener.tls = self.modes[name]
        self.accept(not self.paused)

    def discard(self) -> None:
        """Forget what was prepared: close what does not stand."""
        for listener in self.prepared.values():
            if listener not in self.standing.values():
                listener.close()
        self.prepared = {}

    def pause(self) -> None:
        """No descriptor is left: let whoever knocks wait until one is free."""
        self.paused = True
        self.accept(False)
        self.host.tell(Exhausted("descriptors"))

    def resume(self) -> None:
        """A descriptor is free."""
        if self.paused:
            self.paused = False
            self.accept(True)

    def accept(self, wanted: bool) -> None:
        for listener in self.standing.values():
            listener.accept(wanted)

    def port(self, name: str) -> int:
        """The port of a listener, prepared or adopted: the kernel's choice where 0 was asked. Raises KeyError."""
        listener = (self.standing | self.prepared)[name]
        port: int = listener.sock.getsockname()[1]
        return port

    def close(self) -> None:
        self.discard()
        for listener in self.standing.values():
            listener.close()
        self.standing = {}
