"""Only CRLF.CRLF ends a body. What only looks like it never leaves whole, however the bytes are cut."""

import re
from itertools import pairwise, product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tools.every_split import every_split

from gaproxy.proto.wire.body import EndOfData

LINE_ENDS = {
    "CRLF": b"\r\n",
    "LF": b"\n",
    "CR": b"\r",
    "CRCRLF": b"\r\r\n",
    "LFCR": b"\n\r",
    "CRCR": b"\r\r",
    "LFLF": b"\n\n",
}
LOOKALIKES = [(before, after) for before, after in product(LINE_ENDS, repeat=2) if (before, after) != ("CRLF", "CRLF")]
LETTERS = st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n.", b"\r\n.\r\n"]), max_size=12)
BODIES = LETTERS.map(b"".join)
CUTS = st.lists(st.integers(0, 60), max_size=12)


def truth(body):
    """The rule, dot by dot: what happens in this body, and where. (None, length of the body) where nothing does."""
    for i, byte in enumerate(body):
        before, behind = b"\r\n" + body[:i], body[i + 1 :]
        if byte != ord(".") or before[-1] not in b"\r\n" or not behind or behind[0] not in b"\r\n":
            continue
        start = i - 2 if before.endswith(b"\r\n") else i - 1
        good_line_end = before.endswith(b"\r\n") and not before.endswith(b"\r\r\n")
        if good_line_end and behind == b"\r":
            continue  # the next byte tells
        if good_line_end and behind.startswith(b"\r\n"):
            return "dot", max(start, 0), i + 3
        literal = body.find(b"\r\n.\r\n", max(start, 0))
        if literal < 0:
            return "lookalike", max(start, 0), len(body)
        return "smuggled", max(start, 0), literal + 5
    return None, None, len(body)


def stands_alone(text):
    """Whether a CR or an LF of this text is not half of a CRLF."""
    return any(byte in b"\r\n" for byte in text.replace(b"\r\n", b""))


def cut(data, places):
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[a:b] for a, b in pairwise(edges)] or [b""]


def story(pieces):
    """Feed the pieces until the end, look at every step, and tell what all of it came to."""
    scanner, forwarded, told, rest = EndOfData(), b"", [], b""
    for number, piece in enumerate(pieces, 1):
        scanned = scanner.scan(piece)
        forwarded += scanned.forward
        seen = b"".join(pieces[:number])
        if scanned.outcome is None and not told:
            assert seen.startswith(forwarded) and len(seen) - len(forwarded) <= 4
        if told:
            assert scanned.forward == b""
        body = re.sub(rb"(?:\A|(?<=\r\n))\.\r\n\Z", b"", forwarded) if scanned.outcome == "dot" else forwarded
        assert not re.search(rb"(?:\A|[\r\n])\.[\r\n]", body), "a lax remote would have taken this for the end"
        if scanned.outcome is None:
            assert (scanned.at, scanned.rest) == (None, b"")
        else:
            told.append((scanned.outcome, scanned.at))
        if scanned.outcome in ("dot", "smuggled"):
            rest = scanned.rest + b"".join(pieces[number:])
            break
    else:
        assert not told or told == [("lookalike", told[0][1])]
    if told and told[-1][0] == "smuggled":
        assert told[:-1] in ([], [("lookalike", told[-1][1])])
    return forwarded, *(told[-1] if told else (None, None)), rest, scanner.size, scanner.bare


def expected(body):
    outcome, at, end = truth(body)
    if outcome is None:
        forwarded = body[: len(story([body])[0])]  # how much is withheld has a test of its own
    else:
        forwarded = body[:end] if outcome == "dot" else body[:at]
    rest = body[end:] if outcome in ("dot", "smuggled") else b""
    return forwarded, outcome, None if outcome == "dot" else at, rest, end, stands_alone(forwarded)


@pytest.mark.parametrize(("before", "after"), LOOKALIKES, ids=lambda name: name)
def test_a_lone_dot_between_other_line_ends_is_smuggling(before, after):
    text = b"a" + LINE_ENDS[before] + b"." + LINE_ENDS[after] + b"MAIL"
    end = b"\r\n.\r\n"
    start = text.index(b".") - (2 if LINE_ENDS[before].endswith(b"\r\n") else 1)
    literal = (text + end).index(end, start) + len(end)
    for pieces in every_split(text + end + b"QUIT\r\n", 2):
        forwarded, outcome, at, rest, size, _ = story(pieces)
        assert (forwarded, outcome, at) == (text[:start], "smuggled", start)
        assert (size, rest) == (literal, (text + end + b"QUIT\r\n")[literal:])


