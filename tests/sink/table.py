"""docs/sink-table.md, written by the run that found what stands in it: `PYTHONPATH=tests python -m sink.table`.

Knows how the page is drawn, and what must hold of every row; does not know how a row is played.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from sink.faults import FAULTS
from sink.play import NAMES, RUNTIMES, Story, play_all
from tools.house import ROOT

TARGET = ROOT / "docs" / "sink-table.md"

HEAD = """# Shared connections and a remote that misbehaves

Two MTAs, A and B, send four messages in turn through one proxy to one remote, Postfix's `smtp-sink`, which misbehaves
in the same way on each of its connections. A cell says what its MTA was told: 250, or the command at which it came to
nothing and the code (`ours`: in the proxy's words, not the remote's; FAILED: there was no remote); then whether its
session had a connection of its own (`fresh`) or one that had carried others (`shared`), as the log says.

The page is written by the run that found it: `PYTHONPATH=tests python -m sink.table` plays every row with real
processes on asyncio and on trio. `tests/sink/test_sink_table.py` plays them again, and fails where the two differ, or
one differs from this page. In every row it was seen that

- a fault is told to the MTA in whose session it came, and to nobody else: what comes next has a connection that is
  fresh, or one on which nothing was wrong;
- a message that was told 250 is at the remote exactly once, and no message is there twice.
"""


def wrongs(story: Story) -> Iterator[str]:
    """What must not be, in a sentence each."""
    for number, (told, copies) in enumerate(zip(story.told, story.copies, strict=True)):
        if told.words == "250" and copies != 1:
            yield f"message {number} was told 250, and is there {copies} times"
        if copies > 1:
            yield f"message {number} is there {copies} times"
        if told.on == "shared" and told.words != "250" and "ours" in told.words:
            yield f"message {number} suffers from a connection that was shared: {told}"


def draw(stories: Mapping[tuple[str, str], Story]) -> str:
    """The whole page."""
    rows = [f"| `smtp-sink` that | {' | '.join(f'{name}, message {n}' for n, name in enumerate(NAMES, 1))} |"]
    rows.append("|---" * (1 + len(NAMES)) + "|")
    for fault, does in FAULTS.items():
        option = f" (`{fault}`)" if fault else ""
        told = stories[RUNTIMES[0], fault].told
        rows.append(f"| {does}{option} | {' | '.join(map(str, told))} |")
    return "\n".join([HEAD, *rows, ""])


def main() -> int:
    with TemporaryDirectory() as folder:
        page = draw(play_all(Path(folder)))
    TARGET.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
