"""A remote that misbehaves in every way that smtp-sink can: no session suffers for another one's."""

import pytest
from sink.faults import FAULTS
from sink.play import RUNTIMES, Story, Told, play_all
from sink.table import TARGET, draw, wrongs

pytestmark = pytest.mark.timeout(300)  # the first test waits for all rows

Stories = dict[tuple[str, str], Story]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Stories:
    """What came of every row on every runtime."""
    return play_all(tmp_path_factory.mktemp("sink"))


@pytest.fixture(autouse=True)
def _sink(need: object) -> None:
    assert callable(need)
    need("smtp-sink")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_costs_its_own_session_only(fault: str, stories: Stories) -> None:
    for runtime in RUNTIMES:
        assert list(wrongs(stories[runtime, fault])) == []
    assert stories[RUNTIMES[0], fault].told == stories[RUNTIMES[1], fault].told


def test_the_page_is_the_one_that_this_run_would_write(stories: Stories) -> None:
    assert TARGET.read_text(encoding="utf-8") == draw(stories), "run `PYTHONPATH=tests python -m sink.table`"


@pytest.mark.parametrize(
    ("told", "copies", "wrong"),
    [
        (Told("250", "fresh"), 0, "told 250, and is there 0 times"),
        (Told("250", "shared"), 2, "told 250, and is there 2 times"),
        (Told("MAIL 421 ours", "fresh"), 2, "is there 2 times"),
        (Told("MAIL 421 ours", "shared"), 0, "suffers from a connection that was shared"),
    ],
)
def test_what_must_not_be_is_seen(told: Told, copies: int, wrong: str) -> None:
    assert wrong in next(wrongs(Story((told,), (copies,))))
