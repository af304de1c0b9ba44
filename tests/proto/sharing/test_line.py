"""Who stands in line for a place under a limit, who lets whom pass, and what is closed for it.

MTAs 1, 3, 5 came in; 2, 4 … are called. Under `ONE` a single connection may stand at a time.
"""

import pytest
from tools.line import (
    ANY,
    AT_FIVE,
    FULL,
    ONE,
    THREE,
    TWO,
    by_another_name,
    everybody_goes,
    throttled,
    waiting,
)
from tools.sharing import (
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
    shown,
    with_mtas,
)
from tools.talk import CONFIG, EHLO, ENTROPY, GOODBYE, MAIL, PIPELINING, QUIT, Talk, failed, opening

from gaproxy.proto.actions import Close, Send
from gaproxy.proto.events import Accepted, Closed, ConnectFailed, Ended, Received, Signalled

# To wait, or not.


def test_who_does_not_wait_is_told_at_once_that_a_limit_is_reached():
    talk = in_use(ONE)
    talk.tell(Received(3, opening(9)), Send(3, throttled()))
    talk.tell(Received(3, opening(10)), Send(3, throttled(10)))
    everybody_goes(talk)


def test_who_waits_gets_the_connection_when_it_is_given_back():
    talk = in_use(ONE)
    talk.tell(Received(3, waiting()))
    talk.wait(3.0)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(3, shown(9, uses=2, age_ms=3000)))
    talk.tell(Received(3, EHLO + MAIL), Send(3, PIPELINING), Send(2, RSET + MAIL))
    talk.tell(Received(2, WAS_RESET + OK), Send(3, OK))
    talk.wait(60.0)
    everybody_goes(talk)


def test_who_has_waited_in_vain_is_told_so_when_his_time_is_over():
    talk = in_use(ONE)
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(3, waiting()))
    talk.wait(19.999)
    talk.wait(0.001, Send(3, throttled()))
    assert talk.last_note("smtp: session").endswith(f"tried=192.0.2.5:25/throttled/0 text={FULL}")
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    everybody_goes(talk)


def test_where_nothing_may_rest_who_waits_dials_as_soon_as_the_former_one_is_closed():
    talk = in_use(CONFIG + ANY % 1)
    talk.tell(Received(3, waiting()))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    answer(talk, 3, 4)
    everybody_goes(talk)


def test_a_remote_that_fails_after_the_wait_is_told_behind_the_limit():
    talk = in_use(CONFIG + ANY % 1)
    talk.tell(Received(3, waiting()))
    talk.tell(Closed(2, "reset"), calls(4))
    tried = "192.0.2.5:25/throttled/0,192.0.2.5:25/unreachable/0"
    talk.tell(ConnectFailed(4, "unreachable", "no route"), Send(3, failed("unreachable", tried, "no route", id=9)))
    everybody_goes(talk)


def test_the_time_of_all_addresses_begins_when_the_wait_is_over():
    talk = in_use(CONFIG + ANY % 1 + "timeouts { connect 90s }\n")
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(3, opening(9, more=" wait_ms=120000")))
    talk.wait(70.0)
    talk.tell(Closed(2, "reset"), Send(1, talk_lost()), calls(4))
    talk.wait(59.0)
    tried = "192.0.2.5:25/throttled/0,192.0.2.5:25/timeout/60000"
    talk.wait(1.0, Close(4), Send(3, failed("timeout", tried, "the time for all addresses is over", id=9)))


def talk_lost() -> bytes:
    return f"421 4.4.2 gaproxy: the remote closed the connection [{ENTROPY[32:40].hex()}/7]\r\n".encode()


# What rests in the way.


def test_one_that_rests_in_the_way_is_let_go_and_its_place_dialled_with_when_it_is_closed():
    talk = at_rest(ONE)
    talk.tell(Received(3, by_another_name(opening(9))), Send(2, QUIT))
    assert talk.notes[-1].endswith("let go source=127.0.0.2 uses=1 messages=0 reason=slot_needed")
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    answer(talk, 3, 4)
    everybody_goes(talk)


