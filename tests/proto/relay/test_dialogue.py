"""The relay between MTA 1 and remote 2: each command, each reply, each way to vanish, and what the other side hears."""

import pytest
from tools.talk import (
    CONFIG,
    DATA,
    EHLO,
    GOODBYE,
    MAIL,
    ONE_AT_A_TIME,
    PIPELINING,
    QUIT,
    RCPT,
    SESSION,
    Talk,
    in_body,
    in_session,
)

from gaproxy.proto.actions import Close, Hear, Hold, Relay, Send
from gaproxy.proto.events import Closed, Ended, Received, Relayed, Relaying, Signalled
from gaproxy.proto.relay.near import Near

OK, GO, NO = b"250 ok\r\n", b"354 go\r\n", b"550 5.7.1 no\r\n"
NOT_RELAYED = b"502 5.5.1 gaproxy: not relayed\r\n"
NOOP, RSET = b"NOOP\r\n", b"RSET\r\n"


def away(why: str, code: str = "4.4.2") -> bytes:
    """The 421 that all commands hear until QUIT."""
    return f"421 {code} gaproxy: {why} [{SESSION}/7]\r\n".encode()


LOST = away("the remote closed the connection")
SILENT = away("the remote was silent for too long")
UNKNOWN = " after the end of data, outcome unknown"


def behind_the_dot(config: str = CONFIG, offer: bytes = PIPELINING) -> Talk:
    """A talk in which the whole of a message went to the remote, and its reply is owed."""
    talk = in_body(config, offer)
    talk.tell(Relayed(1, 100, b"", "dot"))
    return talk


def sent(talk: Talk, *commands: bytes) -> Talk:
    for command in commands:
        talk.tell(Received(1, command), Send(2, command))
    return talk


def taint(talk: Talk) -> str | None:
    [relay] = [one.relay for one in talk.proxy.seating.seats if isinstance(one, Near)]
    return relay.taint


def ended_for(talk: Talk) -> str:
    """The reason that the log gives for the end of the session."""
    return talk.last_note(f"smtp: session({SESSION}/7): end").rpartition("reason=")[2]


def nobody_is_left(talk: Talk) -> bool:
    return not talk.proxy.seating.seats and not talk.proxy.seating.connections


# Greeting and EHLO.


def test_an_mta_is_shown_what_the_remote_offers_but_for_what_is_not_relayed():
    talk = in_session(
        offer=b"250-mx1 hello\r\n250-CHUNKING\r\n250-AUTH PLAIN\r\n250-DSN\r\n250-STARTTLS\r\n250 SIZE\r\n"
    )
    talk.tell(Received(1, EHLO), Send(1, b"250-mx1\r\n250-DSN\r\n250 SIZE\r\n"))
    talk.tell(Received(1, b"helo any.example\r\n"), Send(1, b"250 mx1\r\n"))


@pytest.mark.parametrize("verb", ["EHLO", "HELO"])
def test_a_greeting_without_a_name_is_refused(verb):
    told = f"501 5.5.4 gaproxy: {verb} needs a name\r\n".encode()
    in_session().tell(Received(1, verb.encode() + b"\r\n"), Send(1, told))


def test_an_ehlo_in_a_transaction_resets_it_and_nobody_hears_of_that_reset():
    talk = sent(in_session(), MAIL)
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(1, EHLO), Send(2, RSET))
    talk.tell(Received(2, OK), Send(1, PIPELINING))
    talk.tell(Received(1, EHLO), Send(1, PIPELINING))


def test_a_helo_in_a_transaction_resets_it_too():
    talk = sent(in_session(), MAIL)
    talk.tell(Received(1, b"HELO a\r\n"), Send(2, RSET))
    talk.tell(Received(2, OK + OK), Send(1, OK + b"250 mx1.example.net\r\n"))


@pytest.mark.parametrize("said", [b"251 ok\r\n", b"500 no\r\n", b"450 no\r\n"])
def test_a_remote_that_refuses_that_reset_is_lost(said):
    talk = sent(in_session(), MAIL)
    talk.hear(Received(2, OK))
    talk.hear(Received(1, EHLO))
    talk.tell(Received(2, said), Close(2), Send(1, away("the remote refused RSET")))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    assert ended_for(talk) == "rset_refused"


