"""A remote between two sessions: how it goes to rest, is watched there, is taken again, and when it must go."""

import pytest
from tools.sharing import (
    LET_GO,
    NOT_KEPT,
    OK,
    ONE_SLOT,
    PARTED,
    RSET,
    SHARING,
    WAS_RESET,
    at_rest,
    calls,
    go_to_rest,
    in_use,
    open_fresh,
    reload,
    send_message,
    shown,
    status,
    two_at_rest,
    with_mtas,
)
from tools.talk import (
    EHLO,
    GOODBYE,
    GREETING,
    MAIL,
    ONE_AT_A_TIME,
    PIPELINING,
    QUIT,
    RCPT,
    Talk,
    connected,
    opening,
)

from gaproxy.proto.actions import Close, Prepare, Send
from gaproxy.proto.events import Closed, Ended, Exhausted, Received, Signalled

# Going to rest.


def test_it_rests_once_its_rset_is_answered_and_the_next_mta_takes_it_without_a_question():
    talk = in_use()
    send_message(talk)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(2, WAS_RESET))
    talk.wait(2.0)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2, age_ms=2000)))
    talk.tell(Received(3, EHLO + MAIL), Send(3, PIPELINING), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(3, OK))


def test_a_transaction_that_is_open_at_quit_is_reset():
    talk = in_use()
    talk.tell(Received(1, MAIL + RCPT), Send(2, MAIL + RCPT))
    talk.tell(Received(2, OK + OK), Send(1, OK + OK))
    go_to_rest(talk)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_what_is_owed_at_quit_is_waited_for_before_the_rset():
    talk = in_use()
    talk.tell(Received(1, MAIL + QUIT), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK + GOODBYE), Send(2, RSET))
    talk.tell(Received(2, WAS_RESET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_an_mta_that_vanishes_between_two_messages_leaves_a_good_connection():
    talk = in_use()
    send_message(talk)
    talk.tell(Closed(1, "reset"), Send(2, RSET))
    talk.tell(Received(2, WAS_RESET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_whoever_takes_it_while_its_rset_is_under_way_checks_the_reply():
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, MAIL), Send(2, MAIL))
    talk.tell(Received(2, WAS_RESET + OK), Send(3, OK))


def test_what_we_answer_ourselves_does_not_wait_for_the_reply_to_a_rset_of_ours():
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, EHLO), Send(3, PIPELINING))
    talk.tell(Received(3, MAIL + b"EXPN\r\nBDAT 1\r\n"), Send(2, MAIL + b"EXPN\r\n"))
    talk.tell(Received(2, WAS_RESET + OK), Send(3, OK))
    refused = b"502 5.5.1 gaproxy: not relayed\r\n"
    talk.tell(Received(2, b"252 perhaps\r\n"), Send(3, b"252 perhaps\r\n" + refused))


def test_a_remote_that_does_not_pipeline_answers_the_rset_before_it_hears_more():
    talk = in_use(offer=ONE_AT_A_TIME)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, MAIL))
    talk.tell(Received(2, WAS_RESET), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(3, OK))


def test_quit_and_open_in_one_segment_go_on_with_the_same_remote_and_no_rset_is_said_until_then():
    talk = in_use()
    talk.tell(Received(1, QUIT + opening(8)), Send(1, GOODBYE), Send(1, shown(8, uses=2)))
    talk.tell(Received(1, MAIL), Send(2, RSET + MAIL))
    talk.tell(Received(2, WAS_RESET + OK), Send(1, OK))


def test_a_rset_that_is_refused_lets_it_go():
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(2, b"502 no\r\n"), Close(2))
    assert talk.notes[-1] == f"{LET_GO} uses=1 messages=0 reason=rset_refused"


def test_a_rset_that_nobody_answers_for_five_seconds_lets_it_go():
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.wait(4.9)
    talk.wait(0.1, Close(2))
    assert talk.notes[-1].endswith("reason=rset_timeout")


