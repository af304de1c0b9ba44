"""Fair turns: how long a session keeps a connection that others wait for, and how it is handed on.

MTAs 1 and 3 share the remote 2, under a limit of one connection.
"""

import pytest
from tools.sharing import (
    GO_AHEAD,
    OK,
    ONE_SLOT,
    PARTED,
    RSET,
    WAS_RESET,
    in_use,
    open_fresh,
    ready,
    send_message,
    shown,
    with_mtas,
)
from tools.talk import (
    DATA,
    EHLO,
    ENTROPY,
    GOODBYE,
    GREETING,
    MAIL,
    ONE_AT_A_TIME,
    PIPELINING,
    QUIT,
    RCPT,
    SESSION,
    Talk,
    connected,
    opening,
)

from gaproxy.proto.actions import Close, Connect, Relay, Send
from gaproxy.proto.events import Accepted, Closed, Ended, Received, Relayed, Signalled

THREE_A_TURN = ONE_SLOT + "messages_per_turn 3\n"
NOOP = b"NOOP\r\n"
OVER = f"421 4.3.2 gaproxy: turn over, others wait [{SESSION}/7]\r\n".encode()
NEXT = Send(3, shown(9, uses=2))


def waiting(id: int = 9) -> bytes:
    return opening(id, more=" wait_ms=120000")


def contended(config: str = ONE_SLOT, offer: bytes = PIPELINING) -> Talk:
    """A talk in which MTA 1 has the remote, and MTA 3 waits for it."""
    talk = in_use(config, offer)
    talk.tell(Received(3, waiting()))
    return talk


def ended_for(talk: Talk) -> str:
    return talk.last_note(f"smtp: session({SESSION}/7): end").rpartition("reason=")[2]


# When a turn ends.


def test_a_turn_ends_with_the_next_mail_which_never_reaches_the_remote():
    talk = contended()
    send_message(talk)
    talk.tell(Received(1, MAIL), Send(1, OVER), NEXT)


def test_every_command_behind_a_turn_is_421_until_quit():
    talk = contended()
    send_message(talk)
    talk.tell(Received(1, MAIL + RCPT + DATA), Send(1, OVER + OVER + OVER), NEXT)
    talk.tell(Received(1, EHLO), Send(1, OVER))
    talk.tell(Received(1, MAIL), Send(1, OVER))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    assert ended_for(talk) == "turn_over"
    talk.tell(Received(1, waiting(8)))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(1, shown(8, uses=3)))


def test_a_turn_of_somebody_who_closes_without_quit_has_ended_too():
    talk = contended()
    send_message(talk)
    talk.hear(Received(1, MAIL))
    talk.tell(Ended(1), Close(1))
    assert ended_for(talk) == "turn_over"
    talk.tell(Closed(1, "closed"))
    talk.tell(Received(3, MAIL), Send(2, RSET + MAIL))


def test_the_log_counts_what_was_sent_in_the_turn():
    talk = contended()
    send_message(talk)
    talk.hear(Received(1, MAIL + QUIT))
    assert " reused=no uses=1 messages=1 bytes=100 " in talk.last_note(f"smtp: session({SESSION}/7): end")


def test_where_nobody_waits_a_session_goes_on_as_long_as_it_likes():
    talk = in_use(ONE_SLOT)
    for _ in range(3):
        send_message(talk)
    talk.wait(60.0)
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_who_waits_no_longer_ends_no_turn():
    talk = contended()
    send_message(talk)
    talk.hear(Closed(3, "reset"))
    talk.wait(30.0)
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_who_waits_under_another_limit_ends_no_turn():
    talk = with_mtas(ONE_SLOT, ("mta-1", "mta-2", "mta-3"))
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4, opening(8, more=" throttle=gmail.com"))
    talk.tell(Received(5, opening(9, more=" throttle=gmail.com wait_ms=60000")))
    send_message(talk)
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    send_message(talk, 3, 4)
    assert talk.hear(Received(3, MAIL))[0] == Send(3, OVER.replace(b"/7]", b"/8]"))


def test_a_members_own_sessions_never_end_its_turn():
    talk = with_mtas(ONE_SLOT, ("mta-1", "mta-1"))
    open_fresh(talk, 1, 2)
    talk.tell(Received(3, waiting()))
    send_message(talk)
    talk.wait(30.0)
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_a_turn_may_be_three_messages():
    talk = contended(THREE_A_TURN)
    for _ in range(3):
        send_message(talk)
    talk.tell(Received(1, MAIL), Send(1, OVER), NEXT)