def test_two_replies_to_that_reset_are_one_too_many():
    talk = sent(in_session(), MAIL)
    talk.hear(Received(2, OK))
    talk.hear(Received(1, EHLO))
    talk.tell(Received(2, OK + OK), Send(1, PIPELINING), Close(2))
    talk.tell(Received(1, EHLO), Send(1, away("the remote said 250 out of turn")))


def test_an_ehlo_behind_a_mail_that_was_refused_has_nothing_to_reset():
    talk = sent(in_session(), MAIL)
    talk.tell(Received(2, NO), Send(1, NO))
    talk.tell(Received(1, EHLO), Send(1, PIPELINING))


def test_an_ehlo_behind_a_reset_has_nothing_to_reset():
    talk = sent(in_session(), MAIL, RSET)
    talk.tell(Received(2, OK + OK), Send(1, OK + OK))
    talk.tell(Received(1, EHLO), Send(1, PIPELINING))


def test_of_two_mails_it_is_the_one_that_was_taken_that_an_ehlo_resets():
    talk = sent(in_session(), MAIL, MAIL)
    talk.tell(Received(2, NO), Send(1, NO))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(1, EHLO), Send(2, RSET))


def test_a_mail_within_a_transaction_that_is_refused_does_not_end_it():
    talk = sent(in_session(), MAIL, MAIL)
    talk.tell(Received(2, OK + NO), Send(1, OK + NO))
    talk.tell(Received(1, EHLO), Send(2, RSET))


# The table of verbs.


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "mail", "Rcpt"])
def test_these_verbs_pass_as_they_came_and_their_replies_come_back(verb):
    talk = in_session()
    command = f"{verb} what ever\r\n".encode()
    talk.tell(Received(1, command), Send(2, command))
    talk.tell(Received(2, b"252-well\r\n252 so\r\n"), Send(1, b"252-well\r\n252 so\r\n"))


REFUSED = [
    "STARTTLS",
    "BDAT 5 LAST",
    "AUTH PLAIN",
    "XCLIENT A=1",
    "XFORWARD A=1",
    "ETRN a",
    "ATRN",
    "TURN",
    "BURL",
    "END",
]


@pytest.mark.parametrize("command", [*REFUSED, "GET / HTTP/1.1", "", " MAIL FROM:<>", "250 ok", "\x16\x03\x01"])
def test_no_other_verb_passes(command):
    in_session().tell(Received(1, command.encode() + b"\r\n"), Send(1, NOT_RELAYED))


def test_what_we_refuse_is_told_in_its_place_among_the_replies():
    talk = in_session()
    talk.tell(Received(1, MAIL + b"BDAT 5\r\n" + RCPT + b"DATA now\r\n"), Send(2, MAIL + RCPT))
    talk.tell(Received(2, OK), Send(1, OK + NOT_RELAYED))
    talk.tell(Received(2, NO), Send(1, NO + b"501 5.5.4 gaproxy: DATA takes no argument\r\n"))


def test_a_quit_with_an_argument_is_no_end():
    talk = in_session()
    talk.tell(Received(1, b"QUIT now\r\n"), Send(1, b"501 5.5.4 gaproxy: QUIT takes no argument\r\n"))
    talk.tell(Received(1, NOOP), Send(2, NOOP))


@pytest.mark.parametrize(
    ("command", "fault"), [(b"NOOP\rRSET", "bare CR or LF"), (b"NOOP\nRSET", "bare CR or LF"), (b"NO\0P", "NUL byte")]
)
def test_a_command_with_a_bare_line_end_is_refused_and_taints(command, fault):
    talk = in_session()
    talk.tell(Received(1, command + b"\r\n"), Send(1, f"500 5.5.2 gaproxy: {fault}\r\n".encode()))
    assert taint(talk) == "malformed_command"
    talk.tell(Received(1, NOOP), Send(2, NOOP))


TOO_LONG = b"500 5.5.2 gaproxy: a command longer than 4096 bytes\r\n"


def test_a_command_that_is_too_long_ends_the_session():
    talk = in_session()
    talk.tell(Received(1, b"A" * 4095))
    talk.tell(Received(1, b"A"), Close(2), Send(1, TOO_LONG), Close(1))
    assert ended_for(talk) == "malformed_command"