def test_a_remote_that_does_not_answer_that_quit_is_closed_after_two_seconds_and_nobody_is_late_for_it():
    talk = at_rest(ONE)
    talk.tell(Received(3, by_another_name(opening(9, more=" wait_ms=500"))), Send(2, QUIT))
    talk.wait(1.999)
    talk.wait(0.001, Close(2), calls(4))
    answer(talk, 3, 4)


def test_the_one_that_has_rested_longest_goes_first():
    talk = with_mtas(TWO, THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4)
    go_to_rest(talk, 3, 4)
    talk.wait(0.5)
    go_to_rest(talk, 1, 2)
    talk.tell(Received(5, by_another_name(opening(9))), Send(4, QUIT))
    talk.tell(Received(4, PARTED), Close(4), calls(6))
    everybody_goes(talk)


def test_one_that_the_same_request_may_have_is_taken_and_nothing_is_closed():
    talk = at_rest(ONE)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    everybody_goes(talk)


def test_quit_and_open_in_one_segment_may_change_the_name_under_a_single_place():
    talk = in_use(ONE)
    talk.tell(Received(1, QUIT + by_another_name(opening(8))), Send(1, GOODBYE), Send(2, QUIT))
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    answer(talk, 1, 4)
    everybody_goes(talk)


def test_one_that_was_let_go_for_somebody_is_not_let_go_for_another_one_too():
    talk = with_mtas(ONE, THREE)
    open_fresh(talk, 1, 2)
    go_to_rest(talk, 1, 2)
    talk.tell(Received(3, by_another_name(opening(9))), Send(2, QUIT))
    talk.tell(Received(5, opening(10)), Send(5, throttled(10)))
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    everybody_goes(talk)


# Whose turn it is.


def test_who_says_quit_and_open_is_behind_those_who_wait():
    talk = in_use(ONE)
    talk.tell(Received(3, waiting()))
    talk.tell(Received(1, QUIT + waiting(8)), Send(1, GOODBYE), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(1, shown(8, uses=3)))
    everybody_goes(talk)


def test_a_newcomer_who_does_not_wait_gets_nothing_that_others_wait_for():
    talk = in_use(ONE)
    talk.tell(Received(3, waiting()))
    talk.tell(Received(1, QUIT + opening(8)), Send(1, GOODBYE), Send(1, throttled(8)), Send(3, shown(9, uses=2)))
    everybody_goes(talk)


def test_a_turn_of_another_name_closes_the_connection_and_nobody_behind_takes_the_place():
    talk = with_mtas(ONE, THREE)
    open_fresh(talk, 1, 2)
    talk.tell(Received(3, by_another_name(waiting())))
    talk.tell(Received(1, QUIT + waiting(8)), Send(1, GOODBYE), Send(2, QUIT))
    assert talk.notes[-1].endswith("let go source=127.0.0.2 uses=1 messages=0 reason=turn_of_another")
    talk.tell(Received(5, opening(10)), Send(5, throttled(10)))
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    answer(talk, 3, 4)
    everybody_goes(talk)


def test_a_turn_of_another_name_waits_two_seconds_for_the_221_at_most():
    talk = in_use(ONE)
    talk.tell(Received(3, by_another_name(opening(9, more=" wait_ms=100"))))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    talk.wait(1.999)
    talk.wait(0.001, Close(2), calls(4))


def test_who_leaves_while_somebody_goes_for_him_leaves_the_place_to_whoever_is_next_but_not_before():
    talk = with_mtas(ONE, THREE)
    open_fresh(talk, 1, 2)
    talk.tell(Received(3, by_another_name(waiting())))
    talk.tell(Received(5, waiting(10)))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    talk.tell(Ended(3), Close(3))
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    answer(talk, 5, 4)
    everybody_goes(talk)