def test_a_turn_may_be_without_an_end():
    talk = contended(ONE_SLOT + "messages_per_turn off\n")
    for _ in range(3):
        send_message(talk)
    talk.wait(30.0)
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_a_mail_that_the_remote_refused_was_a_turn_too():
    talk = contended()
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, b"450 later\r\n"), Send(1, b"450 later\r\n"))
    talk.tell(Received(1, MAIL), Send(1, OVER), NEXT)


def test_what_the_remote_still_owes_is_told_before_the_421_and_the_connection_goes_on_then():
    talk = contended()
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(1, RCPT + MAIL + RCPT), Send(2, RCPT))
    talk.tell(Received(2, OK), Send(1, OK + OVER + OVER), NEXT)
    talk.tell(Received(3, MAIL), Send(2, RSET + MAIL))


def test_a_remote_that_is_lost_while_it_owes_something_is_handed_to_nobody():
    talk = contended()
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(1, MAIL))
    lost = f"421 4.4.2 gaproxy: the remote closed the connection [{SESSION}/7]\r\n".encode()
    talk.tell(Closed(2, "reset"), Send(1, lost + lost), Connect(4, "127.0.0.2", ("192.0.2.5", 25)))


def test_a_reply_that_was_odd_keeps_the_connection_from_going_on():
    talk = contended()
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, b"250 ok\n"), Send(1, b"250 ok\r\n"))
    talk.tell(Received(1, MAIL), Send(1, OVER), Send(2, QUIT))
    talk.tell(Received(2, PARTED), Close(2), Connect(4, "127.0.0.2", ("192.0.2.5", 25)))


def test_who_may_speak_starttls_himself_loses_his_turn_as_others_do():
    place = "127.0.0.1:5000"
    door = f'listen_proxy_protocol "{place}" {{ starttls proxy; level may }}\nmessages_per_turn 1\n'
    talk = with_mtas(ONE_SLOT + door, ("mta-1", "mta-2"))
    talk.hear(Accepted(5, place, ("127.0.0.9", 40113), ENTROPY))
    [call] = talk.hear(Received(5, b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"))
    assert isinstance(call, Connect)
    talk.tell(connected(2))
    talk.tell(Received(2, GREETING), Send(5, GREETING))
    talk.tell(Received(5, EHLO), Send(2, EHLO))
    talk.tell(Received(2, PIPELINING), Send(5, PIPELINING))
    talk.tell(Received(3, opening(9, tls="may", more=" wait_ms=60000")))
    send_message(talk, 5, 2)
    over = OVER.replace(b"/7]", b"]")
    talk.tell(Received(5, MAIL), Send(5, over), NEXT)
    talk.tell(Received(5, QUIT), Send(5, GOODBYE), Close(5))


# Silence.


def test_who_has_had_a_turn_and_is_silent_for_a_second_loses_the_connection_and_hears_so_at_his_next_command():
    talk = contended()
    send_message(talk)
    talk.wait(0.999)
    talk.wait(0.001, Send(3, shown(9, uses=2, age_ms=1000)))
    talk.tell(Received(1, MAIL), Send(1, OVER))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    assert ended_for(talk) == "turn_over"


def test_the_second_begins_when_others_begin_to_wait():
    talk = in_use(ONE_SLOT)
    send_message(talk)
    talk.wait(30.0)
    talk.tell(Received(3, waiting()))
    talk.wait(0.999)
    talk.wait(0.001, Send(3, shown(9, uses=2, age_ms=31_000)))


def test_whatever_he_says_within_that_second_begins_it_anew():
    talk = contended()
    send_message(talk)
    talk.wait(0.999)
    talk.tell(Received(1, NOOP), Send(2, NOOP))
    talk.wait(5.0)
    talk.tell(Received(2, OK), Send(1, OK))
    talk.wait(0.999)
    talk.wait(0.001, Send(3, shown(9, uses=2, age_ms=6999)))


def test_where_the_remote_takes_one_command_at_a_time_it_is_the_same():
    talk = contended(offer=ONE_AT_A_TIME)
    talk.tell(Received(1, NOOP), Send(2, NOOP))
    talk.tell(Received(2, OK), Send(1, OK))
    send_message(talk)
    talk.tell(Received(1, NOOP), Send(2, NOOP))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.wait(0.999)
    talk.wait(0.001, Send(3, ready(9, uses=2, age_ms=1000)), Send(2, RSET), Send(3, GREETING))


def test_who_begins_no_message_for_ten_seconds_loses_the_connection():
    talk = contended()
    talk.wait(9.999)
    talk.wait(0.001, Send(3, shown(9, uses=2, age_ms=10_000)))
    talk.tell(Received(1, EHLO), Send(1, OVER))


def test_who_only_asks_for_nothing_has_ten_seconds_after_that():
    talk = contended()
    talk.wait(9.999)
    talk.tell(Received(1, NOOP), Send(2, NOOP))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.wait(9.999)
    talk.wait(0.001, Send(3, shown(9, uses=2, age_ms=19_999)))


def test_who_has_not_used_his_whole_turn_has_ten_seconds_between_two_messages():
    talk = contended(THREE_A_TURN)
    send_message(talk)
    talk.wait(9.999)
    send_message(talk)
    talk.wait(9.999)
    talk.wait(0.001, Send(3, shown(9, uses=2, age_ms=19_999)))


def test_who_is_in_the_middle_of_a_message_has_the_time_that_rfc_5321_gives_him():
    talk = contended()
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.wait(119.0)
    talk.tell(Received(1, RCPT), Send(2, RCPT))


def test_quit_in_time_is_a_good_end():
    talk = contended()
    send_message(talk)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), NEXT)
    assert ended_for(talk) == "quit"
    talk = contended()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), NEXT)