def test_what_is_owed_is_told_before_that_end():
    talk = sent(in_session(), MAIL)
    talk.tell(
        Received(1, b"A" * 4096),
        Close(2),
        Send(1, away("a command longer than 4096 bytes", "4.5.2") + TOO_LONG),
        Close(1),
    )


# Pipelining.


def test_commands_are_passed_on_at_once_to_a_remote_that_can_pipeline():
    talk = in_session()
    talk.tell(Received(1, MAIL + RCPT + RCPT + DATA), Send(2, MAIL + RCPT + RCPT + DATA))
    talk.tell(Received(2, OK + NO), Send(1, OK + NO))
    talk.tell(Received(2, OK + GO), Send(1, OK + GO), Relay(1, 2))


def test_commands_are_passed_on_one_at_a_time_to_any_other_remote():
    talk = in_session(offer=ONE_AT_A_TIME)
    talk.tell(Received(1, MAIL + RCPT + DATA), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, RCPT))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, DATA))
    talk.tell(Received(2, GO), Send(1, GO), Relay(1, 2))


@pytest.mark.parametrize("second", [MAIL, RCPT, DATA, NOOP])
@pytest.mark.parametrize("first", [MAIL, RCPT, NOOP])
def test_whatever_is_asked_for_behind_whatever_has_its_own_reply(first, second):
    talk = in_session()
    talk.tell(Received(1, first + second), Send(2, first + second))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(2, NO), Send(1, NO))
    talk.tell(Received(1, second), Send(2, second))
    talk.tell(Ended(2), Close(2), Send(1, LOST))


def test_a_thousand_replies_may_be_owed_and_no_more():
    talk = in_session()
    talk.tell(Received(1, NOOP * 1001), Send(2, NOOP * 1000))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, NOOP))


def test_refusals_of_ours_are_counted_among_the_thousand():
    talk = sent(in_session(), NOOP)
    talk.tell(Received(1, b"BDAT\r\n" * 999 + NOOP))
    talk.tell(Received(2, OK), Send(1, OK + NOT_RELAYED * 999), Send(2, NOOP))


def test_commands_of_64_kib_may_wait_for_their_replies_and_no_more():
    talk = in_session()
    command = b"NOOP " + b"a" * 4089 + b"\r\n"
    talk.tell(Received(1, command * 17), Send(2, command * 16))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, command))


def test_an_mta_that_floods_us_is_not_read_until_the_remote_keeps_up():
    talk = in_session(offer=ONE_AT_A_TIME)
    command = b"NOOP " + b"a" * 4089 + b"\r\n"
    talk.tell(Received(1, command * 18), Send(2, command), Hold(1))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, command), Hear(1))


# DATA.


def test_a_message_passes_by_and_its_reply_comes_back():
    talk = in_session()
    talk.tell(Received(1, MAIL + RCPT + DATA), Send(2, MAIL + RCPT + DATA))
    talk.tell(Received(2, OK + OK), Send(1, OK + OK))
    talk.tell(Received(2, GO), Send(1, GO), Relay(1, 2))
    talk.tell(Relayed(1, 7012, b"", "dot"))
    talk.tell(Received(2, b"250 queued\r\n"), Send(1, b"250 queued\r\n"))
    talk.wait(1.5)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    assert talk.notes[-1].endswith("messages=1 bytes=7012 seconds=1.500 reason=quit")


@pytest.mark.parametrize("said", [b"451 later\r\n", b"554 never\r\n"])
def test_behind_a_data_that_was_refused_come_commands(said):
    talk = in_session()
    talk.tell(Received(1, DATA + RSET), Send(2, DATA))
    talk.tell(Received(2, said), Send(1, said), Send(2, RSET))


@pytest.mark.parametrize("said", [b"451 later\r\n", b"554 never\r\n"])
def test_a_message_that_is_refused_is_not_counted_and_the_session_goes_on(said):
    talk = behind_the_dot()
    talk.tell(Received(2, said), Send(1, said))
    talk.tell(Received(1, EHLO), Send(1, PIPELINING))
    talk.hear(Received(1, QUIT))
    assert "messages=0 bytes=100" in talk.notes[-1]


