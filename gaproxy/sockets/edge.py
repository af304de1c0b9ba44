"""Readiness becomes facts, orders become system calls: knows every socket, and the one queue of facts.

Does not know what a fact means, nor which runtime lends it its clock, its entropy and its alarm.
"""

import json
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from attrs import frozen

from gaproxy.proto import actions, events
from gaproxy.sockets.certificate import Certificates
from gaproxy.sockets.cover import Certificate, Policies, Threshold
from gaproxy.sockets.dial import CannotDialError, Dial, dial
from gaproxy.sockets.files import descriptors_most, directory_problems, read_config
from gaproxy.sockets.link import CARRIED_BYTES, Link
from gaproxy.sockets.listener import Listeners
from gaproxy.sockets.notes import Notes
from gaproxy.sockets.readiness import Readiness

RUN_ENTROPY_BYTES = 16
CONNECTION_ENTROPY_BYTES = 48
PLAIN, REQUIRED = "none", "required"  # what a listener's TLS may be; the third is "either"


class Machine(Protocol):
    """Whatever decides: a Proxy, a recorder around one, the script of a test. Times are in ns of the lent clock."""

    @property
    def next_deadline(self) -> int | None:
        """When `Elapsed` is to be told, if nothing happens before."""

    def step(self, now: int, event: events.Event) -> list[actions.Action]:
        """Hear a fact, give the orders that answer it."""


@frozen
class Lent:
    """What a runtime lends: a monotonic clock (ns), entropy, and one alarm: it calls `rang` at the time last asked for.

    `log`: the descriptor that notes go to. `certificate`: for `Secure(serve=True)`.
    """

    clock: Callable[[], int]
    entropy: Callable[[int], bytes]
    alarm: Callable[[int], None]
    log: int = 1
    certificate: Certificate | None = None