def test_who_begins_in_time_keeps_the_connection_and_so_does_he_who_is_alone_again():
    talk = contended()
    talk.wait(9.9)
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, b"450 later\r\n"), Send(1, b"450 later\r\n"))
    talk.wait(0.9)
    talk.hear(Closed(3, "reset"))
    talk.wait(60.0)
    talk = contended()
    talk.wait(9.9)
    talk.hear(Closed(3, "reset"))
    talk.wait(60.0)
    talk.tell(Received(1, MAIL), Send(2, MAIL))


@pytest.mark.parametrize("config", [ONE_SLOT, THREE_A_TURN])
def test_a_house_that_closes_ends_the_turn_in_its_own_words(config):
    talk = contended(config)
    send_message(talk)
    talk.hear(Signalled("TERM", bytes(16)))
    closes = f"421 4.3.2 gaproxy: shutting down [{SESSION}/7]\r\n".encode()
    assert talk.hear(Received(1, MAIL)) == [Send(1, closes)]


# How it is handed on.


def test_the_reset_goes_with_the_first_command_where_the_remote_takes_several_and_nobody_hears_its_reply():
    talk = contended()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), NEXT)
    talk.tell(Received(3, EHLO), Send(3, PIPELINING))
    talk.tell(Received(3, MAIL + RCPT + DATA), Send(2, RSET + MAIL + RCPT + DATA))
    talk.tell(Received(2, WAS_RESET))
    talk.tell(Received(2, OK + OK), Send(3, OK + OK))
    talk.tell(Received(2, GO_AHEAD), Send(3, GO_AHEAD), Relay(3, 2))
    talk.tell(Relayed(3, 100, b"", "dot"))


def test_the_reset_goes_at_once_where_the_remote_takes_one_command_at_a_time():
    talk = contended(offer=ONE_AT_A_TIME)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(3, ready(9, uses=2)), Send(2, RSET), Send(3, GREETING))
    talk.tell(Received(3, MAIL))
    talk.tell(Received(2, WAS_RESET), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(3, OK))


def test_a_session_that_says_nothing_hands_on_what_it_was_handed():
    talk = contended()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), NEXT)
    talk.tell(Received(1, waiting(8)))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(1, shown(8, uses=3)))
    talk.tell(Received(1, MAIL), Send(2, RSET + MAIL))


def test_a_second_ehlo_that_resets_goes_behind_that_reset():
    talk = contended()
    talk.hear(Received(1, QUIT))
    talk.tell(Received(3, MAIL + EHLO), Send(2, RSET + MAIL + RSET))
    talk.tell(Received(2, WAS_RESET + OK + WAS_RESET), Send(3, OK + PIPELINING))