@pytest.mark.parametrize("said", [b"250 taken\r\n", b"220 what\r\n", b"334 go\r\n"])
def test_a_reply_that_data_cannot_have_is_never_passed_on(said):
    talk = sent(in_session(), MAIL, RCPT, DATA)
    talk.hear(Received(2, OK + OK))
    talk.tell(Received(2, said), Close(2), Send(1, away(f"the remote said {said[:3].decode()} out of turn")))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    assert ended_for(talk) == "desync"


@pytest.mark.parametrize("command", [MAIL, RCPT, NOOP])
def test_no_other_command_is_told_to_go_ahead(command):
    talk = sent(in_session(), command)
    talk.tell(Received(2, GO), Close(2), Send(1, away("the remote said 354 out of turn")))


def test_body_bytes_before_the_354_close_both_sides():
    talk = in_session()
    talk.tell(Received(1, DATA + b"Subject: x\r\n\r\nhello\r\n.\r\n"), Send(2, DATA))
    talk.tell(Received(2, GO), Send(1, GO), Close(2), Close(1))
    assert ended_for(talk) == "early_body"
    talk.tell(Closed(1, "closed"))
    talk.tell(Closed(2, "closed"))
    assert nobody_is_left(talk)


def test_an_mta_that_ends_behind_data_sends_no_message():
    talk = in_session()
    talk.tell(Received(1, DATA), Send(2, DATA))
    talk.tell(Ended(1))
    talk.tell(Received(2, GO), Send(1, GO), Close(2), Close(1))
    assert ended_for(talk) == "mta_gone"


def test_odd_replies_are_told_and_taint():
    talk = sent(in_session(), MAIL)
    talk.tell(Received(2, b"250 ok\n"), Send(1, OK))
    assert taint(talk) == "reply_lf"
    talk = sent(in_session(), DATA)
    talk.tell(Received(2, b"250-so\r\n354 go\r\n"), Send(1, b"250-so\r\n354 go\r\n"), Relay(1, 2))
    assert taint(talk) == "mixed_codes"


# The body.


def test_what_comes_behind_the_dot_is_heard_behind_its_reply():
    talk = in_body()
    talk.tell(Relayed(1, 100, MAIL + QUIT, "dot"))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK + GOODBYE), Send(2, QUIT))


def test_a_body_that_is_cut_has_no_end_at_the_remote():
    talk = in_body()
    talk.tell(Relayed(1, 50, b"", "cut"), Close(2), Close(1))
    talk.tell(Ended(1))
    assert ended_for(talk) == "mta_gone"


def test_a_look_alike_of_the_end_takes_the_remote_away_before_it_is_whole():
    talk = in_body()
    talk.tell(Relaying(1, 60, 0, at=42), Close(2))
    told = b"550 5.5.2 gaproxy: a lone dot with a bare CR or LF beside it at offset 42\r\n"
    talk.tell(Relayed(1, 100, MAIL, "smuggled", at=42), Send(1, told + away("a smuggled end of data", "4.5.2")))
    talk.tell(Received(1, EHLO), Send(1, away("a smuggled end of data", "4.5.2")))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    assert ended_for(talk) == "smuggled"


def test_who_smuggles_and_sends_no_end_is_told_so_after_ten_seconds_and_closed():
    talk = in_body()
    talk.tell(Relaying(1, 60, 0, at=42), Close(2))
    talk.tell(Closed(2, "closed"))
    talk.wait(5.0)
    talk.tell(Relaying(1, 60_000, 0))
    talk.wait(4.9)
    told = b"550 5.5.2 gaproxy: a lone dot with a bare CR or LF beside it at offset 42\r\n"
    talk.wait(0.1, Send(1, told), Close(1))
    talk.tell(Closed(1, "closed"))
    assert nobody_is_left(talk)


def test_who_smuggles_and_hangs_up_is_forgotten():
    talk = in_body()
    talk.tell(Relaying(1, 60, 0, at=42), Close(2))
    talk.tell(Closed(2, "closed"))
    talk.tell(Closed(1, "reset"))
    assert ended_for(talk) == "smuggled"
    assert nobody_is_left(talk)


def test_who_smuggles_and_ends_in_the_middle_is_closed():
    talk = in_body()
    talk.tell(Relaying(1, 60, 0, at=42), Close(2))
    talk.tell(Relayed(1, 70, b"", "cut"), Close(1))


