"""Whose turn it is at one limiter: start-time fair queueing by member, with a guard for its slots.

Knows who waits here and who holds what. Does not know the other limiters that the same requests stand under.

Every member has a virtual time, the number of turns it has had. Who is behind goes first; of those who are level, the
one who was served longest ago. Who comes back starts at the virtual time of the limiter, so nobody saves up turns by
being away: none is served twice before another one who waits is served once. One exception, the slot guard: who holds
more than its share of the slots goes last, or one slow member would in the end hold all of them.
"""

from bisect import bisect_left, insort

from attrs import define, field

from gaproxy.throttle.places import Flow
from gaproxy.throttle.slots import Slots

Key = tuple[int, ...]

IN_TURN = 0
OVER_ITS_SHARE = 1
FIRST_OVER: Key = (OVER_ITS_SHARE,)


@define(eq=False)
class Turn:
    """One member's standing at one limiter: how far it is served, what it holds, what it waits for.

    `start` is its virtual time; `rank` tells who was served, or came as new, before whom; `flows` are those parked
    here, the one that came first in front; `key` is where it is filed in the line while there are any.
    """

    member: str
    start: int
    rank: int
    held: int = 0
    waiting: int = 0
    flows: list[Flow] = field(factory=list)
    key: Key = ()

    @property
    def active(self) -> bool:
        return self.held + self.waiting > 0


def by_key(turn: Turn) -> Key:
    return turn.key


def by_number(flow: Flow) -> int:
    return flow.number


class Turns:
    """The members of one limiter in the order of their turns.

    The line is sorted by keys that were right when they were filed. A share changes when a member comes or goes, so who
    is over its share is looked at again where it matters: at the head.
    """

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.time = 0
        self.waiting = 0
        self.active = 0
        self.members: dict[str, Turn] = {}
        self._ahead: dict[str, None] = {}  # who left, and is ahead of the virtual time: remembered until it catches up
        self._line: list[Turn] = []
        self._ranks = 0

    def come(self, member: str) -> None:
        """One more place of this member waits under this limiter."""
        turn = self._turn(member)
        if not turn.waiting:
            turn.start = max(turn.start, self.time)
        self._change(turn, waiting=1)

    def go(self, member: str) -> None:
        """One place less of this member waits."""
        self._change(self.members[member], waiting=-1)
        self.forget(member)

    def serve(self, member: str) -> None:
        """This member has a turn, and holds one slot more."""
        turn = self._turn(member)
        start = max(turn.start, self.time)
        if start > self.time:
            self._advance(start)
        turn.start = start + 1
        turn.rank = self._next_rank()
        self._change(turn, held=1)

    def lend(self, member: str) -> None:
        """Count one slot less as held by this member, until `reclaim` or `forget`."""
        self._change(self.members[member], held=-1)

    def reclaim(self, member: str) -> None:
        """Undo `lend`."""
        self._change(self.members[member], held=1)

    def forget(self, member: str) -> None:
        """Forget a member that neither waits nor holds, at once or when the virtual time has caught up with it."""
        turn = self.members[member]
        if turn.active:
            return
        if turn.start <= self.time:
            del self.members[member]
        else:
            self._ahead[member] = None

    def others_wait(self, member: str) -> bool:
        """Whether a place of any other member waits under this limiter."""
        turn = self.members.get(member)
        return self.waiting > (turn.waiting if turn else 0)

    def park(self, flow: Flow) -> None:
        """This flow stands in line here."""
        turn = self.members[flow.member]
        insort(turn.flows, flow, key=by_number)
        self._file(turn)

    def unpark(self, flow: Flow) -> None:
        """This flow stands in line here no more."""
        turn = self.members[flow.member]
        del turn.flows[bisect_left(turn.flows, flow.number, key=by_number)]
        self._file(turn)

    def head(self) -> Flow | None:
        """The flow whose turn it is, of those parked here."""
        self._settle()
        return self._line[0].flows[0] if self._line else None

    def precedes(self, one: Flow, other: Flow) -> bool:
        """Whether the one would go before the other at this limiter, were both parked here."""
        return self._order(one) < self._order(other)

    def _order(self, flow: Flow) -> Key:
        return (*self._key(self.members[flow.member]), flow.number)

    def _key(self, turn: Turn) -> Key:
        cap = self.slots.cap
        if cap is not None and turn.held * self.active > cap:
            return (OVER_ITS_SHARE, turn.held, turn.start, turn.rank)
        return (IN_TURN, turn.start, turn.rank)

    def _turn(self, member: str) -> Turn:
        turn = self.members.get(member)
        if turn is None:
            turn = self.members[member] = Turn(member, self.time, self._next_rank())
        self._ahead.pop(member, None)
        return turn

    def _next_rank(self) -> int:
        self._ranks += 1
        return self._ranks

    def _change(self, turn: Turn, held: int = 0, waiting: int = 0) -> None:
        before = turn.active
        turn.held += held
        turn.waiting += waiting
        self.waiting += waiting
        self.active += turn.active - before
        self._file(turn)

    def _advance(self, time: int) -> None:
        """The virtual time goes on. Nobody is ahead of it by more than the one turn that it goes on at least."""
        self.time = time
        for member in self._ahead:
            del self.members[member]
        self._ahead.clear()

    def _file(self, turn: Turn) -> None:
        """Put a member where it belongs in the line, or take it out."""
        if turn.key:
            del self._line[bisect_left(self._line, turn.key, key=by_key)]
            turn.key = ()
        if turn.flows:
            turn.key = self._key(turn)
            insort(self._line, turn, key=by_key)

    def _settle(self) -> None:
        """File anew whoever is over its share no more, or is now and stands in front."""
        at = bisect_left(self._line, FIRST_OVER, key=by_key)
        while at < len(self._line) and self._key(self._line[at])[0] == IN_TURN:
            self._file(self._line[at])  # it moves to the front part, so the next one stands one further on
            at += 1
        while self._line and self._line[0].key != self._key(self._line[0]):
            self._file(self._line[0])
