"""The tunnel between MTA 1 and remote 2: how each direction begins, moves and ends, and what the log counts."""

import pytest
from tools.talk import CLIENT, ENTROPY, SESSION, Talk, connected

from gaproxy.proto.actions import Close, End, Exit, Prepare, Relay, Send
from gaproxy.proto.events import Accepted, Closed, Ended, Received, Relayed, Relaying, Signalled

PLACE = "127.0.0.1:5000"
HEADER = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
EHLO, STARTTLS, GO = b"EHLO a.example\r\n", b"STARTTLS\r\n", b"220 go\r\n"


def begun(options: str, early: bytes = b"") -> Talk:
    talk = Talk(f'listen_proxy_protocol "{PLACE}" {{ {options} }}; remote_allow 192.0.2.0/24')
    talk.hear(Accepted(1, PLACE, CLIENT, ENTROPY))
    talk.hear(Received(1, HEADER + early))
    talk.hear(connected())
    return talk


def opaque(early: bytes = b"") -> Talk:
    """A talk in which bytes are carried from the first one on."""
    return begun("relay opaque", early)


def starting() -> Talk:
    """A talk in which the MTA's own STARTTLS had its 220."""
    talk = begun("starttls mta")
    talk.hear(Received(2, b"220 mx\r\n"))
    talk.hear(Received(1, EHLO))
    talk.hear(Received(2, b"250-mx\r\n250 STARTTLS\r\n"))
    talk.hear(Received(1, STARTTLS))
    talk.tell(Received(2, GO), Send(1, GO))
    return talk


def end_of(talk: Talk) -> str:
    """What the log tells of bytes and reason."""
    return talk.last_note(f"smtp: session({SESSION}): end").partition(" tls=opaque ")[2]


def test_each_end_is_passed_on_and_the_other_direction_lives_until_its_own():
    talk = opaque()
    talk.tell(Relayed(1, 100, b"", "end"), End(2))
    talk.tell(Ended(1))
    talk.wait(300.0)
    talk.tell(Relayed(2, 70, b"", "end"), End(1), Close(2), Close(1))
    assert end_of(talk) == "reused=no uses=1 messages=- bytes=100/70 seconds=300.000 reason=mta_ended"
    talk.tell(Closed(1, "closed"))
    talk.tell(Closed(2, "closed"))
    assert talk.proxy.seating.seats == {}


def test_the_remote_may_end_first():
    talk = opaque()
    talk.tell(Relayed(2, 70, b"", "end"), End(1))
    talk.tell(Relayed(1, 100, b"", "end"), End(2), Close(2), Close(1))
    assert end_of(talk).endswith("bytes=100/70 seconds=0.000 reason=remote_closed")


def test_what_came_before_the_remote_was_there_is_sent_first_and_counted():
    talk = opaque(b"early")
    talk.hear(Relayed(1, 10, b"", "end"))
    talk.hear(Relayed(2, 7, b"", "end"))
    assert "bytes=15/7 " in end_of(talk)


def test_ten_minutes_of_silence_are_the_end():
    talk = opaque()
    talk.wait(599.0)
    talk.tell(Relaying(2, 9, 0))
    talk.wait(599.999)
    talk.wait(0.001, Close(2), Close(1))
    assert end_of(talk).endswith("messages=- bytes=0/9 seconds=1199.000 reason=opaque_silent")


def test_behind_one_end_the_other_way_has_the_same():
    talk = opaque()
    talk.wait(500.0)
    talk.tell(Relayed(1, 10, b"", "end"), End(2))
    talk.wait(599.999)
    talk.wait(0.001, Close(2), Close(1))
    assert end_of(talk).endswith("bytes=10/0 seconds=1100.000 reason=opaque_silent")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ((Relaying(1, 40, 0), Closed(1, "reset")), "bytes=40/0 seconds=0.000 reason=mta_gone"),
        ((Relaying(2, 40, 0), Closed(2, "reset")), "bytes=0/40 seconds=0.000 reason=remote_reset"),
        ((Closed(2, "timeout"),), "bytes=0/0 seconds=0.000 reason=remote_timeout"),
    ],
)
def test_if_one_side_is_gone_the_other_hears_our_end(facts, reason):
    talk = opaque()
    *before, last = facts
    for fact in before:
        talk.tell(fact)
    talk.tell(last, Close(3 - last.id))
    assert end_of(talk).endswith(reason)


def test_a_stop_lets_them_go_on_until_it_is_overdue():
    talk = opaque()
    talk.tell(Signalled("TERM"), Prepare(()))
    talk.tell(Relayed(1, 1, b"", "end"), End(2))
    talk.wait(29.999)
    talk.wait(0.001, Exit(0))


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        (Ended(1), "mta_ended"),
        (Closed(1, "reset"), "mta_gone"),
        (Ended(2), "remote_closed"),
        (Closed(2, "reset"), "remote_reset"),
    ],
)
def test_who_leaves_before_tls_began_takes_the_other_along(gone, reason):
    talk = starting()
    assert Close(3 - gone.id) in talk.hear(gone)
    assert end_of(talk).endswith(f"reason={reason}")


def test_a_client_hello_has_two_minutes():
    talk = starting()
    talk.wait(119.999)
    talk.wait(0.001, Close(2), Close(1))
    assert end_of(talk).endswith("reason=mta_silent")


def test_the_answer_to_it_has_two_minutes():
    talk = starting()
    talk.tell(Received(1, b"\x16hello"), Send(2, b"\x16hello"), Relay(1, 2, "end"))
    talk.wait(119.999)
    talk.wait(0.001, Close(2), Close(1))
    assert end_of(talk).endswith("bytes=6/0 seconds=120.000 reason=remote_timeout")


def test_an_mta_that_ends_behind_its_client_hello_may_still_be_answered():
    talk = starting()
    talk.hear(Received(1, b"\x16"))
    talk.tell(Relayed(1, 0, b"", "end"), End(2))
    talk.tell(Received(2, b"\x16"), Send(1, b"\x16"), Relay(2, 1, "end"))