# Watched at rest.

WORDS = {
    "421": (Received(2, b"421 idle for too long\r\n"), "remote_421"),
    "the beginning of a 421": (Received(2, b"421"), "remote_421"),
    "another reply": (Received(2, OK), "unsolicited"),
    "one byte": (Received(2, b"4"), "unsolicited"),
    "FIN or close_notify": (Ended(2), "remote_closed"),
    "RST": (Closed(2, "reset"), "remote_reset"),
    "a network that lost it": (Closed(2, "timeout"), "remote_timeout"),
    "a TLS alert": (Closed(2, "tls"), "remote_tls"),
}


@pytest.mark.parametrize(("said", "reason"), WORDS.values(), ids=WORDS)
def test_at_rest_any_word_of_the_remote_is_its_last(said, reason):
    talk = at_rest()
    talk.tell(said, *([] if isinstance(said, Closed) else [Close(2)]))
    assert talk.notes[-1] == f"{LET_GO} uses=1 messages=0 reason={reason}"
    assert talk.proxy.seating.counted["let_go", reason] == 1
    talk.tell(Received(3, opening(9)), calls(4))


def test_behind_a_byte_that_nobody_asked_for_nothing_rests_at_that_address_for_a_minute():
    talk = two_at_rest()
    talk.tell(Received(2, b"?"), Close(2), Send(4, QUIT))
    assert talk.notes[-1].endswith("reason=banned")
    talk.tell(Received(4, PARTED), Close(4))
    for gone in (2, 4):
        talk.tell(Closed(gone, "closed"))
    open_fresh(talk, remote=6, id=8)
    talk.wait(59.9)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(6, QUIT))
    assert talk.notes[-1] == f"{NOT_KEPT} uses=1 messages=0 reason=banned"
    open_fresh(talk, remote=8, id=9)
    talk.wait(0.1)
    go_to_rest(talk, remote=8)


def test_a_ban_is_of_an_address_and_port_whatever_the_source_and_of_no_other():
    talk = in_use()
    open_fresh(talk, mta=3, remote=4, said=opening(9, to="192.0.2.6:25"))
    go_to_rest(talk, mta=1, remote=2)
    go_to_rest(talk, mta=3, remote=4)
    talk.tell(Received(2, b"?"), Close(2))
    talk.tell(Received(3, opening(10, to="192.0.2.6:25")), Send(3, shown(10, uses=2, remote="192.0.2.6:25")))


def test_the_slot_of_one_that_left_its_rest_is_free_at_our_close():
    talk = at_rest(ONE_SLOT)
    talk.tell(Received(2, b"421 bye\r\n"), Close(2))
    talk.tell(Received(3, opening(9)), calls(4))


def test_a_minute_after_the_last_of_several_bans_of_one_address_it_is_over():
    talk = two_at_rest(SHARING + "reuse_connections { idle 5m }\n")
    talk.tell(Received(2, b"?"), Close(2), Send(4, QUIT))
    for gone in (2, 4):
        talk.tell(Closed(gone, "closed"))
    talk.wait(60.0)
    open_fresh(talk, remote=6, id=8)
    go_to_rest(talk, remote=6)
    talk.tell(Received(6, b"?"), Close(6))
    talk.tell(Closed(6, "closed"))
    open_fresh(talk, remote=8, id=9)
    talk.wait(59.9)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(8, QUIT))


# How long, how often, how many.


def test_whoever_rests_for_thirty_seconds_is_told_quit():
    talk = at_rest()
    talk.wait(29.9)
    talk.wait(0.1, Send(2, QUIT))
    assert talk.notes[-1].endswith("reason=idle")
    talk.tell(Received(3, opening(9)), calls(4))
    talk.tell(Received(2, PARTED), Close(2))


