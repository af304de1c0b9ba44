"""What somebody looks like who knocked at the wrong door: knows how each protocol begins and which directive serves it.

Does not know at which door it was, or what became of it.
"""

import re
from collections.abc import Iterator, Mapping

LOOKED_AT_BYTES = 16

LOOKS: tuple[tuple[str, bytes, str], ...] = (
    ("a PROXY header", rb"PROXY ", "listen_proxy_protocol"),
    ("a PROXY header", rb"\r\n\r\n\x00\r\nQUIT\n", "listen_proxy_protocol"),
    ("the native protocol", rb"GAPROXY/", "listen"),
    ("TLS", rb"\x16\x03[\x00-\x04]", "listen"),
    ("SOCKS5", rb"\x05[\x01-\x08]", ""),
    ("SOCKS4", rb"\x04[\x01\x02]", ""),
    ("HTTP", rb"(?:GET|POST|HEAD|PUT|OPTIONS|CONNECT|DELETE|PATCH|PRI) ", ""),
    ("SMTP", rb"(?i:(?:EHLO|HELO|MAIL|RCPT) |(?:QUIT|NOOP|RSET|STARTTLS)[ \r])", ""),
)
"""What it is, its first bytes, and the directive of the door that takes it (none yet for some)."""

LOOK = b"(?:%b)" % b"|".join(beginning for _, beginning, _ in LOOKS)
"""The first bytes of any of them: all that a journal need tell of whoever is turned away."""

SERVING: Mapping[str, str] = {what: directive for what, _, directive in LOOKS if directive}
"""By what it is, the directive of the door that takes it."""


def hints(first: bytes | bytearray, door: str) -> Iterator[tuple[str, str]]:
    """The field of a log line that says what these bytes look like; none, where they look like nothing known.

    `door`: the directive of where they came; it is not advised to itself.
    """
    seen = bytes(first[:LOOKED_AT_BYTES])
    for what, beginning, directive in LOOKS:
        if re.match(beginning, seen):
            yield "hint", what if directive in ("", door) else f"{what}: {directive} serves it"
            return
