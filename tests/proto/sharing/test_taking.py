"""Which of those that rest is taken, by whom, and how it is asked first whether it still stands."""

import pytest
from tools.sharing import (
    LET_GO,
    ONE_SLOT,
    PARTED,
    PATIENT,
    RSET,
    SHARING,
    WAS_RESET,
    answer,
    at_rest,
    calls,
    go_to_rest,
    in_use,
    open_fresh,
    shown,
    two_at_rest,
    with_mtas,
)
from tools.talk import (
    GOODBYE,
    GREETING,
    MAIL,
    PIPELINING,
    QUIT,
    connected,
    failed,
    opening,
)

from gaproxy.proto.actions import Close, Connect, Send
from gaproxy.proto.events import Closed, Connected, Ended, Received

# Who takes which.


def test_the_least_recently_used_of_the_fresh_ones_is_taken_first():
    talk = two_at_rest()
    talk.tell(Received(1, opening(8)), Send(1, shown(8, uses=2, age_ms=1000)))
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_a_fresh_one_is_taken_before_one_that_must_be_asked():
    talk = two_at_rest()
    talk.wait(1.5)
    talk.tell(Received(1, opening(8)), Send(1, shown(8, uses=2, age_ms=2500)))
    talk.tell(Received(1, MAIL), Send(4, MAIL))


def test_only_identical_requests_take_it():
    for other in (
        opening(9).replace(b"helo=out1", b"helo=out2"),
        opening(9).replace(b"source=127.0.0.2", b"source=127.0.0.3"),
        opening(9, tls="may"),
        opening(9, to="192.0.2.5:465", tls="may"),
        opening(9, to="192.0.2.6:25"),
        opening(9, to="192.0.2.5:25/mx1.example.net"),
        opening(9, more=" pool=apart"),
        opening(9, more=" reuse=new"),
        opening(9, more=" tls_names=mx1.example.net"),
    ):
        talk = at_rest()
        [call] = talk.hear(Received(3, other))
        assert isinstance(call, Connect) and call.id == 4
        talk.tell(Received(1, opening(8)), Send(1, shown(8, uses=2)))


def test_what_limits_the_request_and_who_makes_it_does_not_matter():
    talk = at_rest()
    talk.tell(Received(3, opening(9, more=" throttle=example.net wait_ms=1000")), Send(3, shown(9, uses=2)))


def test_plain_text_under_may_is_shared_where_the_remote_offers_no_tls():
    talk = at_rest(said=opening(tls="may"))
    talk.tell(Received(3, opening(9, tls="may")), Send(3, shown(9, uses=2)))


def test_the_same_destination_may_be_spelt_otherwise():
    talk = with_mtas()
    talk.hear(Received(1, opening(to="[2001:db8::5]:25").replace(b"127.0.0.2", b"2001:db8::2")))
    talk.hear(Connected(2, ("2001:db8::2", 40113)))
    talk.hear(Received(2, GREETING))
    talk.hear(Received(2, PIPELINING))
    go_to_rest(talk)
    same = opening(9, to="[2001:DB8:0::5]:25").replace(b"127.0.0.2", b"2001:db8:0:0::2")
    [told] = talk.hear(Received(3, same))
    assert b" reused=yes uses=2 " in told.data


def test_a_pool_of_its_own_is_shared_by_those_who_name_it():
    talk = at_rest(said=opening(more=" pool=apart"))
    talk.tell(Received(3, opening(9)), calls(4))
    talk.tell(Received(1, opening(8, more=" pool=apart")), Send(1, shown(8, uses=2)))


def test_one_that_was_asked_for_anew_may_rest_afterwards():
    talk = at_rest(said=opening(more=" reuse=new"))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))


def test_one_asked_for_anew_has_the_slot_of_one_that_rests():
    talk = at_rest(ONE_SLOT)
    talk.tell(Received(3, opening(9, more=" reuse=new")), Send(2, QUIT))
    assert talk.notes[-1].endswith("reason=slot_needed")
    talk.tell(Received(2, PARTED), Close(2), calls(4))


