"""A crowd of MTAs that share a few remotes under limits, while the operator changes his mind: no place is lost or had
twice, nobody waits where there is room, each hears its own, and when all have gone nothing is left of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from tools.crowd import Crowd

from gaproxy.proto.session import Departure, Session

STEPS = 400


@pytest.mark.parametrize("seed", range(50))
def test_whatever_a_crowd_does_each_hears_its_own_and_every_place_is_accounted_for(seed):
    crowd = Crowd(seed)
    for _ in range(STEPS):
        if not crowd.exited:
            crowd.go_on()
    crowd.leave()


@contextmanager
def faults(dice: Random) -> Iterator[None]:
    """For as long as this lasts, one turn in a hundred is a fault of ours."""

    def look_on(role: type[Session], before: str, after: str) -> None:
        if role is not Departure and dice.random() < 0.01:
            raise ArithmeticError("no turns today")

    Session.onlookers.append(look_on)
    try:
        yield
    finally:
        Session.onlookers.remove(look_on)


@pytest.mark.parametrize("seed", range(50))
def test_our_own_faults_cost_nobody_else_a_place(seed):
    crowd = Crowd(seed, strict=False)
    with faults(Random(seed)):
        for _ in range(STEPS):
            if not crowd.exited:
                crowd.go_on()
    crowd.leave()