def test_crlf_dot_crlf_ends_a_body():
    for pieces in every_split(b"a\r\n.\r\nQUIT\r\n", 3):
        assert story(pieces) == (b"a\r\n.\r\n", "dot", None, b"QUIT\r\n", 6, False)


def test_a_body_may_be_nothing_but_its_dot():
    for pieces in every_split(b".\r\nQUIT\r\n", 3):
        assert story(pieces) == (b".\r\n", "dot", None, b"QUIT\r\n", 3, False)


@pytest.mark.parametrize(
    ("body", "at"), [(b".\n", 0), (b".\r.", 0), (b"\n.\r\n", 0), (b"\r.\n", 0), (b"\n\n.\n", 1), (b"\r\r\n.\r", 1)]
)
def test_a_lookalike_may_stand_at_the_very_start(body, at):
    assert story([body])[:3] == (body[:at], "lookalike", at)


@pytest.mark.parametrize("tail", [b"\r", b"\n", b"\r\n", b"\r.", b"\n.", b"\r\n.", b"\r\n.\r"])
def test_what_may_begin_an_end_is_withheld_until_the_next_byte_tells(tail):
    scanner = EndOfData()
    assert scanner.scan(b"a" + tail).forward == b"a"
    assert scanner.size == 1 + len(tail)
    assert scanner.scan(b"x").forward == (tail + b"x" if tail != b"\r\n.\r" else b"")


def test_exactly_that_is_withheld_of_which_a_look_alike_or_an_end_may_still_be_made():
    endings = [b"".join(letters) for size in range(4) for letters in product([b"\r", b"\n", b"."], repeat=size)]
    for letters in product([b"\r", b"\n", b".", b"x"], repeat=4):
        body = b"".join(letters)
        if truth(body)[0] is None:
            starts = [truth(body + ending)[1] for ending in endings]
            begun = [start for start in starts if start is not None and start < len(body)]
            assert len(EndOfData().scan(body).forward) == min(begun, default=len(body)), body


def test_every_short_body_has_the_story_that_the_rule_tells():
    for size in range(7):
        for letters in product([b"\r", b"\n", b".", b"x"], repeat=size):
            body = b"".join(letters)
            assert story([body]) == expected(body)
            assert story(list(letters) or [b""]) == expected(body)


@given(BODIES, CUTS)
@example(b"x\r\r\n.\r\nMAIL", [3])
@example(b"\r\n.\r\r\n.\r\n", [4])
def test_however_a_body_is_cut_its_story_is_that_of_the_rule(body, places):
    assert story(cut(body, places)) == expected(body)


@given(BODIES, CUTS)
def test_a_stuffed_body_passes_byte_for_byte(text, places):
    lines = re.split(rb"\r\n|\r|\n", text)
    body = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\n"
    assert story(cut(body + b"RSET\r\n", places)) == (body, "dot", None, b"RSET\r\n", len(body), False)


@pytest.mark.parametrize("body", [b"a\rb\r\n", b"a\nb\r\n", b"\na\r\n", b"a\r\r\nb", b"a\n\r\nb", b"a\r.b"])
def test_a_cr_or_lf_that_stands_alone_passes_and_is_remembered(body):
    for pieces in every_split(body + b"\r\n.\r\n", 2):
        assert story(pieces) == (body + b"\r\n.\r\n", "dot", None, b"", len(body) + 5, True)


def test_what_only_is_withheld_does_not_stand_alone_yet():
    scanner = EndOfData()
    scanner.scan(b"a\r")
    assert not scanner.bare
    scanner.scan(b"\nb")
    assert not scanner.bare


def test_a_lookalike_is_told_at_once_and_once_and_the_literal_end_later():
    scanner = EndOfData()
    assert scanner.scan(b"a\n.\r\nMAIL").outcome == "lookalike"
    assert scanner.scan(b" FROM:<b>\r\n.").outcome is None
    end = scanner.scan(b"\r\nQUIT")
    assert (end.forward, end.outcome, end.at, end.rest) == (b"", "smuggled", 1, b"QUIT")
    assert (scanner.size, scanner.ended) == (len(b"a\n.\r\nMAIL FROM:<b>\r\n.\r\n"), True)


def test_bytes_may_come_as_a_view_of_a_buffer_that_is_used_again():
    scanner, buffer = EndOfData(), bytearray(b"a\r\n.")
    view = memoryview(buffer)
    first = scanner.scan(view)
    buffer[:] = b"\r\nQU"
    second = scanner.scan(view)
    assert (first.forward, second.forward, second.rest) == (b"a", b"\r\n.\r\n", b"QU")


def test_nothing_is_scanned_behind_the_end():
    scanner = EndOfData()
    scanner.scan(b".\r\n")
    with pytest.raises(AssertionError):
        scanner.scan(b"QUIT\r\n")
