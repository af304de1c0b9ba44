"""How long anyone waits: the house's own time-outs, and a heap of deadlines that is lazily forgotten.

Knows when; does not know what for. Times are integer nanoseconds of whatever clock the caller counts on.
"""

from collections.abc import Hashable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from attrs import define

SECOND = 1_000_000_000
FORGOTTEN_MOST = 64  # in a heap, beside as many as there are others

HOUSE_S: Mapping[str, float] = {
    "handshake": 5.0,  # from when we begin to read an MTA until its proof is here
    "failure": 1.0,  # counted from accept: every failed proof is told at the same moment
    "native_idle": 300.0,  # an MTA between two sessions
    "lookalike": 10.0,  # an MTA that sent a look-alike of the end of data has this long to send the end
    "farewell": 10.0,  # from Close until the peer's own end
    "turned_away": 2.0,  # silence of an MTA that was told 421
    "unbegun": 10.0,  # an MTA that begins nothing on a connection for which others wait
    "due": 1.0,  # the same, where it has had its turn
    "reset": 5.0,  # a remote's reply to the RSET before its connection rests, or that of others is ours
    "health": 5.0,  # a health check that goes on talking
    "status": 5.0,  # between two status lines
    "repeats": 60.0,  # between two summaries of what was refused again and again
}
"""Time-outs, in seconds, that no directive changes.

The others stand in `config/directives.py`, each with its RFC section.
"""

Key = TypeVar("Key", bound=Hashable)


@define
class _Place(Generic[Key]):
    """A key's deadline, and where it stands in the heap: under which deadline, no later than its own, and number."""

    key: Key
    deadline: int | None
    queued: int
    number: int


class Patience(Generic[Key]):
    """At most one deadline a key. A deadline that was moved later keeps its old place in the heap until that comes up.

    So renewing costs one look-up, and so does having none for a moment (`suspend`). Of a key that was forgotten nothing
    is left but a number in the heap, for sessions come and go by the thousand before the first of their deadlines;
    where most of the heap is such numbers, they go.
    """

    def __init__(self) -> None:
        self._places: dict[Key, _Place[Key]] = {}
        self._queued: dict[int, _Place[Key]] = {}
        self._heap: list[tuple[int, int]] = []
        self._count = 0

    def __contains__(self, key: Key) -> bool:
        return self.deadline(key) is not None

    def wait(self, key: Key, deadline: int) -> None:
        """Set or move the deadline of `key` (integer nanoseconds)."""
        place = self._places.get(key)
        if place is not None and place.queued <= deadline:
            place.deadline = deadline
        else:
            self.forget(key)
            self._queue(key, deadline)

    def suspend(self, key: Key) -> None:
        """No deadline for now. The key is kept, for it will wait again, unless its old place comes up before."""
        place = self._places.get(key)
        if place is not None:
            place.deadline = None

    def forget(self, key: Key) -> None:
        """No deadline, and nothing of the key is kept."""
        place = self._places.pop(key, None)
        if place is not None:
            del self._queued[place.number]

    def deadline(self, key: Key) -> int | None:
        """The deadline of `key`, or None."""
        place = self._places.get(key)
        return None if place is None else place.deadline

    def next_deadline(self) -> int | None:
        """The earliest deadline that still holds, or None."""
        while self._heap:
            queued, number = self._heap[0]
            place = self._queued.get(number)
            if place is not None and place.deadline == queued:
                return queued
            heappop(self._heap)
            if place is not None:
                self.forget(place.key)
                if place.deadline is not None:
                    self._queue(place.key, place.deadline)
        return None

    def met(self, now: int) -> Iterator[Key]:
        """Yield, and forget, each key whose deadline has come; what is set meanwhile may come up too."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            key = self._queued[heappop(self._heap)[1]].key
            self.forget(key)
            yield key

    def _queue(self, key: Key, deadline: int) -> None:
        self._count += 1
        self._places[key] = self._queued[self._count] = _Place(key, deadline, deadline, self._count)
        heappush(self._heap, (deadline, self._count))
        if len(self._heap) > 2 * len(self._queued) + FORGOTTEN_MOST:
            self._heap = [entry for entry in self._heap if entry[1] in self._queued]
            heapify(self._heap)
