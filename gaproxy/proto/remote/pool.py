"""Connections that carry one session after the other: who may take which, and which must go.

Knows identities, limits and how long each has rested; does not know how one is closed, or what is said on it.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from attrs import define, field, fields, frozen

from gaproxy.proto.asks import Address, Destination, Request
from gaproxy.proto.patience import SECOND
from gaproxy.proto.remote.caller import Caller

FRESH_NS = 2 * SECOND  # who has rested no longer is taken without a question
AGE_LEFT_NS = 5 * SECOND  # who takes one wants to do something with it, so none rests for its last seconds
BANNED_NS = 60 * SECOND  # nothing rests at an address where bytes came that nobody had asked for
BANNED_MOST = 10_000

K = TypeVar("K")


@frozen
class Limits:
    """How much may rest, and for how long it is of use: messages of one connection, nanoseconds since it was ready,
    connections from one source to one address and port, connections in all.
    """

    messages: int
    max_age_ns: int
    per_destination: int
    total: int


@frozen
class Identity:
    """All that must agree before a connection that one MTA opened may carry the mail of another one.

    `tls`: who speaks it, and how strictly; `tls_names`: what the certificate had to be good for. `pool`: who shares.
    """

    source: str
    address: str
    port: int
    host: str | None
    tls: str
    tls_names: tuple[str, ...]
    helo: str
    pool: str

    @property
    def place(self) -> tuple[str, str, int]:
        """From where to where."""
        return self.source, self.address, self.port

    def differs_in(self, other: "Identity") -> tuple[str, ...]:
        """The names of what does not agree."""
        return tuple(one.name for one in fields(Identity) if getattr(self, one.name) != getattr(other, one.name))


def identity(wanted: Request, source: str, destination: Destination) -> Identity:
    """What this request wants, going from `source` to this destination."""
    where = (source, destination.address, destination.port, destination.host)
    return Identity(*where, wanted.tls, wanted.tls_names, wanted.helo, wanted.pool)


@define(eq=False)
class Trunk:
    """A connection to a remote, and what it has carried.

    `ready_at`: when it first was ready for MAIL (nanoseconds); `messages`: ends of data that it was sent, of
    `messages_most`, and `mails`: MAILs, of `mails_most` (None: no limit of its own); `rests_since`: None while somebody
    uses it, and `limits`: those under which it rests. `unfit`: why it may never rest.
    """

    caller: Caller
    identity: Identity
    ready_at: int
    messages_most: int | None = None
    mails_most: int | None = None
    unfit: str | None = None
    uses: int = 1
    messages: int = 0
    mails: int = 0
    rests_since: int | None = None
    limits: tuple[str, ...] = ()


@define
class Pool:
    """Every connection at rest, of the longest rest first. `limits`: None where none may rest.

    `at`: the same from one source to one place; `under`: the same under one of the operator's limits, by its name.
    `banned`: (address, port) → until when nothing rests there.
    """

    limits: Limits | None = None
    resting: dict[Trunk, None] = field(factory=dict)
    at: dict[tuple[str, str, int], dict[Trunk, None]] = field(factory=dict)
    under: dict[str, dict[Trunk, None]] = field(factory=dict)
    banned: dict[Address, int] = field(factory=dict)

    def __len__(self) -> int:
        return len(self.resting)

    def __contains__(self, trunk: Trunk) -> bool:
        return trunk in self.resting

    def refuses(self, trunk: Trunk, now: int) -> str | None:
        """Why this one may not rest, in one word of the log; None if it may."""
        if self.limits is None:
            return "off"
        if trunk.unfit is not None:
            return trunk.unfit
        if reaches(trunk.messages, self.limits.messages) or reaches(trunk.messages, trunk.messages_most):
            return "messages"
        if reaches(trunk.mails, trunk.mails_most):
            return "mailmax"
        if is_too_old(trunk, self.limits, now):
            return "max_age"
        return "banned" if self.is_banned(trunk.identity.place[1:], now) else None

    def is_banned(self, place: Address, now: int) -> bool:
        until = self.banned.get(place)
        if until is not None and until <= now:
            del self.banned[place]
        return place in self.banned

    def put(self, trunk: Trunk, now: int, limits: tuple[str, ...] = ()) -> list[Trunk]:
        """It rests from now on, under these limits. Returns who must go for it."""
        trunk.rests_since = now
        self.resting[trunk] = None
        self.at.setdefault(trunk.identity.place, {})[trunk] = None
        self.stand(trunk, limits)
        return self.surplus([trunk.identity.place])

    def stand(self, trunk: Trunk, limits: tuple[str, ...]) -> None:
        """It rests under these limits, and under none that it rested under before."""
        for name in trunk.limits:
            drop(self.under, name, trunk)
        trunk.limits = limits
        for name in limits:
            self.under.setdefault(name, {})[trunk] = None

    def surplus(self, places: Iterable[tuple[str, str, int]]) -> list[Trunk]:
        """Who must go, for there are too many: at each of these places, and of all, those that have rested longest."""
        assert self.limits is not None
        gone: dict[Trunk, None] = {}
        for place in places:
            neighbours = self.at[place]
            gone |= dict.fromkeys(islice(neighbours, max(0, len(neighbours) - self.limits.per_destination)))
        beyond = len(self.resting) - len(gone) - self.limits.total
        others = (one for one in self.resting if one not in gone)
        return [*gone, *islice(others, max(0, beyond))]

    def remove(self, trunk: Trunk) -> None:
        """It rests no longer; whoever does not rest is passed over."""
        if trunk in self.resting:
            del self.resting[trunk]
            drop(self.at, trunk.identity.place, trunk)
            self.stand(trunk, ())

    def find(self, wanted: Iterable[Identity], now: int) -> Trunk | None:
        """The least recently used of those that agree: of the fresh ones, else of all."""
        agreeing = [trunk for one in wanted for trunk in self.near(one, now) if trunk.identity == one]
        return min(agreeing, key=lambda one: (is_stale(one, now), one.rests_since or 0), default=None)

    def find_but_for_name(self, wanted: Iterable[Identity], now: int) -> Trunk | None:
        """One that agrees in all but the EHLO name, which is not known yet."""
        near = ((trunk, one) for one in wanted for trunk in self.near(one, now))
        return next((trunk for trunk, one in near if trunk.identity.differs_in(one) == ("helo",)), None)

    def near(self, wanted: Identity, now: int) -> Iterator[Trunk]:
        """Those of the same place that are young enough."""
        if self.limits is not None:
            for trunk in self.at.get(wanted.place, ()):
                if not is_too_old(trunk, self.limits, now):
                    yield trunk

    def ban(self, place: Address, now: int) -> list[Trunk]:
        """Nothing rests at this address and port for a minute. Returns who rests there."""
        self.banned.pop(place, None)
        if len(self.banned) >= BANNED_MOST:
            del self.banned[next(iter(self.banned))]
        self.banned[place] = now + BANNED_NS
        return [trunk for trunk in self.resting if trunk.identity.place[1:] == place]


def drop(index: dict[K, dict[Trunk, None]], key: K, trunk: Trunk) -> None:
    """Out of an index, of which no empty entry is left."""
    del index[key][trunk]
    if not index[key]:
        del index[key]


def reaches(count: int, most: int | None) -> bool:
    """Whether there have been as many as there may be."""
    return most is not None and count >= most


def is_too_old(trunk: Trunk, limits: Limits, now: int) -> bool:
    """Whether it has too little of its time left to be of use to anybody."""
    return limits.max_age_ns - (now - trunk.ready_at) < AGE_LEFT_NS


def is_stale(trunk: Trunk, now: int) -> bool:
    """Whether it has rested for so long that it is asked first whether it still stands."""
    return trunk.rests_since is not None and now - trunk.rests_since > FRESH_NS