def test_a_body_renews_patience_only_when_4_kib_have_moved():
    talk = in_body()
    talk.wait(100.0)
    talk.tell(Relaying(1, 4096, 0))
    talk.wait(100.0)
    talk.tell(Relaying(1, 8191, 0))
    talk.wait(79.9)
    talk.wait(0.1, Close(2), Close(1))
    assert ended_for(talk) == "mta_silent"


@pytest.mark.parametrize("said", [OK, b"552 too big\r\n", GO])
def test_a_reply_in_the_middle_of_a_body_is_out_of_turn_and_the_body_is_thrown_away(said):
    talk = in_body()
    talk.tell(Received(2, said), Close(2))
    told = away(f"the remote said {said[:3].decode()} out of turn")
    talk.tell(Relayed(1, 100, MAIL, "dot"), Send(1, told + told))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))


def test_a_421_in_the_middle_of_a_body_is_its_reply():
    talk = in_body()
    talk.tell(Received(2, b"421 4.3.0 bye\r\n"), Close(2))
    talk.tell(Relayed(1, 100, b"", "dot"), Send(1, b"421 4.3.0 bye\r\n"))
    talk.tell(Received(1, RSET), Send(1, away("the remote closed the session")))
    assert not any("messages=1" in note for note in talk.notes)


def test_a_body_that_is_thrown_away_must_go_on_moving():
    talk = in_body()
    talk.wait(170.0)
    talk.tell(Ended(2), Close(2))
    talk.tell(Closed(2, "closed"))
    talk.wait(170.0)
    talk.tell(Relaying(1, 5000, 0))
    talk.wait(179.9)
    talk.wait(0.1, Close(1))
    assert ended_for(talk) == "remote_closed"


def test_a_body_that_is_thrown_away_may_hold_a_look_alike_and_is_refused_for_it():
    talk = in_body()
    talk.tell(Ended(2), Close(2))
    talk.tell(Relaying(1, 60, 0, at=42))
    told = b"550 5.5.2 gaproxy: a lone dot with a bare CR or LF beside it at offset 42\r\n"
    talk.tell(Relayed(1, 100, b"", "smuggled", at=42), Send(1, told))


def test_a_body_that_is_thrown_away_may_be_cut():
    talk = in_body()
    talk.tell(Ended(2), Close(2))
    talk.tell(Relayed(1, 100, b"", "cut"), Close(1))
    assert ended_for(talk) == "remote_closed"


def test_an_mta_that_vanishes_in_a_body_takes_the_remote_with_it():
    talk = in_body()
    talk.tell(Closed(1, "reset"), Close(2))
    talk.tell(Closed(2, "closed"))
    assert ended_for(talk) == "mta_gone"
    assert nobody_is_left(talk)


# The remote is lost.


def test_a_remote_that_is_lost_between_two_commands_is_told_to_the_next_one_and_to_all_until_quit():
    talk = in_session()
    talk.tell(Ended(2), Close(2))
    talk.tell(Closed(2, "closed"))
    talk.tell(Received(1, EHLO), Send(1, LOST))
    talk.tell(Received(1, MAIL + b"BDAT\r\n" + b"\r\n"), Send(1, LOST * 3))
    talk.tell(Received(1, b"QUIT now\r\n"), Send(1, b"501 5.5.4 gaproxy: QUIT takes no argument\r\n"))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    talk.tell(Received(1, b"PING t=1\r\n"), Send(1, b"PONG t=1\r\n"))
    assert ended_for(talk) == "remote_closed"


def test_a_remote_that_is_lost_owes_421_to_every_command_that_waits_for_it():
    talk = in_session()
    talk.tell(Received(1, MAIL + b"BDAT 5\r\n" + RCPT + QUIT), Send(2, MAIL + RCPT))
    talk.tell(Ended(2), Close(2), Send(1, LOST * 3 + GOODBYE))
    assert ended_for(talk) == "remote_closed"


def test_a_remote_that_is_lost_behind_the_dot_leaves_the_outcome_unknown():
    talk = behind_the_dot()
    told = away("the remote closed the connection" + UNKNOWN)
    talk.tell(Ended(2), Close(2), Send(1, told))
    talk.tell(Received(1, MAIL), Send(1, told))
    talk.hear(Received(1, QUIT))
    assert talk.last_note("smtp: ").rpartition(" bytes=")[2].split()[1] == "outcome=unknown"


