"""How whoever asks for a remote gets one, and where a remote goes that is given back. It is a part of the hall.

Knows the pool, the line, and who called whom for whom; does not know any door, nor what a relay says.
"""

from collections.abc import Iterable
from typing import Any

from attrs import evolve

from gaproxy.proto import actions, asks
from gaproxy.proto.asks import Declined, Failed, Opened, Request, spell_place
from gaproxy.proto.caretaker import Caretaker
from gaproxy.proto.config.settings import Settings
from gaproxy.proto.patience import SECOND
from gaproxy.proto.remote.caller import FREED, HELO, PARTING, Caller
from gaproxy.proto.remote.dialler import NONE_RESTS, Dialler, Refusals, Way
from gaproxy.proto.remote.pool import Limits, Pool, Trunk, identity, is_stale
from gaproxy.proto.seating import Connection, Performs, Seat, Seating
from gaproxy.proto.session import Session
from gaproxy.proto.tenants import Compete
from gaproxy.proto.turnstile import Turnstile, asked_by, there
from gaproxy.throttle.blocks import messages_per_connection
from gaproxy.throttle.places import Place, names_of

LET_GO_AT_ONCE = 16  # connections at rest, where the process has no descriptor left


class Switchboard(Turnstile):
    """Everything between `Open` and the remote, and between `GiveBack` and whoever has it next."""

    def __init__(self, seating: Seating, caretaker: Caretaker, pool: Pool) -> None:
        super().__init__(seating, caretaker, pool)
        self.refusals = Refusals()
        self.called = 0

    def is_asked_what(self) -> Performs:
        """The asks that lead to a remote."""
        return {
            asks.Open: self.open,
            asks.Reuse: self.reuse,
            asks.Queue: self.queue,
            asks.Dial: self.dial,
            asks.Introduce: self.introduce,
            asks.Tell: self.tell_asker,
            asks.CallOff: self.call_off,
            asks.Part: self.part,
            asks.Replace: self.replace,
            asks.Retire: self.retire,
        }

    # From a request to a remote.

    def open(self, session: Session, seat: Seat, ask: asks.Open) -> None:
        self.begin(session, seat, ask.request)

    def begin(self, asker: Session, seat: Seat, request: Request) -> None:
        settings = self.caretaker.settings
        total_ms = int(settings.timeouts["total"] * 1000)
        dialler = Dialler(request, self.caretaker.policy, total_ms, settings.greeting_5xx)
        seat.asked = dialler
        if (place := self.places.pop(asker, None)) is not None:
            self.places[dialler] = place
        self.seating.sit(dialler, Seat(self.seating.now, asker=asker))
        self.seating.tell(dialler, dialler.begin)

    def reuse(self, session: Session, seat: Seat, ask: asks.Reuse) -> None:
        """One at rest that agrees, or one that was given back a moment ago if nobody waits for it."""
        self.see_off()  # a fault of ours may have brought one down since, that seems to rest
        dialler, now = asked_by(session, Dialler), self.seating.now
        request = dialler.request
        wanted = {identity(request, *way): way for way in ask.ways} if self.freed or self.pool else {}
        if not request.helo:
            shown = self.pool.find_but_for_name(wanted, now)
            if shown is not None and shown.caller.outcome is not None:
                self.seating.tell(dialler, dialler.opened, evolve(shown.caller.outcome, shown=True))
                return
        free = [one for one in self.freed if one.identity in wanted and self.nobody_waits_for(one)]
        trunk = free[0] if free else self.pool.find(wanted, now)
        if trunk is not None and self.takes(dialler, trunk, wanted[trunk.identity]):
            return
        self.say_why_not(request, wanted)
        self.seating.tell(dialler, dialler.failed, Failed(NONE_RESTS, "nobody rests there"))

    def takes(self, dialler: Dialler, trunk: Trunk, way: Way) -> bool:
        """Whether its slots, too, can go over to this request."""
        place = self.line.join(self.path(dialler.request, way), dialler.request.member, self.seating.now)
        if self.line.hand(self.places[trunk.caller], place):
            self.withdraw(dialler)
            self.connect(dialler, trunk, place)
            return True
        self.line.leave(place)
        return False

    def nobody_waits_for(self, trunk: Trunk) -> bool:
        return trunk.caller.state == FREED and self.line.next_for(self.places[trunk.caller]) is None

    def connect(self, dialler: Dialler, trunk: Trunk, place: Place) -> None:
        """This connection is for that request, from now on."""
        caller, stale = trunk.caller, is_stale(trunk, self.seating.now)
        self.pool.remove(trunk)
        self.places[caller] = place
        self.tenants.stand(caller, place.names)
        self.requests[caller] = dialler.request
        trunk.uses, trunk.rests_since = trunk.uses + 1, None
        caller.called = dialler.request.name
        self.seating.seats[dialler].asked, self.seating.seats[caller].asker = caller, dialler
        self.seating.gate(caller, caller.take, (stale,))

    def dial(self, session: Session, seat: Seat, ask: asks.Dial) -> None:
        seating, caller = self.seating, Caller(ask)
        rest_ms = self.refusals.rest_ms((ask.source, *caller.place), seating.now)
        if rest_ms:
            text = "it refused a connection a moment ago"
            seating.tell(session, session.failed, Failed("refused", text, retry_ms=rest_ms))
            return
        self.called += 2
        connection = Connection(self.called, seating.now, caller, source=ask.source, connected=False)
        seating.connections[self.called] = connection
        seat.asked = caller
        seating.sit(caller, Seat(seating.now, hears=connection, says=connection, asker=session))
        seating.order(actions.Connect(self.called, ask.source, caller.place))

    def introduce(self, session: Session, seat: Seat, ask: asks.Introduce) -> None:
        caller = asked_by(seat.asked, Caller)
        self.requests[caller] = evolve(self.requests[caller], helo=ask.name, verb=ask.verb)
        self.seating.tell(caller, caller.introduce_as, ask.verb, ask.name)

    def tell_asker(self, session: Session, seat: Seat, ask: asks.Tell) -> None:
        """What became of it, to whoever asked. A remote is handed up the line, and may be asked again."""
        asker, seat.asker = there(seat.asker), None
        asking = self.seating.seats[asker]
        if isinstance(ask.outcome, Failed):
            asking.asked = None
            if session in self.places and (isinstance(asker, Dialler) or ask.outcome.again_plain):
                self.places[asker] = self.places.pop(session)  # it tries another way, and need not wait for it
            if isinstance(session, Caller) and session.state == PARTING and self.has_limits(asker):
                self.seating.tell(session, session.go)  # its place is another dial's: nobody waits for its 221
            after_ms = (self.seating.now - seat.since) // 1_000_000
            self.seating.tell(asker, asker.failed, evolve(ask.outcome, after_ms=after_ms))
        elif isinstance(ask.outcome, Opened) and ask.outcome.shown:
            asking.asked = None
            self.seating.tell(asker, asker.opened, ask.outcome)
        else:
            self.hand_up(session, seat, asker, asking, ask.outcome)
        if isinstance(session, Dialler):
            self.seating.unseat(session)

    def has_limits(self, session: Session) -> bool:
        """Whether it has slots that others may want."""
        return session in self.places and self.places[session].path != ()

    def hand_up(self, session: Session, seat: Seat, asker: Session, asking: Seat, outcome: Opened | Declined) -> None:
        caller = asked_by(session if isinstance(session, Caller) else seat.asked, Caller)
        asking.asked, self.seating.seats[caller].asker = caller, asker
        if isinstance(session, Dialler):
            self.requests[caller] = session.request
            place = self.places.pop(session, None)
            if place is not None:
                self.places[caller] = place
        elif isinstance(outcome, Opened):
            outcome = self.as_carried(caller, outcome)
        told = asker.declined if isinstance(outcome, Declined) else asker.opened
        if isinstance(asker, Dialler):  # at once, for whoever asked it must be known before the remote says more
            self.seating.gate(asker, told, (outcome,))
        else:
            self.seating.tell(asker, told, outcome)

    def as_carried(self, caller: Caller, outcome: Opened) -> Opened:
        """What it has carried so far, as READY tells it."""
        trunk = self.trunks.get(caller)
        if trunk is None:
            return outcome
        age_ms = (self.seating.now - trunk.ready_at) // 1_000_000
        return evolve(outcome, reused=True, uses=trunk.uses, carried=trunk.mails, age_ms=age_ms)

    def call_off(self, session: Session, seat: Seat, ask: asks.CallOff) -> None:
        seat = self.asking_seat(seat)
        asked, seat.asked = seat.asked, None
        self.seating.dismiss(asked)

    def part(self, session: Session, seat: Seat, ask: asks.Part) -> None:
        seat = self.asking_seat(seat)
        caller, seat.asked = there(seat.asked), None
        self.seating.seats[caller].asker = None
        self.seating.tell(caller, caller.part)

    def asking_seat(self, seat: Seat) -> Seat:
        """Of the two sides of a relay it is one that asked for another remote, whoever of them calls that off."""
        return self.seating.seats[seat.beside] if seat.asked is None and seat.beside is not None else seat

    # From one session to the next.

    def lend(self, caller: Caller, user: Session, compete: Compete) -> None:
        """A relay has it from now on; `compete` tells it that others wait, or do so no longer."""
        if caller not in self.trunks:
            self.trunks[caller] = self.new_trunk(caller)
        self.tenants.stand(caller, self.places[caller].names)
        self.tenants.use(caller, user, compete)

    def new_trunk(self, caller: Caller) -> Trunk:
        assert caller.outcome is not None
        request, source = self.requests[caller], caller.outcome.source[0]
        address, offer = caller.destination.address, caller.outcome.offer
        messages_most = messages_per_connection(self.caretaker.settings.blocks, source, request.throttle, address)
        made = identity(request, source, caller.destination)
        return Trunk(caller, made, self.seating.now, messages_most, offer.mails_left(), unfit(caller))

    def free(self, caller: Session, connection: Connection, ask: asks.GiveBack | asks.HandOn) -> None:
        """A relay gives it back: it goes to whoever is next, to rest, or away."""
        trunk = self.trunks.get(caller)
        self.tenants.free(caller)
        if trunk is None or not self.seating.stands(connection):
            self.seating.unseat(caller)
            return
        connection.session = trunk.caller
        trunk.messages += ask.messages
        trunk.mails += ask.mails
        reason = ask.taint or self.refuses_rest(trunk, connection)
        if reason is None:
            self.seating.gate(caller, trunk.caller.free, ())
            self.freed.append(trunk)
            return
        if self.pool.limits is not None:
            self.mention("not_kept", trunk, reason)
        self.seating.tell(caller, trunk.caller.part)

    def refuses_rest(self, trunk: Trunk, connection: Connection) -> str | None:
        """Why it may carry nobody else, in one word."""
        if connection.unheard:
            return "unsolicited"
        if self.caretaker.stopping:
            return "drain"
        if self.is_against_policy(trunk):
            return "policy_changed"
        return self.pool.refuses(trunk, self.seating.now)

    def is_against_policy(self, trunk: Trunk) -> bool:
        one, policy = trunk.identity, self.caretaker.policy
        return bool(policy.refuses_source(one.source) or policy.refuses_destination(one.address, one.port))

    def settle(self) -> bool:
        """Once all that came in one segment was heard. Returns whether there was anything to do."""
        if not self.seating.risen and not self.freed and not self.tenants.stirred:
            return False
        self.see_off()
        freed, self.freed = self.freed, []
        for trunk in freed:
            if trunk.caller.state == FREED:
                self.dispose(trunk)
        self.grant()
        for place in self.crossed_by_rest():
            self.make_room(place)
        for user, compete, contended in self.tenants.news(self.line, self.places):
            self.seating.tell(user, compete, contended)
        return True

    def see_off(self) -> None:
        """Look after those who have left their seats."""
        risen, self.seating.risen = self.seating.risen, []
        for session in risen:
            self.rise(session)

    def rise(self, session: Session) -> None:
        """Who has left leaves nothing behind: no place, no trunk; and whoever had to wait for that goes on."""
        if session not in self.clears.values():
            self.withdraw(session)
        self.requests.pop(session, None)
        self.tenants.free(session)
        self.tenants.fall(session)
        trunk = self.trunks.pop(session, None)
        if trunk is not None:
            self.pool.remove(trunk)
            self.freed = [one for one in self.freed if one is not trunk]
        dialler = self.clears.pop(session, None)
        if dialler is not None and dialler not in self.clears.values():
            self.has_cleared(dialler)

    def dispose(self, trunk: Trunk) -> None:
        """To whoever is next in line, if it is what he wants; else away, and he has its place; nobody: to rest."""
        held = self.places[trunk.caller]
        place = self.line.next_for(held)
        if place is None:
            self.rest(trunk)
            return
        dialler = self.waiting[place]
        self.stop_waiting(place)
        if self.wants(dialler, trunk, place):
            self.line.hand(held, place)
            del self.places[dialler]
            self.connect(dialler, trunk, place)
        else:
            self.line.hand(held, place, keeps=True)
            self.clears[trunk.caller] = dialler
            self.let_go(trunk, "turn_of_another")
            self.seating.tell(dialler, dialler.clearing)

    def wants(self, dialler: Dialler, trunk: Trunk, place: Place) -> bool:
        """Whether this connection is one that the request would have dialled, under the same limits."""
        request = dialler.request
        ways = (way for way in dialler.ways() if names_of(self.path(request, way)) == place.names)
        return any(identity(request, *way) == trunk.identity for way in ways)

    def rest(self, trunk: Trunk) -> None:
        """It rests, except under a limit that is exceeded since the operator lowered it."""
        if any(self.line.excess(name) for name in self.places[trunk.caller].names):
            self.let_go(trunk, "over_limit")
            return
        for gone in self.pool.put(trunk, self.seating.now, self.places[trunk.caller].names):
            self.let_go(gone, "evicted")
        self.seating.tell(trunk.caller, trunk.caller.rest)

    def retire(self, session: Session, seat: Seat, ask: asks.Retire) -> None:
        """It rests no longer. One that speaks out of turn is not the only one of its kind."""
        trunk = self.trunks[session]
        self.pool.remove(trunk)
        self.mention("let_go", trunk, ask.reason)
        if ask.reason == "unsolicited":
            for one in self.pool.ban(trunk.identity.place[1:], self.seating.now):
                self.let_go(one, "banned")

    # A remote that is lost before it answered is replaced.

    def replace(self, session: Session, seat: Seat, ask: asks.Replace) -> None:
        """Another dial to the same address; the slots are those of the one that was lost."""
        far, caller = self.far_of(session, seat), asked_by(seat.lent, Caller)
        assert caller.outcome is not None
        sources, to = (caller.outcome.source[0],), (caller.destination,)
        request = evolve(self.requests[caller], sources=sources, to=to, reuse="new", wait_ms=0)
        self.places[far] = self.places.pop(caller)
        self.begin(far, self.seating.seats[far], request)

    def far_of(self, session: Session, seat: Seat) -> Session:
        """Of a relay's two sides the one that has the remote."""
        mine = there(seat.hears) is not there(seat.says)
        return session if mine else there(seat.beside)

    # What the operator changes, or the machine lacks.

    def review(self) -> None:
        """The settings may be other ones now."""
        settings = self.caretaker.settings
        self.pool.limits = limits(settings)
        for trunk in list(self.pool.resting):
            if self.pool.limits is None or self.is_against_policy(trunk):
                self.let_go(trunk, "off" if self.pool.limits is None else "policy_changed")
        if self.pool.limits is not None:
            for trunk in self.pool.surplus(self.pool.at):
                self.let_go(trunk, "evicted")
        self.review_limits()

    def make_do(self) -> None:
        """No descriptor is left: some of those that rest go."""
        for trunk in list(self.pool.resting)[:LET_GO_AT_ONCE]:
            self.let_go(trunk, "exhausted")

    # Words and numbers.

    def mention(self, topic: str, trunk: Trunk, reason: str) -> None:
        one = trunk.identity
        told: dict[str, str | int] = {
            "remote": spell_place(one.address, one.port),
            "source": one.source,
            "uses": trunk.uses,
            "messages": trunk.messages,
            "reason": reason,
        }
        self.seating.mention(topic, told)

    def say_why_not(self, request: Request, wanted: Iterable[Any]) -> None:
        """For the operator who wants to know everything: in what those that rest at the same place differ."""
        if not self.seating.verbose:
            return
        for one in wanted:
            differing = [trunk.identity.differs_in(one) for trunk in self.pool.near(one, self.seating.now)]
            if differing:
                fewest = min(differing, key=len)
                differs = ",".join(fewest) or "slots"
                remote = spell_place(one.address, one.port)
                self.seating.mention("not_reused", {"session": request.name, "remote": remote, "differs": differs})


def limits(settings: Settings) -> Limits | None:
    """How much may rest, as the pool counts it."""
    reuse = settings.reuse
    if reuse is None:
        return None
    return Limits(reuse.messages, round(reuse.max_age_s * SECOND), reuse.per_destination, reuse.total)


def unfit(caller: Caller) -> str | None:
    """Why this connection may never be shared, whatever is said on it."""
    if caller.fallback:
        return "fell_back"
    return "helo" if caller.verb == HELO else caller.taint
