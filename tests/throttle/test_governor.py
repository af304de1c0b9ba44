"""The governor as dialogues: who joins and leaves, and who is granted, in order."""

import pytest

from gaproxy.throttle.governor import Governor
from gaproxy.throttle.places import GONE, HELD, WAITING, Path, Place

ONE: Path = (("ip/gmail.com", 1),)
TWO: Path = (("ip/gmail.com", 2),)
THREE: Path = (("ip/gmail.com", 3),)


def join(governor: Governor, members: str, path: Path = ONE) -> list[Place]:
    """One place for each letter, in order."""
    return [governor.join(path, member, now=0) for member in members]


def told(governor: Governor) -> str:
    """Whom `grants` tells, a letter each."""
    return "".join(place.member for place in governor.grants())


def drain(governor: Governor, held: list[Place]) -> str:
    """Each that holds leaves, the first one first, until nobody is left; who was granted meanwhile."""
    granted = ""
    while held:
        governor.leave(held.pop(0))
        now = governor.grants()
        granted += "".join(place.member for place in now)
        held += now
    return granted


def test_who_joins_is_granted_by_grants_and_not_before():
    governor = Governor()
    place = governor.join(ONE, "a", now=17)
    assert (place.member, place.path, place.since, place.state) == ("a", ONE, 17, WAITING)
    assert governor.grants() == [place]
    assert place.state == HELD
    assert governor.grants() == []


def test_a_request_without_a_limiter_is_granted_at_once_and_costs_nothing():
    governor = Governor()
    place, other = join(governor, "ab", path=())
    assert len(governor) == 0
    governor.leave(other)
    assert governor.grants() == [place]
    assert (governor.next_for(place), governor.waited_for(place), governor.full(())) == (None, False, False)
    governor.leave(place)
    assert (place.state, other.state) == (GONE, GONE)


def test_who_finds_no_slot_waits_until_one_is_given_back():
    governor = Governor()
    held, waiting = join(governor, "ab")
    assert told(governor) == "a"
    assert governor.blocked(ONE) == ("ip/gmail.com",)
    governor.leave(held)
    assert governor.grants() == [waiting]


def test_members_take_turns_and_within_one_the_first_comes_first():
    governor = Governor()
    places = join(governor, "aaabbc")
    assert told(governor) == "a"
    assert drain(governor, places[:1]) == "bcaba"
    assert [place.state for place in places] == [GONE] * 6


def test_within_a_member_the_first_comes_first_whatever_its_path():
    governor = Governor()
    wide: Path = (("ip/*", 1),)
    held = governor.join(wide, "z", now=0)
    assert told(governor) == "z"
    first = governor.join((("ip/b", 9), *wide), "a", now=0)
    second = governor.join((("ip/a", 9), *wide), "a", now=0)
    third = governor.join((("ip/b", 9), *wide), "a", now=0)
    order = []
    for _ in range(3):
        governor.leave(held)
        (held,) = governor.grants()
        order.append(held)
    assert order == [first, second, third]


def test_who_was_blocked_elsewhere_comes_back_to_where_he_would_have_stood():
    governor = Governor()
    leaf, total = ("ip/gmail.com", 1), ("ip/*", 2)
    inside, beside = governor.join((leaf, total), "z", now=0), governor.join((total,), "z", now=0)
    assert governor.grants() == [inside, beside]
    first = governor.join((leaf, total), "a", now=0)
    second = governor.join((total,), "a", now=0)
    governor.limit("ip/*", 1)
    governor.leave(inside)
    assert governor.grants() == []
    governor.leave(beside)
    assert governor.grants() == [first]
    governor.leave(first)
    assert governor.grants() == [second]


def test_who_is_withdrawn_takes_nobody_else_of_his_member_out_of_the_line():
    governor = Governor()
    total = ("ip/*", 1)
    (held,) = join(governor, "z", (total,))
    assert told(governor) == "z"
    first = governor.join((("ip/b", 9), total), "a", now=0)
    second = governor.join((("ip/a", 9), total), "a", now=0)
    governor.leave(second)
    governor.leave(held)
    assert governor.grants() == [first]


