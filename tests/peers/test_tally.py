"""The tally: a message that is lost, doubled, changed, in the open or from elsewhere is told, each in one sentence."""

from hashlib import sha256

import pytest
from attrs import evolve

from gaproxy.peers.errand import Letter, Outcome
from gaproxy.peers.mx import Arrival
from gaproxy.peers.tally import Tally, tally

LETTERS = [
    Letter(name, "127.0.0.11", ("127.0.0.25:25",), "out", "encrypt", b"a@a", (b"b@b",), name.encode() + b"\r\n")
    for name in ("1@a", "2@a")
]
TOLD = [Outcome(letter.message_id, "delivered", "250 ok") for letter in LETTERS]
CAME = [
    Arrival(1, letter.source, "TLSv1.3", letter.message_id, sha256(letter.data).hexdigest(), len(letter.data))
    for letter in LETTERS
]


def test_all_is_well_where_every_letter_arrived_once_as_it_was():
    assert tally(LETTERS, TOLD, reversed(CAME)) == Tally((), 2)


def test_who_asked_for_no_tls_is_content_without():
    letters = [evolve(letter, tls="none") for letter in LETTERS]
    assert tally(letters, TOLD, [evolve(arrival, tls=None) for arrival in CAME]) == Tally((), 2)


UNKNOWN = Outcome("2@a", "unknown", "421 gone")
CUT = evolve(CAME[1], sha256="00", size_bytes=4)


@pytest.mark.parametrize(
    ("outcomes", "arrivals", "once", "fault"),
    [
        (TOLD, CAME[:1], 1, "2@a never arrived; its MTA was told: delivered (250 ok)"),
        (TOLD[:1], CAME[:1], 1, "2@a never arrived; its MTA was told: nothing"),
        (TOLD, [*CAME, CAME[1]], 1, "2@a arrived 2 times"),
        (TOLD[:1], CAME, 2, "2@a arrived, but its MTA was told: nothing"),
        ([TOLD[0], UNKNOWN], CAME, 2, "2@a arrived, but its MTA was told: unknown (421 gone)"),
        (TOLD, [CAME[0], CUT], 2, "2@a was changed on its way: 5 bytes were sent, 4 arrived"),
        (TOLD, [CAME[0], evolve(CAME[1], tls=None)], 2, "2@a arrived in plain text"),
        (TOLD, [CAME[0], evolve(CAME[1], source="127.0.0.1")], 2, "2@a arrived from 127.0.0.1 instead of 127.0.0.11"),
        (TOLD, [*CAME, evolve(CAME[0], message_id="3@a")], 2, "3@a arrived, and nobody sent it"),
        (TOLD, [*CAME, evolve(CAME[0], message_id="")], 2, "a message without an id arrived, and nobody sent it"),
    ],
)
def test_what_is_not_as_it_must_be_is_told(outcomes, arrivals, once, fault):
    assert tally(LETTERS, outcomes, arrivals) == Tally((fault,), once)
