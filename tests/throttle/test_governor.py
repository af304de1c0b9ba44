"""The governor as dialogues: who joins and leaves, and who is granted, in order."""

from tools.lines import ONE, THREE, TWO, drain, join, told

from gaproxy.throttle.governor import Governor
from gaproxy.throttle.places import GONE, HELD, WAITING, Path


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
