"""What was recorded plays again without a difference; what was changed since is found."""

import re
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tools.talk import ENTROPY, LISTENER, accepted, auth, hello, opening

from gaproxy.journal.page import Damaged, Reveal, read_page, write_line
from gaproxy.journal.replayer import ReplayingKeys
from gaproxy.proto.actions import Close, Connect, Note, Relay, Send
from gaproxy.proto.doors.credentials import REFUSED, Verdict
from gaproxy.proto.events import Accepted, Closed, Connected, Elapsed, Ended, Received, Relayed, Relaying
from gaproxy.proto.patience import SECOND

DIALOGUE = (accepted(), Received(1, hello()), Received(1, auth()), Received(1, opening() + b"EHLO x\r\nNO"))


@pytest.fixture
def recorded(tape):
    one = tape()
    for fact in DIALOGUE:
        one.hear(fact)
    one.hear(Connected(2, ("127.0.0.2", 40000)))
    one.hear(Received(2, b"220 mx\r\n"))
    one.proxy.close()
    return one


def change(one, pattern, by):
    text = one.written()
    changed = re.sub(pattern, by, text, count=1)
    assert changed != text
    one.filename.write_bytes(changed)


def test_an_order_that_was_changed_is_found_with_both_sides(recorded):
    change(recorded, rb"CHALLENGE v=1", b"CHALLENGE v=2")
    difference = recorded.replayed()
    assert difference.step == 5
    assert difference.fact == Received(1, hello())
    assert difference.expected[0].data.replace(b"v=2", b"v=1") == difference.found[0].data


def test_a_note_counts_as_an_order(recorded):
    change(recorded, rb"(authenticated node=)mta-1", rb"\1mta-2")
    difference = recorded.replayed()
    assert [type(order) for order in difference.expected] == [Send, Note]
    assert difference.expected[0] == difference.found[0] and difference.expected[1] != difference.found[1]


@pytest.mark.parametrize(
    ("pattern", "by", "step"),
    [
        (rb"GAPROXY/1 min=1", b"GAPROXY/9 min=9", 5),
        (rb'\["Verdict",\{"ok":true', b'["Verdict",{"ok":false', 6),
        (rb'"verdicts":\[\[.*?\]\]', b'"verdicts":[]', 6),
        (rb"220 mx", b"421 mx", 9),
        (rb'"orders":\[\["Connect".*?\]\]', b'"orders":[]', 7),
    ],
)
def test_whatever_was_changed_is_found_at_the_first_step_that_tells(recorded, pattern, by, step):
    change(recorded, pattern, by)
    assert recorded.replayed().step == step