class Edge:
    """All that a machine has of the world. `exit_code` is set by `Exit`; nothing happens behind it.

    A runtime calls `turn` when the descriptor `fileno()` is readable, `rang` when the alarm rings, `signalled` for a
    signal, and `close` at the end. What the machine raises comes out of these.
    """

    def __init__(self, machine: Machine, lent: Lent) -> None:
        self.machine = machine
        self.lent = lent
        self.clock = lent.clock
        self.exit_code: int | None = None
        self.news: deque[events.Event] = deque()
        self.armed: int | None = None
        self.accepted_id = -1
        self.links: dict[int, Link] = {}
        self.dials: dict[int, Dial] = {}
        self.readiness = Readiness()
        self.listeners = Listeners(self)
        self.certificates = Certificates()
        self.notes = Notes(lent.log)
        self.log_format = "text"
        self.policies = Policies(lent.certificate)
        self.buffer = memoryview(bytearray(CARRIED_BYTES))
        self.performs: dict[type[Any], Callable[[Any], None]] = {
            actions.ReadConfig: self.read_config,
            actions.Prepare: self.prepare,
            actions.Adopt: self.adopt,
            actions.Connect: self.connect,
            actions.Send: self.send,
            actions.Secure: self.secure,
            actions.Relay: self.relay,
            actions.Hold: self.hold,
            actions.Hear: self.hear,
            actions.End: self.end,
            actions.Close: self.close_link,
            actions.Note: self.note,
            actions.Exit: self.exit,
        }

    # What a runtime calls.

    def fileno(self) -> int:
        """The one descriptor that is readable while anything is ready."""
        return self.readiness.epoll.fileno()

    def turn(self) -> None:
        """Take what is ready: read, step, perform; in the end set the alarm."""
        self.take(everything=False)
        self.arm()

    def rang(self) -> None:
        """The alarm rang. What came in time is heard before any deadline fires, however late we are ourselves."""
        self.armed = None
        self.listeners.resume()  # the last descriptor may have been somebody else's (ENFILE)
        self.take(everything=True)
        deadline = self.machine.next_deadline
        if deadline is not None and deadline <= self.clock():
            self.tell(events.Elapsed())
            self.settle()
        self.arm()

    def signalled(self, name: str) -> None:
        """The process was signalled, or starts."""
        self.tell(events.Signalled(name, self.lent.entropy(RUN_ENTROPY_BYTES) if name == "START" else b""))
        self.settle()
        self.arm()

    def close(self) -> None:
        """Close every socket, and the epoll last."""
        self.listeners.close()
        for dialled in self.dials.values():
            dialled.close()
        for link in self.links.values():
            link.abandon()
        self.readiness.close()

    def port(self, name: str) -> int:
        """The port that the listener of this name really has, prepared or adopted. Raises KeyError."""
        return self.listeners.port(name)

    # The queue of facts.

    def tell(self, event: events.Event) -> None:
        """Put a fact behind those that wait: orders are never overtaken."""
        self.news.append(event)

    def settle(self) -> None:
        """Let the machine hear all facts, and perform what it orders."""
        while self.news and self.exit_code is None:
            for order in self.machine.step(self.clock(), self.news.popleft()):
                self.performs[type(order)](order)

    def take(self, everything: bool) -> None:
        for row, reads, writes in self.readiness.take(everything):
            row.ready(reads, writes)
            self.settle()

    def arm(self) -> None:
        """Have the alarm ring no later than at the next deadline. Too early does no harm: it is set again then."""
        deadline = self.machine.next_deadline
        if deadline is not None and (self.armed is None or deadline < self.armed):
            self.armed = deadline
            self.lent.alarm(deadline)

    # What the sockets tell.

    def accepted(self, listener: str, sock: socket.socket, client: events.Address, tls: str) -> None:
        """Somebody came in: ids of those are odd."""
        self.accepted_id += 2
        link = self.linked(self.accepted_id, sock)
        certificate = self.certificates.standing
        assert certificate is not None or tls != REQUIRED, "no certificate was prepared"
        if tls != PLAIN and certificate is not None:
            link.threshold = Threshold(self, partial(self.policies.serve, certificate), tls == REQUIRED)
        self.tell(
            events.Accepted(self.accepted_id, listener, client, self.lent.entropy(CONNECTION_ENTROPY_BYTES)),
        )

    def connected(self, dialled: Dial, source: events.Address) -> None:
        """Somebody was called: ids of those are even, the machine counts them."""
        del self.dials[dialled.id]
        self.linked(dialled.id, dialled.sock)
        self.tell(events.Connected(dialled.id, source))

    def linked(self, id: int, sock: socket.socket) -> Link:
        link = Link(self, id, sock, sock.fileno())
        self.links[id] = link
        link.arm()
        return link

    def failed(self, dialled: Dial, kind: str, text: str) -> None:
        """A dial was given up: its descriptor is free."""
        del self.dials[dialled.id]
        self.listeners.resume()
        self.tell(events.ConnectFailed(dialled.id, kind, text))

    def left(self, link: Link) -> None:
        """A link is gone: its descriptor is free."""
        del self.links[link.id]
        self.listeners.resume()

    # Order by order.

    def read_config(self, order: actions.ReadConfig) -> None:
        self.tell(events.ConfigRead(*read_config(order.filename)))

    def prepare(self, order: actions.Prepare) -> None:
        problems = self.listeners.prepare(order.listeners) + directory_problems(order.directories)
        problems += self.certificates.prepare(order.certificate)
        if problems:
            self.listeners.discard()  # nobody is left to wait in a backlog: there will be no Adopt
        self.tell(events.Prepared(tuple(problems), self.certificates.prepared_sha256, descriptors_most()))

    def adopt(self, order: actions.Adopt) -> None:
        self.listeners.adopt()
        self.certificates.adopt()
        self.log_format = order.log_format

    def connect(self, order: actions.Connect) -> None:
        try:
            self.dials[order.id] = dial(self, order)
        except CannotDialError as error:
            self.tell(events.ConnectFailed(order.id, error.kind, error.text))

    def send(self, order: actions.Send) -> None:
        link = self.links.get(order.id)
        if link is not None:
            link.send(order.data)

    def secure(self, order: actions.Secure) -> None:
        link = self.links.get(order.id)
        if link is not None:
            link.secure(self.policies.tls(order))

    def relay(self, order: actions.Relay) -> None:
        link = self.links.get(order.id)
        if link is not None:
            link.relay(None if order.to is None else self.links.get(order.to), order.until)

    def hold(self, order: actions.Hold) -> None:
        link = self.links.get(order.id)
        if link is not None:
            link.hold(True)

    def hear(self, order: actions.Hear) -> None:
        link = self.links.get(order.id)
        if link is not None:
            link.hold(False)

    def end(self, order: actions.End) -> None:
        link = self.links.get(order.id)
        if link is not None:
            link.end()

    def close_link(self, order: actions.Close) -> None:
        if order.id in self.dials:
            self.dials[order.id].fail("called_off", "closed while it was being dialled")
        elif order.id in self.links:
            self.links[order.id].close()

    def note(self, order: actions.Note) -> None:
        dropped = self.notes.take_dropped()
        if dropped:
            self.tell(events.Dropped(dropped))
        self.notes.write(order.line if self.log_format == "text" else json.dumps(dict(order.fields)))

    def exit(self, order: actions.Exit) -> None:
        self.exit_code = order.code
