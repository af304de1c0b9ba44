"""The end of data: knows which bytes end a body, and what only looks like them. Does not know what a message is.

Only CRLF.CRLF ends data (RFC 5321 4.1.1.4), and the CRLF before the dot may be the one that stands before the body. A
lone dot with any other line end on either side is a look-alike: a lax remote takes it for the end, and what follows for
commands. So nothing leaves here of which it is not known yet that it begins neither.
"""

import re

from attrs import define, field, frozen

END = b"\r\n.\r\n"

# A lone dot is never innocent: it is the end, a look-alike, or the end but for its last LF. An expression that begins
# with one very byte jumps from one of those to the next: five times as fast as a plain search for two bytes, and twenty
# times as one that begins with either of two.
_LONE_DOTS = (re.compile(rb"\n\.[\r\n]"), re.compile(rb"\r\.[\r\n]"))
_LONE_CR = re.compile(rb"\r(?!\n)")

_BEGINNINGS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r.", b"\n.", b"\r", b"\n")  # of an end or a look-alike, longest first

_BEFORE_THE_BODY = b"\n\r\n"  # as if lines had gone before: the last of them has a true end


@frozen
class Scanned:
    """What became of the bytes that were scanned.

    `forward`: what may go on now, a terminator included. Outcomes: None, go on; `dot`, the body ended; `lookalike`, a
    look-alike begins at offset `at` of the body, and nothing from there on is forwarded; `smuggled`, the literal end
    has come behind (or within) the look-alike at `at`. `rest`: what stands behind a `dot` or a `smuggled`.
    """

    forward: bytes = b""
    outcome: str | None = None
    rest: bytes = b""
    at: int | None = None


@define
class EndOfData:
    """The scanner of one body. At most four bytes are withheld, and however a body is cut, the story is the same.

    `size`: bytes of the body so far, withheld ones and the terminator included. `bare`: a CR or an LF that stands alone
    has passed.
    """

    size: int = field(default=0, init=False)
    bare: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)
    _at: int | None = field(default=None, init=False)
    _kept: bytes = field(default=_BEFORE_THE_BODY, init=False)  # what is withheld, and the byte before it
    _passed: int = field(default=len(_BEFORE_THE_BODY), init=False)  # how many of those are not withheld

    def scan(self, data: bytes | memoryview) -> Scanned:
        """Take the next bytes of the body, and whatever stands behind it. After the end there is nothing to scan."""
        assert not self.ended, "scanned beyond the end of data"
        self.size += len(data)
        text = self._kept + data
        if self._at is not None:
            return self._throw_away(text, 0)
        line_end = _find_lone_dot(text)
        return self._pass(text) if line_end is None else self._judge(text, line_end)

    def _judge(self, text: bytes, line_end: int) -> Scanned:
        """A lone dot stands behind the CR or LF at `line_end`, and a CR or an LF behind the dot."""
        after_crlf = text.startswith(b"\r\n", line_end - 1)
        start = line_end - 1 if after_crlf else line_end
        candidate = text[start : start + len(END)]
        if not after_crlf or text.startswith(b"\r", start - 1) or not END.startswith(candidate):
            return self._find_lookalike(text, start)
        if candidate == END:
            return self._end(text, start + len(END))
        return self._pass(text)

    def _pass(self, text: bytes) -> Scanned:
        """Let all pass but what may begin an end or a look-alike."""
        withheld = next((len(beginning) for beginning in _BEGINNINGS if text.endswith(beginning)), 0)
        cut = len(text) - withheld
        forward = self._forward(text, cut)
        before = max(cut - 1, 0)
        self._kept, self._passed = text[before:], max(cut, self._passed) - before
        return Scanned(forward)

    def _end(self, text: bytes, end: int) -> Scanned:
        self._finish(text, end)
        return Scanned(self._forward(text, end), "dot", text[end:])

    def _find_lookalike(self, text: bytes, start: int) -> Scanned:
        self._at = max(self.size - len(text) + start, 0)
        forward = self._forward(text, start)
        return self._throw_away(text, start, forward, "lookalike")

    def _throw_away(self, text: bytes, start: int, forward: bytes = b"", outcome: str | None = None) -> Scanned:
        """Pass over everything from `start` to the first literal end: until there the MTA sends what it calls data."""
        found = text.find(END, start)
        if found < 0:
            self._kept = text[1 - len(END) :]
            return Scanned(forward, outcome, at=self._at if outcome else None)
        end = found + len(END)
        self._finish(text, end)
        return Scanned(forward, "smuggled", text[end:], self._at)

    def _finish(self, text: bytes, end: int) -> None:
        self.size -= len(text) - end
        self._kept = b""
        self.ended = True

    def _forward(self, text: bytes, end: int) -> bytes:
        """What goes on of text[:end]; no CRLF is ever cut in two here, so those that stand alone can be counted."""
        forward = text[self._passed : end]
        if not self.bare:  # where no CR stands alone, there are as many LF as CR unless one of those does
            self.bare = forward.count(b"\r") != forward.count(b"\n") or _LONE_CR.search(forward) is not None
        return forward


def _find_lone_dot(text: bytes) -> int | None:
    """Where the CR or LF before the first lone dot is."""
    return min((found.start() for dot in _LONE_DOTS if (found := dot.search(text))), default=None)
