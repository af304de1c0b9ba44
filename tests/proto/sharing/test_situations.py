"""The sixty situations in which a connection that several MTAs share may go wrong, each by its number.

Those that another dialogue shows, and those that cannot come to pass here, stand in the two tables at the end.
"""

import re

import pytest
from tools.house import ROOT
from tools.sharing import (
    GO_AHEAD,
    LET_GO,
    OK,
    PARTED,
    RSET,
    SHARING,
    WAS_RESET,
    answer,
    at_rest,
    calls,
    go_to_rest,
    in_use,
    open_fresh,
    reload,
    send_message,
    shown,
    two_at_rest,
    with_mtas,
)
from tools.talk import DATA, EHLO, GOODBYE, GREETING, MAIL, PIPELINING, QUIT, RCPT, SESSION, Talk, connected, opening

from gaproxy.proto.actions import Close, Connect, Prepare, Relay, Secure, Send
from gaproxy.proto.events import Closed, Ended, Received, Relayed, Secured, Signalled

LOST = f"421 4.4.2 gaproxy: the remote closed the connection [{SESSION}/7]\r\n".encode()
UNKNOWN = LOST.replace(b" [", b" after the end of data, outcome unknown [")


def lets_go(talk: Talk, reason: str) -> bool:
    return talk.notes[-1] == f"{LET_GO} uses=1 messages=0 reason={reason}"


def in_body() -> Talk:
    """A talk in which a body is on its way."""
    talk = in_use()
    talk.tell(Received(1, MAIL + RCPT + DATA), Send(2, MAIL + RCPT + DATA))
    said = OK + OK + GO_AHEAD
    talk.tell(Received(2, said), Send(1, said), Relay(1, 2))
    return talk


def going_to_rest() -> Talk:
    """A talk in which the RSET behind the session of MTA 1 is under way."""
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    return talk


def tls_at_rest(policy: str, to: str = "192.0.2.5:25") -> Talk:
    """A talk in which 2 rests, with the TLS that MTA 1 asked for."""
    talk = with_mtas()
    offer = PIPELINING.replace(b"SIZE 1000", b"STARTTLS")
    talk.tell(Received(1, opening(to=to, tls=policy)), calls(2))
    talk.tell(connected())
    talk.tell(Received(2, GREETING), Send(2, EHLO))
    talk.tell(Received(2, offer), Send(2, b"STARTTLS\r\n"))
    [secure] = talk.hear(Received(2, b"220 go\r\n"))
    assert isinstance(secure, Secure)
    certificate = ("mx1.example.net", "mx2.example.net")
    talk.tell(
        Secured(2, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "00" * 32, certificate, policy == "verify"), Send(2, EHLO)
    )
    talk.hear(Received(2, PIPELINING))
    go_to_rest(talk)
    return talk


# A session ends.


def test_situation_1_at_its_end_a_clean_connection_is_reset_and_rests():
    talk = in_use()
    send_message(talk)
    go_to_rest(talk)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_situation_2_an_envelope_is_reset():
    talk = in_use()
    talk.tell(Received(1, MAIL + RCPT), Send(2, MAIL + RCPT))
    talk.tell(Received(2, OK + OK), Send(1, OK + OK))
    go_to_rest(talk)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_situation_3_replies_that_are_owed_are_waited_for_and_a_remote_that_owes_them_too_long_is_closed():
    talk = in_use()
    talk.tell(Received(1, MAIL + QUIT), Send(2, MAIL))
    talk.tell(Closed(3, "closed"))
    talk.wait(299.9)
    silent = f"421 4.4.2 gaproxy: the remote was silent for too long [{SESSION}/7]\r\n".encode()
    talk.wait(0.1, Close(2), Send(1, silent + GOODBYE))


def test_situation_4_a_body_that_ends_in_its_middle_closes_the_remote_without_a_terminator():
    talk = in_body()
    talk.tell(Relayed(1, 100, b"", "cut"), Close(2), Close(1))


def test_situation_5_behind_the_dot_the_reply_is_waited_for_and_told_and_then_it_rests():
    talk = in_body()
    talk.tell(Relayed(1, 100, QUIT, "dot"))
    talk.wait(200.0)
    talk.tell(Received(2, OK), Send(1, OK + GOODBYE), Send(2, RSET))
    talk.tell(Received(2, WAS_RESET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2, age_ms=200_000)))


def test_situation_6_one_that_is_not_kept_is_told_quit_and_closed_at_its_221_or_two_seconds_later():
    for said in (True, False):
        talk = in_use(SHARING + "reuse_connections no\n")
        talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
        if said:
            talk.tell(Received(2, PARTED), Close(2))
        else:
            talk.wait(2.0, Close(2))


