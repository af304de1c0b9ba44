"""Somebody at the PROXY door who says anything, remotes that answer anything; and what must hold always.

The oaths: no fault of ours; orders only to who is there; behind a 421 our end; nothing of the envelope goes out before
an EHLO had its 250; when all have hung up, nobody is left.
"""

from hypothesis import given
from hypothesis import strategies as st
from tools.door_world import OPTIONS, World, config
from tools.talk import Talk


@given(st.sampled_from(OPTIONS), st.lists(st.tuples(st.booleans(), st.integers(0, 999)), max_size=60))
def test_whatever_they_say_nothing_leaks_and_nobody_is_left(options, steps):
    world = World(Talk(config(options)), options)
    for wild, number in steps:
        world.go_on(wild, number)
        if 1 in world.links and world.links[1].said.startswith(b"421 "):
            assert world.links[1].closes
    world.hang_up()
