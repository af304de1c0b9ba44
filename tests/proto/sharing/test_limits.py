"""Limits of remotes, several limits at once, and limits that the operator changes while somebody waits.

MTAs 1, 3, 5 came in; 2, 4 … are called.
"""

from tools.line import (
    ANY,
    AT_FIVE,
    CROSSED,
    GMAIL,
    ONE,
    THREE,
    TO_TWO,
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
    calls,
    go_to_rest,
    in_use,
    open_fresh,
    reload,
    send_message,
    shown,
    with_mtas,
)
from tools.talk import GOODBYE, MAIL, QUIT, failed, opening

from gaproxy.proto.actions import Close, Send
from gaproxy.proto.events import ConnectFailed, Ended, Received

# Limits of remotes.


def test_where_a_remote_has_no_place_the_next_address_is_dialled():
    talk = in_use(SHARING + AT_FIVE)
    talk.tell(Received(3, opening(9, to=TO_TWO)), calls(4, "192.0.2.6"))
    tried = "192.0.2.5:25/throttled/0,192.0.2.6:25/timeout/0"
    talk.tell(ConnectFailed(4, "timeout", "no"), Send(3, failed("timeout", tried, "no", id=9)))
    everybody_goes(talk)


def test_an_address_of_the_same_group_is_dialled_where_the_first_has_no_place():
    talk = in_use(SHARING + AT_FIVE)
    talk.tell(Received(3, opening(9, to="192.0.2.5:25/10,192.0.2.6:25/10")), calls(4, "192.0.2.6"))
    everybody_goes(talk)


def test_where_no_address_is_left_who_waits_waits_for_the_first_one():
    talk = with_mtas(SHARING + AT_FIVE + AT_FIVE.replace("five", "six").replace("2.5", "2.6"), THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4, opening(8, to="192.0.2.6:25"))
    talk.tell(Received(5, waiting(to=TO_TWO)))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(4, RSET))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(5, shown(9, uses=2)))
    everybody_goes(talk)


def test_where_the_next_address_fails_the_first_one_is_waited_for_and_the_place_of_the_other_given_back():
    talk = in_use(SHARING + AT_FIVE)
    talk.tell(Received(3, waiting(to=TO_TWO)), calls(4, "192.0.2.6"))
    talk.tell(ConnectFailed(4, "unreachable", "no route"))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(3, shown(9, uses=2)))
    everybody_goes(talk)


def test_a_place_that_was_had_for_one_address_goes_over_to_the_next_one():
    talk = with_mtas(SHARING + AT_FIVE + ANY % 1)
    talk.tell(Received(1, opening(7, to=TO_TWO)), calls(2))
    talk.tell(ConnectFailed(2, "unreachable", "no route"), calls(4, "192.0.2.6"))
    talk.tell(Received(3, opening(9)), Send(3, throttled()))
    everybody_goes(talk)


def test_the_second_address_of_a_group_is_dialled_without_a_second_look_at_what_rests():
    talk = with_mtas(SHARING + ANY % 1)
    talk.tell(Received(1, opening(7, to="192.0.2.5:25/10,192.0.2.6:25/10")), calls(2))
    talk.tell(ConnectFailed(2, "unreachable", "no route"), calls(4, "192.0.2.6"))
    everybody_goes(talk)


def test_an_address_whose_limit_was_reached_meanwhile_is_passed_over():
    talk = with_mtas(SHARING + AT_FIVE + AT_FIVE.replace("five", "six").replace("2.5", "2.6"))
    talk.tell(Received(1, opening(7, to=TO_TWO)), calls(2))
    open_fresh(talk, 3, 4, opening(8, to="192.0.2.6:25"))
    tried = "192.0.2.5:25/unreachable/0,192.0.2.6:25/throttled/0"
    talk.tell(ConnectFailed(2, "unreachable", "no route"), Send(1, throttled(7, tried)))
    everybody_goes(talk)


# Several limits at once.


def test_each_limit_that_is_full_must_have_one_that_rests_or_nobody_goes():
    talk = with_mtas(CROSSED, THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4, opening(8, to="192.0.2.6:25", more=" throttle=gmail.com"))
    go_to_rest(talk, 3, 4)
    talk.tell(Received(5, opening(9, more=" throttle=gmail.com")), Send(5, throttled()))
    everybody_goes(talk)