# Its RSET.


def test_situation_8_a_rset_that_is_refused_closes_it():
    for said in (b"500 what\r\n", b"450 later\r\n", b"251 ok\r\n"):
        talk = going_to_rest()
        talk.tell(Received(2, said), Close(2))
        assert lets_go(talk, "rset_refused")


def test_situation_9_a_rset_that_is_not_answered_within_five_seconds_closes_it():
    talk = going_to_rest()
    talk.wait(4.9)
    talk.wait(0.1, Close(2))
    assert lets_go(talk, "rset_timeout")


def test_situation_10_two_replies_to_rset_close_it_in_one_segment_or_in_two():
    talk = going_to_rest()
    talk.tell(Received(2, WAS_RESET + WAS_RESET), Close(2))
    assert lets_go(talk, "unsolicited")
    talk = going_to_rest()
    talk.tell(Received(2, WAS_RESET))
    talk.tell(Received(2, WAS_RESET), Close(2))
    assert lets_go(talk, "unsolicited")


# At rest.


def test_situation_11_a_421_at_rest_closes_it_is_counted_and_told_to_nobody():
    talk = at_rest()
    talk.tell(Received(2, b"421 4.4.2 idle\r\n"), Close(2))
    assert lets_go(talk, "remote_421")
    assert talk.proxy.seating.counted["let_go", "remote_421"] == 1


@pytest.mark.parametrize(("fact", "reason"), [(Ended(2), "remote_closed"), (Closed(2, "reset"), "remote_reset")])
def test_situation_12_fin_or_rst_at_rest_closes_it(fact, reason):
    talk = at_rest()
    talk.tell(fact, *([Close(2)] if isinstance(fact, Ended) else []))
    assert lets_go(talk, reason)
    assert talk.proxy.seating.counted["let_go", reason] == 1


def test_situation_13_any_other_byte_at_rest_closes_it_and_bans_the_address():
    talk = two_at_rest()
    talk.tell(Received(2, b"2"), Close(2), Send(4, QUIT))
    open_fresh(talk, remote=6, id=8)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(6, QUIT))


def test_situation_15_close_notify_at_rest_closes_it():
    talk = tls_at_rest("encrypt")
    talk.tell(Ended(2), Close(2))
    assert lets_go(talk, "remote_closed")


def test_situation_16_after_its_idle_time_it_is_told_quit():
    talk = at_rest(SHARING + "reuse_connections { idle 7s }\n")
    talk.wait(6.9)
    talk.wait(0.1, Send(2, QUIT))
    assert lets_go(talk, "idle")
    talk.tell(Received(2, PARTED), Close(2))


@pytest.mark.parametrize("limit", ["messages 1", "max_age 9s"])
def test_situation_17_beyond_a_limit_it_is_told_quit_at_the_end_of_the_session(limit):
    talk = in_use(SHARING + f"reuse_connections {{ {limit} }}\n")
    send_message(talk)
    talk.wait(9.0)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))


# Taken.


def test_situation_18_within_two_seconds_it_is_taken_without_a_question():
    talk = at_rest()
    talk.wait(2.0)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2, age_ms=2000)))


def test_situation_19_later_it_is_asked_first():
    talk = at_rest()
    talk.wait(2.1)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.tell(Received(2, WAS_RESET), Send(3, shown(9, uses=2, age_ms=2100)))


def test_situation_20_after_a_probe_that_failed_the_next_one_is_asked_and_after_two_one_is_dialled():
    talk = two_at_rest()
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.tell(Received(2, b"500 what\r\n"), Close(2), Send(4, RSET))
    talk.tell(Closed(4, "reset"), calls(6))
    answer(talk, mta=3, remote=6)


@pytest.mark.parametrize("first", [MAIL + RCPT, DATA, EHLO.replace(b"EHLO", b"VRFY")])
def test_situation_21_one_that_was_dead_before_it_answered_is_replaced_and_the_mta_does_not_notice(first):
    talk = at_rest()
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, first), Send(2, first))
    talk.tell(Closed(2, "reset"), calls(4))
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, PIPELINING), Send(4, first))
    said = b"554 no\r\n" * first.count(b"\n")
    talk.tell(Received(4, said), Send(3, said))


def test_situation_22_of_two_who_want_the_same_one_the_first_has_it_and_for_the_second_one_is_dialled():
    talk = at_rest()
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(1, opening(8)), calls(4))


