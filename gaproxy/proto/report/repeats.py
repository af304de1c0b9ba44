"""What was told a moment ago: knows how to say the same once, and a minute later how often. Does not know a clock."""

from collections.abc import Iterator, Mapping

from attrs import define

Fields = Mapping[str, str | int]

REPEATING = ("client_refused", "native_refused")
"""Topics of which one client may make many. A session's own lines are never summarised: each has its id."""

REMEMBERED_MOST = 10_000


@define
class _Told:
    fields: Fields
    again: int = 0


class Repeats:
    """Refusals of one minute, by topic, client address and reason. Beyond 10,000 kinds each is told by itself."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, str | int], _Told] = {}

    def told_before(self, topic: str, fields: Fields) -> bool:
        """Whether the same was told in this minute; it is counted then, and told for the first time else."""
        if topic not in REPEATING:
            return False
        key = (topic, _address(str(fields["client"])), fields["reason"])
        told = self._told.get(key)
        if told is not None:
            told.again += 1
        elif len(self._told) < REMEMBERED_MOST:
            self._told[key] = _Told(fields)
        return told is not None

    def summaries(self) -> Iterator[tuple[str, Fields]]:
        """What was told more than once in this minute, and how often besides; the next minute begins with it."""
        told_then, self._told = self._told, {}
        for (topic, client, reason), told in told_then.items():
            if told.again:
                kept = {name: value for name, value in told.fields.items() if name == "listener"}
                yield f"{topic}_again", {**kept, "client": client, "reason": reason, "repeated": told.again}


def _address(client: str) -> str:
    """The IP address of `address:port`, `[address]:port` or a bare address."""
    if client.startswith("["):
        return client[1:].partition("]")[0]
    return client.partition(":")[0] if client.count(":") == 1 else client
