"""How an event of the house is worded: one topic, one line. Knows every topic; does not know when anything happens.

What came from the network is escaped, so that nobody can write a line of our log.
"""

from collections.abc import Mapping

from gaproxy.proto.actions import Note

VALUE_CHARACTERS_MOST = 512
TRACE_CHARACTERS_MOST = 8192  # what went wrong stands at the end of a traceback

TOPICS: Mapping[str, str] = {
    "adopted": "gaproxy: configuration adopted",
    "config_refused": "gaproxy: configuration refused",
    "config_warning": "gaproxy: configuration warning",
    "capture_begun": "gaproxy: capture begun",
    "capture_ended": "gaproxy: capture ended",
    "capture_waits": "gaproxy: capture waits for the next start",
    "draining": "gaproxy: draining",
    "drained": "gaproxy: drained",
    "exhausted": "gaproxy: no descriptor left",
    "exhausted_again": "gaproxy: no descriptor left again",
    "log_dropped": "gaproxy: log dropped",
    "internal": "gaproxy: internal fault",
    "client_refused": "listener({listener}): refused",
    "client_refused_again": "listener({listener}): refused again",
    "health": "listener({listener}): health",
    "health_again": "listener({listener}): health again",
    "native_authenticated": "native: session({session}): authenticated",
    "native_refused": "native: session({session}): refused",
    "native_refused_again": "native: refused again",
    "smtp_said": "smtp: session({session}): {who}: {line}",
    "smtp_failed": "smtp: session({session}): failed",
    "smtp_end": "smtp: session({session}): end",
    "not_kept": "direct_remote_smtp: remote({remote}): not kept",
    "let_go": "direct_remote_smtp: remote({remote}): let go",
    "not_reused": "direct_remote_smtp: session({session}): none that rests agrees",
}
"""Topic → how its line begins; the fields that stand in braces there are not told again."""

LASTING = {"smtp_end"}


def note(topic: str, fields: Mapping[str, str | int], lasted: int) -> Note:
    """The line of this event; a field that is empty is not told.

    `lasted`: nanoseconds, told as `seconds=` before the reason where the topic has a length.
    """
    beginning, most = TOPICS[topic], TRACE_CHARACTERS_MOST if topic == "internal" else VALUE_CHARACTERS_MOST
    told = {name: value for name, value in fields.items() if value != "" or f"{{{name}}}" in beginning}
    if topic in LASTING:
        reason = told.pop("reason")
        told["seconds"] = f"{lasted / 1e9:.3f}"
        told["reason"] = reason
    told = {name: value[:most] if isinstance(value, str) else value for name, value in told.items()}
    safe = {name: escaped(str(value)) for name, value in told.items()}
    words = [beginning.format_map(safe)]
    words += [f"{name}={value}" for name, value in safe.items() if f"{{{name}}}" not in beginning]
    return Note(" ".join(words), {"event": topic, **told})


def escaped(value: str) -> str:
    """The value as it may stand in a line: controls are escaped, and so are marks that turn a line about."""
    if value.isprintable():  # as nearly all are
        return value
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in value)