def test_a_remote_that_does_not_answer_quit_is_closed_two_seconds_later():
    talk = at_rest(SHARING + "reuse_connections { idle 1s }\n")
    talk.wait(1.0, Send(2, QUIT))
    talk.wait(2.0, Close(2))


def test_with_less_than_five_seconds_of_its_age_left_it_neither_rests_nor_is_handed_on():
    talk = in_use(SHARING + "reuse_connections { max_age 60s }\n")
    talk.wait(55.1)
    talk.tell(Received(1, QUIT + opening(8)), Send(1, GOODBYE), Send(2, QUIT), calls(4))
    assert f"{NOT_KEPT} uses=1 messages=0 reason=max_age" in talk.notes


def test_in_the_last_five_seconds_of_its_age_nobody_takes_it():
    talk = in_use(SHARING + "reuse_connections { max_age 60s }\n")
    talk.wait(54.0)
    go_to_rest(talk)
    talk.wait(1.0)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2, age_ms=55_000)))
    go_to_rest(talk, mta=3)
    talk.wait(0.1)
    talk.tell(Received(3, opening(10)), calls(4))


def test_behind_its_last_message_it_does_not_rest():
    talk = in_use(SHARING + "reuse_connections { messages 2 }\n")
    send_message(talk)
    go_to_rest(talk)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    send_message(talk, mta=3)
    send_message(talk, mta=3)
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(2, QUIT))
    assert talk.notes[-1] == f"{NOT_KEPT} uses=2 messages=3 reason=messages"


def test_a_block_of_the_operator_may_allow_fewer_messages():
    talk = in_use(SHARING + 'throttle "*" { messages_per_connection 1 }\n')
    send_message(talk)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    assert talk.notes[-1].endswith("reason=messages")


def test_what_former_sessions_said_is_taken_off_mailmax():
    offer = b"250-mx1.example.net\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=3 RCPTMAX=9\r\n"
    talk = in_use(offer=offer)
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, b"550 not you\r\n"), Send(1, b"550 not you\r\n"))
    send_message(talk)
    go_to_rest(talk)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, EHLO), Send(3, offer.replace(b"MAILMAX=3", b"MAILMAX=1")))
    send_message(talk, mta=3)
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(2, QUIT))
    assert talk.notes[-1] == f"{NOT_KEPT} uses=2 messages=2 reason=mailmax"


def test_of_one_place_the_longest_at_rest_makes_room_for_the_newest():
    talk = in_use(SHARING + "reuse_connections { per_destination 1 }\n")
    open_fresh(talk, mta=3, remote=4, id=9)
    go_to_rest(talk)
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(2, QUIT), Send(4, RSET))
    assert talk.notes[-1].endswith("reason=evicted")
    talk.tell(Received(4, WAS_RESET))
    talk.tell(Received(1, opening(8)), Send(1, shown(8, uses=2)))


def test_of_all_places_too_the_longest_at_rest_makes_room():
    talk = in_use(SHARING + "reuse_connections { total 1 }\n")
    open_fresh(talk, mta=3, remote=4, said=opening(9, to="192.0.2.6:25"))
    go_to_rest(talk)
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(2, QUIT), Send(4, RSET))
    assert talk.notes[-1].endswith("reason=evicted")


def test_of_two_that_come_to_rest_in_the_same_moment_the_second_one_makes_the_first_one_go():
    talk = with_mtas(SHARING + "reuse_connections { idle 10m; total 1 }\n", ("mta-1", "mta-2", "mta-3"))
    for mta, remote in ((1, 2), (3, 4), (5, 6)):
        open_fresh(talk, mta, remote)
    go_to_rest(talk, mta=5, remote=6)
    talk.tell(Closed(5, "closed"))
    rest = [Send(6, QUIT), Send(2, RSET), Send(2, QUIT), Send(4, RSET)]
    talk.wait(300.0, Close(1), Close(3), *rest)


