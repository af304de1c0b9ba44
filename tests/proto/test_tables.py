"""The tables of states: what they name is there, and all that they allow is done by somebody in some dialogue."""

import pytest

from gaproxy.proto.config.directives import TIMEOUTS, TOTALS
from gaproxy.proto.patience import HOUSE_S
from gaproxy.proto.proxy import Proxy
from gaproxy.proto.session import ACCEPT, AT_ONCE, FORMER, IN_TURN, TURN, Session


def roles(parent: type[Session]) -> list[type[Session]]:
    """Every role of the house: with the hall, all of them have been imported."""
    assert Proxy
    found = [role for child in parent.__subclasses__() for role in (child, *roles(child))]
    return [role for role in found if role.__module__.startswith("gaproxy.proto.")]


ROLES = pytest.mark.parametrize("role", roles(Session), ids=lambda role: role.__name__)


@ROLES
def test_every_turn_that_a_table_allows_is_taken(role, turns_taken):
    allowed = {(role, before, after) for before, row in role.STATES.items() for after in row.becomes}
    assert allowed - turns_taken == set()


@ROLES
def test_every_row_names_what_is_there(role):
    patience = {*HOUSE_S, *TOTALS, *(timeout.name for timeout in TIMEOUTS), "rest", None}
    for row in role.STATES.values():
        assert set(row.becomes) <= set(role.STATES)
        assert all(callable(getattr(role, method)) for method in row.hears.values())
        assert row.patience in patience
        assert row.since in (TURN, ACCEPT, FORMER)
        assert row.end in (IN_TURN, AT_ONCE)


@ROLES
def test_every_row_but_the_first_can_be_reached(role):
    first = next(iter(role.STATES))
    reached = {first}
    while more := {after for state in reached for after in role.STATES[state].becomes} - reached:
        reached |= more
    assert reached == set(role.STATES)