def test_mtas_take_turns_and_none_is_served_twice_before_another_one():
    talk = with_mtas(ONE, ("mta-1", "mta-2", "mta-2", "mta-2", "mta-3"))
    open_fresh(talk, 1, 2)
    for mta in (3, 5, 7, 9):
        talk.tell(Received(mta, waiting(mta)))
    served, mta = [], 1
    for _ in range(4):
        goodbye, told = talk.hear(Received(mta, QUIT))
        assert goodbye == Send(mta, GOODBYE)
        mta = told.id
        served.append(mta)
    assert served == [3, 9, 5, 7]
    everybody_goes(talk)


def test_a_single_mta_that_waits_with_others_of_its_own_is_served_in_the_order_in_which_it_asked():
    talk = with_mtas(ONE, ("mta-1",) * 4)
    open_fresh(talk, 1, 2)
    for mta in (5, 7, 3):
        talk.tell(Received(mta, waiting(mta)))
    for uses, (mta, following) in enumerate([(1, 5), (5, 7), (7, 3)], 2):
        talk.tell(Received(mta, QUIT), Send(mta, GOODBYE), Send(following, shown(following, uses=uses)))
    everybody_goes(talk)


def test_who_leaves_the_line_is_withdrawn():
    talk = with_mtas(ONE, THREE)
    open_fresh(talk, 1, 2)
    talk.tell(Received(3, waiting()))
    talk.tell(Received(5, waiting(10)))
    talk.tell(Ended(3), Close(3))
    assert talk.notes[-1].endswith("kind=mta_gone client=127.0.0.9:40112 text=the MTA left before there was a remote")
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(5, shown(10, uses=2)))
    everybody_goes(talk)


def test_the_last_one_who_leaves_the_line_leaves_nobody_to_hand_on_to():
    talk = in_use(ONE)
    talk.tell(Received(3, waiting()))
    talk.tell(Closed(3, "reset"))
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    everybody_goes(talk)


# The house closes, or a listener goes.


def test_who_waits_is_told_that_the_house_closes():
    talk = in_use(ONE)
    talk.tell(Received(3, waiting()))
    told = failed("shutting_down", "", "the proxy is shutting down", retry_ms=1000, id=9)
    orders = talk.hear(Signalled("TERM", bytes(16)))
    assert [order for order in orders if isinstance(order, Send) and order.id == 3] == [
        Send(3, told),
        Send(3, b"GOAWAY reason=drain\r\n"),
    ]
    everybody_goes(talk)


def test_who_waits_while_his_listener_goes_gets_his_turn_first():
    talk = in_use(ONE)
    talk.tell(Received(3, waiting()))
    reload(talk, ONE.replace("127.0.0.1:807", "127.0.0.1:808"))
    talk.tell(
        Received(1, QUIT), Send(1, GOODBYE), Send(1, b"GOAWAY reason=reload\r\n"), Close(1), Send(3, shown(9, uses=2))
    )
    everybody_goes(talk)


# Stock MTAs never wait.


@pytest.mark.parametrize("limit", [ANY % 1, AT_FIVE])
def test_a_stock_mta_is_told_in_smtp_that_a_limit_is_reached(limit):
    place = "127.0.0.1:5000"
    talk = Talk(SHARING + f'listen_proxy_protocol "{place}" {{ starttls proxy }}\n' + limit)
    header = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
    for id in (1, 3):
        talk.hear(Accepted(id, place, ("127.0.0.9", 40113), ENTROPY))
    talk.tell(Received(1, header), calls(2))
    name = ENTROPY[32:40].hex()
    told = f"421 4.7.0 gaproxy: throttled: 192.0.2.5:25 from 127.0.0.2: {FULL}, retry in 1 s [{name}]\r\n".encode()
    talk.tell(Received(3, header), Send(3, told), Close(3))
    everybody_goes(talk)