def test_who_was_passed_over_catches_up_with_no_run_of_turns():
    governor = Governor()
    leaf, total = ("ip/gmail.com", 1), ("ip/*", 2)
    inside, beside = governor.join((leaf, total), "z", now=0), governor.join((total,), "z", now=0)
    assert governor.grants() == [inside, beside]
    for _ in range(4):
        governor.join((leaf, total), "a", now=0)
    join(governor, "bbbbbb", (total,))
    held = [beside]
    for _ in range(3):
        governor.leave(held.pop())
        held += governor.grants()
    governor.limit("ip/gmail.com", 9)
    assert drain(governor, held) == "abababa"


def test_who_comes_new_is_served_before_who_had_a_turn_and_after_who_waits_for_his():
    governor = Governor()
    held = join(governor, "aab")[:1]
    assert told(governor) == "a"
    join(governor, "c")
    assert drain(governor, held) == "bca"


def test_who_was_away_has_saved_up_no_turns():
    governor = Governor()
    held = join(governor, "a")
    assert told(governor) == "a"
    places = join(governor, "bbbb")
    for _ in range(3):
        governor.leave(held.pop())
        held += governor.grants()
    join(governor, "aaa")
    assert drain(governor, held) == "abaa"
    assert places[-1].state == GONE


def test_who_leaves_after_his_turn_and_comes_again_is_still_behind_those_who_wait():
    governor = Governor()
    first, *_ = join(governor, "abc")
    assert told(governor) == "a"
    governor.leave(first)
    join(governor, "a")
    (second,) = governor.grants()
    assert second.member == "b"
    assert drain(governor, [second]) == "ca"


def test_who_is_withdrawn_is_not_granted_and_the_next_of_that_member_steps_up():
    governor = Governor()
    held, first, second, _ = join(governor, "abba")
    assert told(governor) == "a"
    governor.leave(first)
    governor.leave(held)
    assert governor.grants() == [second]
    assert first.state == GONE


def test_leaving_twice_gives_one_slot_back():
    governor = Governor()
    held, *others = join(governor, "aaa", TWO)
    assert told(governor) == "aa"
    governor.leave(held)
    governor.leave(held)
    assert governor.grants() == [others[1]]
    assert governor.full(TWO)


def test_who_holds_more_than_its_share_goes_last():
    governor = Governor()
    slow = join(governor, "aaa", THREE)
    assert told(governor) == "aaa"
    join(governor, "aabbb", THREE)
    granted = ""
    for place in slow:
        governor.leave(place)
        granted += told(governor)
    assert granted == "bab"


def test_a_slow_member_ends_with_its_share_of_the_slots():
    governor, slots = Governor(), (("ip/gmail.com", 4),)
    join(governor, "s" * 40, slots)
    join(governor, "q" * 400, slots)
    quick = [place for place in governor.grants() if place.member == "q"]
    served = len(quick)
    while quick:
        governor.leave(quick.pop())
        quick += [place for place in governor.grants() if place.member == "q"]
        served += 1
    assert served > 400


def test_all_limiters_of_a_path_are_taken_or_none():
    governor = Governor()
    leaf, total = ("ip/gmail.com", 1), ("ip/*", 2)
    both = governor.join((leaf, total), "a", now=0)
    blocked = governor.join((leaf, total), "b", now=0)
    beside = governor.join((("ip/gmx.net", 1), total), "c", now=0)
    assert governor.grants() == [both, beside]
    governor.leave(beside)
    assert governor.grants() == []
    assert governor.blocked((leaf, total)) == ("ip/gmail.com",)
    governor.leave(both)
    assert governor.grants() == [blocked]


def test_who_is_blocked_elsewhere_lets_the_next_one_go():
    governor = Governor()
    leaf, total = ("ip/gmail.com", 1), ("ip/*", 2)
    first = governor.join((leaf, total), "a", now=0)
    second = governor.join((total,), "b", now=0)
    assert governor.grants() == [first, second]
    stuck = governor.join((total, leaf), "c", now=0)
    after = governor.join((total,), "d", now=0)
    governor.leave(second)
    assert governor.grants() == [after]
    governor.leave(first)
    assert governor.grants() == [stuck]


def test_a_slot_that_is_free_under_two_limiters_goes_to_whose_turn_it_is_under_both():
    """Somebody of a is always parked at the narrow limiter; b waits at the wide one, and must not wait for ever."""
    governor = Governor()
    narrow, wide = ("ip1/gmail.com", 2), ("google", 3)
    join(governor, "aaaaa", (narrow, wide))
    held = governor.grants()
    join(governor, "zbb", (("ip2/gmail.com", 3), wide))
    assert told(governor) == "z"
    assert drain(governor, held) == "babaa"


