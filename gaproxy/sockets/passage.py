"""The way of a body past the machine: knows from which link to which, and how far it came. Does not know what it is.

Only here, and in the scanner of `wire/body`, is a byte of a body ever looked at.
"""

from typing import Protocol

from attrs import define

from gaproxy.proto.events import Relayed, Relaying
from gaproxy.proto.wire.body import EndOfData
from gaproxy.sockets.ground import Ground

UNSENT_LIMIT_BYTES = 64 * 1024  # an outbox beyond it stops whoever fills it
RELAYING_NS = 10 * 1_000_000_000


class Bank(Protocol):
    """A link, as far as a passage knows it."""

    id: int
    outbox: bytearray
    passage: "Passage | None"
    feeder: "Passage | None"

    def send(self, data: bytes | memoryview) -> None:
        """Put bytes behind all that was sent."""

    def arm(self) -> None:
        """Something changed: see what to wait for now."""


@define(eq=False)
class Passage:
    """One `Relay`: what comes from `source` goes to `to` (None: nowhere).

    It ends where `scanner` sees the end of data; without one, where the peer ends.
    """

    ground: Ground
    source: Bank
    to: Bank | None
    scanner: EndOfData | None
    told_at: int
    size: int = 0
    at: int | None = None

    @property
    def blocked(self) -> bool:
        """Whether the outbox at the far end is too full to put more into it."""
        return self.to is not None and len(self.to.outbox) > UNSENT_LIMIT_BYTES

    def take(self, data: bytes | memoryview) -> None:
        """Carry these bytes of the source."""
        if self.scanner is None:
            self.size += len(data)
            self.forward(data)
            self.report()
        else:
            self.scan(self.scanner, data)

    def scan(self, scanner: EndOfData, data: bytes | memoryview) -> None:
        scanned = scanner.scan(data)
        self.size = scanner.size
        self.forward(scanned.forward)
        if scanned.outcome in ("lookalike", "smuggled") and self.at is None:
            self.at = scanned.at
            self.tell_progress(self.at)
        if scanned.outcome in ("dot", "smuggled"):
            self.finish(scanned.outcome, scanned.rest)
        else:
            self.report()

    def forward(self, data: bytes | memoryview) -> None:
        if self.to is not None and data:
            self.to.send(data)

    def report(self) -> None:
        """Say now and then that it moves."""
        if self.ground.clock() - self.told_at >= RELAYING_NS:
            self.tell_progress(None)

    def tell_progress(self, at: int | None) -> None:
        self.told_at = self.ground.clock()
        unsent = len(self.to.outbox) if self.to is not None else 0
        self.ground.tell(Relaying(self.source.id, self.size, unsent, at))

    def drained(self) -> None:
        """The far end took some of what waited for it."""
        self.report()
        self.source.arm()

    def end(self) -> None:
        """The peer ended."""
        self.finish("end" if self.scanner is None else "cut")

    def finish(self, outcome: str, rest: bytes = b"") -> None:
        self.stop()
        bare = self.scanner is not None and self.scanner.bare
        self.ground.tell(Relayed(self.source.id, self.size, rest, outcome, self.at, bare))

    def break_off(self) -> None:
        """The source is gone."""
        self.tell_last()
        self.stop()

    def lose_end(self) -> None:
        """The far end is gone."""
        self.tell_last()
        self.cut_off()

    def tell_last(self) -> None:
        """How far bytes came that nobody scans: a direction that breaks off tells it now or never."""
        if self.scanner is None:
            self.tell_progress(None)

    def stop(self) -> None:
        """The source goes its own way again."""
        self.source.passage = None
        self.cut_off()

    def cut_off(self) -> None:
        """The far end is no longer ours to feed: what comes is dropped."""
        to, self.to = self.to, None
        if to is not None:
            to.feeder = None
            to.arm()
        self.source.arm()