def test_one_that_is_evicted_while_its_rset_is_under_way_takes_the_answer_for_a_farewell():
    talk = in_use(SHARING + "reuse_connections { total 1 }\n")
    open_fresh(talk, mta=3, remote=4, id=9)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(2, QUIT), Send(4, RSET))
    talk.tell(Received(2, WAS_RESET), Close(2))


# What ends a rest from outside.


def test_when_the_house_closes_whoever_rests_is_told_quit_and_nobody_rests_any_more():
    talk = in_use()
    open_fresh(talk, mta=3, remote=4, id=9)
    go_to_rest(talk)
    talk.tell(Received(3, MAIL), Send(4, MAIL))
    talk.tell(Received(4, OK), Send(3, OK))
    goaway = b"GOAWAY reason=drain\r\n"
    talk.tell(Signalled("TERM", bytes(16)), Prepare(()), Send(1, goaway), Close(1), Send(2, QUIT))
    assert talk.notes[-1].endswith("reason=drain")
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(3, goaway), Close(3), Send(4, QUIT))
    assert talk.notes[-1] == f"{NOT_KEPT} uses=1 messages=0 reason=drain"


def test_whoever_is_between_two_words_when_the_house_closes_is_told_quit_too():
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    goaway = b"GOAWAY reason=drain\r\n"
    orders = talk.hear(Signalled("TERM", bytes(16)))
    assert orders[1:] == [Send(1, goaway), Close(1), Send(3, goaway), Close(3), Send(2, QUIT)]


def test_a_reload_that_forbids_its_address_ends_its_rest_and_whoever_uses_it_keeps_it_until_quit():
    talk = in_use()
    open_fresh(talk, mta=3, remote=4, id=9)
    go_to_rest(talk)
    reload(talk, SHARING.replace("192.0.2.0/24", "192.0.2.6/32"), Send(2, QUIT))
    assert talk.notes[-1].endswith("reason=policy_changed")
    send_message(talk, mta=3, remote=4)
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(4, QUIT))
    assert talk.notes[-1] == f"{NOT_KEPT} uses=1 messages=1 reason=policy_changed"


def test_a_reload_that_forbids_its_source_ends_its_rest():
    talk = at_rest()
    reload(talk, SHARING + "source_ips 127.0.0.3\n", Send(2, QUIT))


def test_a_reload_that_changes_nothing_for_it_leaves_it_at_rest():
    talk = at_rest()
    reload(talk, SHARING)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_reuse_connections_no_ends_every_rest_and_lets_none_begin():
    talk = in_use()
    open_fresh(talk, mta=3, remote=4, id=9)
    go_to_rest(talk)
    reload(talk, SHARING + "reuse_connections no\n", Send(2, QUIT))
    assert talk.notes[-1].endswith("reason=off")
    before = len(talk.notes)
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(4, QUIT))
    assert not any("not kept" in note for note in talk.notes[before:])


def test_a_reload_that_lets_fewer_rest_ends_the_longest_rests():
    talk = two_at_rest()
    reload(talk, SHARING + "reuse_connections { per_destination 1 }\n", Send(2, QUIT))
    assert talk.notes[-1].endswith("reason=evicted")
    talk.tell(Received(1, opening(8)), Send(1, shown(8, uses=2, age_ms=1000)))


def test_without_a_descriptor_those_that_have_rested_longest_are_let_go():
    talk = two_at_rest()
    talk.tell(Exhausted("descriptors"), Send(2, QUIT), Send(4, QUIT))
    assert talk.notes[-1].endswith("reason=exhausted")


def test_without_a_descriptor_no_more_than_sixteen_are_let_go_at_once():
    talk = with_mtas()
    for number in range(17):
        open_fresh(talk, remote=2 + 2 * number, said=opening(number + 1, more=" reuse=new"))
        talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2 + 2 * number, RSET))
    talk.tell(Exhausted("descriptors"), *(Send(2 + 2 * number, QUIT) for number in range(16)))


