"""Who asks for slots: a place for each request, a flow for all places of one member with one path.

Knows what is asked for and in which order it came. Does not know what is free, nor whose turn it is.
"""

from collections import OrderedDict

from attrs import Factory, define, field

Path = tuple[tuple[str, int], ...]
"""The limiters that a request stands under, each by its name and its cap in slots. Empty: no limit at all."""

WAITING = "waiting"
HELD = "held"
GONE = "gone"


def names_of(path: Path) -> tuple[str, ...]:
    """The limiters of a path, each once: who stands under one twice takes one slot of it."""
    return tuple(dict.fromkeys(name for name, _ in path))


@define(eq=False)
class Place:
    """One request: first its place in line, then the slot that it has in each limiter of its path, then nothing.

    `since` is when it joined, in nanoseconds; `number` tells who came first.
    """

    member: str
    path: Path
    since: int
    number: int
    state: str = WAITING
    names: tuple[str, ...] = field(init=False, default=Factory(lambda place: names_of(place.path), takes_self=True))

    def move(self, path: Path) -> None:
        """Stand under these from now on."""
        self.path, self.names = path, names_of(path)


@define(eq=False)
class Flow:
    """The places of one member with one path that wait. First come, first served; so one stands for all of them.

    It is parked at one limiter of its path: `at`.
    """

    member: str
    names: tuple[str, ...]
    places: OrderedDict[Place, None] = field(factory=OrderedDict)
    at: str = ""

    @property
    def first(self) -> Place:
        return next(iter(self.places))

    @property
    def number(self) -> int:
        return self.first.number
