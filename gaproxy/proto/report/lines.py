"""The status lines, byte for byte as GreenArrow Proxy prints them: people's log scrapers read these."""

from collections.abc import Iterator, Mapping

from attrs import frozen


@frozen
class Counts:
    """What the lines tell: open connections of each listener by its name, remote connections in use, and held for
    reuse.
    """

    listeners: Mapping[str, int]
    active: int
    cached: int


def status_lines(counts: Counts) -> Iterator[tuple[str, Mapping[str, str | int]]]:
    """The lines, each with the same as fields: one line for each listener, one for the remote connections."""
    for name, connections in counts.listeners.items():
        line = f"listener({name}): open_connections={connections}"
        yield line, {"event": "listener", "listener": name, "open_connections": connections}
    active, cached = counts.active, counts.cached
    line = f"direct_remote_smtp: connections={active + cached}(active={active} cached={cached})"
    fields: dict[str, str | int] = {"connections": active + cached, "active": active, "cached": cached}
    yield line, {"event": "direct_remote_smtp", **fields}
