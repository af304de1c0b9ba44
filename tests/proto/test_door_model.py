"""MTAs at the PROXY door who say anything, remotes that answer anything and are shared; and what must hold always.

The oaths: no fault of ours; orders only to who is there; behind a 421 our end; nothing of the envelope goes out before
an EHLO had its 250; when all have hung up, nobody is left.
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.door_world import LIMITS, OPTIONS, World, config
from tools.talk import Talk


@given(
    st.sampled_from(OPTIONS),
    st.sampled_from(LIMITS),
    st.lists(st.tuples(st.booleans(), st.integers(0, 999)), max_size=60),
)
def test_whatever_they_say_nothing_leaks_and_nobody_is_left(options, limit, steps):
    world = World(Talk(config(options, limit)), options)
    for wild, number in steps:
        world.go_on(wild, number)
        for mta in world.mtas():
            assert mta.closes or not mta.said.startswith(b"421 ")
    world.hang_up()


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("options", OPTIONS)
def test_mtas_who_mean_well_come_to_share(options, limit):
    dice, world = Random(5), World(Talk(config(options, limit)), options)
    for _ in range(800):
        world.go_on(False, dice.randrange(1000))
    world.hang_up()
    shared = [line for line in world.talk.notes if " reused=yes " in line and " messages=0 " not in line]
    assert bool(shared) is ("opaque" not in options)
