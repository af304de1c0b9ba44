"""docs/kill-table.md, written by the run that found what stands in it: `PYTHONPATH=tests python -m kill.table`.

Knows how the page is drawn and read; does not know what stands in a cell, or why.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from kill.cells import PARTIES, STEPS, WAYS, Cell, Outcome, cells, wrongs
from kill.play import RUNS, Found, play_all
from tools.house import ROOT

TARGET = ROOT / "docs" / "kill-table.md"

HEAD = """# The kill table

Each party of a dialogue vanishes at each of its steps, and this is what comes of it. The page is written by the run
that found it: `PYTHONPATH=tests python -m kill.table` plays every cell with a proxy as a process of its own, an MTA
and a remote on real sockets, on asyncio and on trio, over TLS and in plain text. `tests/kill/test_kill_table.py` plays
them again, and fails where two of these runs differ, or one differs from this page.

One message is on its way. Somebody vanishes; the others go on as if nothing were wrong, for as long as they are let.
Then the MTA sends the message once more, on a fresh session, unless it was told 250. A cell says three things, `told ·
copies · log`:

- **told**: what the MTA hears of its message. `nothing`: it has gone itself, or the proxy has; `421 unknown`: a 421
  with the words *outcome unknown*; `FAILED` with its kind: there was no remote.
- **copies**: how often the remote has the message, and → how often once it was sent again. The remote counts it as soon
  as it has read its end, even where it vanishes at that moment: so does who fears duplicates.
- **log**: the `reason=` of the session's last line; `failed`: the line of an OPEN that failed; `–`: there is no line.

In every cell, on every run, it was seen that

- 250 was told only where the remote had said it; that message is there exactly once, and is not sent again;
- what was told to be not accepted is not there, and is there exactly once when it was sent again;
- `1 → 2` stands only where the MTA was told that the outcome is unknown, or was not there any more to hear it, or the
  proxy was not: SMTP knows no better (RFC 1047). The proxy itself never calls or sends a second time;
- what the remote has is the whole message, byte for byte;
- the log counts as many messages as the remote said 250 to, and calls an outcome unknown where the MTA was told so;
- the proxy has let go of every connection, also of one whose peer never closes it.

Behind all cells a proxy holds as many files and threads as before the first; told to stop, it says `cut=0 unknown=0` at
once and exits with 0.
"""

TAILS: Mapping[str, str] = {
    "MTA": "An MTA that is silent behind its QUIT is between two sessions: it may rest there for minutes.",
    "remote": "A silent remote is waited for as long as `timeouts` says: here, a few seconds.",
    "proxy": "Over TLS only: a kernel that closes everything of a process does not mind what was said on it.",
}
"""What stands below each table."""


def story(found: Found) -> dict[Cell, Outcome]:
    """What was found in each cell. Raises AssertionError where two runs differ, or something is wrong."""
    return {cell: one_story(found, cell) for cell in cells()}


def one_story(found: Found, cell: Cell) -> Outcome:
    outcomes = {run: found[run, cell].result() for run in RUNS if (run, cell) in found}
    first = outcomes[RUNS[0]]
    assert set(outcomes.values()) == {first}, {str(run): str(outcome) for run, outcome in outcomes.items()}
    assert list(wrongs(first)) == []
    return first


def draw(outcomes: Mapping[Cell, Outcome]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *steps(), *ways(), *tables(outcomes)])


def steps() -> Iterator[str]:
    yield "## The steps\n"
    yield "| step | what has just happened |\n|---|---|"
    yield from (f"| {step} | {what} |" for step, what in STEPS.items())
    yield ""


def ways() -> Iterator[str]:
    yield "## The ways to vanish\n"
    yield "| way | |\n|---|---|"
    yield from (f"| {way} | {what} |" for way, what in WAYS.items())
    yield ""


def tables(outcomes: Mapping[Cell, Outcome]) -> Iterator[str]:
    for who, its_ways in PARTIES.items():
        yield f"## The {who} vanishes\n"
        yield f"| step | {' | '.join(its_ways)} |"
        yield "|---" * (1 + len(its_ways)) + "|"
        for step in STEPS:
            found = [str(outcomes[cell]) for way in its_ways if (cell := Cell(step, who, way)) in outcomes]
            if found:
                yield f"| {step} | {' | '.join(found)} |"
        yield f"\n{TAILS[who]}\n"


def read(page: str) -> dict[Cell, str]:
    """The cells of a page that was drawn."""
    found: dict[Cell, str] = {}
    for who, its_ways in PARTIES.items():
        _, _, rest = page.partition(f"## The {who} vanishes\n")
        rows = [line.strip("| ").split(" | ") for line in rest.partition("\n## ")[0].splitlines() if line[:2] == "| "]
        for step, *told in rows[1:]:
            found |= {Cell(step, who, way): text for way, text in zip(its_ways, told, strict=True)}
    return found


def main() -> int:
    with TemporaryDirectory() as folder:
        page = draw(story(play_all(Path(folder))))
    TARGET.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