def test_a_421_to_the_dot_is_an_outcome():
    talk = behind_the_dot()
    talk.tell(Received(2, b"421 4.3.2 full\r\n"), Close(2), Send(1, b"421 4.3.2 full\r\n"))
    talk.tell(Received(1, MAIL), Send(1, away("the remote closed the session")))


BROKEN = {
    "half a reply, then the end": ([Received(2, b"250-ok\r\n250"), Ended(2)], "the remote closed the connection"),
    "a reset": ([Closed(2, "reset")], "the remote closed the connection"),
    "no reply": (
        [Received(2, b"hello\r\n")],
        "the remote broke the protocol: a line that is no reply",
    ),
    "a code that is none": (
        [Received(2, b"999 ok\r\n")],
        "the remote broke the protocol: a reply code outside 200-599",
    ),
}


@pytest.mark.parametrize(("facts", "why"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("begin", [lambda: sent(in_session(), MAIL), behind_the_dot], ids=["mail", "dot"])
def test_a_remote_that_breaks_off_is_never_taken_for_one_that_agreed(begin, facts, why):
    talk = begin()
    orders = [order for fact in facts for order in talk.hear(fact)]
    unknown = UNKNOWN if begin is behind_the_dot else ""
    close = [] if isinstance(facts[-1], Closed) else [Close(2)]
    assert orders == [*close, Send(1, away(why + unknown))]


def test_a_reply_too_many_is_told_to_the_next_command():
    talk = sent(in_session(), MAIL)
    talk.tell(Received(2, OK + OK), Send(1, OK), Close(2))
    talk.tell(Received(1, RCPT), Send(1, away("the remote said 250 out of turn")))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    assert ended_for(talk) == "desync"


def test_a_reply_that_began_in_the_middle_of_a_body_is_no_answer_to_its_end():
    talk = in_body()
    talk.tell(Received(2, b"250 2.0"))
    talk.tell(Relayed(1, 100, b"", "dot"))
    talk.tell(Received(2, b".0 ok\r\n"), Close(2), Send(1, away("the remote said 250 out of turn" + UNKNOWN)))


def test_a_reply_that_began_before_a_command_is_no_answer_to_it():
    talk = sent(in_session(), MAIL)
    talk.tell(Received(2, OK + b"25"), Send(1, OK))
    talk.tell(Received(1, RCPT), Send(2, RCPT))
    talk.tell(Received(2, b"0 ok\r\n"), Close(2), Send(1, away("the remote said 250 out of turn")))


def test_a_421_that_began_before_a_command_is_its_reply():
    talk = in_session()
    talk.tell(Received(2, b"421 "))
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, b"bye\r\n"), Close(2), Send(1, b"421 bye\r\n"))


def test_a_421_that_nobody_asked_for_is_the_reply_to_the_next_command():
    talk = in_session()
    talk.tell(Received(2, b"421 4.4.2 idle too long\r\n"), Close(2))
    talk.tell(Received(1, MAIL), Send(1, b"421 4.4.2 idle too long\r\n"))
    talk.tell(Received(1, RCPT), Send(1, away("the remote closed the session")))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    assert ended_for(talk) == "remote_421"


def test_a_421_that_nobody_asked_for_is_not_the_reply_to_quit():
    talk = in_session()
    talk.tell(Received(2, b"421 4.4.2 idle too long\r\n"), Close(2))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))


def test_a_421_to_a_command_ends_it_for_all_of_them():
    talk = sent(in_session(), MAIL, RCPT)
    talk.tell(Received(2, b"421 bye\r\n"), Close(2), Send(1, b"421 bye\r\n" + away("the remote closed the session")))


# Patience.

TIMEOUTS = {
    "mail": (lambda: sent(in_session(), MAIL), 300),
    "rcpt": (lambda: sent(in_session(), RCPT), 300),
    "data": (lambda: sent(in_session(), DATA), 120),
    "rset": (lambda: sent(in_session(), RSET), 300),
    "noop": (lambda: sent(in_session(), NOOP), 300),
}


@pytest.mark.parametrize(("begin", "seconds"), TIMEOUTS.values(), ids=TIMEOUTS)
def test_a_remote_that_is_silent_for_so_long_is_given_up(begin, seconds):
    talk = begin()
    talk.wait(seconds - 0.1)
    talk.wait(0.1, Close(2), Send(1, SILENT))
    talk.hear(Received(1, QUIT))
    assert ended_for(talk) == "remote_timeout"


