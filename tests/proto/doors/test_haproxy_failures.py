"""The PROXY door where there is no remote, or none any more: what is told, and what is only an end."""

import pytest
from tools.haproxy_talk import (
    EHLO,
    HEADER,
    PLACE,
    SECURED,
    accepted,
    dialling,
    greeted,
    in_session,
    logged,
    stranger,
    told,
)
from tools.talk import CLIENT, DATA, ENTROPY, GOODBYE, MAIL, QUIT, RCPT, SESSION, connected, story

from gaproxy.proto.actions import Close, Connect, Relay, Send
from gaproxy.proto.asks import Failed
from gaproxy.proto.doors.haproxy import CODES, HaproxyDoor
from gaproxy.proto.events import Closed, ConnectFailed, Ended, Received, Relayed, Signalled

# Failures, in words.


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("refused", "4.4.1"),
        ("timeout", "4.4.1"),
        ("unreachable", "4.4.1"),
        ("source_unavailable", "4.3.5"),
        ("overload", "4.3.2"),
    ],
)
def test_a_dial_that_fails_is_told_in_one_line(kind, code):
    talk = dialling()
    talk.tell(ConnectFailed(2, kind, "words of the kernel"), Send(1, told(kind, "words of the kernel", code)), Close(1))
    assert logged(talk) == (
        f"smtp: session({SESSION}): failed kind={kind} client=127.0.0.9:40112 source=127.0.0.2 remote=192.0.2.5:25 "
        "text=words of the kernel"
    )


def test_what_still_comes_behind_our_421_is_thrown_away():
    talk = dialling()
    talk.hear(ConnectFailed(2, "refused", "no"))
    talk.tell(Received(1, EHLO))
    talk.tell(Ended(1))
    talk.tell(Closed(1, "closed"))


def test_a_remote_that_refused_a_moment_ago_is_not_dialled_and_the_wait_is_told():
    talk = dialling()
    talk.hear(ConnectFailed(2, "refused", "no"))
    talk.tell(accepted(3))
    words = told("refused", "it refused a connection a moment ago, retry in 5 s", "4.4.1")
    talk.tell(Received(3, HEADER), Send(3, words), Close(3))


@pytest.mark.parametrize("greeting", [b"554-no\r\n554 go away\r\n", b"421 4.3.2 busy\r\n", b"450 later\r\n"])
def test_a_greeting_that_refuses_is_told_word_for_word(greeting):
    talk = dialling()
    talk.tell(connected())
    orders = talk.hear(Received(2, greeting))
    assert story(orders)[0][1] == greeting
    assert Close(1) in orders
    told = "kind=greeting client=127.0.0.9:40112 source=127.0.0.2 remote=192.0.2.5:25 reply="
    assert told + greeting[:3].decode() in talk.last_note("smtp:")


def test_a_greeting_that_is_half_a_refusal_is_told_as_ours():
    talk = dialling()
    talk.tell(connected())
    words = told("greeting", "the remote refused us in its greeting: 554 welcome no", "4.4.2")
    talk.tell(Received(2, b"220-welcome\r\n554 no\r\n"), Send(2, QUIT), Send(1, words), Close(1))


def test_a_greeting_that_is_none_is_told_as_ours():
    talk = dialling()
    talk.tell(connected())
    words = told("greeting", "the remote refused us in its greeting: 250 hello", "4.4.2")
    talk.tell(Received(2, b"250 hello\r\n"), Send(2, QUIT), Send(1, words), Close(1))


def test_a_remote_that_closes_before_its_greeting():
    talk = dialling()
    talk.tell(connected())
    words = told("greeting", "the remote closed the connection while GREETING", "4.4.2")
    talk.tell(Ended(2), Close(2), Send(1, words), Close(1))


