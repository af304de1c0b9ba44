"""Who stands in line for a place under the operator's limits, and who lets others pass. It is a part of the hall.

Knows places, what rests in the way, and who leaves; does not know how a remote is called, nor what a relay says.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from gaproxy.proto import asks
from gaproxy.proto.asks import Failed, Request
from gaproxy.proto.caretaker import Caretaker
from gaproxy.proto.errors import LocalProtocolError
from gaproxy.proto.remote.caller import FREED, GONE, PARTING, Caller
from gaproxy.proto.remote.dialler import Dialler, Way
from gaproxy.proto.remote.pool import Pool, Trunk
from gaproxy.proto.seating import Seat, Seating
from gaproxy.proto.session import Session
from gaproxy.proto.tenants import Tenants
from gaproxy.throttle.blocks import path
from gaproxy.throttle.governor import Governor
from gaproxy.throttle.places import HELD, Path, Place, names_of

FULL = Failed("throttled", "all connections of a limit are in use", retry_ms=1000)

T = TypeVar("T")


class Turnstile:
    """A place for each connection, before it is called and until it has gone.

    `line`: who has how many slots, and who is next. `trunks`: connections that were lent at least once, by caller;
    `freed`: those given back since all that came in one segment was heard. `requests`: what each caller was called for.
    `places`: of diallers and callers, in line or held. `crossed`: of those in line under several limits, by these.
    `clears`: callers that leave, each for the dialler that has its place then, though that one may be gone before.
    """

    def __init__(self, seating: Seating, caretaker: Caretaker, pool: Pool) -> None:
        self.seating = seating
        self.caretaker = caretaker
        self.pool = pool
        self.line = Governor()
        self.trunks: dict[Session, Trunk] = {}
        self.freed: list[Trunk] = []
        self.requests: dict[Session, Request] = {}
        self.places: dict[Session, Place] = {}
        self.waiting: dict[Place, Dialler] = {}
        self.crossed: dict[tuple[str, ...], dict[Place, None]] = {}
        self.clears: dict[Session, Dialler] = {}
        self.tenants = Tenants()

    # From the end of the line to a place.

    def queue(self, session: Session, seat: Seat, ask: asks.Queue) -> None:
        """A place in every limit; where all are taken, one of somebody who only rests there."""
        dialler = asked_by(session, Dialler)
        wanted, held = self.path(dialler.request, (ask.source, ask.destination)), self.places.get(dialler)
        if held is not None and self.line.move(held, wanted):
            self.seating.tell(dialler, dialler.granted)
            self.grant()  # whoever waited for what it has left
            return
        if held is not None and not ask.waits:
            self.seating.tell(dialler, dialler.failed, FULL)
            return
        self.withdraw(dialler)  # nobody holds one place while he waits for another
        place = self.join(dialler, wanted)
        self.grant()
        self.make_room(place)
        if place in self.waiting and ask.waits:
            self.stay(place, self.seating.now + dialler.request.wait_ms * 1_000_000)
        elif place in self.waiting:
            self.withdraw(dialler)
            self.seating.tell(dialler, dialler.failed, FULL)

    def join(self, dialler: Dialler, path: Path) -> Place:
        place = self.line.join(path, dialler.request.member, self.seating.now)
        self.places[dialler], self.waiting[place] = place, dialler
        return place

    def stay(self, place: Place, until: int) -> None:
        """In the line, until this moment."""
        self.tenants.stir(place.names)
        if len(place.names) > 1:
            self.crossed.setdefault(place.names, {})[place] = None
        self.seating.patience.wait(place, until)

    def make_room(self, place: Place) -> None:
        """Let those go that rest in the way: in each limit that is full the one that has rested longest, or nobody."""
        going: dict[Trunk, list[str]] = {}
        for name in self.line.blocked(place.path) if place in self.waiting else ():
            trunk = next((one for one in going if name in self.tenants.limits[one.caller]), None)
            trunk = trunk or self.find_idle(name, place)
            if trunk is None or self.line.excess(name):
                return
            going.setdefault(trunk, []).append(name)
        for trunk, given in going.items():
            held = self.places[trunk.caller]
            self.line.move(held, tuple(limit for limit in held.path if limit[0] not in given))
            self.let_go(trunk, "slot_needed")
        self.grant([trunk.caller for trunk in going])

    def crossed_by_rest(self) -> list[Place]:
        """The first ones in line under several limits, under one of which somebody only rests."""
        idle = self.pool.under.keys()
        return [next(iter(places)) for names, places in self.crossed.items() if not idle.isdisjoint(names)]

    def find_idle(self, name: str, place: Place) -> Trunk | None:
        """Under this limit, one that nobody uses, nor is about to: of those at rest the one that rests longest."""
        resting = next(iter(self.pool.under.get(name, ())), None)
        if resting is not None:
            return resting
        callers = self.tenants.under.get(name, ())
        freed = (one for one in self.freed if one.caller in callers and one.caller.state == FREED)
        return next((one for one in freed if self.line.next_for(self.places[one.caller]) in (None, place)), None)

    def let_go(self, trunk: Trunk, reason: str) -> None:
        """It goes with QUIT; what it still has of its place is free when it has gone."""
        self.pool.remove(trunk)
        self.tenants.fall(trunk.caller)
        self.seating.tell(trunk.caller, trunk.caller.let_go, reason)

    def grant(self, going: Sequence[Caller] = ()) -> None:
        """Tell whoever has a place now; the first of them has to wait until these have gone."""
        for place in self.line.grants():
            dialler = self.waiting[place]
            self.stop_waiting(place)
            self.clears.update(dict.fromkeys(going, dialler))
            self.seating.tell(dialler, dialler.clearing if going else dialler.granted)
            going = ()

    def stop_waiting(self, place: Place) -> None:
        if self.waiting.pop(place, None) is not None:
            self.seating.patience.forget(place)
            self.tenants.stir(place.names)
        beside = self.crossed.get(place.names, {})
        beside.pop(place, None)
        if not beside:
            self.crossed.pop(place.names, None)

    def withdraw(self, session: Session) -> None:
        """Out of the line, or out of its slots."""
        place = self.places.pop(session, None)
        if place is not None:
            self.stop_waiting(place)
            self.line.leave(place)
            self.tenants.stir(place.names)

    def elapsed(self, place: Place) -> None:
        """Nobody made room for it in time."""
        dialler = self.waiting[place]
        self.withdraw(dialler)
        self.seating.tell(dialler, dialler.failed, FULL)

    def has_cleared(self, dialler: Dialler) -> None:
        """All who had to go have gone. If it did not wait for that, the place is anybody's only now."""
        if dialler in self.seating.seats:
            self.seating.tell(dialler, dialler.granted)
        else:
            self.withdraw(dialler)

    # What the operator changes.

    def review_limits(self) -> None:
        """Everybody stands under the limits of now; who rests above one of them goes, and who has room now is told."""
        for session in list(self.places):
            if not isinstance(session, Caller) or session.state not in (PARTING, GONE):
                self.reseat(session, self.places[session], self.path_of(session))
        leaving: Counter[str] = Counter()
        for trunk in list(self.pool.resting):
            names = self.places[trunk.caller].names
            self.pool.stand(trunk, names)
            if any(self.line.excess(name) > leaving[name] for name in names):
                leaving.update(names)
                self.let_go(trunk, "over_limit")
        self.tenants.stir(self.tenants.under)
        self.grant()
        for place in list(self.waiting):
            self.make_room(place)

    def reseat(self, session: Session, place: Place, path: Path) -> None:
        """Under this path from now on; who waits for less, or for more, goes to the end of another line."""
        if place.state == HELD:
            self.line.reseat(place, path)
            if session in self.tenants.limits:
                self.tenants.stand(session, place.names)
        elif place.names == names_of(path):
            for name, cap in path:
                self.line.limit(name, cap)
        else:
            dialler, until = self.waiting[place], there(self.seating.patience.deadline(place))
            self.withdraw(dialler)
            self.stay(self.join(dialler, path), until)

    def path_of(self, session: Session) -> Path:
        """The limits that this one, who has a place or waits for one, stands under."""
        if isinstance(session, Dialler):
            return self.path(session.request, there(session.way))
        caller = asked_by(session, Caller)
        return self.path(self.requests[caller], (there(caller.source)[0], caller.destination))

    def path(self, request: Request, way: Way) -> Path:
        """The limits that such a connection stands under."""
        source, destination = way
        return path(self.caretaker.settings.blocks, source, request.throttle, destination.address)


def asked_by(session: Session | None, role: type[T]) -> T:
    """The session, which is of this role; another one asked what its role cannot ask."""
    if not isinstance(session, role):
        raise LocalProtocolError("asked for a partner that is not there")
    return session


def there(one: T | None) -> T:
    """What an ask needs at this seat; where it is missing the session asked what its role cannot ask."""
    if one is None:
        raise LocalProtocolError("asked for a partner that is not there")
    return one
