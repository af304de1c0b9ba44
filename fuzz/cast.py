"""The same MTAs and remotes on sockets: a machine that lends each of them its connection, and lets some of them stall.

Knows facts and orders, and which peer has which connection. Does not know what they say.
"""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from attrs import evolve

from fuzz.mta import Manner, Mta
from fuzz.remote import Remote, Temper
from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.events import Address
from gaproxy.runtime_world.network import Peer
from gaproxy.runtime_world.oaths import Letters

SECOND = 1_000_000_000
ABORTS, STALLS = 0.002, 0.002  # at each piece that is heard
STALL_S = 3.0
LOOKS_EVERY_S = 0.2


class Wire:
    """A connection of the cast's edge, as its peer has it."""

    def __init__(self, cast: "Cast", id: int, peer: Peer) -> None:
        self.cast = cast
        self.id = id
        self.peer = peer
        self.deaf = False

    def say(self, data: bytes) -> None:
        self.cast.orders.append(actions.Send(self.id, data))

    def end(self) -> None:
        self.cast.orders.append(actions.End(self.id))

    def reset(self) -> None:
        """At once; the kernel makes a reset of it where anything was unread."""
        self.deaf = True
        self.cast.orders += [actions.Close(self.id), actions.Close(self.id)]

    def leave(self) -> None:
        self.deaf = True

    def under_way(self) -> bytes:
        """The kernel does not tell."""
        return b""


class Cast:
    """The machine. `doors`: where the proxy's listeners really are; set, with `begin_at`, once it runs.

    It ends by itself when the time is over, every MTA is done and every remote was left.
    """

    def __init__(self, dice: Random, tempers: Mapping[str, Temper]) -> None:
        self.dice = dice
        self.tempers = tempers  # address → how it is there
        self.letters = Letters()
        self.mtas: list[Mta] = []
        self.doors: Mapping[str, Address] = {}
        self.orders: list[Action] = []
        self.wires: dict[int, Wire] = {}
        self.calling: dict[int, Peer] = {}
        self.called = 0
        self.stalled: dict[int, int] = {}  # until when
        self.over_at: int | None = None
        self.next_deadline: int | None = None
        self.is_over = False

    def admit(self, manner: Manner) -> None:
        """Another MTA, which comes in as soon as the machine steps again."""
        knock = partial(self.knock, manner.listener, f"127.0.0.{10 + manner.number}")
        self.mtas.append(Mta(manner, self.dice, self.letters, knock))

    def step(self, now: int, event: events.Event) -> list[Action]:
        self.orders = []
        self.hear(now, event)
        orders, self.orders = self.orders, []
        return orders

    def hear(self, now: int, event: events.Event) -> None:
        match event:
            case events.Signalled(name="START"):
                self.orders.append(actions.Prepare(tuple(map(place, self.tempers))))
            case events.Prepared():
                assert not event.problems, event.problems
                self.orders.append(actions.Adopt())
                self.next_deadline = now
            case events.Accepted(id):
                self.join(id, Remote(self.tempers[event.listener], self.dice, self.letters, event.client[0]))
            case events.Connected(id):
                self.join(id, self.calling.pop(id))
            case events.ConnectFailed(id):
                self.calling.pop(id).refused()
            case events.Received(id):
                self.received(now, self.wires[id], event.data)
            case events.Ended(id):
                self.tell(self.wires[id], self.wires[id].peer.ended)
            case events.Closed(id):
                self.stalled.pop(id, None)
                wire = self.wires.pop(id)
                self.tell(wire, wire.peer.lost)
            case events.Elapsed():
                self.look(now)

    def tell(self, wire: Wire, told: Callable[[], None]) -> None:
        if not wire.deaf:
            told()

    def join(self, id: int, peer: Peer) -> None:
        wire = self.wires[id] = Wire(self, id, peer)
        peer.joined(wire)

    def knock(self, listener: str, client: str, peer: Peer) -> None:
        self.called += 2
        self.calling[self.called] = peer
        self.orders.append(actions.Connect(self.called, client, self.doors[listener]))

    def received(self, now: int, wire: Wire, data: bytes) -> None:
        if wire.deaf:
            return
        if self.dice.random() < ABORTS:
            wire.reset()
            wire.peer.lost()
            return
        if wire.id not in self.stalled and self.dice.random() < STALLS:
            self.stalled[wire.id] = now + int(self.dice.random() * STALL_S * SECOND)
            self.orders.append(actions.Hold(wire.id))
        wire.peer.hear(data)

    def look(self, now: int) -> None:
        """Now and then: let MTAs begin, those go on that have stalled for long enough, and all come to an end."""
        self.next_deadline = now + int(LOOKS_EVERY_S * SECOND)
        for id in [id for id, until in self.stalled.items() if until <= now]:
            del self.stalled[id]
            self.orders.append(actions.Hear(id))
        if self.over_at is None:
            return
        if now >= self.over_at:
            for mta in self.mtas:
                mta.manner = evolve(mta.manner, sessions=min(mta.sessions, mta.manner.sessions))
            if not (self.wires or self.calling) and all(mta.gone for mta in self.mtas):
                self.is_over = True
                self.orders.append(actions.Exit(0))
        else:
            for mta in self.mtas:
                mta.begin()


def place(address: str) -> actions.Listener:
    """Where a remote listens; its port is the kernel's choice."""
    return actions.Listener(address, (address, 0))
