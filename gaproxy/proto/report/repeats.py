"""What was told a moment ago: knows how to say the same once, and a minute later how often. Does not know a clock."""

from collections.abc import Iterator, Mapping

from attrs import define

Fields = Mapping[str, str | int]

REPEATING = ("client_refused", "health", "native_refused", "exhausted")
"""Topics of which many may come in a minute. A session's own lines are never summarised: each has its id."""

SAME = ("client", "reason", "what")  # what alike lines have in common

REMEMBERED_MOST = 10_000


@define
class _Told:
    topic: str
    fields: Fields
    again: int = 0


class Repeats:
    """What was told in one minute, by topic, client address and reason. Beyond 10,000 kinds each is told by itself."""

    def __init__(self) -> None:
        self._told: dict[tuple[str | int, ...], _Told] = {}

    def told_before(self, topic: str, fields: Fields) -> bool:
        """Whether the same was told in this minute; it is counted then, and told for the first time else."""
        if topic not in REPEATING:
            return False
        same = _same(fields)
        key = (topic, *same.values())
        told = self._told.get(key)
        if told is not None:
            told.again += 1
        elif len(self._told) < REMEMBERED_MOST:
            listener = {name: value for name, value in fields.items() if name == "listener"}
            self._told[key] = _Told(topic, {**listener, **same})
        return told is not None

    def summaries(self) -> Iterator[tuple[str, Fields]]:
        """What was told more than once in this minute, and how often besides; the next minute begins with it."""
        told_then, self._told = self._told, {}
        for told in told_then.values():
            if told.again:
                yield f"{told.topic}_again", {**told.fields, "repeated": told.again}


def _same(fields: Fields) -> Fields:
    """A client's port, and whatever else is another one each time, is left out."""
    return {name: _address(str(fields[name])) if name == "client" else fields[name] for name in SAME if name in fields}


def _address(client: str) -> str:
    """The IP address of `address:port`, `[address]:port` or a bare address."""
    if client.startswith("["):
        return client[1:].partition("]")[0]
    return client.partition(":")[0] if client.count(":") == 1 else client