def test_a_remote_that_is_silent_behind_the_dot_for_ten_minutes_leaves_the_outcome_unknown():
    talk = behind_the_dot()
    talk.wait(599.9)
    talk.wait(0.1, Close(2), Send(1, away("the remote was silent for too long" + UNKNOWN)))


def test_half_a_reply_is_silence():
    talk = sent(in_session(), MAIL)
    talk.wait(299.0)
    talk.tell(Received(2, b"250-ok\r\n"))
    talk.wait(1.0, Close(2), Send(1, SILENT))


def test_patience_counts_for_the_oldest_command_and_anew_for_the_next():
    talk = sent(in_session(), MAIL, RCPT)
    talk.wait(299.0)
    talk.tell(Received(2, OK), Send(1, OK))
    talk.wait(299.9)
    talk.wait(0.1, Close(2), Send(1, SILENT))


def test_an_mta_that_says_nothing_for_five_minutes_is_closed_without_a_word():
    talk = in_session()
    talk.wait(299.9)
    talk.wait(0.1, Close(1), Send(2, QUIT))
    assert ended_for(talk) == "mta_silent"


@pytest.mark.parametrize("command", [EHLO, b"BDAT\r\n", b"NOOP\rRSET\r\n", b"QUIT now\r\n"])
def test_a_command_that_we_answer_ourselves_is_a_sign_of_life_too(command):
    talk = in_session()
    talk.wait(299.0)
    talk.hear(Received(1, command))
    talk.wait(299.9)
    talk.wait(0.1, Close(1), Send(2, QUIT))


def test_half_a_command_is_no_sign_of_life():
    talk = in_session()
    talk.wait(299.0)
    talk.tell(Received(1, b"NOO"))
    talk.wait(1.0, Close(1), Send(2, QUIT))


def test_an_mta_that_is_turned_away_has_its_five_minutes_too():
    talk = in_session()
    talk.tell(Ended(2), Close(2))
    talk.tell(Closed(2, "closed"))
    talk.wait(299.0)
    talk.tell(Received(1, NOOP), Send(1, LOST))
    talk.wait(299.9)
    talk.wait(0.1, Close(1))


# The MTA ends, or vanishes.


def test_a_quit_is_answered_in_its_turn():
    talk = in_session()
    talk.tell(Received(1, MAIL + RCPT + QUIT), Send(2, MAIL + RCPT))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(2, OK), Send(1, OK + GOODBYE), Send(2, QUIT))


def test_an_mta_that_ends_behind_its_last_command_hears_every_reply():
    talk = in_session()
    talk.tell(Received(1, MAIL + RCPT), Send(2, MAIL + RCPT))
    talk.tell(Ended(1))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, QUIT), Close(1))
    assert ended_for(talk) == "mta_ended"


def test_an_mta_that_ends_behind_the_dot_hears_the_reply_to_it():
    talk = behind_the_dot()
    talk.tell(Ended(1))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, QUIT), Close(1))
    assert "messages=1" in talk.notes[-1]


def test_an_mta_that_ends_between_two_commands_is_through():
    in_session().tell(Ended(1), Send(2, QUIT), Close(1))


def test_half_a_command_before_the_end_is_none():
    talk = in_session()
    talk.tell(Received(1, b"MAIL FROM"))
    talk.tell(Ended(1), Send(2, QUIT), Close(1))


def test_an_mta_that_was_turned_away_may_end_or_vanish():
    for fact, orders in ((Ended(1), [Close(1)]), (Closed(1, "reset"), [])):
        talk = in_session()
        talk.tell(Ended(2), Close(2))
        talk.tell(Closed(2, "closed"))
        talk.tell(fact, *orders)


def test_an_mta_that_was_turned_away_and_sends_too_long_a_command_is_closed():
    talk = in_session()
    talk.tell(Ended(2), Close(2))
    talk.tell(Received(1, b"A" * 4096), Send(1, TOO_LONG), Close(1))


