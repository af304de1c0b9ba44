"""The hall: who hears what, who is asked what, who is whose partner.

The only file that knows everybody, and the only one that turns asks into orders (beside it: `seating.py`, who sits
where, `caretaker.py`, the house itself, and `switchboard.py`, how a remote is found and shared). Does not know any
grammar, any socket, or what time it is: `step` is told.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, TypeVar

from attrs import frozen

from gaproxy.proto import actions, asks, events
from gaproxy.proto.actions import Action
from gaproxy.proto.caretaker import Caretaker
from gaproxy.proto.config.directives import NATIVE, PROXY_PROTOCOL
from gaproxy.proto.config.settings import DoorSettings
from gaproxy.proto.doors.credentials import Keys
from gaproxy.proto.doors.haproxy import HaproxyDoor
from gaproxy.proto.doors.native import NativeDoor
from gaproxy.proto.events import Event
from gaproxy.proto.relay.dialogue import Relay, Terms
from gaproxy.proto.relay.far import Far
from gaproxy.proto.relay.near import Near
from gaproxy.proto.relay.tunnel import Side, Tunnel
from gaproxy.proto.remote.caller import Caller
from gaproxy.proto.remote.pool import Pool
from gaproxy.proto.seating import (
    UNHEARD_BYTES_MOST,
    UNHEARD_BYTES_MOST_OF_A_STRANGER,
    Connection,
    Performs,
    Seat,
    Seating,
)
from gaproxy.proto.session import Departure, Session
from gaproxy.proto.switchboard import Switchboard
from gaproxy.proto.turnstile import asked_by, there
from gaproxy.throttle.places import Place

S = TypeVar("S", bound=Session)


@frozen
class Door:
    """One row: how a session is made for who comes in there. `guarded`: strangers are let in one after the other."""

    make: Callable[[Keys, DoorSettings, events.Accepted], Session]
    guarded: bool = False


def native_door(keys: Keys, door: DoorSettings, event: events.Accepted) -> NativeDoor:
    return NativeDoor(keys, event.client, event.entropy, door.messages_per_turn)


def haproxy_door(keys: Keys, door: DoorSettings, event: events.Accepted) -> HaproxyDoor:
    listener = (door.name, door.address)
    return HaproxyDoor(listener, event.client, event.entropy, door.tls, door.pool, door.messages_per_turn)


DOORS: Mapping[str, Door] = {NATIVE: Door(native_door, guarded=True), PROXY_PROTOCOL: Door(haproxy_door)}
"""By the directive of the listener."""


class Proxy:
    """The whole machine: `step(now, event)` gives the orders; `next_deadline` is when it wants to hear `Elapsed`.

    `now` counts integer nanoseconds of a monotonic clock. `keys` judges proofs. With `strict`, a fault of our own in a
    session is raised; without it that session ends, the log gets the traceback, and all others are served on.
    """

    def __init__(self, filename: str, keys: Keys, strict: bool = False) -> None:
        performs: Performs = {}
        self.seating = Seating(performs, strict)
        pool = Pool()
        self.caretaker = Caretaker(filename, keys, self.seating, pool)
        self.switchboard = Switchboard(self.seating, self.caretaker, pool)
        performs.update(self.is_asked_what())
        self.facts = self.hears_what()

    @property
    def next_deadline(self) -> int | None:
        return self.seating.patience.next_deadline()

    @property
    def problems(self) -> Sequence[str]:
        """Why it left without ever having served, each reason in one sentence."""
        return self.caretaker.problems

    def step(self, now: int, event: Event) -> list[Action]:
        """Hear one fact at `now` (nanoseconds), and say what is to be done."""
        seating = self.seating
        seating.now, seating.orders = now, []
        self.facts[type(event)](event)
        seating.drain_agenda()
        while self.switchboard.settle():
            seating.drain_agenda()
        self.caretaker.close_when_done()
        return seating.orders

    def hears_what(self) -> Mapping[type, Callable[[Any], None]]:
        """Every fact, and who hears it first."""
        return {
            events.Signalled: self.caretaker.signalled,
            events.ConfigRead: self.caretaker.config_read,
            events.Prepared: self.prepared,
            events.Accepted: self.accepted,
            events.Connected: self.connected,
            events.ConnectFailed: self.connect_failed,
            events.Received: self.received,
            events.Ended: self.ended,
            events.Closed: self.closed,
            events.Secured: self.secured,
            events.SecureFailed: self.secure_failed,
            events.Relaying: self.relaying,
            events.Relayed: self.relayed,
            events.Exhausted: self.exhausted,
            events.Dropped: self.dropped,
            events.Elapsed: self.elapsed,
        }

    def is_asked_what(self) -> Performs:
        """Every ask, and what the hall does then."""
        return {
            asks.Say: self.say,
            asks.Pass: self.pass_on,
            asks.PassBody: self.pass_body,
            asks.Secure: self.secure,
            asks.Lend: self.lend,
            asks.Tunnel: self.tunnel,
            asks.Carry: self.carry,
            asks.End: self.end,
            asks.GiveBack: self.give_back,
            asks.HandOn: self.hand_on,
            asks.Join: self.rejoin,
            asks.Drop: self.drop,
            asks.Trust: self.trust,
            asks.Distrust: self.distrust,
            asks.Leave: self.leave,
            asks.Mention: self.mention,
            **self.switchboard.is_asked_what(),
        }

    # Facts.

    def prepared(self, event: events.Prepared) -> None:
        self.caretaker.prepared(event)
        if self.caretaker.reload.running is not None:
            self.switchboard.review()

    def accepted(self, event: events.Accepted) -> None:
        seating, client = self.seating, ip_address(event.client[0])
        settings = self.caretaker.doors[event.listener]
        row = DOORS[settings.directive]
        door = row.make(self.caretaker.keys, settings, event)
        connection = Connection(event.id, seating.now, door, event.listener, client)
        connection.unheard_most = UNHEARD_BYTES_MOST_OF_A_STRANGER
        seating.connections[event.id] = connection
        reason = self.caretaker.refuses(client, settings, row.guarded)
        if reason is not None:
            seating.mention("client_refused", {"listener": event.listener, "client": event.client[0], "reason": reason})
            seating.depart(connection, at_once=True)
            return
        self.caretaker.let_in(connection)
        connection.waiting = row.guarded and not self.caretaker.admission.arrived(event.id, client)
        seating.sit(door, Seat(seating.now, hears=connection, says=connection))
        if self.caretaker.stopping:
            seating.tell(door, door.drain)
        if connection.waiting:
            seating.attend(connection)
        else:
            seating.tell(door, door.admitted)

    def connected(self, event: events.Connected) -> None:
        self.seating.connections[event.id].connected = True
        caller = self.session(event.id, Caller)
        if caller is not None:
            self.seating.tell(caller, caller.connected, event.source)

    def connect_failed(self, event: events.ConnectFailed) -> None:
        connection = self.seating.connections.pop(event.id)
        caller = connection.session
        if isinstance(caller, Caller):
            if event.kind == "refused":
                self.switchboard.refusals.remember((connection.source, *caller.place), self.seating.now)
            self.seating.tell(caller, caller.connect_failed, event.kind, event.text)
        else:
            self.seating.unseat(caller)

    def received(self, event: events.Received) -> None:
        connection = self.seating.connections[event.id]
        if not connection.leaving:
            connection.unheard += event.data
            self.seating.attend(connection)

    def ended(self, event: events.Ended) -> None:
        connection = self.seating.connections[event.id]
        connection.ended = True
        self.seating.attend(connection)

    def closed(self, event: events.Closed) -> None:
        connection = self.seating.connections.pop(event.id)
        session = connection.session
        self.caretaker.admit(self.caretaker.admission.left(event.id))
        self.caretaker.admission.departed(event.id)
        self.caretaker.let_out(connection)
        self.seating.tell(session, session.lost, event.kind)
        if not isinstance(session, Near | Far | Side):
            self.seating.tell(session, self.seating.unseat, session)

    def secured(self, event: events.Secured) -> None:
        session = self.seating.connections[event.id].session
        if isinstance(session, Caller):
            self.seating.tell(session, session.secured, event.version, event.cipher, event.names, event.verified)
        elif isinstance(session, NativeDoor):
            self.seating.tell(session, session.secured, event.version, event.certificate_sha256)

    def secure_failed(self, event: events.SecureFailed) -> None:
        session = self.seating.connections[event.id].session
        if isinstance(session, Caller | NativeDoor):
            self.seating.tell(session, session.unsecured, event.kind, event.text, event.seen)

    def relaying(self, event: events.Relaying) -> None:
        side = self.session(event.id, Near) or self.session(event.id, Side)
        if side is not None:
            self.seating.tell(side, side.relaying, event.size, event.at)

    def relayed(self, event: events.Relayed) -> None:
        side = self.session(event.id, Near) or self.session(event.id, Side)
        if side is not None:
            connection = self.seating.connections[event.id]
            connection.unheard += event.rest
            connection.ended = connection.ended or event.outcome == "cut"
            self.seating.tell(side, side.relayed, event.outcome, event.size, event.at, event.bare)

    def exhausted(self, event: events.Exhausted) -> None:
        self.seating.mention("exhausted", {"what": event.what})
        self.switchboard.make_do()

    def dropped(self, event: events.Dropped) -> None:
        self.seating.mention("log_dropped", {"lines": event.lines})

    def elapsed(self, event: events.Elapsed) -> None:
        for key in list(self.seating.patience.met(self.seating.now)):
            if isinstance(key, Session):
                self.seating.tell(key, key.elapsed)
            elif isinstance(key, Place):
                self.switchboard.elapsed(key)
            else:
                self.caretaker.elapsed(key)

    def session(self, id: int, kind: type[S]) -> S | None:
        """Who hears this connection, if it is of that kind; a fact that crossed an order of ours finds another."""
        session = self.seating.connections[id].session
        return session if isinstance(session, kind) else None

    # Asks.

    def say(self, session: Session, seat: Seat, ask: asks.Say) -> None:
        self.seating.send(there(seat.says), ask.data)
        self.seating.overhear(session, "to mta" if isinstance(session, Near | Far) else "to remote", ask.data)

    def pass_on(self, session: Session, seat: Seat, ask: asks.Pass) -> None:
        self.seating.send(there(seat.passes), ask.data)
        self.seating.overhear(session, "to remote", ask.data)

    def pass_body(self, session: Session, seat: Seat, ask: asks.PassBody) -> None:
        mta, remote = there(seat.says), there(seat.passes)
        near = session if isinstance(session, Near) else there(seat.beside)
        if mta.unheard:
            self.seating.tell(near, near.early)
        elif mta.ended:
            self.seating.tell(near, near.relayed, "cut", 0, None, False)
        else:
            self.seating.order(actions.Relay(mta.id, remote.id))

    def secure(self, session: Session, seat: Seat, ask: asks.Secure) -> None:
        connection = there(seat.hears)
        if connection.unheard:
            text = "plain text came behind the reply to STARTTLS"
            self.seating.tell(session, session.unsecured, "injection", text, b"")
        else:
            self.seating.order(actions.Secure(connection.id, ask.verify, ask.server_name))

    def lend(self, session: Session, seat: Seat, ask: asks.Lend) -> None:
        """A door's peer and a caller's peer become the two sides of a relay."""
        caller = asked_by(seat.asked, Caller)
        trunk = self.switchboard.trunks.get(caller)
        reused, carried = trunk is not None, trunk.mails if trunk is not None else 0
        terms = Terms(ask.stock, ask.starttls, reused, carried, caller.owes_reset, ask.mails_per_turn, caller.security)
        relay = Relay(ask.offer, ask.name, ask.fields, terms)
        near = Near(relay)
        there(seat.hears).unheard[:0] = ask.kept
        self.join(near, Far(relay), session, caller)
        self.seating.tell(near, relay.begin)
        self.switchboard.lend(caller, near, relay.compete)

    def tunnel(self, session: Session, seat: Seat, ask: asks.Tunnel) -> None:
        """The same, but nobody listens; a door's, or a relay's that has heard enough."""
        tunnel = Tunnel(ask.fields, ask.hello)
        door, caller = seat.lender or session, seat.lent or there(seat.asked)
        if seat.beside is not None:
            self.seating.unseat(session)
            self.seating.unseat(seat.beside)
        self.join(tunnel.near, tunnel.far, door, caller)
        for side in (tunnel.near, tunnel.far):
            self.seating.tell(side, side.begin)

    def join(self, near: Session, far: Session, door: Session, caller: Session) -> None:
        seating = self.seating
        seating.seats[caller].asker = None
        mta, remote = there(seating.seats[door].hears), there(seating.seats[caller].hears)
        mta.unheard_most = UNHEARD_BYTES_MOST
        for side, hears, beside in ((near, mta, far), (far, remote, near)):
            seat = Seat(seating.now, hears, says=mta, passes=remote, beside=beside)
            seat.lender, seat.lent = door, caller
            seating.sit(side, seat)

    def carry(self, session: Session, seat: Seat, ask: asks.Carry) -> None:
        """What came before there was somebody to carry it to goes first."""
        mine, other = self.sides(seat)
        if mine.unheard:
            self.seating.send(other, bytes(mine.unheard))
            self.seating.tell(session, session.carried, len(mine.unheard))
            mine.unheard.clear()
        self.seating.order(actions.Relay(mine.id, other.id, "end"))

    def end(self, session: Session, seat: Seat, ask: asks.End) -> None:
        self.seating.order(actions.End(self.sides(seat)[1].id))

    def sides(self, seat: Seat) -> tuple[Connection, Connection]:
        """Of a relay's side: its own connection, and the other one."""
        mine, mta, remote = there(seat.hears), there(seat.says), there(seat.passes)
        return mine, remote if mine is mta else mta

    def give_back(self, session: Session, seat: Seat, ask: asks.GiveBack) -> None:
        """The relay is over: the MTA returns to its door, the remote to the switchboard."""
        seating, door, mta = self.seating, there(seat.lender), there(seat.says)
        seating.unseat(session)
        seating.unseat(seat.beside)
        seating.seats[door].asked = None
        if seating.stands(mta):
            mta.session = door
            seating.tell(door, door.returned)
        else:
            seating.unseat(door)
        if seat.lent is not None:
            self.switchboard.free(seat.lent, there(seat.passes), ask)

    def hand_on(self, session: Session, seat: Seat, ask: asks.HandOn) -> None:
        """The remote goes to whoever is next, the MTA stays."""
        near_seat = seat if isinstance(session, Near) else self.seating.seats[there(seat.beside)]
        caller, remote = there(near_seat.lent), there(near_seat.passes)
        self.seating.unseat(near_seat.beside)
        near_seat.lent = near_seat.passes = near_seat.beside = None
        self.switchboard.free(caller, remote, ask)

    def rejoin(self, session: Session, seat: Seat, ask: asks.Join) -> None:
        """A relay's new remote takes the place of the one that was lost."""
        far, caller = session, asked_by(seat.asked, Caller)
        remote = there(self.seating.seats[caller].hears)
        self.seating.seats[caller].asker = seat.asked = None
        near = there(seat.beside)
        seat.hears, remote.session, far.end_heard = remote, far, False
        for one in (seat, self.seating.seats[near]):
            one.passes, one.lent = remote, caller
        assert isinstance(near, Near)
        self.switchboard.lend(caller, near, near.relay.compete)

    def drop(self, session: Session, seat: Seat, ask: asks.Drop) -> None:
        """At once: no more bytes, no terminator, no QUIT; whoever called it has nothing more to do."""
        self.seating.depart(there(seat.passes))
        self.seating.unseat(seat.lent)

    def trust(self, session: Session, seat: Seat, ask: asks.Trust) -> None:
        connection = there(seat.hears)
        connection.unheard_most = UNHEARD_BYTES_MOST
        self.caretaker.admit(self.caretaker.admission.authenticated(connection.id))

    def distrust(self, session: Session, seat: Seat, ask: asks.Distrust) -> None:
        client = there(seat.hears).client
        assert client is not None  # a door asked, so it came in
        self.caretaker.admission.failed(client, self.seating.now)

    def leave(self, session: Session, seat: Seat, ask: asks.Leave) -> None:
        """A session that closes its peer is told nothing more; a relay's side still gives back what it was lent."""
        self.seating.depart(there(seat.says), ask.at_once)
        if seat.beside is None and not isinstance(session, Departure):
            self.seating.unseat(session)

    def mention(self, session: Session, seat: Seat, ask: asks.Mention) -> None:
        self.seating.mention(ask.topic, ask.fields, self.seating.now - seat.since)