def test_of_two_limits_that_are_full_one_that_rests_under_each_goes_and_the_last_one_gone_makes_room():
    talk = with_mtas(CROSSED, THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4, opening(8, to="192.0.2.6:25", more=" throttle=gmail.com"))
    go_to_rest(talk, 1, 2)
    go_to_rest(talk, 3, 4)
    talk.tell(Received(5, by_another_name(opening(9, more=" throttle=gmail.com"))), Send(4, QUIT), Send(2, QUIT))
    talk.tell(Received(4, PARTED), Close(4))
    talk.tell(Received(2, PARTED), Close(2), calls(6))
    answer(talk, 5, 6)
    everybody_goes(talk)


def test_one_that_rests_under_both_limits_is_enough():
    talk = in_use(CROSSED, said=opening(7, more=" throttle=gmail.com"))
    go_to_rest(talk)
    talk.tell(Received(3, by_another_name(opening(9, more=" throttle=gmail.com"))), Send(2, QUIT))
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    everybody_goes(talk)


def test_who_waits_under_two_limits_has_his_turn_as_soon_as_one_rests_under_each():
    talk = with_mtas(CROSSED, THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4, opening(8, to="192.0.2.6:25", more=" throttle=gmail.com"))
    talk.tell(Received(5, by_another_name(waiting(more=" throttle=gmail.com"))))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(4, RSET))
    talk.tell(Received(4, WAS_RESET))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET), Send(4, QUIT), Send(2, QUIT))
    talk.tell(Received(2, WAS_RESET + PARTED), Close(2))
    talk.tell(Received(4, PARTED), Close(4), calls(6))
    everybody_goes(talk)


def test_who_waits_under_two_limits_and_leaves_leaves_the_next_one_of_the_same_limits_in_his_turn():
    talk = with_mtas(CROSSED, THREE)
    open_fresh(talk, 1, 2, opening(7, more=" throttle=gmail.com"))
    talk.tell(Received(3, waiting(more=" throttle=gmail.com")))
    talk.tell(Received(5, waiting(10, more=" throttle=gmail.com")))
    talk.tell(Ended(3), Close(3))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(5, shown(10, uses=2)))
    everybody_goes(talk)


def test_what_is_let_go_for_one_limit_keeps_its_place_under_the_other_until_it_is_closed():
    talk = with_mtas(CROSSED, THREE)
    open_fresh(talk, 1, 2, opening(7, more=" throttle=gmail.com"))
    go_to_rest(talk, 1, 2)
    talk.tell(Received(3, by_another_name(opening(9))), Send(2, QUIT))
    talk.tell(Received(5, waiting(10, to="192.0.2.6:25", more=" throttle=gmail.com")))
    talk.tell(Received(2, PARTED), Close(2), calls(4), calls(6, "192.0.2.6"))
    everybody_goes(talk)


def test_what_is_closed_for_a_turn_of_another_keeps_its_other_place_until_it_is_closed():
    talk = with_mtas(CROSSED, THREE)
    open_fresh(talk, 1, 2, opening(7, more=" throttle=gmail.com"))
    talk.tell(Received(3, by_another_name(waiting())))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    talk.tell(
        Received(5, opening(10, to="192.0.2.6:25", more=" throttle=gmail.com")),
        Send(5, throttled(10, "192.0.2.6:25/throttled/0")),
    )
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    everybody_goes(talk)


def test_a_connection_that_is_taken_for_another_group_stands_under_the_limits_of_that():
    talk = with_mtas(SHARING + GMAIL, THREE)
    open_fresh(talk, 1, 2)
    go_to_rest(talk, 1, 2)
    talk.tell(Received(3, opening(9, more=" throttle=gmail.com")), Send(3, shown(9, uses=2)))
    talk.tell(
        Received(5, opening(10, to="192.0.2.6:25", more=" throttle=gmail.com")),
        Send(5, throttled(10, "192.0.2.6:25/throttled/0")),
    )
    everybody_goes(talk)


