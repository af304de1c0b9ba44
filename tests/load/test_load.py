"""The load, on each runtime: everything arrives exactly once, memory stays bounded, and nothing is left in the end."""

from pathlib import Path

import pytest
from attrs import fields
from load.page import RUNTIMES, TABLES, TARGET, draw, machine, shape
from load.plays import (
    CROWD,
    EARLY,
    LATE,
    Crowd,
    Procession,
    Rest,
    let_a_crowd_in,
    let_a_procession_pass,
    let_all_rest,
)
from load.snails import LARGE_BYTES, OF_EACH, OTHERS, Snails, let_snails_in

pytestmark = pytest.mark.timeout(600)  # the longest takes 40 s on two cores that have nothing else to do

KIB = 1024


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """The name of a runtime."""
    name: str = request.param
    return name


# Measured: 9 KiB a session in plain text, and 62 KiB where all of them are in a handshake of TLS at the same time.
@pytest.mark.parametrize(("tls", "bytes_each"), [(False, 24 * KIB), (True, 128 * KIB)], ids=["plain text", "TLS"])
def test_a_thousand_sessions_at_once_deliver_each_message_once(
    runtime: str, tmp_path: Path, tls: bool, bytes_each: int
) -> None:
    found = let_a_crowd_in(runtime, tmp_path, tls)
    assert found.at_once == found.sessions == CROWD
    assert found.grown_bytes < CROWD * bytes_each
    assert 0 < found.cpu_s < CROWD * 0.02


def test_twenty_thousand_sessions_leave_nothing_in_memory(runtime: str, tmp_path: Path) -> None:
    found = let_a_procession_pass(runtime, tmp_path)
    assert (found.early, found.sessions) == (EARLY, LATE)
    assert abs(found.late_bytes - found.early_bytes) < 0.05 * found.early_bytes


def test_five_thousand_who_rest_cost_no_time_and_keep_nobody_waiting(runtime: str, tmp_path: Path) -> None:
    found = let_all_rest(runtime, tmp_path)
    assert found.bytes_each < 5 * KIB
    assert found.bytes_each_in_tls < 24 * KIB
    assert found.bytes_each_in_session < 12 * KIB
    assert found.idle_cpu_s < 0.01 * found.idle_s
    assert found.session_s < 1.0


def test_who_is_slow_harms_nobody_else(runtime: str, tmp_path: Path) -> None:
    found = let_snails_in(runtime, tmp_path)
    # Two outboxes of 64 KiB and what one read puts on top of it, each; but never the letters themselves.
    assert found.grown_bytes < OF_EACH * 384 * KIB < OF_EACH * LARGE_BYTES / 2
    assert found.messages > 100 * OTHERS
    assert found.wave_meanwhile_s < 0.5
    assert found.wave_longest_s < 2.0


FIGURES = {"crowd": Crowd, "crowd in TLS": Crowd, "procession": Procession, "rest": Rest, "snails": Snails}


def test_the_page_is_of_the_shape_that_is_drawn() -> None:
    ones = {name: kind(*[1] * len(fields(kind))) for name, kind in FIGURES.items()}
    drawn = draw({(name, runtime): ones[name] for name in TABLES for runtime in RUNTIMES}, machine())
    told = TARGET.read_text(encoding="utf-8")
    assert shape(told) == shape(drawn), "run `PYTHONPATH=tests python -m load.page`"
    assert told.startswith(drawn.partition("| the machine")[0])
