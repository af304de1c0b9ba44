"""Which address next, and when to give up. Knows the order of a request's destinations and what was tried.

Does not know a socket or a reply: it asks for calls, and hears what became of them.
"""

from collections.abc import Mapping
from typing import ClassVar

from attrs import evolve

from gaproxy.proto.asks import CallOff, Destination, Dial, Failed, Opened, Request, Tell, Tried
from gaproxy.proto.remote.route import Policy, source_for
from gaproxy.proto.session import FORMER, Session, State

NEW, CALLING, DONE = "NEW", "CALLING", "DONE"

REFUSED_REST_S = 5
REFUSALS_KEPT = 10_000

Pair = tuple[str, str, int]


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
    """One request being carried out: it calls one address after the other until a remote is ready for MAIL."""

    STATES: ClassVar[Mapping[str, State]] = {
        NEW: State((CALLING, DONE)),
        CALLING: State((CALLING, DONE), patience="total", section="RFC 5321 4.5.4.1", since=FORMER),
        DONE: State(),
    }

    def __init__(self, request: Request, policy: Policy, total_ms: int, greeting_5xx: str = "fail") -> None:
        super().__init__(NEW)
        self.total_ms = total_ms
        self.request = request
        self.policy = policy
        self.greeting_5xx = greeting_5xx
        self.left = list(request.to)
        self.tried: list[Tried] = []
        self.last = Failed("bad_request", "no address was given")
        self.calling: Destination | None = None

    def begin(self) -> None:
        for source in self.request.sources:
            if refusal := self.policy.refuses_source(source):
                self.give_up(Failed("source_denied", refusal))
                return
        self.call_next()

    def call_next(self) -> None:
        """Ask for the next address that may be dialled at all; give up behind the last."""
        while self.left:
            destination = self.left.pop(0)
            source = source_for(self.request.sources, destination.address)
            if source is None:
                self.note(destination, Failed("family", f"no source address of the family of {destination.address}"))
            elif refusal := self.refuses(destination):
                self.note(destination, Failed("denied", refusal))
            else:
                self.call(source, destination, self.request.tls)
                return
        self.give_up(self.last)

    def refuses(self, destination: Destination) -> str | None:
        """Why this address may not be dialled: by who asks, or by the policy of the house."""
        of_door = self.request.refuses.get(destination.port)
        return of_door or self.policy.refuses_destination(destination.address, destination.port)

    def call(self, source: str, destination: Destination, tls: str) -> None:
        self.calling = destination
        self.become(CALLING)
        wanted = self.request
        self.ask(Dial(wanted.name, source, destination, wanted.helo, tls, wanted.tls_names))

    def note(self, destination: Destination, failed: Failed) -> None:
        self.last = failed
        self.tried.append(Tried(destination.address, destination.port, failed.kind, failed.after_ms))

    def opened(self, outcome: Opened) -> None:
        self.become(DONE)
        self.ask(Tell(evolve(outcome, tried=tuple(self.tried))))

    def failed(self, outcome: Failed) -> None:
        assert self.calling is not None
        self.note(self.calling, outcome)
        source = source_for(self.request.sources, self.calling.address)
        if outcome.again_plain and source is not None:  # once: no handshake fails in plain text
            self.call(source, self.calling, "none")
        elif self.final(outcome):
            self.give_up(outcome)
        else:
            self.call_next()

    def final(self, outcome: Failed) -> bool:
        """A 5xx greeting speaks for all addresses, unless the operator says otherwise."""
        refused = outcome.kind == "greeting" and (outcome.reply or "").startswith("5")
        return refused and self.greeting_5xx == "fail"

    def elapsed(self) -> None:
        assert self.calling is not None
        spent_ms = sum(one.after_ms for one in self.tried)
        last = Failed("timeout", "the time for all addresses is over", after_ms=self.total_ms - spent_ms)
        self.note(self.calling, last)
        self.ask(CallOff())
        self.give_up(last)

    def give_up(self, last: Failed) -> None:
        self.become(DONE)
        self.ask(Tell(evolve(last, tried=tuple(self.tried))))