def test_a_connection_is_not_taken_for_a_group_whose_limit_is_reached():
    talk = with_mtas(SHARING + GMAIL, THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4, opening(8, to="192.0.2.6:25", more=" throttle=gmail.com"))
    go_to_rest(talk, 1, 2)
    talk.tell(Received(5, opening(9, more=" throttle=gmail.com")), Send(5, throttled()))
    everybody_goes(talk)


# Messages of one connection.


def test_a_connection_that_has_carried_its_messages_goes_and_who_waits_dials():
    talk = in_use(SHARING + 'throttle "*" { max_connections 1; messages_per_connection 2 }\n')
    talk.tell(Received(3, waiting()))
    send_message(talk)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, RSET), Send(2, RSET + RSET))
    talk.tell(Received(2, WAS_RESET + WAS_RESET), Send(3, WAS_RESET))
    send_message(talk, 3, 2)
    talk.tell(Received(1, waiting(8)))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(2, QUIT))
    assert talk.notes[-1].endswith("uses=2 messages=2 reason=messages")
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    answer(talk, 1, 4)
    everybody_goes(talk)


# What the operator changes.


def test_a_limit_that_is_raised_makes_room_for_who_waits():
    talk = in_use(ONE)
    talk.tell(Received(3, waiting()))
    reload(talk, TWO, calls(4))
    answer(talk, 3, 4)
    everybody_goes(talk)


def test_a_limit_that_is_taken_away_makes_room_for_all_who_wait():
    talk = with_mtas(ONE, THREE)
    open_fresh(talk, 1, 2)
    talk.tell(Received(3, waiting()))
    talk.tell(Received(5, waiting(10)))
    reload(talk, SHARING, calls(4), calls(6))
    everybody_goes(talk)


def test_a_limit_that_is_lowered_ends_nobody_and_what_is_given_back_above_it_goes():
    talk = with_mtas(TWO, THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4)
    talk.tell(Received(5, waiting()))
    reload(talk, ONE)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    assert talk.notes[-1].endswith("reason=over_limit")
    talk.tell(Received(2, PARTED), Close(2))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(5, shown(9, uses=2)))
    everybody_goes(talk)


def test_what_rests_above_a_limit_that_is_lowered_goes_at_once_and_no_more_than_that():
    talk = with_mtas(TWO, THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4)
    go_to_rest(talk, 1, 2)
    go_to_rest(talk, 3, 4)
    reload(talk, ONE, Send(2, QUIT))
    talk.tell(Received(5, by_another_name(opening(8))), Send(5, throttled(8)))
    talk.tell(Received(2, PARTED), Close(2))
    talk.tell(Received(5, opening(9)), Send(5, shown(9, uses=2)))
    everybody_goes(talk)


def test_a_limit_that_is_new_counts_those_who_are_there():
    talk = in_use(SHARING)
    reload(talk, ONE)
    talk.tell(Received(3, opening(9)), Send(3, throttled()))
    everybody_goes(talk)


def test_who_waits_under_a_limit_that_becomes_another_one_waits_under_that_as_long_as_he_said():
    talk = in_use(ONE)
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(3, waiting()))
    talk.wait(5.0)
    reload(talk, SHARING + AT_FIVE)
    talk.wait(14.999)
    talk.wait(0.001, Send(3, throttled()))
    everybody_goes(talk)


def test_who_waits_under_a_limit_that_becomes_another_one_has_room_made_there():
    talk = with_mtas(SHARING + AT_FIVE, THREE)
    open_fresh(talk, 1, 2)
    open_fresh(talk, 3, 4, opening(8, to="192.0.2.6:25"))
    go_to_rest(talk, 3, 4)
    talk.tell(Received(5, waiting()))
    reload(talk, TWO, Send(4, QUIT))
    talk.tell(Received(4, PARTED), Close(4), calls(6))
    everybody_goes(talk)


def test_a_reload_that_changes_no_limit_changes_nobodys_place():
    talk = with_mtas(ONE, THREE)
    open_fresh(talk, 1, 2)
    talk.tell(Received(3, by_another_name(waiting())))
    talk.tell(Received(5, waiting(10)))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    reload(talk, ONE)
    talk.tell(Received(2, PARTED), Close(2), calls(4))
    reload(talk, ONE)
    everybody_goes(talk)
