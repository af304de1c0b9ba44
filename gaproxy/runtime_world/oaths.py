"""What must always hold: between a machine and its edge, and for every message on its way from an MTA to a remote.

Knows the promises that stand in `events.py` and `actions.py`, and who said what of which message. Does not know how a
proxy works, nor SMTP.
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define

from gaproxy.proto import actions, events
from gaproxy.sockets.edge import Machine


class BrokenOath(AssertionError):
    """Something happened that must never happen: one sentence."""


def swear(holds: bool, sentence: str) -> None:
    """Raise BrokenOath with this sentence unless it holds."""
    if not holds:
        raise BrokenOath(sentence)


@define
class Connection:
    """One connection, as facts and orders have told of it."""

    dialling: bool = False
    ended: bool = False
    held: bool = False
    relaying: bool = False
    feeds: int | None = None
    closes: int = 0
    ends: int = 0


class Sworn:
    """A machine and its edge, both held to their word at every step. `onlooker` is told each fact and its orders."""

    def __init__(
        self, machine: Machine, onlooker: Callable[[events.Event, list[actions.Action]], None] | None = None
    ) -> None:
        self.machine = machine
        self.onlooker = onlooker
        self.connections: dict[int, Connection] = {}
        self.came, self.called = -1, 0  # the newest id of each kind
        self.promises: Mapping[type, Callable[[Any], None]] = {
            events.Accepted: self.accepted,
            events.Connected: self.connected,
            events.ConnectFailed: self.connect_failed,
            events.Received: self.received,
            events.Ended: self.ended,
            events.Closed: self.closed,
            events.Relaying: self.relaying,
            events.Relayed: self.relayed,
        }
        self.manners: Mapping[type, Callable[[Any], None]] = {
            actions.Connect: self.connect,
            actions.Send: self.send,
            actions.Relay: self.relay,
            actions.Hold: self.hold,
            actions.Hear: self.hear,
            actions.End: self.end,
            actions.Close: self.close,
        }

    @property
    def next_deadline(self) -> int | None:
        return self.machine.next_deadline

    def step(self, now: int, event: events.Event) -> list[actions.Action]:
        """Hear a fact that was promised, give orders that are allowed. Raises BrokenOath."""
        promise = self.promises.get(type(event))
        if promise is not None:
            promise(event)
        orders = self.machine.step(now, event)
        if self.onlooker is not None:
            self.onlooker(event, orders)
        for order in orders:
            manner = self.manners.get(type(order))
            if manner is not None:
                manner(order)
        return orders

    def nobody_is_left(self) -> None:
        """To be sworn when all peers are gone and time has passed."""
        swear(not self.connections, f"these connections are left: {sorted(self.connections)}")

    # What the edge promises.

    def standing(self, id: int, fact: str) -> Connection:
        """The connection of a fact: one that stands, and that its peer has not ended."""
        connection = self.connections.get(id)
        if connection is None or connection.dialling or connection.ended:
            raise BrokenOath(f"{fact} of {id}, which does not stand or has ended")
        return connection

    def accepted(self, fact: events.Accepted) -> None:
        swear(fact.id % 2 == 1 and fact.id > self.came, f"{fact.id} came in behind {self.came}")
        self.came = fact.id
        self.connections[fact.id] = Connection()

    def answered(self, id: int) -> Connection:
        connection = self.connections.get(id)
        if connection is None or not connection.dialling:
            raise BrokenOath(f"a Connect of {id} was answered that is not under way")
        return connection

    def connected(self, fact: events.Connected) -> None:
        self.answered(fact.id).dialling = False

    def connect_failed(self, fact: events.ConnectFailed) -> None:
        self.answered(fact.id)
        del self.connections[fact.id]

    def received(self, fact: events.Received) -> None:
        connection = self.standing(fact.id, "Received")
        swear(bool(fact.data), f"nothing was received from {fact.id}")
        swear(not connection.relaying, f"bytes of {fact.id} came to the machine while they were relayed")
        swear(not connection.closes, f"bytes of {fact.id} came behind its Close")

    def ended(self, fact: events.Ended) -> None:
        self.standing(fact.id, "Ended").ended = True

    def closed(self, fact: events.Closed) -> None:
        connection = self.connections.pop(fact.id, None)
        swear(connection is not None and not connection.dialling, f"{fact.id} closed, and did not stand")

    def relaying(self, fact: events.Relaying) -> None:
        swear(self.standing(fact.id, "Relaying").relaying, f"Relaying of {fact.id}, which is not relayed")

    def relayed(self, fact: events.Relayed) -> None:
        connection = self.connections.get(fact.id)
        if connection is None or not connection.relaying:
            raise BrokenOath(f"Relayed of {fact.id}, which is not relayed")
        connection.relaying, connection.feeds = False, None

    # What a machine may order.

    def known(self, id: int) -> Connection | None:
        """The connection of an order; None: it is gone, and the order is ignored."""
        swear(0 < id <= (self.came if id % 2 else self.called), f"an order to {id}, which never was")
        connection = self.connections.get(id)
        swear(connection is None or not connection.dialling, f"an order to {id}, which is being dialled")
        return connection

    def connect(self, order: actions.Connect) -> None:
        swear(order.id % 2 == 0 and order.id > self.called, f"{order.id} was called behind {self.called}")
        self.called = order.id
        self.connections[order.id] = Connection(dialling=True)

    def send(self, order: actions.Send) -> None:
        connection = self.known(order.id)
        swear(bool(order.data), f"nothing is to be sent to {order.id}")
        swear(connection is None or not (connection.closes or connection.ends), f"{order.id} is sent to behind its end")

    def relay(self, order: actions.Relay) -> None:
        connection = self.known(order.id)
        if connection is not None:
            fed = any(other.relaying and other.feeds == order.to for other in self.connections.values())
            swear(not connection.relaying, f"{order.id} is relayed already")
            swear(order.to is None or not fed, f"{order.to} is fed already")
            connection.relaying, connection.feeds = True, order.to

    def hold(self, order: actions.Hold) -> None:
        self.turn(order.id, held=True)

    def hear(self, order: actions.Hear) -> None:
        self.turn(order.id, held=False)

    def turn(self, id: int, held: bool) -> None:
        connection = self.known(id)
        if connection is not None:
            swear(connection.held != held, f"{id} is {'held' if held else 'heard'} already")
            connection.held = held

    def end(self, order: actions.End) -> None:
        connection = self.known(order.id)
        if connection is not None:
            connection.ends += 1
            swear(connection.ends == 1 and not connection.closes, f"{order.id} is ended twice")

    def close(self, order: actions.Close) -> None:
        connection = self.connections.get(order.id)
        if connection is not None and not connection.dialling:
            connection.closes += 1
            connection.relaying, connection.feeds = False, None
            swear(connection.closes <= 2, f"{order.id} is closed a third time")


@define
class Letter:
    """One message. `body`: as it goes over the wire, its end included. `told`: the code that its MTA heard."""

    name: str
    body: bytes
    finished: bool = False  # its MTA has said all of it
    taken: int = 0  # by remotes, at its end
    told: int | None = None
    unknown: bool = False  # so it was told


class Letters:
    """Every message of one world: sent by an MTA, taken by a remote, told to the MTA again."""

    def __init__(self) -> None:
        self.letters: dict[str, Letter] = {}

    def write(self, name: str, body: bytes) -> None:
        """An MTA is about to send this one."""
        swear(name not in self.letters, f"two letters are called {name}")
        self.letters[name] = Letter(name, body)

    def finish(self, name: str) -> None:
        """All of it is on the MTA's line."""
        self.letters[name].finished = True

    def take(self, name: str, body: bytes) -> None:
        """A remote has it now, and will say 250."""
        letter = self.letters.get(name)
        if letter is None:
            raise BrokenOath(f"a remote took a message that nobody sent: {name}")
        swear(letter.finished, f"{name} was taken before its MTA had ended it")
        swear(letter.body == body, f"{name} was changed on its way: {letter.body!r} became {body!r}")
        letter.taken += 1
        swear(letter.taken == 1, f"{name} was taken {letter.taken} times")

    def tell(self, name: str, code: int, signature: str | None, unknown: bool) -> None:
        """An MTA heard what became of it. `signature`: the message that the remote named, if the reply was its."""
        letter = self.letters[name]
        swear(letter.told is None, f"the outcome of {name} was told twice")
        letter.told, letter.unknown = code, unknown
        if code < 400:
            swear(signature == name, f"{code} to {name}, which no remote said of it but of {signature}")
            swear(letter.taken == 1, f"{code} to {name}, which was not taken")

    def judge(self) -> None:
        """When all is over: whoever was told that its message was not taken may send it again."""
        for letter in self.letters.values():
            if letter.told is not None and letter.told >= 400 and not letter.unknown:
                swear(letter.taken == 0, f"{letter.name} was taken, and its MTA was told {letter.told}")
