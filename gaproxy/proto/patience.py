"""How long anyone waits: the house's own time-outs, and a heap of deadlines that is lazily forgotten.

Knows when; does not know what for. Times are integer nanoseconds of whatever clock the caller counts on.
"""

from collections.abc import Hashable, Iterator, Mapping
from heapq import heappop, heappush
from typing import Generic, TypeVar

SECOND = 1_000_000_000

HOUSE_S: Mapping[str, float] = {
    "handshake": 5.0,  # from when we begin to read an MTA until its proof is here
    "failure": 1.0,  # counted from accept: every failed proof is told at the same moment
    "native_idle": 300.0,  # an MTA between two sessions
    "lookalike": 10.0,  # an MTA that sent a look-alike of the end of data has this long to send the end
    "farewell": 10.0,  # from Close until the peer's own end
    "turned_away": 2.0,  # silence of an MTA that was told 421
    "status": 5.0,  # between two status lines
    "repeats": 60.0,  # between two summaries of what was refused again and again
}
"""Time-outs, in seconds, that no directive changes.

The others stand in `config/directives.py`, each with its RFC section.
"""

Key = TypeVar("Key", bound=Hashable)


class Patience(Generic[Key]):
    """At most one deadline a key. A deadline that was moved later keeps its old place in the heap until that comes up.

    So renewing costs one look-up, and the heap holds about one entry a key however often patience is renewed.
    """

    def __init__(self) -> None:
        self._deadlines: dict[Key, int] = {}
        self._queued: dict[Key, int] = {}
        self._heap: list[tuple[int, int, Key]] = []
        self._count = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._deadlines

    def wait(self, key: Key, deadline: int) -> None:
        """Set or move the deadline of `key` (integer nanoseconds)."""
        self._deadlines[key] = deadline
        if key not in self._queued or deadline < self._queued[key]:
            self._queue(key, deadline)

    def forget(self, key: Key) -> None:
        self._deadlines.pop(key, None)

    def deadline(self, key: Key) -> int | None:
        """The deadline of `key`, or None."""
        return self._deadlines.get(key)

    def next_deadline(self) -> int | None:
        """The earliest deadline that still holds, or None."""
        while self._heap:
            queued, _, key = self._heap[0]
            deadline = self._deadlines.get(key)
            if deadline == queued == self._queued.get(key):
                return deadline
            heappop(self._heap)
            if self._queued.get(key) == queued:
                del self._queued[key]
                if deadline is not None:
                    self._queue(key, deadline)
        return None

    def met(self, now: int) -> Iterator[Key]:
        """Yield, and forget, each key whose deadline has come; what is set meanwhile may come up too."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            key = heappop(self._heap)[2]
            del self._deadlines[key], self._queued[key]
            yield key

    def _queue(self, key: Key, deadline: int) -> None:
        self._count += 1
        self._queued[key] = deadline
        heappush(self._heap, (deadline, self._count, key))
