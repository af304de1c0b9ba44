"""The model: random MTAs, six kinds of remote and a proxy between them, by the ten thousand; no oath is ever broken.

And the proof that it looks: a relay that shares connections as one would do it without thinking breaks them all.
"""

from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.bodies import odd_body, sane_body
from fuzz.mta import PROXY, Manner, Mta
from fuzz.play import NAMES, REMOTES, SOURCES, Size, play
from fuzz.remote import KINDS, Remote, Temper
from gaproxy.proto import actions, events
from gaproxy.proto.wire.body import EndOfData
from gaproxy.runtime_world.driver import World
from gaproxy.runtime_world.oaths import BrokenOath, Letters, Sworn

SESSIONS = 10_000
BODIES = 20_000


@pytest.mark.no_cover  # it takes a hundred thousand sessions, and every branch of theirs was counted elsewhere
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(10))
def test_whatever_is_said_nothing_unsafe_rests_and_no_outcome_is_told_wrongly(part: int):
    seed = 1_000_000 * part
    sessions = shared = taken = 0
    while sessions < SESSIONS:
        try:
            played = play(Random(seed))
        except Exception as fault:
            fault.add_note(f"python -m fuzz world {seed}")
            raise
        sessions, shared, taken = sessions + played.sessions, shared + played.shared, taken + played.taken
        seed += 1
    assert taken > SESSIONS // 3  # most of all this was mail that arrived
    assert shared > SESSIONS // 20


@given(st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_and_if_it_were_otherwise_the_smallest_such_world_would_be_told(dice: Random):
    play(dice, Size(mtas=2, sessions=2))


def test_a_seed_is_a_world():
    def story(seed: int) -> list[tuple[events.Event, list[actions.Action]]]:
        told = []
        play(Random(seed), onlooker=lambda event, orders: told.append((event, list(orders))))
        return told

    assert repr(story(7)) == repr(story(7))
    assert repr(story(7)) != repr(story(8))


def scan_in_pieces(body: bytes, dice: Random) -> tuple[EndOfData, bytes, str | None]:
    """The scanner, what it let pass, and how the body ended."""
    scanner, forward, outcome = EndOfData(), b"", None
    while body and outcome not in ("dot", "smuggled"):
        size = 1 + int(dice.random() * len(body))
        scanned = scanner.scan(body[:size])
        forward, outcome, body = forward + scanned.forward, scanned.outcome or outcome, body[size:]
    return scanner, forward, outcome


def test_normal_bodies_stay_clean_and_byte_identical():
    dice = Random(1)
    for _ in range(BODIES):
        body = sane_body(dice)
        scanner, forward, outcome = scan_in_pieces(body, dice)
        assert (forward, outcome, scanner.bare, scanner.size) == (body, "dot", False, len(body))


@pytest.mark.parametrize("kind", KINDS)
def test_no_remote_however_lax_finds_an_end_in_what_was_let_pass_of_an_odd_body(kind: str):
    dice, ends, seen = Random(2), KINDS[kind].ends, {"dot": 0, "smuggled": 0}
    for _ in range(2_000):
        body = odd_body(dice)
        _, forward, outcome = scan_in_pieces(body, dice)
        found = ends.search(b"\r\n" + forward)
        assert outcome is not None
        seen[outcome] += 1
        if outcome == "smuggled":
            assert found is None
        else:
            assert forward == body
            assert found is not None
            assert found.end() in (len(forward) + 2, len(forward) + 1)  # an eager one does not wait for the last LF
    assert min(seen.values()) > 100


class Naive:
    """A relay at the PROXY door that shares one connection: it believes a QUIT, and counts neither ends nor replies."""

    next_deadline = None

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.unheard: dict[int, bytes] = {}
        self.mta = 0
        self.remote = 0
        self.body = False
        self.greeted = False

    def step(self, now: int, event: events.Event) -> list[actions.Action]:
        match event:
            case events.Signalled():
                return [actions.Prepare((actions.Listener(PROXY, ("127.0.0.1", 2525)),))]
            case events.Prepared():
                return [actions.Adopt()]
            case events.Accepted(id):
                self.waiting.append(id)
                self.unheard[id] = b""
                return self.next()
            case events.Received(id, data) if id % 2:
                self.unheard[id] += data
                return self.listen() if id == self.mta else []
            case events.Received(id, data):
                *greeting, data = data.split(b"ESMTP\r\n")
                self.greeted = self.greeted or bool(greeting)
                self.body = self.body or b"354" in data
                return [actions.Send(self.mta, data)] if self.mta and self.greeted and data else []
            case events.Ended(id) if id % 2:
                return self.quit(id)
        return []

    def next(self) -> list[actions.Action]:
        if self.mta or not self.waiting:
            return []
        self.mta = self.waiting.pop(0)
        dial = [] if self.remote else [actions.Connect(2, SOURCES[0], ("192.0.2.5", 25))]
        self.remote = 2
        return [*dial, actions.Send(self.mta, b"220 mx.example\r\n"), *self.listen()]

    def listen(self) -> list[actions.Action]:
        orders: list[actions.Action] = []
        mta = self.mta
        while b"\r\n" in self.unheard[mta] and self.mta == mta:
            line, _, self.unheard[mta] = self.unheard[mta].partition(b"\r\n")
            self.body = self.body and line != b"."
            if line.startswith(b"EHLO") and not self.body:
                orders.append(actions.Send(mta, b"250-mx.example\r\n250 PIPELINING\r\n"))
            elif line == b"QUIT" and not self.body:
                orders += [actions.Send(mta, b"221 bye\r\n"), *self.quit(mta)]
            elif not line.startswith(b"PROXY "):
                orders.append(actions.Send(self.remote, line + b"\r\n"))
        return orders

    def quit(self, id: int) -> list[actions.Action]:
        if id == self.mta:
            self.mta = 0
        self.waiting = [one for one in self.waiting if one != id]
        return [actions.Close(id), *self.next()]


def broken_by_naive(seed: int, kind: str) -> str:
    """The sentence of the oath that is broken, or ""."""
    dice, letters = Random(seed), Letters()
    world = World(Sworn(Naive()), dice)
    temper = Temper(KINDS[kind], pipelining=True, honest=True)
    world.places["192.0.2.5", 25] = partial(Remote, temper, dice, letters)
    world.signal("START")
    for number in range(3):
        manner = Manner(number, PROXY, 2, SOURCES[:1], NAMES[:1], REMOTES[:1])
        Mta(manner, dice, letters, partial(world.knock, PROXY, ("127.0.0.9", 40_000 + number))).begin()
    try:
        while world.turn():
            pass
        letters.judge()
    except BrokenOath as broken:
        return str(broken)
    return ""


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("LF.LF", "MAIL FROM:<smuggled@a.example>"),
        ("CRLF.CR", "came behind an end of data"),
        ("strict", "was told to"),
        ("strict", "was given a remote in a transaction"),
        ("strict", "which no remote said"),
    ],
)
def test_a_relay_that_shares_without_thinking_is_found_out(kind: str, sentence: str):
    assert any(sentence in broken_by_naive(seed, kind) for seed in range(400))