def test_words_that_are_too_long_are_cut_and_the_session_still_named():
    talk = dialling()
    talk.tell(connected())
    [_, send, _] = talk.hear(Received(2, b"250-" + b"x" * 600 + b"\r\n250 \xff\r\n"))
    assert len(send.data) == 512
    assert send.data.endswith(f"x [{SESSION}]\r\n".encode())


def test_every_letter_of_our_words_can_be_read():
    door = HaproxyDoor((PLACE, ("127.0.0.1", 5000)), CLIENT, ENTROPY, "mta")
    assert door.worded(Failed("tls", "caf\xe9\r\n")) == f"421 4.7.5 gaproxy: tls: caf??? [{SESSION}]\r\n".encode()


def test_whatever_failed_is_counted_by_its_kind():
    talk = dialling()
    talk.hear(ConnectFailed(2, "refused", "no"))
    talk.hear(accepted(3))
    talk.hear(Received(3, b"PROXY TCP4 127.0.0.2 10.0.0.1 0 25\r\n"))
    counted = talk.proxy.seating.counted
    assert (counted["smtp_failed", "refused"], counted["smtp_failed", "denied"]) == (1, 1)


def test_a_fault_of_our_own_in_the_call_is_told_as_well():
    talk = greeted()
    talk.proxy.seating.strict = False
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    talk.tell(SECURED, Close(2), Send(1, told("internal", "a fault of the proxy", "4.3.0")), Close(1))


def test_no_fault_of_ours_is_5xx():
    assert {code[0] for code in CODES.values()} == {"4"}


def test_all_before_our_greeting_has_25_seconds():
    talk = dialling()
    talk.wait(20.0)
    talk.tell(connected())
    talk.wait(4.999)
    words = told("timeout", "no greeting of the remote in time", "4.4.1")
    talk.wait(0.001, Close(2), Send(1, words), Close(1))


def test_a_total_that_is_given_holds_here_too():
    talk = dialling(more="timeouts { total 10s }")
    talk.wait(9.999)
    words = told("timeout", "no greeting of the remote in time", "4.4.1")
    talk.wait(0.001, Close(2), Send(1, words), Close(1))


@pytest.mark.parametrize("gone", [Ended(1), Closed(1, "reset")])
def test_an_mta_that_leaves_before_there_is_a_remote_calls_the_dial_off(gone):
    talk = dialling()
    assert Close(2) in talk.hear(gone)
    assert "kind=mta_gone" in logged(talk)
    talk.hear(ConnectFailed(2, "called_off", ""))


def test_a_stop_is_told_to_whoever_waits():
    talk = dialling()
    orders = talk.hear(Signalled("TERM"))
    assert Close(2) in orders
    assert Send(1, told("shutting_down", "the proxy is shutting down", "4.3.2")) in orders


# A remote that is lost in the session: told at once, then our end.


def away(words: str, code: str = "4.4.2") -> bytes:
    return f"421 {code} gaproxy: {words} [{SESSION}]\r\n".encode()


def test_every_loss_of_the_remote_is_told_at_once_and_then_our_end():
    talk = in_session()
    talk.tell(Ended(2), Close(2), Send(1, away("the remote closed the connection")), Close(1))


def test_a_421_of_the_remote_is_passed_at_once():
    talk = in_session()
    talk.tell(Received(2, b"421 4.3.2 I go\r\n"), Close(2), Send(1, b"421 4.3.2 I go\r\n"), Close(1))


def test_replies_that_are_owed_are_told_once_each():
    talk = in_session()
    talk.hear(Received(1, MAIL + RCPT))
    lost = away("the remote closed the connection")
    talk.tell(Closed(2, "closed"), Send(1, lost + lost), Close(1))


