"""The slots of one limiter: when it is full, and by how much it is not."""

from gaproxy.throttle.slots import ENDLESS, Slots


def test_a_limiter_is_full_when_as_many_are_used_as_there_are():
    assert [Slots(2, used).full for used in (0, 1, 2)] == [False, False, True]
    assert [Slots(2, used).room for used in (0, 1, 2)] == [2, 1, 0]


def test_a_cap_of_zero_is_full_before_anybody_came():
    assert Slots(0).full


def test_a_cap_that_was_lowered_below_what_is_used_leaves_no_room_until_they_have_gone():
    assert [Slots(2, used).full for used in (4, 3, 2, 1)] == [True, True, True, False]
    assert Slots(2, 4).room == -2


def test_without_a_cap_there_is_always_room():
    assert not Slots(None, ENDLESS - 1).full
    assert Slots(None, 1_000_000).room == ENDLESS
