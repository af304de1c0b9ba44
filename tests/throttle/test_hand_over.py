"""Slots that pass from one to another: who would be next, a hand-over, a move."""

import pytest
from tools.lines import ONE, TWO, drain, join, told

from gaproxy.throttle.governor import Governor
from gaproxy.throttle.places import GONE, HELD, WAITING, Path


def test_next_for_tells_who_would_be_granted_and_changes_nothing():
    governor = Governor()
    leaf, total = ("ip/gmail.com", 1), ("ip/*", 2)
    held = governor.join((leaf, total), "a", now=0)
    other = governor.join((total,), "b", now=0)
    assert governor.grants() == [held, other]
    stuck = governor.join((total, leaf), "c", now=0)
    after = governor.join((total,), "d", now=0)
    assert [governor.next_for(held), governor.next_for(other)] == [stuck, after]
    assert governor.grants() == []
    governor.leave(other)
    assert governor.grants() == [after]


def test_who_joins_where_it_is_full_is_seen_at_once():
    governor = Governor()
    total = ("ip/*", 1)
    (held,) = join(governor, "a", (total,))
    assert told(governor) == "a"
    late = governor.join((("ip/gmail.com", 9), total), "b", now=0)
    assert governor.next_for(held) is late


def test_asking_who_is_next_leaves_everybody_where_he_stands():
    governor = Governor()
    total, group = ("ip/*", 2), ("*/gmail.com", 1)
    held = join(governor, "ab", (total,)) + join(governor, "c", (group,))
    assert told(governor) == "abc"
    first = governor.join((total, group), "d", now=0)
    second = governor.join((total,), "e", now=0)
    assert governor.next_for(held[0]) is second
    for place in held:
        governor.leave(place)
    assert governor.grants() == [first, second]


def test_asking_who_is_next_wakes_nobody_and_puts_nobody_to_sleep():
    governor = Governor()
    held = join(governor, "a") + join(governor, "b", (("other", 1),))
    assert told(governor) == "ab"
    waiting, after = join(governor, "cd")
    governor.leave(held[0])
    assert governor.next_for(held[1]) is None
    assert governor.grants() == [waiting]
    assert after.state == WAITING


def test_nobody_is_next_for_a_place_whose_limiter_stays_full_without_it():
    governor = Governor()
    held, *_ = join(governor, "aabb", TWO)
    assert told(governor) == "ab"
    governor.limit("ip/gmail.com", 1)
    assert governor.next_for(held) is None


def test_slots_that_are_handed_on_are_told_by_nobody():
    governor = Governor()
    held, waiting, after = join(governor, "abc")
    assert told(governor) == "a"
    assert governor.hand(held, waiting)
    assert (held.state, waiting.state) == (GONE, HELD)
    assert told(governor) == ""
    governor.leave(held)
    assert told(governor) == ""
    governor.leave(waiting)
    assert governor.grants() == [after]


def test_a_hand_over_is_a_turn():
    governor = Governor()
    held, given, *_ = join(governor, "abbc")
    assert told(governor) == "a"
    assert governor.hand(held, given)
    assert drain(governor, [given]) == "cb"


def test_what_the_one_who_gets_it_does_not_need_is_free_for_others():
    governor = Governor()
    leaf, total = ("ip/gmail.com", 1), ("ip/*", 2)
    held = governor.join((leaf, total), "a", now=0)
    other = governor.join((total,), "b", now=0)
    assert governor.grants() == [held, other]
    stuck = governor.join((leaf,), "c", now=0)
    waiting = governor.join((total,), "d", now=0)
    assert governor.hand(held, waiting)
    assert governor.grants() == [stuck]


def test_who_hands_on_may_keep_what_the_other_does_not_need_until_it_leaves():
    governor = Governor()
    [held] = join(governor, "a", (("x", 1), ("y", 1)))
    governor.grants()
    [waiting], [other] = join(governor, "b", (("x", 1),)), join(governor, "c", (("y", 1),))
    assert governor.hand(held, waiting, keeps=True)
    assert (held.state, held.path, waiting.state) == (HELD, (("y", 1),), HELD)
    assert governor.grants() == []
    governor.leave(held)
    assert governor.grants() == [other]


def test_a_place_under_no_limiter_can_be_handed_a_connection_too():
    governor = Governor()
    (held,) = join(governor, "a")
    assert told(governor) == "a"
    (waiting,) = join(governor, "b", path=())
    assert governor.hand(held, waiting)
    assert (told(governor), len(governor)) == ("", 0)