def test_a_worse_group_is_not_reused_before_the_better_one_was_dialled():
    talk = at_rest()
    both = opening(9, to="192.0.2.6:25/1,192.0.2.5:25/2")
    talk.tell(Received(3, both), calls(4, "192.0.2.6"))
    talk.hear(connected(4))
    [farewell, *told] = talk.hear(Received(4, b"421 busy\r\n"))
    assert farewell == Close(4)
    [told] = told
    assert told.id == 3 and b"remote=192.0.2.5:25 reused=yes uses=2" in told.data


def test_a_worse_group_is_reused_where_the_better_one_has_no_place():
    talk = at_rest(SHARING + 'throttle "narrow" { remote 192.0.2.6/32; max_connections 1 }\n')
    open_fresh(talk, remote=4, said=opening(8, to="192.0.2.6:25"))
    both = opening(9, to="192.0.2.6:25/1,192.0.2.5:25/2")
    talk.tell(Received(3, both.replace(b"/1,", b"/mx1.example.net/1,")), Send(3, shown(9, uses=2)))


def test_one_of_the_best_group_is_reused_whatever_its_place_in_the_list():
    talk = at_rest()
    both = opening(9, to="192.0.2.6:25/1,192.0.2.5:25/1")
    talk.tell(Received(3, both), Send(3, shown(9, uses=2)))


# Asked first, where it has rested for long.


def test_one_that_has_rested_for_more_than_two_seconds_is_asked_whether_it_still_stands():
    talk = at_rest()
    talk.wait(2.1)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.tell(Received(2, WAS_RESET), Send(3, shown(9, uses=2, age_ms=2100)))
    talk.tell(Received(3, MAIL), Send(2, MAIL))


def test_one_whose_rset_is_still_owed_is_not_asked_a_second_time():
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2, age_ms=3000)))


ANSWERS = {
    "another code": (Received(2, b"250-no\r\n451 no\r\n"), "rset_refused"),
    "421": (Received(2, b"421 bye\r\n"), "remote_421"),
    "an odd 250": (Received(2, b"250 ok\n"), "reply_lf"),
    "no reply": (Received(2, b"what?\r\n"), "desync"),
    "FIN": (Ended(2), "remote_closed"),
    "RST": (Closed(2, "reset"), "remote_reset"),
}


@pytest.mark.parametrize(("said", "reason"), ANSWERS.values(), ids=ANSWERS)
def test_one_that_fails_its_probe_costs_nothing_and_another_one_is_dialled(said, reason):
    talk = at_rest(ONE_SLOT)
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.tell(said, *([] if isinstance(said, Closed) else [Close(2)]), calls(4))
    assert talk.notes[-1] == f"{LET_GO} uses=2 messages=0 reason={reason}"
    answer(talk, mta=3, remote=4)


def test_a_probe_is_waited_for_five_seconds():
    talk = at_rest()
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.wait(4.9)
    talk.wait(0.1, Close(2), calls(4))
    assert talk.notes[-1].endswith("reason=rset_timeout")


def test_after_two_failed_probes_one_is_dialled_though_a_third_one_rests():
    talk = two_at_rest(PATIENT)
    open_fresh(talk, mta=1, remote=6, said=opening(8, more=" reuse=new"))
    go_to_rest(talk, remote=6)
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.tell(Ended(2), Close(2), Send(4, RSET))
    talk.tell(Ended(4), Close(4), calls(8))
    answer(talk, mta=3, remote=8)
    talk.tell(Received(1, opening(10)), Send(6, RSET))


def test_the_place_of_a_failed_probe_is_taken_by_the_next_one():
    talk = two_at_rest(SHARING + 'throttle "*" { max_connections 2 }\n')
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.tell(Ended(2), Close(2), Send(4, RSET))
    talk.tell(Received(4, WAS_RESET), Send(3, shown(9, uses=2, age_ms=4000)))
    talk.tell(Received(1, opening(8)), calls(6))
    answer(talk, mta=1, remote=6)


def test_an_mta_that_leaves_during_the_probe_takes_the_remote_with_it():
    talk = at_rest(ONE_SLOT)
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.tell(Closed(3, "reset"), Close(2))
    talk.tell(Received(1, opening(8)), calls(4))


def test_the_time_for_all_addresses_holds_for_probes_too():
    talk = at_rest(SHARING + "timeouts { total 4s }\n")
    talk.wait(3.0)
    talk.tell(Received(3, opening(9)), Send(2, RSET))
    talk.wait(4.0, Close(2), Send(3, failed("timeout", "", "the time for all addresses is over", id=9)))
