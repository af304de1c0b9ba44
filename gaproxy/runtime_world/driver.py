"""Runs a machine in a world: real links on a network that is not there, and a clock that goes on as things happen.

Knows every order, and performs it as the edge of the other runtimes does, by the same `Link` and `Passage`. Does not
know what any of it is for. What it has not: TLS, files, and a descriptor too few.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from gaproxy.proto import actions, events
from gaproxy.proto.events import Address
from gaproxy.runtime_world.network import Line, Network, Peer, Socket, Soon, connect
from gaproxy.sockets.edge import Machine
from gaproxy.sockets.link import CARRIED_BYTES, Link
from gaproxy.sockets.readiness import Row

PACES_NS = (10_000, 1_000_000, 40_000_000)  # from one thing that happens to the next
START_NS = 1_000_000_000_000
BUFFER = memoryview(bytearray(CARRIED_BYTES))  # worlds run one after the other


class World:
    """One run. `places`: who answers where the machine may dial, told from where. `config`: the text of its file.

    `turn` lets one thing happen. `exit_code` is set by `Exit`, and nothing happens behind it.
    """

    def __init__(self, machine: Machine, dice: Random, config: str = "") -> None:
        self.machine = machine
        self.dice = dice
        self.config = config
        self.network = Network(dice)
        self.pace_ns = dice.choice(PACES_NS)
        self.now = START_NS
        self.exit_code: int | None = None
        self.news: deque[events.Event] = deque()
        self.buffer = BUFFER
        self.readiness = self
        self.places: dict[Address, Callable[[str], Peer]] = {}
        self.prepared: set[str] = set()
        self.listening: set[str] = set()
        self.links: dict[int, Link] = {}
        self.dials: set[int] = set()
        self.sockets: dict[int, Socket] = {}
        self.accepted_id, self.opened = -1, 0
        self.performs: dict[type[Any], Callable[[Any], None]] = {
            actions.ReadConfig: lambda order: self.tell(events.ConfigRead(self.config)),
            actions.Prepare: self.prepare,
            actions.Adopt: self.adopt,
            actions.Connect: self.connect,
            actions.Send: self.of_link(lambda link, order: link.send(order.data)),
            actions.Secure: self.secure,
            actions.Relay: self.of_link(self.relay),
            actions.Hold: self.of_link(lambda link, order: link.hold(True)),
            actions.Hear: self.of_link(lambda link, order: link.hold(False)),
            actions.End: self.of_link(lambda link, order: link.end()),
            actions.Close: self.close,
            actions.Note: lambda order: None,
            actions.Exit: self.exit,
        }

    # What is done with a world.

    def signal(self, name: str) -> None:
        """The process is signalled, or starts."""
        self.tell(events.Signalled(name, self.dice.randbytes(16) if name == "START" else b""))
        self.settle()

    def knock(self, listener: str, client: Address, peer: Peer) -> None:
        """Somebody comes in; soon."""
        self.network.wake(Soon(partial(self.accepted, listener, client, peer)))

    def turn(self) -> bool:
        """Let one thing happen, or, where nothing can, let time pass until the machine's deadline.

        Returns whether there was either.
        """
        if self.exit_code is not None:
            return False
        deadline = self.machine.next_deadline
        if self.network.carriers:
            self.now += self.pace_ns
            if deadline is None or deadline > self.now:
                self.network.move()
                self.settle()
                return True
        if deadline is None:
            return False
        self.now = max(self.now, deadline)
        self.ring()
        return True

    def ring(self) -> None:
        """The alarm: what came in time is heard before any deadline fires."""
        for socket in list(self.sockets.values()):
            if socket.waiting:
                socket.move()
                self.settle()
        deadline = self.machine.next_deadline
        if deadline is not None and deadline <= self.now:
            self.tell(events.Elapsed())
            self.settle()

    # What a link calls.

    def clock(self) -> int:
        return self.now

    def tell(self, event: events.Event) -> None:
        """Put a fact behind those that wait: orders are never overtaken."""
        self.news.append(event)

    def settle(self) -> None:
        """Let the machine hear all facts, and perform what it orders."""
        while self.news and self.exit_code is None:
            for order in self.machine.step(self.now, self.news.popleft()):
                self.performs[type(order)](order)

    def watch(self, row: Row, reads: bool, writes: bool) -> None:
        socket = self.sockets.get(row.fd)
        if socket is not None:
            row.interest = reads + 2 * writes
            socket.watch(reads, writes)

    def left(self, link: Link) -> None:
        del self.links[link.id], self.sockets[link.fd]

    # What the network brings.

    def accepted(self, listener: str, client: Address, peer: Peer) -> None:
        if listener not in self.listening:
            peer.refused()
            return
        self.accepted_id += 2
        fact = events.Accepted(self.accepted_id, listener, client, self.dice.randbytes(48))
        self.join(self.accepted_id, fact, peer)

    def dialled(self, order: actions.Connect) -> None:
        """Somebody answers, or nobody is there."""
        if order.id not in self.dials:
            return
        self.dials.remove(order.id)
        answers = self.places.get(order.destination)
        if answers is None:
            self.tell(events.ConnectFailed(order.id, "refused", "Connection refused"))
        else:
            self.join(order.id, events.Connected(order.id, (order.source, 20_000 + self.opened)), answers(order.source))

    def join(self, id: int, fact: events.Event, peer: Peer) -> None:
        self.opened += 1
        socket = self.sockets[self.opened] = Socket(self.network, self.opened)
        line = Line(peer)
        connect(self.network, socket, line)
        link = self.links[id] = Link(self, id, socket, self.opened)
        socket.turn = link.ready
        link.arm()
        self.tell(fact)
        peer.joined(line)

    # Order by order.

    def of_link(self, perform: Callable[[Link, Any], None]) -> Callable[[Any], None]:
        """How an order to a link is performed; those to one that is gone are ignored."""

        def performed(order: Any) -> None:
            link = self.links.get(order.id)
            if link is not None:
                perform(link, order)

        return performed

    def prepare(self, order: actions.Prepare) -> None:
        self.prepared = {listener.name for listener in order.listeners}
        self.tell(events.Prepared())

    def adopt(self, order: actions.Adopt) -> None:
        self.listening = self.prepared

    def connect(self, order: actions.Connect) -> None:
        self.dials.add(order.id)
        self.network.wake(Soon(partial(self.dialled, order)))

    def secure(self, order: actions.Secure) -> None:
        raise NotImplementedError("this world has no TLS yet")

    def relay(self, link: Link, order: actions.Relay) -> None:
        link.relay(None if order.to is None else self.links.get(order.to), order.until)

    def close(self, order: actions.Close) -> None:
        if order.id in self.dials:
            self.dials.remove(order.id)
            self.tell(events.ConnectFailed(order.id, "called_off", "closed while it was being dialled"))
        elif order.id in self.links:
            self.links[order.id].close()

    def exit(self, order: actions.Exit) -> None:
        self.exit_code = order.code
