"""Commands: knows where one ends, its verb and how a relay treats that verb; does not know what was said before it."""

import re
from collections.abc import Mapping

from attrs import frozen

from gaproxy.proto.errors import RemoteProtocolError

COMMAND_BYTES = 4096

# Nothing outside this table is relayed: a verb that we do not know may change what the next bytes mean.
TREATMENT: Mapping[str, str] = {
    "MAIL": "pass",
    "RCPT": "pass",
    "DATA": "pass",
    "RSET": "pass",
    "NOOP": "pass",
    "VRFY": "pass",
    "EXPN": "pass",
    "HELP": "pass",
    "EHLO": "greet",
    "HELO": "greet",
    "QUIT": "quit",
    "STARTTLS": "starttls",
}

_VERB_LINE = re.compile(rb"([A-Za-z]+)(?: (.*))?")


@frozen
class Command:
    """One line of an MTA. `verb`: upper case, "" where the line begins with none; `argument`: all behind its one space.

    `wire`: the line with its CRLF. `fault`: why it must be refused with 500, whatever its verb would have been.
    """

    verb: str
    argument: bytes
    wire: bytes
    fault: str | None = None


def cut_command(buffer: bytearray | bytes, limit: int = COMMAND_BYTES) -> tuple[Command, int] | None:
    """Cut one command off the front: the command and how many bytes it took, or None while its CRLF is not there yet.

    Only CRLF ends a command (RFC 5321 2.3.8). Raises RemoteProtocolError where it would have more than `limit` bytes.
    """
    end = buffer.find(b"\r\n", 0, limit)
    if end < 0:
        if len(buffer) < limit:
            return None
        raise RemoteProtocolError(f"a command longer than {limit} bytes")
    return _named(bytes(buffer[: end + 2])), end + 2


def _named(wire: bytes) -> Command:
    line = wire[:-2]
    if b"\r" in line or b"\n" in line:
        return Command("", line, wire, "bare CR or LF")
    if b"\0" in line:
        return Command("", line, wire, "NUL byte")
    match = _VERB_LINE.fullmatch(line)
    if match is None:
        return Command("", line, wire)
    verb, argument = match.groups(b"")
    return Command(verb.decode("ascii").upper(), argument, wire)


def treatment(verb: str) -> str:
    """How a relay treats this verb: `pass`, `greet`, `quit`, `starttls`, or `refuse` for all that the table lacks."""
    return TREATMENT.get(verb, "refuse")


def spell_message(data: bytes) -> bytes:
    """A message as it goes out behind DATA: its dots doubled, its end behind it (RFC 5321 4.5.2)."""
    ending = b".\r\n" if data.endswith(b"\r\n") or not data else b"\r\n.\r\n"
    first_dot = b"." if data.startswith(b".") else b""
    return first_dot + data.replace(b"\r\n.", b"\r\n..") + ending