def test_a_body_under_way_does_not_keep_the_mta_from_hearing_of_it():
    talk = in_session()
    for said, heard in ((MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n"), (DATA, b"354 go\r\n")):
        talk.hear(Received(1, said))
        talk.hear(Received(2, heard))
    talk.tell(Received(2, b"421 full\r\n"), Close(2), Send(1, b"421 full\r\n"), Close(1))


def test_behind_the_dot_the_outcome_is_unknown_and_told_at_once():
    talk = in_session()
    for said, heard in ((MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n"), (DATA, b"354 go\r\n")):
        talk.hear(Received(1, said))
        talk.hear(Received(2, heard))
    talk.tell(Relayed(1, 100, b"", "dot"))
    words = away("the remote closed the connection after the end of data, outcome unknown")
    talk.tell(Ended(2), Close(2), Send(1, words), Close(1))


def test_an_mta_that_ends_behind_its_quit_has_its_replies_first():
    talk = in_session()
    for said, heard in ((MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n"), (DATA, b"354 go\r\n")):
        talk.hear(Received(1, said))
        talk.hear(Received(2, heard))
    talk.tell(Relayed(1, 100, QUIT, "dot"))
    talk.tell(Ended(1))
    talk.tell(Received(2, b"250 kept\r\n"), Send(1, b"250 kept\r\n" + GOODBYE), Close(1), Send(2, QUIT))


SHUTTING_DOWN = away("shutting down", "4.3.2")


def test_a_stop_behind_a_message_lets_the_mta_quit_as_if_nothing_were_wrong():
    talk = in_session()
    for said, heard in ((MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n"), (DATA, b"354 go\r\n")):
        talk.hear(Received(1, said))
        talk.hear(Received(2, heard))
    talk.hear(Signalled("TERM"))
    talk.tell(Relayed(1, 100, b"", "dot"))
    talk.tell(Received(2, b"250 kept\r\n"), Send(1, b"250 kept\r\n"), Close(2))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Close(1))


def test_a_stop_between_two_messages_is_told_to_who_begins_another_and_after_two_seconds_to_everybody():
    talk = in_session()
    assert Send(1, SHUTTING_DOWN) not in talk.hear(Signalled("TERM"))
    talk.tell(Received(1, MAIL), Send(1, SHUTTING_DOWN))
    talk.wait(1.9)
    talk.wait(0.1, Send(1, SHUTTING_DOWN), Close(1))


def test_an_mta_that_vanishes_in_its_session_closes_the_remote():
    talk = in_session()
    talk.tell(Closed(1, "reset"), Send(2, QUIT))


# `relay opaque`.


def test_an_opaque_door_carries_bytes_and_the_mta_may_speak_first():
    talk = dialling("relay opaque")
    talk.tell(Received(1, b"\x16\x03\x01"))
    talk.tell(connected(), Send(2, b"\x16\x03\x01"), Relay(1, 2, "end"), Relay(2, 1, "end"))


def test_an_opaque_door_leaves_port_465_to_remote_ports():
    talk = stranger("relay opaque")
    talk.tell(Received(1, HEADER.replace(b" 25", b" 465")), Connect(2, "127.0.0.2", ("192.0.2.5", 465)))
    talk.tell(connected(), Relay(1, 2, "end"), Relay(2, 1, "end"))


def test_failures_at_an_opaque_door_are_only_an_end():
    talk = dialling("relay opaque")
    talk.tell(ConnectFailed(2, "refused", "no"), Close(1))
    talk.tell(accepted(3))
    talk.wait(5.0, Close(3))


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", b"PROXY TCP4 127.0.0.2 10.0.0.1 0 25\r\n", b"PROXY TCP4 0.0.0.0 192.0.2.5 0 25\r\n"],
)
def test_a_header_that_an_opaque_door_cannot_serve_is_only_an_end(header):
    talk = stranger("relay opaque")
    talk.tell(Received(1, header), Close(1))
    assert logged(talk).startswith(f"smtp: session({SESSION}): failed kind=")


def test_an_opaque_door_has_25_seconds_to_connect():
    talk = dialling("relay opaque")
    talk.wait(24.999)
    talk.wait(0.001, Close(2), Close(1))
    assert "kind=timeout" in logged(talk)
