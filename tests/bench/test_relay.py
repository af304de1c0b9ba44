"""`make bench` in small: it runs, and everybody has a ratio. How large those are is nothing for a test."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tools.house import ROOT

SMALL = ("--rounds=1", "--seconds=0.1", "--pairs=200", "--runtimes=asyncio,trio")
SECONDS_MOST = 400  # it takes about a minute where nothing else is done


def on_each(*kinds: str) -> set[str]:
    return {f"{kind} {runtime}" for kind in kinds for runtime in ("asyncio", "trio")}


SUBJECTS = {
    **{row: {"haproxy", *on_each("bare", "opaque", "smtp")} for row in "34567"},
    "8": on_each("native", "smtp"),
    "-": {"haproxy", *on_each("native", "smtp")},
    "10": {"hall native", "hall smtp"},
}


@pytest.mark.timeout(SECONDS_MOST + 10)
def test_every_row_has_a_figure_of_everybody_who_is_measured(need: Callable[[str], str], tmp_path: Path):
    need("haproxy")
    command = [sys.executable, "-m", "bench", "relay", *SMALL, f"--out={tmp_path}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MOST)
    assert ran.returncode == 0, ran.stderr
    document = json.loads((tmp_path / "relay.json").read_text())
    measured: dict[str, set[str]] = {}
    for result in document["results"]:
        measured.setdefault(result["row"], set()).add(result["subject"])
        assert result["value"] > 0
    assert measured == SUBJECTS
    table = (tmp_path / "relay.md").read_text()
    assert all(f"| {row} |" in table for row in SUBJECTS)
