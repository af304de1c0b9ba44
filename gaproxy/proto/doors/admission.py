"""Who may be heard before a proof: knows how many strangers are read at a time and which client failed too often.

Does not know a clock (times are integer nanoseconds, given), nor what a stranger says.
"""

from collections import Counter, OrderedDict, deque
from ipaddress import IPv4Address, IPv6Address

from attrs import define, field

from gaproxy.proto.patience import SECOND

FAILURES = 10
FAILURES_WITHIN_S = 60
REFUSED_FOR_S = 60
CLIENTS = 10_000  # of whom failures are remembered; whoever failed longest ago is forgotten first

Client = IPv4Address | IPv6Address
Key = tuple[int, int]


@define
class _Failures:
    """When a client failed, the last ten times, and until when it is refused (ns)."""

    times: deque[int] = field(factory=lambda: deque(maxlen=FAILURES))
    refused_until: int = 0


class Admission:
    """The strangers: those who are read, at most `total` and `per_client`, and those who wait unread.

    A client is an IPv4 address or an IPv6 /64. Clients that wait take turns, each with its oldest connection first:
    a thousand connections of one client keep nobody else waiting. Ids that are not known (any more) are ignored.
    """

    def __init__(self, total: int, per_client: int) -> None:
        self.total = total
        self.per_client = per_client
        self._strangers: dict[int, Key] = {}
        self._waiting: dict[Key, dict[int, None]] = {}
        self._turns: dict[Key, None] = {}  # who waits and is below its own limit; the next one first
        self._read: Counter[Key] = Counter()
        self._read_total = 0
        self._proved: dict[int, Key] = {}
        self._proved_of: Counter[Key] = Counter()
        self._failures: OrderedDict[Key, _Failures] = OrderedDict()

    def limit(self, total: int, per_client: int) -> list[int]:
        """Other limits hold from now on: who may be read now. Those who are read already go on."""
        self.total, self.per_client = total, per_client
        turns = [*self._turns, *self._waiting]
        self._turns = {}
        for key in turns:
            self._offer_turn(key)
        return self._admit()

    def arrived(self, id: int, client: Client) -> bool:
        """A stranger from this address: whether it may be read at once. If not, it waits its turn."""
        key = self._strangers[id] = _key(client)
        if self._read_total < self.total and self._read[key] < self.per_client:
            self._begin(key)
            return True
        self._waiting.setdefault(key, {})[id] = None
        self._offer_turn(key)
        return False

    def left(self, id: int) -> list[int]:
        """A stranger is gone: who may be read now."""
        key = self._strangers.pop(id, None)
        if key is None:
            return []
        if id in self._waiting.get(key, ()):
            self._withdraw(id, key)
            return []
        _count_down(self._read, key)
        self._read_total -= 1
        self._offer_turn(key)
        return self._admit()

    def authenticated(self, id: int) -> list[int]:
        """A stranger proved itself and is one no longer: who may be read now."""
        key = self._strangers.get(id)
        if key is None:
            return []
        self._proved[id] = key
        self._proved_of[key] += 1
        return self.left(id)

    def departed(self, id: int) -> None:
        """One that had proved itself is gone."""
        key = self._proved.pop(id, None)
        if key is not None:
            _count_down(self._proved_of, key)

    def failed(self, client: Client, now: int) -> None:
        """A proof from this address was wrong."""
        key = _key(client)
        failures = self._failures.setdefault(key, _Failures())
        self._failures.move_to_end(key)
        if len(self._failures) > CLIENTS:
            self._failures.popitem(last=False)
        failures.times.append(now)
        if len(failures.times) == FAILURES and now - failures.times[0] < FAILURES_WITHIN_S * SECOND:
            failures.refused_until = now + REFUSED_FOR_S * SECOND

    def refused(self, client: Client, now: int) -> bool:
        """Whether this address failed so often that it is not heard now.

        Never while it has a connection that proved itself: several MTAs may stand behind one address, and one of them
        may be set up wrongly.
        """
        key = _key(client)
        failures = self._failures.get(key)
        return failures is not None and now < failures.refused_until and key not in self._proved_of

    def _begin(self, key: Key) -> None:
        self._read[key] += 1
        self._read_total += 1

    def _admit(self) -> list[int]:
        admitted = []
        while self._turns and self._read_total < self.total:
            key = next(iter(self._turns))
            id = next(iter(self._waiting[key]))
            self._withdraw(id, key)
            self._turns.pop(key, None)
            self._begin(key)
            self._offer_turn(key)
            admitted.append(id)
        return admitted

    def _withdraw(self, id: int, key: Key) -> None:
        waiting = self._waiting[key]
        del waiting[id]
        if not waiting:
            del self._waiting[key]
            self._turns.pop(key, None)

    def _offer_turn(self, key: Key) -> None:
        """Put a client at the end of those whose turn comes, if it waits, may have more, and is not there yet."""
        if key in self._waiting and self._read[key] < self.per_client:
            self._turns.setdefault(key)


def _key(client: Client) -> Key:
    """An IPv4 address, also where it comes mapped into IPv6, or the /64 of an IPv6 address: one subscriber."""
    if client.version == 6 and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return client.version, int(client) >> 64 if client.version == 6 else int(client)


def _count_down(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
