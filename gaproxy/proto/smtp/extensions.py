"""What a remote offers: knows its greeting, its EHLO reply and what an MTA is shown of them; does not know who asks."""

import re
from collections.abc import Mapping, Sequence
from math import inf

from attrs import frozen

from gaproxy.proto.smtp.replies import Reply

# An allow-list: an extension that we do not know may change what the next bytes mean (CHUNKING, BINARYMIME, AUTH …).
SHOWN = frozenset(
    {
        "PIPELINING",  # RFC 2920
        "SIZE",  # RFC 1870
        "8BITMIME",  # RFC 6152
        "SMTPUTF8",  # RFC 6531
        "ENHANCEDSTATUSCODES",  # RFC 2034
        "DSN",  # RFC 3461
        "DELIVERBY",  # RFC 2852
        "REQUIRETLS",  # RFC 8689
        "LIMITS",  # RFC 9422
        "FUTURERELEASE",  # RFC 4865
        "MT-PRIORITY",  # RFC 6710
        "VRFY",  # RFC 5321
        "HELP",
        "EXPN",
    }
)

WITH_STARTTLS = SHOWN | {"STARTTLS"}  # where the MTA's own may pass

SIZE_DIGITS_MOST = 20  # RFC 1870 3

_EHLO_LINE = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?: ([ -~]*))?")  # RFC 5321 4.1.1.1
_MAILMAX = re.compile(r"(?<![^ ])MAILMAX=([0-9]{1,6})(?![^ ])", re.IGNORECASE)  # RFC 9422 4.1
_MAILMAX_TOLD = re.compile(rb"(?<=\n)(250[- ]LIMITS (?:[ -~]*? )?MAILMAX=)([0-9]{1,6})(?=[ \r])", re.IGNORECASE)


@frozen
class Offer:
    """What a called remote said of itself: a value that its caller makes and every session on it is shown.

    `greeting`: the whole 220 reply as on the wire. `domain`: the first word of its EHLO or HELO reply. `keywords`: EHLO
    keyword in upper case → its parameters as sent, in the remote's order; none after HELO. `extended`: EHLO worked.
    """

    greeting: bytes
    domain: bytes
    keywords: Mapping[str, str]
    extended: bool

    def has(self, keyword: str) -> bool:
        """Whether the remote offers this keyword, in whatever case it is asked for."""
        return keyword.upper() in self.keywords

    def mails_left(self, carried: int = 0) -> int | None:
        """How many MAILs more a connection takes that has carried some (LIMITS MAILMAX); None where it does not say."""
        limit = _MAILMAX.search(self.keywords.get("LIMITS", ""))
        return limit and max(0, int(limit[1]) - carried)

    def is_covered_by(self, other: "Offer", starttls: bool = False) -> bool:
        """Whether the other one offers all that an MTA was shown of this one, and takes messages as large."""
        told = (WITH_STARTTLS if starttls else SHOWN) & self.keywords.keys()
        return told <= other.keywords.keys() and (other.size() or inf) >= (self.size() or inf)

    def size(self) -> int:
        """The largest message that it takes, in bytes (RFC 1870 4); 0: it does not say."""
        parameter = self.keywords.get("SIZE", "")
        return int(parameter) if parameter.isdecimal() and len(parameter) <= SIZE_DIGITS_MOST else 0

    def ehlo_reply(self, starttls: bool = False, carried: int = 0) -> bytes:
        """The answer to an MTA's EHLO: the keywords of the allow-list, and STARTTLS where the MTA's own may pass.

        `carried`: MAILs of former sessions on this connection, taken off MAILMAX.
        """
        shown = WITH_STARTTLS if starttls else SHOWN
        said = dict(self.keywords)
        if (left := self.mails_left(carried)) is not None:
            said["LIMITS"] = _MAILMAX.sub(f"MAILMAX={left}", said["LIMITS"])
        lines = [f"{keyword} {said[keyword]}".rstrip(" ").encode("ascii") for keyword in said if keyword in shown]
        return _agreeing([self.domain, *lines])

    def helo_reply(self) -> bytes:
        """The answer to an MTA's HELO."""
        return b"250 %b\r\n" % self.domain


def shown(ehlo: Reply) -> bytes:
    """A remote's reply to an MTA's own EHLO, as it came but for the keywords that may not pass; STARTTLS may."""
    return _agreeing([ehlo.lines[0], *(line for line in ehlo.lines[1:] if _keywords((line,)).keys() & WITH_STARTTLS)])


def mails_taken_off(said: bytes, carried: int) -> bytes:
    """A reply to EHLO that was kept, now that its connection has carried some messages: MAILMAX counts those, too."""
    return _MAILMAX_TOLD.sub(lambda told: told[1] + b"%d" % max(0, int(told[2]) - carried), said)


def offer(greeting: Reply, ehlo: Reply, extended: bool) -> Offer:
    """What this greeting and this reply to EHLO (`extended`) or HELO offer. A line that is malformed offers nothing."""
    domain = b"".join(ehlo.lines[0].split(maxsplit=1)[:1])
    return Offer(greeting.wire, domain, _keywords(ehlo.lines[1:]) if extended else {}, extended)


def _agreeing(lines: Sequence[bytes]) -> bytes:
    """A 250 of these lines."""
    *before, last = lines
    return b"".join(b"250-%b\r\n" % line for line in before) + b"250 %b\r\n" % last


def _keywords(lines: tuple[bytes, ...]) -> dict[str, str]:
    keywords: dict[str, str] = {}
    for line in lines:
        if match := _EHLO_LINE.fullmatch(line):
            keyword, parameters = match.groups(b"")
            keywords.setdefault(keyword.decode("ascii").upper(), parameters.decode("ascii"))
    return keywords
