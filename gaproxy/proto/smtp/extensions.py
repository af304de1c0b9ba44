"""What a remote offers: knows its greeting, its EHLO reply and what of it an MTA is shown; does not know who is asking."""

import re
from collections.abc import Mapping

from attrs import frozen

from gaproxy.proto.smtp.replies import Reply

# An allow-list: a keyword that we do not know may change what the next bytes mean (CHUNKING, BINARYMIME, AUTH, XCLIENT …).
SHOWN = frozenset(
    "PIPELINING SIZE 8BITMIME SMTPUTF8 ENHANCEDSTATUSCODES DSN DELIVERBY REQUIRETLS LIMITS FUTURERELEASE MT-PRIORITY"
    " VRFY HELP EXPN".split()
)

_KEYWORD_LINE = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?: ([ -~]*))?")  # RFC 5321 4.1.1.1, ehlo-line


@frozen
class Offer:
    """What a called remote said of itself, a value that its caller makes and every session on it shares.

    `greeting`: the whole 220 reply as on the wire. `domain`: the first word of its EHLO reply. `keywords`: upper-cased EHLO
    keyword to parameters as sent, in the remote's order; none after HELO. `extended`: EHLO worked.
    """

    greeting: bytes
    domain: bytes
    keywords: Mapping[str, str]
    extended: bool

    def has(self, keyword: str) -> bool:
        """Whether the remote offers this keyword, in whatever case it is asked for."""
        return keyword.upper() in self.keywords

    def ehlo_reply(self, starttls: bool = False) -> bytes:
        """The answer to an MTA's EHLO: only the keywords of the allow-list, and STARTTLS where the MTA's own may pass."""
        shown = SHOWN | {"STARTTLS"} if starttls else SHOWN
        lines = [self.domain]
        lines += [f"{word} {said}".rstrip().encode() for word, said in self.keywords.items() if word in shown]
        return b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 %b\r\n" % lines[-1]

    def helo_reply(self) -> bytes:
        """The answer to an MTA's HELO."""
        return b"250 %b\r\n" % self.domain


def offer(greeting: Reply, ehlo: Reply, extended: bool) -> Offer:
    """What this greeting and this reply to EHLO (`extended`) or HELO offer. A line that is no ehlo-line offers nothing."""
    domain = ehlo.lines[0].partition(b" ")[0]
    return Offer(greeting.wire, domain, _keywords(ehlo.lines[1:]) if extended else {}, extended)


def _keywords(lines: tuple[bytes, ...]) -> dict[str, str]:
    keywords: dict[str, str] = {}
    for line in lines:
        if match := _KEYWORD_LINE.fullmatch(line):
            word, said = match.groups(b"")
            keywords.setdefault(word.decode("ascii").upper(), said.decode("ascii"))
    return keywords