def test_two_limiters_that_each_have_another_one_first_still_grant():
    governor = Governor()
    left, right = ("left", 1), ("right", 1)
    x = governor.join((left,), "x", now=0)
    y = governor.join((right,), "y", now=0)
    assert governor.grants() == [x, y]
    for member, path in (("a", (left, right)), ("x", (right, left)), ("y", (left, right))):
        governor.join(path, member, now=0)
    governor.leave(x)
    governor.leave(y)
    assert len(governor.grants()) == 1


def test_a_limiter_named_twice_in_a_path_takes_one_slot():
    governor = Governor()
    place, waiting = join(governor, "ab", ONE + ONE)
    assert governor.grants() == [place]
    governor.leave(place)
    assert governor.grants() == [waiting]
    governor.leave(waiting)
    assert len(governor) == 0


def test_a_cap_that_is_lowered_takes_nothing_away_and_grants_nobody_until_enough_have_left():
    governor = Governor()
    held = join(governor, "aaab", THREE)
    assert told(governor) == "aba"
    governor.limit("ip/gmail.com", 1)
    governor.leave(held[0])
    governor.leave(held[1])
    assert (told(governor), governor.full(THREE)) == ("", True)
    governor.leave(held[3])
    assert told(governor) == "a"


def test_a_cap_that_is_raised_or_taken_away_wakes_those_who_wait():
    governor = Governor()
    join(governor, "abcdef")
    assert told(governor) == "a"
    governor.limit("ip/gmail.com", 3)
    assert told(governor) == "bc"
    governor.limit("ip/gmail.com", None)
    assert told(governor) == "def"
    assert not governor.full(ONE)


def test_the_newest_join_tells_the_cap_for_everybody():
    governor = Governor()
    join(governor, "abc")
    assert told(governor) == "a"
    governor.join(THREE, "d", now=0)
    assert told(governor) == "bc"
    governor.join(TWO, "e", now=0)
    assert (told(governor), governor.full(THREE)) == ("", True)


def test_a_join_that_raises_the_cap_wakes_those_who_stand_in_the_same_flow():
    governor = Governor()
    join(governor, "abb")
    assert told(governor) == "a"
    governor.join(THREE, "b", now=0)
    assert told(governor) == "bb"


def test_a_limit_for_a_name_that_nobody_uses_is_nothing_to_remember():
    governor = Governor()
    governor.limit("ip/gmail.com", 1)
    assert len(governor) == 0


def test_a_cap_of_zero_grants_nobody():
    governor = Governor()
    paused: Path = (("ip/gmail.com", 0),)
    assert governor.full(paused)
    join(governor, "a", paused)
    assert told(governor) == ""


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


def test_a_member_that_moves_in_has_had_its_turn_there():
    governor = Governor()
    there: Path = (("ip/gmx.net", 2),)
    held, other = governor.join(ONE, "a", now=0), governor.join(there, "b", now=0)
    assert governor.grants() == [held, other]
    assert governor.move(held, there)
    join(governor, "ac", there)
    governor.leave(other)
    assert told(governor) == "c"


def test_a_place_is_waited_for_when_another_member_is_blocked_where_it_has_a_slot():
    governor = Governor()
    leaf, total = ("ip/gmail.com", 1), ("ip/*", 3)
    held = governor.join((leaf, total), "a", now=0)
    beside = governor.join((total,), "b", now=0)
    assert governor.grants() == [held, beside]
    own = governor.join((leaf, total), "a", now=0)
    assert (governor.waited_for(held), governor.waited_for(beside)) == (False, False)
    governor.leave(own)
    other = governor.join((total, leaf), "c", now=0)
    assert (governor.waited_for(held), governor.waited_for(beside)) == (True, False)
    governor.leave(other)
    assert not governor.waited_for(held)


def test_a_place_that_waits_where_there_is_room_waits_for_nobody():
    governor = Governor()
    (held,) = join(governor, "a", TWO)
    assert told(governor) == "a"
    join(governor, "b", TWO)
    assert not governor.waited_for(held)


def test_a_limiter_that_nobody_uses_and_nobody_waits_for_is_forgotten():
    governor = Governor()
    held, waiting = join(governor, "ab")
    assert (told(governor), len(governor)) == ("a", 1)
    governor.leave(waiting)
    assert len(governor) == 1
    governor.leave(held)
    assert len(governor) == 0
    join(governor, "c", TWO)
    assert (told(governor), len(governor)) == ("c", 1)
