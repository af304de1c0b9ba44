"""`make soak` in small: a few seconds on each runtime; and what a long day would be blamed for."""

from pathlib import Path

import pytest

from fuzz.soak import LONG_S, RUNTIMES, Look, Soak, day, told

CLEAN = Look(files=9, threads=1, memory_kb=20_000)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_short_day_leaves_nothing_behind_and_its_counters_agree(runtime: str):
    found = day(runtime, 2.5, seed=1)
    assert found.faults == (), told(found)
    assert found.told > 20


@pytest.fixture
def over(tmp_path: Path) -> Soak:
    """A long day that is over: one message was sent, taken, counted and told."""
    soak = Soak("asyncio", LONG_S, 1, tmp_path)
    soak.log.write_text("smtp: session(a): end client=127.0.0.10:1 messages=1 bytes=9 seconds=1.0 reason=quit\n")
    soak.looks = [CLEAN] * 6
    letters = soak.cast.letters
    letters.write("0.1.1", b"hi\r\n.\r\n")
    letters.finish("0.1.1")
    letters.take("0.1.1", b"hi\r\n.\r\n")
    letters.tell("0.1.1", 250, "0.1.1", unknown=False)
    return soak


def test_a_day_without_a_fault(over: Soak):
    assert over.judge(0).faults == ()


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (Look(10, 1, 20_000), "1 files were left open"),
        (Look(9, 2, 20_000), "2 threads are there"),
        (Look(9, 1, 40_000), "it has grown by 20000 KB"),
    ],
)
def test_what_is_left_in_the_end_is_told(over: Soak, last: Look, sentence: str):
    over.looks.append(last)
    found = over.judge(0)
    assert found.faults == (sentence,)
    assert told(found).endswith(sentence)


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("", "it counted 0 messages, 1 were taken, 0 outcomes are unknown"),
        ("smtp: session(a): end messages=2 bytes=9\n", "it counted 2 messages, 1 were taken, 0 outcomes are unknown"),
        (
            "gaproxy: internal fault text=Traceback\nsmtp: session(a): end messages=1 x",
            "its log tells a fault of its own",
        ),
    ],
)
def test_a_log_that_does_not_agree_is_told(over: Soak, log: str, sentence: str):
    over.log.write_text(log)
    assert over.judge(0).faults == (sentence,)


def test_a_daemon_that_does_not_end_well_is_told(over: Soak):
    assert over.judge(1).faults == ("it ended with 1",)