def test_an_mta_that_vanishes_between_two_commands_leaves_the_remote_in_order():
    talk = in_session()
    talk.tell(Closed(1, "reset"), Send(2, QUIT))
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))
    talk.tell(Closed(2, "closed"))
    assert ended_for(talk) == "mta_gone"
    assert nobody_is_left(talk)


@pytest.mark.parametrize("command", [MAIL, RCPT, DATA, NOOP])
def test_an_mta_that_vanishes_while_a_reply_is_owed_takes_the_remote_with_it(command):
    talk = sent(in_session(), command)
    talk.tell(Closed(1, "reset"), Close(2))
    talk.tell(Closed(2, "closed"))
    assert nobody_is_left(talk)


def test_an_mta_that_vanishes_behind_its_quit_takes_the_remote_with_it():
    talk = in_session()
    talk.tell(Received(1, MAIL + QUIT), Send(2, MAIL))
    talk.tell(Closed(1, "reset"), Close(2))
    talk.tell(Closed(2, "closed"))
    assert nobody_is_left(talk)


def test_when_an_mta_vanishes_behind_the_dot_the_log_tells_what_became_of_the_message():
    talk = behind_the_dot()
    talk.tell(Closed(1, "reset"))
    talk.tell(Received(2, OK), Send(2, QUIT))
    assert talk.notes[-1].endswith("messages=1 bytes=100 seconds=0.000 reason=mta_gone")
    talk.tell(Closed(2, "closed"))
    assert nobody_is_left(talk)


def test_when_both_vanish_behind_the_dot_nobody_is_told_anything():
    talk = behind_the_dot()
    talk.tell(Closed(1, "reset"))
    talk.tell(Closed(2, "reset"))
    assert ended_for(talk) == "remote_reset"
    assert nobody_is_left(talk)


def test_when_an_mta_vanished_behind_the_dot_the_remote_has_its_ten_minutes():
    talk = behind_the_dot()
    talk.tell(Closed(1, "reset"))
    talk.wait(599.9)
    talk.wait(0.1, Close(2))


# The house closes.


def closing(talk: Talk) -> Talk:
    """The same talk, once the house was told to stop."""
    talk.hear(Signalled("TERM"))
    return talk


DRAINED = away("shutting down", "4.3.2")


def test_a_session_between_two_messages_is_turned_away_and_closed_after_two_seconds_of_silence():
    talk = closing(in_session())
    talk.wait(1.9)
    talk.tell(Received(1, MAIL), Send(1, DRAINED))
    talk.wait(1.9)
    talk.tell(Received(1, RCPT), Send(1, DRAINED))
    talk.wait(1.9)
    talk.wait(0.1, Close(1))
    assert ended_for(talk) == "draining"


def test_a_message_under_way_comes_to_its_end_and_no_other_begins():
    talk = closing(in_body())
    talk.tell(Relayed(1, 100, MAIL, "dot"))
    talk.tell(Received(2, OK), Send(1, OK), Close(2), Send(1, DRAINED))
    assert talk.notes[-1] != "gaproxy: drained"


def test_a_transaction_that_has_begun_may_go_on():
    talk = sent(in_session(), MAIL)
    closing(talk)
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(1, RCPT), Send(2, RCPT))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(1, RSET), Send(2, RSET))
    talk.tell(Received(2, OK), Send(1, OK), Close(2))


def test_a_mail_that_was_refused_is_no_transaction():
    talk = sent(in_session(), MAIL)
    closing(talk)
    talk.tell(Received(2, NO), Send(1, NO), Close(2))
    talk.tell(Received(1, MAIL), Send(1, DRAINED))


def test_a_session_that_had_lost_its_remote_is_not_waited_for_longer():
    talk = in_session()
    talk.tell(Ended(2), Close(2))
    talk.tell(Closed(2, "closed"))
    closing(talk)
    talk.wait(1.9)
    talk.tell(Received(1, MAIL), Send(1, LOST))
    talk.wait(2.0, Close(1))


def test_a_session_that_loses_its_remote_meanwhile_is_not_waited_for_longer():
    talk = closing(in_body())
    talk.tell(Ended(2), Close(2))
    talk.tell(Relayed(1, 100, b"", "dot"), Send(1, LOST))
    talk.wait(2.0, Close(1))


def test_a_session_that_is_turned_away_may_still_quit():
    talk = closing(in_session())
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(1, b"GOAWAY reason=drain\r\n"), Close(1))
