"""What every conversation is made of: rows, words, turns; and what a session is never told unless it asked."""

import pytest

from gaproxy.proto.asks import Declined, Destination, Failed, Leave, Opened
from gaproxy.proto.errors import LocalProtocolError, RemoteProtocolError
from gaproxy.proto.session import ANY, Departure, Session, State
from gaproxy.proto.smtp.extensions import Offer


class Guest(Session):
    """Says hello, or else; and then sits."""

    STATES = {
        "DOOR": State(("TABLE",), {"HELLO": "enter", 421: "enter", ANY: "other"}),
        "TABLE": State(("TABLE",), {"BREAD": "eat"}),
    }

    def __init__(self) -> None:
        super().__init__("DOOR")
        self.heard: list[str] = []

    def enter(self, item: str) -> None:
        self.heard.append(item)
        self.become("TABLE")

    def other(self, item: str) -> None:
        self.heard.append(f"other {item}")

    def eat(self, item: str) -> None:
        self.become("TABLE")


def test_a_word_is_told_to_the_method_that_the_row_names():
    guest = Guest()
    guest.hear("HELLO", "good evening")
    assert (guest.heard, guest.state, guest.turns) == (["good evening"], "TABLE", 1)


def test_a_word_that_the_row_does_not_name_is_told_to_the_one_for_any():
    guest = Guest()
    guest.hear("BYE", "so soon")
    assert (guest.heard, guest.state, guest.turns) == (["other so soon"], "DOOR", 0)


def test_a_word_that_nobody_hears_is_the_peers_fault():
    guest = Guest()
    guest.hear("HELLO", "")
    with pytest.raises(RemoteProtocolError, match="HELLO is not heard while TABLE"):
        guest.hear("HELLO", "")


def test_a_turn_that_the_table_does_not_know_is_our_fault():
    guest = Guest()
    with pytest.raises(LocalProtocolError, match="Guest cannot turn from DOOR to DOOR"):
        guest.become("DOOR")
    assert (guest.state, guest.turns) == ("DOOR", 0)


def test_a_turn_to_the_same_row_is_a_turn():
    guest = Guest()
    guest.hear("HELLO", "")
    guest.hear("BREAD", "")
    assert guest.turns == 2


def test_whoever_looks_on_sees_every_turn():
    seen: list[tuple[type[Session], str, str]] = []

    def look_on(role: type[Session], before: str, after: str) -> None:
        seen.append((role, before, after))

    Session.onlookers.append(look_on)
    try:
        Guest().hear("HELLO", "")
    finally:
        Session.onlookers.remove(look_on)
    assert seen == [(Guest, "DOOR", "TABLE")]


def test_two_sessions_may_share_one_list_of_asks():
    asks: list[object] = []
    one, other = Departure(), Guest()
    one.asks = other.asks = asks
    one.elapsed()
    other.ended()
    assert asks == [Leave(at_once=True), Leave()]


OPENED = Opened(("127.0.0.2", 1), Destination("192.0.2.5", 25, None, 0), Offer(b"", b"", {}, False), None)

UNASKED = {
    "cut": (bytearray(b"x"),),
    "opened": (OPENED,),
    "failed": (Failed("refused", "no"),),
    "granted": (),
    "clearing": (),
    "declined": (Declined(b"550 no\r\n"),),
    "introduce_as": ("EHLO", "a"),
    "carried": (1,),
    "unsecured": ("handshake", "no", b""),
    "returned": (),
    "part": (),
    "early": (),
    "relayed": ("dot", 0, None, False),
}


@pytest.mark.parametrize("told", UNASKED)
def test_an_answer_to_what_it_never_asked_is_our_fault(told):
    with pytest.raises(LocalProtocolError, match=r"^Guest "):
        getattr(Guest(), told)(*UNASKED[told])


@pytest.mark.parametrize(("told", "args"), [("ended", ()), ("elapsed", ()), ("faulted", (RemoteProtocolError("no"),))])
def test_unless_it_says_otherwise_a_session_leaves(told, args):
    guest = Guest()
    getattr(guest, told)(*args)
    assert guest.asks == [Leave()]


def test_unless_it_says_otherwise_a_session_takes_no_notice_of_the_rest():
    guest = Guest()
    guest.lost("reset")
    guest.drain()
    assert guest.asks == []


def test_who_takes_leave_waits_for_the_peers_end_and_then_abandons_it():
    departure = Departure()
    departure.ended()
    assert departure.asks == []
    departure.elapsed()
    assert departure.asks == [Leave(at_once=True)]