@pytest.mark.parametrize(
    "other",
    [
        opening(9).replace(b"helo=out1", b"helo=out2"),
        opening(9).replace(b"source=127.0.0.2", b"source=127.0.0.3"),
        opening(9, tls="may"),
        opening(9, more=" pool=apart"),
    ],
)
def test_situation_23_for_another_name_source_tls_or_pool_one_is_dialled(other):
    talk = at_rest()
    [call] = talk.hear(Received(3, other))
    assert isinstance(call, Connect) and call.id == 4
    talk.tell(Received(1, opening(8)), Send(1, shown(8, uses=2)))


def test_situation_24_one_that_nobody_verified_is_nothing_for_who_wants_that():
    talk = tls_at_rest("may", to="192.0.2.5:25/mx1.example.net")
    talk.tell(Received(3, opening(9, to="192.0.2.5:25/mx1.example.net", tls="verify")), calls(4))


def test_situation_25_one_that_was_verified_for_one_name_is_nothing_for_who_wants_another():
    talk = tls_at_rest("verify", to="192.0.2.5:25/mx1.example.net")
    talk.tell(Received(3, opening(9, to="192.0.2.5:25/mx2.example.net", tls="verify")), calls(4))
    named = opening(9, to="192.0.2.5:25/mx1.example.net", tls="verify", more=" tls_names=mx2.example.net")
    talk.tell(Received(1, named), calls(6))


def test_situation_26_a_policy_that_changed_is_another_request():
    talk = tls_at_rest("may")
    talk.tell(Received(3, opening(9, tls="encrypt")), calls(4))
    [told] = talk.hear(Received(1, opening(8, tls="may")))
    assert b" reused=yes uses=2 " in told.data and b" tls=TLSv1.3 " in told.data


def test_situation_28_of_two_offers_only_the_one_behind_tls_is_ever_shown():
    talk = tls_at_rest("may")
    talk.hear(Received(3, opening(9, tls="may")))
    talk.tell(Received(3, EHLO), Send(3, PIPELINING))


# In use.


def test_situation_40_half_a_reply_behind_the_dot_is_no_reply():
    talk = in_body()
    talk.tell(Relayed(1, 100, b"", "dot"))
    talk.tell(Received(2, b"250-queued\r\n"))
    talk.tell(Closed(2, "reset"), Send(1, UNKNOWN))


def test_situation_44_an_mta_that_vanishes_between_two_messages_leaves_a_connection_that_rests():
    talk = in_use()
    send_message(talk)
    talk.tell(Closed(1, "reset"), Send(2, RSET))
    talk.tell(Received(2, WAS_RESET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_situation_45_a_quit_is_answered_by_us_and_the_remote_never_hears_it():
    talk = at_rest()
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(2, RSET))


def test_situation_46_a_second_ehlo_is_answered_from_memory_and_starttls_refused_and_neither_taints():
    talk = in_use()
    talk.tell(Received(1, EHLO + EHLO), Send(1, PIPELINING + PIPELINING))
    talk.tell(Received(1, b"STARTTLS\r\n"), Send(1, b"502 5.5.1 gaproxy: not relayed\r\n"))
    go_to_rest(talk)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_situation_53_a_message_that_is_refused_leaves_a_connection_that_rests():
    for said in (b"450 later\r\n", b"550 never\r\n"):
        talk = in_body()
        talk.tell(Relayed(1, 100, b"", "dot"))
        talk.tell(Received(2, said), Send(1, said))
        go_to_rest(talk)
        talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_situation_54_an_envelope_of_which_every_recipient_was_refused_is_reset():
    talk = in_use()
    talk.tell(Received(1, MAIL + RCPT), Send(2, MAIL + RCPT))
    said = OK + b"550 who?\r\n"
    talk.tell(Received(2, said), Send(1, said))
    go_to_rest(talk)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_situation_57_a_reload_that_removes_the_source_ends_a_rest_and_lets_none_begin():
    talk = in_use()
    open_fresh(talk, mta=3, remote=4, id=9)
    go_to_rest(talk)
    reload(talk, SHARING + "source_ips 127.0.0.3\n", Send(2, QUIT))
    send_message(talk, mta=3, remote=4)
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(4, QUIT))


def test_situation_58_when_the_house_closes_whoever_rests_is_told_quit_and_a_transaction_may_end():
    talk = in_use()
    open_fresh(talk, mta=3, remote=4, id=9)
    go_to_rest(talk)
    talk.tell(Received(3, MAIL), Send(4, MAIL))
    goaway = b"GOAWAY reason=drain\r\n"
    talk.tell(Signalled("TERM", bytes(16)), Prepare(()), Send(1, goaway), Close(1), Send(2, QUIT))
    talk.tell(Received(4, OK), Send(3, OK))


