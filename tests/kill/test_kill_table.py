"""Each party killed at each step, on every runtime: nothing is lost, doubled, leaked or told wrongly."""

import pytest
from kill.cells import Cell, Outcome, cells, wrongs
from kill.play import RUNS, Found, Run, play_all
from kill.table import TARGET, draw, one_story, read, story

pytestmark = pytest.mark.timeout(300)  # the first test waits for all cells, which are played side by side

PAGE = read(TARGET.read_text(encoding="utf-8"))
EVERYTHING = [(run, cell) for run in RUNS for cell in cells(run.secured)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What came of every cell on every run."""
    return play_all(tmp_path_factory.mktemp("kill"))


@pytest.mark.parametrize(("run", "cell"), EVERYTHING, ids=str)
def test_no_message_is_lost_or_doubled_and_every_outcome_is_true(found: Found, run: Run, cell: Cell) -> None:
    assert list(wrongs(found[run, cell].result())) == []


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_all_runs_tell_the_story_that_the_page_tells(found: Found, cell: Cell) -> None:
    assert str(one_story(found, cell)) == PAGE.get(cell)


def test_the_page_is_the_one_that_this_run_would_write(found: Found) -> None:
    assert TARGET.read_text(encoding="utf-8") == draw(story(found)), "run `PYTHONPATH=tests python -m kill.table`"


def test_what_was_drawn_is_read_back() -> None:
    outcomes = {cell: Outcome("nothing", False, 0, 0, number) for number, cell in enumerate(cells(), 1)}
    assert read(draw(outcomes)) == {cell: f"nothing · 0 → {number} · –" for number, cell in enumerate(cells(), 1)}


@pytest.mark.parametrize(
    ("outcome", "wrong"),
    [
        (Outcome("250", True, 0, 1, 1), "the remote did not say so"),
        (Outcome("250", True, 1, 0, 0), "does not have the message once"),
        (Outcome("421 unknown", False, 0, 0, 1), "before the end of the message was sent"),
        (Outcome("421", True, 0, 1, 2), "told to be not accepted"),
        (Outcome("nothing", False, 0, 1, 2), "told to be not accepted"),
        (Outcome("nothing", True, 2, 2, 2), "a second copy"),
        (Outcome("421", True, 0, 0, 0), "lost"),
        (Outcome("FAILED tls", False, 0, 0, 2), "twice"),
        (Outcome("421 unknown", True, 0, 1, 3), "twice"),
        (Outcome("250", True, 1, 1, 1, "quit", 0), "the log counts other messages"),
        (Outcome("421 unknown", True, 0, 1, 2, "remote_closed", 0, False), "not told the same"),
        (Outcome("421", False, 0, 0, 1, "remote_closed", 0, True), "not told the same"),
    ],
    ids=str,
)
def test_what_must_not_be_is_named(outcome: Outcome, wrong: str) -> None:
    assert any(wrong in sentence for sentence in wrongs(outcome))
