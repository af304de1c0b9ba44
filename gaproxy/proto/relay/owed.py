"""What an MTA is owed: one reply each, and how many of them there may be. Does not know whose turn it is."""

from attrs import define

from gaproxy.proto.smtp.replies import reply

OWED_MOST = 1000
OWED_BYTES_MOST = 64 * 1024
RENEWING_BYTES = 4096

RSET = b"RSET\r\n"


@define
class Owed:
    """One reply that the MTA waits for: ours, when `reply` is there; else the remote's, to `verb`.

    `wire`: the command as it went out. `instead`: told to the MTA in place of the remote's 250 (to the RSET that a
    second EHLO means). `swallowed`: the reply is for us alone (to the RSET behind what others began).
    """

    verb: str
    wire: bytes = b""
    reply: bytes | None = None
    instead: bytes | None = None
    swallowed: bool = False


def smuggling(at: int) -> bytes:
    """The reply to a message that holds a look-alike of its own end."""
    return reply(550, f"5.5.2 gaproxy: a lone dot with a bare CR or LF beside it at offset {at}")