def test_nothing_is_handed_to_who_needs_a_slot_elsewhere_that_is_not_free():
    governor = Governor()
    (held,) = join(governor, "a")
    other: Path = (("ip/*", 1),)
    join(governor, "z", other)
    assert told(governor) == "az"
    (waiting,) = join(governor, "b", ONE + other)
    assert not governor.hand(held, waiting)
    assert (held.state, waiting.state, told(governor)) == (HELD, WAITING, "")
    assert governor.blocked(ONE + other) == ("ip/gmail.com", "ip/*")


def test_nothing_is_handed_on_above_a_cap_that_was_lowered():
    governor = Governor()
    held, _, waiting = join(governor, "abc", TWO)
    assert told(governor) == "ab"
    governor.limit("ip/gmail.com", 1)
    assert not governor.hand(held, waiting)
    assert told(governor) == ""


def test_only_who_holds_can_hand_on_or_move():
    governor = Governor()
    held, waiting = join(governor, "ab")
    with pytest.raises(AssertionError, match="only who holds can hand on"):
        governor.hand(held, waiting)
    with pytest.raises(AssertionError, match="only who holds can move"):
        governor.move(waiting, ())


def test_a_held_place_moves_and_limiters_on_both_paths_do_not_notice():
    governor = Governor()
    total: Path = (("ip/*", 1),)
    held = governor.join((("ip/gmail.com", 1), *total), "a", now=0)
    assert governor.grants() == [held]
    waiting = governor.join((("ip/gmail.com", 1),), "b", now=0)
    behind = governor.join(total, "c", now=0)
    assert governor.move(held, (("ip/gmx.net", 1), *total))
    assert governor.grants() == [waiting]
    assert governor.blocked((("ip/gmx.net", 1), *total)) == ("ip/gmx.net", "ip/*")
    governor.leave(held)
    assert governor.grants() == [behind]


def test_a_held_place_does_not_move_under_a_limiter_that_is_full():
    governor = Governor()
    held, other = governor.join(ONE, "a", now=0), governor.join((("ip/gmx.net", 1),), "b", now=0)
    assert governor.grants() == [held, other]
    assert not governor.move(held, (("ip/gmx.net", 1),))
    assert held.path == ONE
    assert not governor.move(held, (("ip/none", 0),))
    assert len(governor) == 2


def test_a_held_place_does_not_move_past_somebody_who_is_about_to_be_granted():
    governor = Governor()
    held, other = governor.join(ONE, "a", now=0), governor.join((("ip/gmx.net", 1),), "b", now=0)
    assert governor.grants() == [held, other]
    waiting = governor.join((("ip/gmx.net", 1),), "c", now=0)
    governor.leave(other)
    assert not governor.move(held, (("ip/gmx.net", 1),))
    assert governor.grants() == [waiting]


def test_a_held_place_comes_under_a_limiter_that_is_new_whatever_is_full_there():
    governor = Governor()
    first, second = join(governor, "ab", (("x", 2),))
    governor.grants()
    for held in (first, second):
        governor.reseat(held, (("y", 1),))
    assert (governor.excess("x"), governor.excess("y"), len(governor)) == (0, 1, 1)
    [waiting] = join(governor, "c", (("y", 1),))
    governor.leave(first)
    assert (governor.excess("y"), governor.grants()) == (0, [])
    governor.leave(second)
    assert governor.grants() == [waiting]


def test_a_member_that_moves_in_has_had_its_turn_there():
    governor = Governor()
    there: Path = (("ip/gmx.net", 2),)
    held, other = governor.join(ONE, "a", now=0), governor.join(there, "b", now=0)
    assert governor.grants() == [held, other]
    assert governor.move(held, there)
    join(governor, "ac", there)
    governor.leave(other)
    assert told(governor) == "c"


def test_who_waits_where_it_is_full_changes_nothing_in_the_order_in_which_limiters_are_looked_at():
    governor = Governor()
    leaf, total = ("ip/gmail.com", 1), ("ip/*", 1)
    held = governor.join((leaf, total), "a", now=0)
    assert told(governor) == "a"
    under_total = governor.join((total,), "b", now=0)
    under_leaf = governor.join((leaf,), "c", now=0)
    assert governor.next_for(held) is under_leaf
    governor.leave(held)
    assert governor.grants() == [under_leaf, under_total]