def test_a_line_that_is_missing_is_found(recorded):
    lines = recorded.written().splitlines(keepends=True)
    recorded.filename.write_bytes(b"".join(lines[:5] + lines[6:]))
    assert recorded.replayed() is not None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"", "line 1: it ends in the middle"),
        (lambda data: b"hello\n", "line 1: "),
        (lambda data: data[:-1], "line 10: it ends in the middle"),
        (lambda data: data + b"\n", "line 11: "),
        (lambda data: data.replace(b'["Prepared"', b'["Repaired"'), "line 4: nothing is called 'Repaired' here"),
        (lambda data: data.replace(b'"journal":1', b'"journal":9'), "line 1: format 9"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(recorded, damage, reason):
    recorded.filename.write_bytes(damage(recorded.written()))
    with pytest.raises(Damaged, match=f"^{reason}"):
        recorded.replayed()


@pytest.mark.parametrize(
    "reveal", [Reveal(0, 0, b""), Reveal(99, 0, b""), Reveal(5, -1, b"x"), Reveal(5, 500, b"x"), Reveal(4, 0, b"x")]
)
def test_a_reveal_of_what_was_never_said_is_damage(recorded, reveal):
    lines = recorded.written().splitlines(keepends=True)
    page = read_page(lines[-1], 9)
    lines[-1] = write_line(type(page)(page.now, page.fact, page.orders, page.verdicts, (reveal,)))
    recorded.filename.write_bytes(b"".join(lines))
    with pytest.raises(Damaged, match="it reveals what was never said"):
        recorded.replayed()


def test_keys_without_verdicts_refuse():
    keys = ReplayingKeys()
    keys.keep(("a secret",))
    keys.verdicts.append(Verdict(True, 0, "00"))
    assert [keys.judge(b"", b"", b"", "") for _ in range(2)] == [Verdict(True, 0, "00"), REFUSED]


# Whatever is said, in whatever pieces, plays again.

SAID = [
    *(
        hello(),
        auth(),
        auth("another-secret-of-the-tests-and-of-none"),
        hello(minimum=9),
        opening(),
        opening(to="10.0.0.1:25"),
    ),
    *(b"EHLO x\r\n", b"ehlo\r\n", b"MAIL FROM:<a>\r\n", b"RCPT TO:<b>\r\n", b"DATA\r\n", b"RSET\r\n", b"NOOP\r\n"),
    *(b"QUIT\r\n", b"BDAT 1\r\n", b"MAIL\0\r\n", b"a\rb\r\n", b"\r\n", b"\xff\t\r\n", b"PING t=1\r\n", b"x" * 5000),
]
PROOF = auth().removeprefix(b"AUTH proof=").strip()
RUNS = count(1)
REPLIES = [
    *(b"220 mx\r\n", b"250-mx\r\n250 PIPELINING\r\n", b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n250 ok\r\n"),
    *(b"354 go\r\n", b"554 no\r\n", b"421 away\r\n", b"250-half", b"nonsense\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"),
]
CONTENT = b"the-content-of-a-message"
BODY = CONTENT + b"\r\n.\r\n"
said = st.lists(st.sampled_from([*SAID, BODY, opening() + b"EHLO x\r\n"]), max_size=6).map(b"".join)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("mta"), said, st.integers(0, 200)),
        st.tuples(st.just("remote"), st.sampled_from(REPLIES), st.integers(0, 40)),
        st.tuples(st.just("smuggle"), said, st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 2, 200]), st.just(0)),
        st.tuples(st.sampled_from(["end", "close"]), st.sampled_from([1, 2]), st.just(0)),
    ),
    max_size=25,
)


class Outside:
    """An edge as far as a machine can tell: it answers orders, and lets bodies pass by."""

    def __init__(self, tape):
        self.tape = tape
        self.here = {1}
        self.carries = False
        self.hear(Accepted(1, LISTENER, ("127.0.0.9", 40112), ENTROPY))

    def hear(self, fact):
        news = [fact]
        while news:
            for order in self.tape.hear(news.pop(0)):
                if isinstance(order, Connect):
                    self.here.add(order.id)
                    news.append(Connected(order.id, (order.source, 40000)))
                elif isinstance(order, Close) and order.id in self.here:
                    self.here.discard(order.id)
                    news.append(Closed(order.id, "closed"))
                elif isinstance(order, Relay):
                    self.carries = True

    def mta(self, what, cut):
        for piece in (what[:cut], what[cut:]):
            if 1 not in self.here or not piece:
                continue
            body, dot, rest = piece.partition(b"\r\n.\r\n")
            if not self.carries:
                self.hear(Received(1, piece))
            elif dot:
                self.carries = False
                self.hear(Relayed(1, len(body + dot), rest, "dot"))

    def remote(self, what, cut):
        newest = max(self.here, default=1)
        for piece in (what[:cut], what[cut:]):
            if newest % 2 == 0 and newest in self.here and piece:
                self.hear(Received(newest, piece))

    def smuggle(self, rest, _):
        if 1 in self.here and self.carries:
            self.carries = False
            self.hear(Relaying(1, 60, 0, 50))
            self.hear(Relayed(1, 99, rest, "smuggled", 50))

    def wait(self, seconds, _):
        self.tape.now += int(seconds * SECOND)
        if (self.tape.proxy.next_deadline or self.tape.now) <= self.tape.now:
            self.hear(Elapsed())

    def end(self, id, _):
        if id in self.here:
            self.hear(Ended(id))

    def close(self, id, _):
        if id in self.here:
            self.here.discard(id)
            self.hear(Closed(id, "reset"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves, st.booleans())
def test_whatever_is_said_plays_again_and_tells_no_content(tape, moves, greets):
    one = tape(run=next(RUNS), strict=False)
    outside = Outside(one)
    if greets:
        outside.mta(hello() + auth() + opening(), 0)
    for kind, what, cut in moves:
        getattr(outside, kind)(what, cut)
    one.proxy.close()
    written = one.written()
    assert one.replayed() is None
    assert CONTENT not in written and PROOF not in written
    one.filename.unlink()
