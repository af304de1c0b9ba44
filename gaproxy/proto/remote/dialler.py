"""Which address next, and when to give up. Knows the order of a request's destinations and what was tried.

Does not know a socket, a reply or a limit: it asks for connections at rest, places and calls, and hears what became of
them.
"""

from collections.abc import Mapping
from typing import ClassVar

from attrs import evolve

from gaproxy.proto.asks import CallOff, Destination, Dial, Failed, Opened, Queue, Request, Reuse, Tell, Tried
from gaproxy.proto.remote.route import Policy, source_for
from gaproxy.proto.session import FORMER, Session, State

NEW, REUSING, QUEUED, WAITING = "NEW", "REUSING", "QUEUED", "WAITING"
CLEARING, CALLING, DONE = "CLEARING", "CALLING", "DONE"

NONE_RESTS = "none_rests"  # the kind of a failure that only a dialler hears
PROBES_MOST = 2

REFUSED_REST_S = 5
REFUSALS_KEPT = 10_000

Pair = tuple[str, str, int]
Way = tuple[str, Destination]


class Refusals:
    """Who refused us in the last seconds: such an address is not dialled again so soon.

    Bounded; the oldest go first.
    """

    def __init__(self) -> None:
        self._until: dict[Pair, int] = {}

    def remember(self, pair: Pair, now: int) -> None:
        """`pair` (source, address, port) refused at `now` (nanoseconds)."""
        self._until.pop(pair, None)
        if len(self._until) >= REFUSALS_KEPT:
            del self._until[next(iter(self._until))]
        self._until[pair] = now + REFUSED_REST_S * 1_000_000_000

    def rest_ms(self, pair: Pair, now: int) -> int:
        """How many milliseconds (rounded up) `pair` is still left alone; 0 when it may be dialled."""
        rest = self._until.get(pair, now) - now
        if rest <= 0:
            self._until.pop(pair, None)
        return max(0, -(-rest // 1_000_000))


class Dialler(Session):
    """One request being carried out: one that rests or, from one address to the next, a place and a call."""

    STATES: ClassVar[Mapping[str, State]] = {
        NEW: State((REUSING, QUEUED, DONE)),
        REUSING: State((REUSING, QUEUED, DONE), patience="total", section="RFC 5321 4.5.4.1", since=FORMER),
        QUEUED: State((REUSING, QUEUED, WAITING, CLEARING, CALLING, DONE), patience="total", since=FORMER),
        WAITING: State((CLEARING, CALLING, DONE)),  # as long as the request says
        CLEARING: State((CALLING,)),  # until somebody has left, which takes him two seconds at most
        CALLING: State(
            (REUSING, QUEUED, WAITING, CALLING, DONE), patience="total", section="RFC 5321 4.5.4.1", since=FORMER
        ),
        DONE: State(),
    }

    def __init__(self, request: Request, policy: Policy, total_ms: int, greeting_5xx: str = "fail") -> None:
        super().__init__(NEW)
        self.total_ms = total_ms
        self.request = request
        self.policy = policy
        self.greeting_5xx = greeting_5xx
        self.left = list(request.to)
        self.looked_at: set[int] = set()  # groups of which nobody rests
        self.probes = 0
        self.full: list[Way] = []
        self.tried: list[Tried] = []
        self.untimed = 0  # how many of those came before the time that counts now
        self.last = Failed("bad_request", "no address was given")
        self.way: Way | None = None

    def begin(self) -> None:
        for source in self.request.sources:
            if refusal := self.policy.refuses_source(source):
                self.give_up(Failed("source_denied", refusal))
                return
        self.go_on()

    # Which way next.

    def go_on(self) -> None:
        """To one that rests, the best group first; to the next address that may be dialled; or wait for a place."""
        while self.left:
            group = self.left[0].group
            if group not in self.looked_at and (ways := self.ways(group)):
                self.become(REUSING)
                self.ask(Reuse(ways))
                return
            way = self.way_to(self.left.pop(0))
            if way is not None:
                self.way = way
                self.become(QUEUED)
                self.ask(Queue(*way))
                return
        self.wait()

    def wait(self) -> None:
        """Everything was tried. The first address where all places were taken may still have one."""
        if self.full and self.request.wait_ms:
            self.way, self.full = self.full[0], []
            self.become(WAITING)
            self.ask(Queue(*self.way, waits=True))
        else:
            self.give_up(self.last)

    def ways(self, group: int | None = None) -> tuple[Way, ...]:
        """Source and destination of what may be reused: of one preference group, or of all."""
        if self.request.reuse != "any":
            return ()
        found = ((source_for(self.request.sources, one.address), one) for one in self.request.to)
        return tuple(
            (source, one)
            for source, one in found
            if source is not None and group in (None, one.group) and not self.refuses(one)
        )

    def way_to(self, destination: Destination) -> Way | None:
        """From where, if this address may be dialled at all."""
        source = source_for(self.request.sources, destination.address)
        if source is None:
            self.note(destination, Failed("family", f"no source address of the family of {destination.address}"))
        elif refusal := self.refuses(destination):
            self.note(destination, Failed("denied", refusal))
        else:
            return source, destination
        return None

    def refuses(self, destination: Destination) -> str | None:
        """Why this address may not be dialled: by who asks, or by the policy of the house."""
        of_door = self.request.refuses.get(destination.port)
        return of_door or self.policy.refuses_destination(destination.address, destination.port)

    def note(self, destination: Destination, failed: Failed) -> None:
        self.last = failed
        self.tried.append(Tried(destination.address, destination.port, failed.kind, failed.after_ms))

    # What became of it.

    def granted(self) -> None:
        """There is a place: that is the dial."""
        if self.state != QUEUED:
            self.untimed = len(self.tried)
        assert self.way is not None
        self.call(self.way, self.request.tls, self.request.fallback)

    def clearing(self) -> None:
        self.become(CLEARING)

    def call(self, way: Way, tls: str, fallback: bool = False) -> None:
        self.become(CALLING)
        wanted, (source, destination) = self.request, way
        names = wanted.helo, tls, wanted.tls_names, wanted.pool, wanted.verb
        self.ask(Dial(wanted.name, source, destination, *names, fallback))

    def opened(self, outcome: Opened) -> None:
        self.become(DONE)
        self.ask(Tell(evolve(outcome, tried=tuple(self.tried)) if self.tried else outcome))

    def failed(self, outcome: Failed) -> None:
        if self.state == REUSING:
            self.not_reused(outcome)
            return
        if self.state == WAITING:
            self.give_up(outcome)
            return
        assert self.way is not None
        self.note(self.way[1], outcome)
        if outcome.kind == "throttled":
            self.full.append(self.way)
        if outcome.again_plain:  # once: no handshake fails in plain text
            self.call(self.way, "none", fallback=True)
        elif self.final(outcome):
            self.give_up(outcome)
        else:
            self.go_on()

    def not_reused(self, outcome: Failed) -> None:
        """Nobody rests there, or two that did have not answered as they should: that costs nothing but time."""
        self.probes += outcome.kind != NONE_RESTS
        if outcome.kind == NONE_RESTS or self.probes >= PROBES_MOST:
            self.looked_at.add(self.left[0].group)
        self.go_on()

    def final(self, outcome: Failed) -> bool:
        """A 5xx greeting speaks for all addresses, unless the operator says otherwise."""
        refused = outcome.kind == "greeting" and (outcome.reply or "").startswith("5")
        return refused and self.greeting_5xx == "fail"

    def elapsed(self) -> None:
        spent_ms = sum(one.after_ms for one in self.tried[self.untimed :])
        last = Failed("timeout", "the time for all addresses is over", after_ms=self.total_ms - spent_ms)
        if self.way is not None:
            self.note(self.way[1], last)
        self.ask(CallOff())
        self.give_up(last)

    def give_up(self, last: Failed) -> None:
        self.become(DONE)
        self.ask(Tell(evolve(last, tried=tuple(self.tried))))
