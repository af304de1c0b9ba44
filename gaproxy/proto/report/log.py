"""How an event of the house is worded: one topic, one line. Knows every topic; does not know when anything happens.

What came from the network is escaped, so that nobody can write a line of our log.
"""

from collections.abc import Mapping

from gaproxy.proto.actions import Note

VALUE_CHARACTERS_MOST = 512

TOPICS: Mapping[str, str] = {
    "adopted": "gaproxy: configuration adopted",
    "config_refused": "gaproxy: configuration refused",
    "config_warning": "gaproxy: configuration warning",
    "draining": "gaproxy: draining",
    "drained": "gaproxy: drained",
    "exhausted": "gaproxy: no descriptor left",
    "internal": "gaproxy: internal fault",
    "client_refused": "listener({listener}): refused",
    "native_authenticated": "native: session({session}): authenticated",
    "native_refused": "native: session({session}): refused",
    "smtp_failed": "smtp: session({session}): failed",
    "smtp_end": "smtp: session({session}): end",
}
"""Topic → how its line begins; the fields that stand in braces there are not told again."""

LASTING = {"smtp_end"}


def note(topic: str, fields: Mapping[str, str | int], lasted: int) -> Note:
    """The line of this event.

    `lasted`: nanoseconds, told as `seconds=` before the reason where the topic has a length.
    """
    beginning = TOPICS[topic]
    told = dict(fields)
    if topic in LASTING:
        reason = told.pop("reason")
        told["seconds"] = f"{lasted / 1e9:.3f}"
        told["reason"] = reason
    words = [beginning.format_map({name: escaped(str(value)) for name, value in told.items()})]
    words += [f"{name}={escaped(str(value))}" for name, value in told.items() if f"{{{name}}}" not in beginning]
    return Note(" ".join(words), {"event": topic, **told})


def escaped(value: str) -> str:
    """The value as it may stand in a line: controls are escaped, so are marks that turn it about; 512 characters."""
    cut = value[:VALUE_CHARACTERS_MOST]
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in cut)
