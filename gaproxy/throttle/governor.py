"""Who gets a slot, and when: all limiters, everybody who waits under them, and the decision who is next.

Knows names, numbers and turns. Does not know what a slot is good for, how long anything takes, nor that there is mail.

A request gets one slot in every limiter of its path, or none. While it waits it is parked at one limiter only, one that
is full; when a slot of that one becomes free and it is its turn, it is granted, or goes on to the next limiter that
stands in its way. So no decision looks at all who wait, and nobody holds one slot while he waits for another.
"""

from collections import OrderedDict
from collections.abc import Iterable

from attrs import define

from gaproxy.throttle.places import GONE, HELD, WAITING, Flow, Path, Place, names_of
from gaproxy.throttle.slots import Slots
from gaproxy.throttle.turns import Turns


@define(eq=False)
class Limiter:
    """A name that has a cap: its slots, and the turns of those who want them."""

    slots: Slots
    turns: Turns

    @property
    def idle(self) -> bool:
        return not self.slots.used and not self.turns.waiting

    @property
    def ready(self) -> bool:
        """Whether there is a free slot, and somebody parked who may want it."""
        return not self.slots.full and self.turns.head() is not None


class Governor:
    """The one arbiter. Every method is deterministic: the same calls in the same order give the same grants.

    A limiter exists while one of its slots is used or somebody waits for one. Then its busy period ends, and nobody is
    ahead of anybody any more; so it is forgotten at once, and nothing is lost.
    """

    def __init__(self) -> None:
        self._limiters: dict[str, Limiter] = {}
        self._flows: dict[tuple[str, tuple[str, ...]], Flow] = {}
        self._unlimited: OrderedDict[Place, None] = OrderedDict()
        self._woken: dict[str, None] = {}  # limiters that may have a slot for somebody, the first woken first
        self._places = 0

    def __len__(self) -> int:
        """How many limiters there are: those that are used or waited for."""
        return len(self._limiters)

    def join(self, path: Path, member: str, now: int) -> Place:
        """Stand in line under each limiter of the path; `grants` tells when it is granted, even if it is at once.

        `now` is in nanoseconds. The caps of the path are the newest truth for everybody.
        """
        self._places += 1
        place = Place(member, path, now, self._places)
        if not path:
            self._unlimited[place] = None
            return place
        for name, cap in dict(path).items():
            self._limiter(name, cap).turns.come(member)
        flow = self._flows.get((member, place.names))
        if flow is None:
            flow = self._flows[(member, place.names)] = Flow(member, place.names)
        flow.places[place] = None
        if not flow.at:
            self._park(flow, min(flow.names, key=lambda name: self._limiters[name].slots.room))
        return place

    def grants(self) -> list[Place]:
        """Whoever is granted now, in order. They hold their slots from here on."""
        if not self._unlimited and not self._woken:
            return []
        granted = list(self._unlimited)
        self._unlimited.clear()
        for place in granted:
            place.state = HELD
        while (flow := self._next({})) is not None:
            place = flow.first
            self._hold(place)
            granted.append(place)
        return granted

    def leave(self, place: Place) -> None:
        """Withdraw from the line, or give the slots back. Who is gone already is let be."""
        if place.state == WAITING:
            self._stand_down(place)
            self._forget_idle(place.names)
        elif place.state == HELD:
            self._lend(place.member, place.names)
            self._let_go(place.member, place.names)
        place.state = GONE

    def next_for(self, held: Place) -> Place | None:
        """Who would be granted first if the slots of this place became free now; nothing is changed.

        It looks at the limiters of this place alone: who waits for none of them is told by `grants`.
        """
        woken, self._woken = self._woken, dict.fromkeys(held.names)
        moved: dict[Flow, str] = {}
        self._lend(held.member, held.names)
        flow = self._next(moved)
        for other, at in moved.items():
            self._park(other, at)
        self._reclaim(held.member, held.names)
        self._woken = woken
        return None if flow is None else flow.first

    def hand(self, held: Place, waiting: Place, keeps: bool = False) -> bool:
        """Give the slots of the one to the other, which `grants` will not tell; limiters on both paths do not notice.

        What the other does not need is free then, or with `keeps` still held by the first one. False, and nothing is
        changed, where a limiter of the other's path would still be full: on neither path alone, or above its cap since
        that was lowered.
        """
        assert (held.state, waiting.state) == (HELD, WAITING), "only who holds can hand on, and only to who waits"
        kept = tuple(limit for limit in held.path if keeps and limit[0] not in waiting.names)
        given = tuple(name for name in held.names if name not in names_of(kept))
        self._lend(held.member, given)
        if self.full(waiting.path):
            self._reclaim(held.member, given)
            return False
        for name in given:
            self._wake(name)
        self._next({})  # whoever is blocked elsewhere goes there, or he would be looked at again at every hand-over
        self._hold(waiting)
        self._let_go(held.member, given)
        if kept:
            held.move(kept)
        else:
            held.state = GONE
        return True

    def move(self, held: Place, path: Path) -> bool:
        """Let a held place stand under another path; limiters on both do not notice.

        False, and nothing is changed, where one that is only on the new path is full, or has a free slot and somebody
        who is about to get it.
        """
        assert held.state == HELD, "only who holds can move"
        fresh = tuple(limit for limit in path if limit[0] not in held.names)
        if self.full(fresh) or any(self._ready(name) for name, _ in fresh):
            return False
        self.reseat(held, path)
        return True

    def reseat(self, held: Place, path: Path) -> None:
        """Let a held place stand under another path, whatever is full there: the limits are new, and it is not."""
        before, after = held.names, names_of(path)
        for name, cap in path:
            self._limiter(name, cap)
        self._take(held.member, tuple(name for name in after if name not in before))
        left = tuple(name for name in before if name not in after)
        self._lend(held.member, left)
        self._let_go(held.member, left)
        held.move(path)

    def waited_for(self, held: Place) -> bool:
        """Whether a place of another member waits, blocked on a limiter under which this one has a slot."""
        limiters = [self._limiters[name] for name in held.names]
        return any(limiter.slots.full and limiter.turns.others_wait(held.member) for limiter in limiters)

    def limit(self, name: str, cap: int | None) -> None:
        """Another cap for this limiter, None: no more. Lowering takes nothing away; the next `grants` sees a raise."""
        limiter = self._limiters.get(name)
        if limiter is not None:
            limiter.slots.cap = cap
            self._wake(name)

    def blocked(self, path: Path) -> tuple[str, ...]:
        """The limiters of this path that have no free slot."""
        return tuple(name for name, cap in dict(path).items() if self._slots(name, cap).full)

    def excess(self, name: str) -> int:
        """How many slots of this limiter are used beyond its cap, which was lowered."""
        limiter = self._limiters.get(name)
        return 0 if limiter is None else max(0, -limiter.slots.room)

    def full(self, path: Path) -> bool:
        """Whether any limiter of this path has no free slot."""
        return bool(self.blocked(path))

    def _limiter(self, name: str, cap: int) -> Limiter:
        """The limiter of this name, with this cap from now on."""
        limiter = self._limiters.get(name)
        if limiter is None:
            slots = Slots(cap)
            limiter = self._limiters[name] = Limiter(slots, Turns(slots))
        elif limiter.slots.cap != cap:
            self.limit(name, cap)
        return limiter

    def _slots(self, name: str, cap: int) -> Slots:
        limiter = self._limiters.get(name)
        return Slots(cap) if limiter is None else limiter.slots

    def _ready(self, name: str) -> bool:
        limiter = self._limiters.get(name)
        return limiter is not None and limiter.ready

    def _next(self, moved: dict[Flow, str]) -> Flow | None:
        """The flow that is granted next, if any limiter that was woken has a slot for anybody.

        On the way whoever is blocked elsewhere is parked there; `moved` tells who was, and where he stood before.
        """
        while self._woken:
            name = next(iter(self._woken))
            limiter = self._limiters[name]
            flow = None if limiter.slots.full else limiter.turns.head()
            if flow is None:
                del self._woken[name]
                continue
            obstacle = self._obstacle(flow)
            if obstacle is None:
                return flow
            moved.setdefault(flow, flow.at)
            self._park(flow, obstacle)
        return None

    def _obstacle(self, flow: Flow) -> str | None:
        """What keeps the head of a line from going: another limiter that is full, or where somebody else is first.

        This ends, whatever the orders of the lines: a flow leaves a line only as its head, and whoever comes to that
        line afterwards comes behind others. So it is in nobody's way there, and never comes back in the same decision.
        """
        others = [name for name in flow.names if name != flow.at]
        for name in others:
            if self._limiters[name].slots.full:
                return name
        for name in others:
            turns = self._limiters[name].turns
            head = turns.head()
            if head is not None and turns.precedes(head, flow):
                return name
        return None

    def _park(self, flow: Flow, name: str) -> None:
        if flow.at:
            self._limiters[flow.at].turns.unpark(flow)
        flow.at = name
        self._limiters[name].turns.park(flow)
        self._wake(name)

    def _wake(self, name: str) -> None:
        """Somebody here may be granted: `_next` looks, in the order in which limiters were woken."""
        if self._limiters[name].ready:
            self._woken[name] = None

    def _hold(self, place: Place) -> None:
        """A place that waits has slots now."""
        self._take(place.member, place.names)
        self._stand_down(place)
        place.state = HELD

    def _stand_down(self, place: Place) -> None:
        """A place leaves the line. Where it was the first of its flow the next one steps up."""
        if not place.path:
            del self._unlimited[place]
            return
        flow = self._flows[(place.member, place.names)]
        turns = self._limiters[flow.at].turns
        turns.unpark(flow)
        del flow.places[place]
        if flow.places:
            turns.park(flow)
        else:
            del self._flows[(place.member, place.names)]
        for name in place.names:
            self._limiters[name].turns.go(place.member)

    def _take(self, member: str, names: Iterable[str]) -> None:
        for name in names:
            self._limiters[name].slots.used += 1
            self._limiters[name].turns.serve(member)

    def _lend(self, member: str, names: Iterable[str]) -> None:
        """Count these slots as free for the moment: `_reclaim` or `_let_go` follows."""
        for name in names:
            self._limiters[name].slots.used -= 1
            self._limiters[name].turns.lend(member)

    def _reclaim(self, member: str, names: Iterable[str]) -> None:
        for name in names:
            self._limiters[name].slots.used += 1
            self._limiters[name].turns.reclaim(member)

    def _let_go(self, member: str, names: Iterable[str]) -> None:
        """These slots are given back for good."""
        for name in names:
            self._limiters[name].turns.forget(member)
            self._wake(name)
        self._forget_idle(names)

    def _forget_idle(self, names: Iterable[str]) -> None:
        for name in names:
            if self._limiters[name].idle:
                del self._limiters[name]
                self._woken.pop(name, None)