def test_situation_60_one_address_is_shared_by_the_domains_behind_it_unless_a_host_was_named():
    talk = at_rest(said=opening(more=" throttle=example.net"))
    talk.tell(Received(3, opening(9, more=" throttle=example.org")), Send(3, shown(9, uses=2)))
    go_to_rest(talk, mta=3)
    talk.tell(Received(1, opening(8, to="192.0.2.5:25/mx1.example.net")), calls(4))


ELSEWHERE = {
    14: "tests/proto/wire/test_tls.py::test_session_tickets_are_no_plain_text",
    27: "tests/proto/remote/test_caller.py::test_plain_text_behind_the_reply_to_starttls_is_an_injection",
    29: "tests/proto/remote/test_caller.py::test_with_may_a_remote_that_offers_none_is_spoken_to_in_plain_text",
    30: "tests/proto/remote/test_caller.py::test_with_encrypt_a_remote_that_offers_none_is_given_up",
    31: "tests/proto/remote/test_caller.py::"
    "test_with_may_a_handshake_that_fails_is_followed_by_a_fresh_call_in_plain_text_and_only_one",
    32: "tests/proto/remote/test_caller.py::"
    "test_with_verify_a_certificate_of_another_name_is_the_end_before_anything_is_said",
    33: "tests/proto/remote/test_dialler.py::test_the_kind_and_the_reply_are_those_of_the_last_address",
    34: "tests/proto/remote/test_dialler.py::test_a_greeting_of_5xx_speaks_for_its_own_address_if_the_operator_says_so",
    35: "tests/proto/remote/test_caller.py::test_what_is_no_greeting_is_told_for_what_it_is",
    36: "tests/proto/remote/test_caller.py::test_a_remote_that_does_not_know_ehlo_is_greeted_with_helo",
    37: "tests/proto/relay/test_dialogue.py::test_a_remote_that_is_lost_owes_421_to_every_command_that_waits_for_it",
    38: "tests/contract/test_relays.py::test_when_the_remote_goes_bytes_are_dropped_and_the_scan_goes_on",
    39: "tests/proto/relay/test_dialogue.py::test_a_remote_that_is_lost_behind_the_dot_leaves_the_outcome_unknown",
    41: "tests/proto/relay/test_dialogue.py::"
    "test_when_an_mta_vanishes_behind_the_dot_the_log_tells_what_became_of_the_message",
    42: "tests/proto/relay/test_dialogue.py::test_an_mta_that_vanishes_in_a_body_takes_the_remote_with_it",
    43: "tests/proto/relay/test_dialogue.py::test_when_an_mta_vanished_behind_the_dot_the_remote_has_its_ten_minutes",
    47: "tests/proto/relay/test_dialogue.py::test_commands_are_passed_on_one_at_a_time_to_any_other_remote",
    48: "tests/proto/relay/test_dialogue.py::test_a_body_renews_patience_only_when_4_kib_have_moved",
    49: "tests/proto/relay/test_dialogue.py::test_a_reply_that_data_cannot_have_is_never_passed_on",
    50: "tests/proto/sharing/test_taints.py::test_it_is_told_quit_instead_of_rset",
    51: "tests/proto/sharing/test_taints.py::test_it_is_told_quit_instead_of_rset",
    52: "tests/proto/relay/test_dialogue.py::test_a_421_to_a_command_ends_it_for_all_of_them",
    55: "tests/contract/test_relays.py::test_a_feeder_is_paused_while_the_outbox_it_fills_is_too_full",
    56: "tests/contract/test_relays.py::test_any_other_link_whose_outbox_is_too_full_is_not_read",
}
"""Situation → the test that shows it: of the relay, of the call, or of what lies below the machine."""

NOT_HERE = {
    7: "no MTA may abort a connection that others use: it can only leave",
    59: "a session has no lease; a turn ends when others wait (test_turns.py)",
}
"""Situation → why it cannot come to pass here."""


def test_every_situation_is_shown_once_and_where_it_is_said_to_be():
    here = {int(number) for number in re.findall(r"^def test_situation_(\d+)_", (ROOT / __file__).read_text(), re.M)}
    assert sorted([*here, *ELSEWHERE, *NOT_HERE]) == list(range(1, 61))
    for place in ELSEWHERE.values():
        path, _, name = place.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text()