def test_one_that_rests_makes_room_for_another_identity_and_the_dial_waits_until_it_has_gone():
    talk = at_rest(ONE_SLOT)
    talk.tell(Received(3, opening(9, to="192.0.2.6:25")), Send(2, QUIT))
    talk.wait(2.0, Close(2), calls(4, "192.0.2.6"))


# What people are told.


def test_the_status_line_is_true_at_every_moment():
    talk = with_mtas()
    told = [status(talk)]
    for fact in (
        Received(1, opening()),
        connected(),
        Received(2, GREETING),
        Received(2, PIPELINING),
        Received(1, QUIT),
        Received(2, WAS_RESET),
        Received(3, opening(9)),
        Received(3, QUIT),
        Received(2, WAS_RESET),
        Received(2, b"421 bye\r\n"),
        Closed(2, "closed"),
    ):
        talk.hear(fact)
        told.append(status(talk))
    none, active, cached = "0(active=0 cached=0)", "1(active=1 cached=0)", "1(active=0 cached=1)"
    assert [line.partition("connections=")[2] for line in told] == [
        none,
        active,
        active,
        active,
        active,
        cached,
        cached,
        active,
        cached,
        cached,
        active,
        none,
    ]


def verbose(config: str = SHARING) -> Talk:
    return at_rest(config + "log_verbose yes\n")


@pytest.mark.parametrize(
    ("wanted", "differs"),
    [
        (opening(9).replace(b"helo=out1", b"helo=out2"), "helo"),
        (opening(9, tls="may", more=" pool=apart"), "tls,pool"),
        (opening(9, to="192.0.2.5:25/mx1.example.net"), "host"),
    ],
)
def test_a_verbose_log_says_why_none_that_rests_there_was_taken(wanted, differs):
    talk = verbose()
    talk.tell(Received(3, wanted), calls(4))
    beginning = "direct_remote_smtp: session(2021222324252627/9): none that rests agrees"
    assert talk.last_note(beginning) == f"{beginning} remote=192.0.2.5:25 differs={differs}"


def test_a_verbose_log_says_when_only_the_slots_are_missing():
    talk = verbose(SHARING + 'throttle "narrow" { max_connections 1 }\n')
    open_fresh(talk, remote=4, said=opening(8, more=" throttle=narrow reuse=new"))
    talk.hear(Received(3, opening(9, more=" throttle=narrow")))
    assert talk.last_note("direct_remote_smtp: session(").endswith("differs=slots")


def test_a_verbose_log_says_nothing_where_nobody_rests():
    talk = with_mtas(SHARING + "log_verbose yes\n")
    talk.tell(Received(3, opening(9)), calls(2))
    assert not any("none that rests agrees" in note for note in talk.notes)


def test_a_log_that_is_not_verbose_does_not_say_why():
    talk = at_rest()
    talk.tell(Received(3, opening(9, tls="may")), calls(4))
    assert not any("none that rests agrees" in note for note in talk.notes)


def test_when_everybody_has_gone_nothing_of_them_is_left():
    talk = two_at_rest(SHARING + 'throttle "*" { max_connections 2 }\n')
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.tell(Ended(2), Close(2), Send(4, RSET))
    talk.tell(Received(4, WAS_RESET), Send(3, shown(9, uses=2, age_ms=4000)))
    talk.tell(Received(3, QUIT + opening(10)), Send(3, GOODBYE), Send(3, shown(10, uses=3, age_ms=4000)))
    go_to_rest(talk, mta=3, remote=4)
    talk.tell(Received(4, b"421 bye\r\n"), Close(4))
    for id in (1, 2, 3, 4):
        talk.hear(Closed(id, "closed"))
    board = talk.proxy.switchboard
    left = [board.trunks, board.requests, board.places, board.waiting, board.freed, board.clears, board.pool.resting]
    assert not any([*left, board.pool.at, talk.proxy.seating.seats, talk.proxy.seating.connections])
