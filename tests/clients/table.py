"""docs/clients-table.md, written by the run that found what stands in it: `PYTHONPATH=tests python -m clients.table`.

Knows how the page is drawn; does not know what stands in a cell, or why.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from clients.cells import CLIENTS, DEAD, SITUATIONS, UP, Cell, Outcome, Told, cells, wrongs
from clients.play import RUNTIMES, Found, play_all
from tools.house import ROOT
from tools.programs import run

TARGET = ROOT / "docs" / "clients-table.md"

HEAD = """# What clients see at the PROXY door

Each client, in each situation, in its own words. The page is written by the run that found them:
`PYTHONPATH=tests python -m clients.table` plays every cell with the real program, a proxy as a process of its own and a
real remote, on asyncio and on trio. `tests/clients/test_clients_table.py` plays them again, and fails where the two
runtimes differ, or one differs from this page. [clients.md](clients.md) says how each client is pointed at us.

In every cell, on both, it was seen that

- a client that takes its message for delivered is right: the remote has it exactly once, from the source that the
  header asks for, and under TLS where the situation says so; the words `kept from SOURCE` are the remote's own;
- a client that does not is right as well: the remote has nothing;
- it shows the reason word for word as we, or the remote, said it; our log tells the same.

Read `REMOTE`, `SOURCE` and `PROXY` as addresses, `[SESSION]` as the name that the session has in our log.
"""

VERSIONS: Mapping[str, tuple[str, ...]] = {
    "swaks": ("swaks", "--version"),
    "curl": ("curl", "--version"),
    "haproxy": ("haproxy", "-v"),
}

COLUMNS = """| client | ended with | showed |
|---|---|---|"""


def story(found: Found) -> dict[Cell, Outcome]:
    """What was found in each cell. Raises AssertionError where the runtimes differ, or something is wrong."""
    return {cell: one_story(found, cell) for cell in cells()}


def one_story(found: Found, cell: Cell) -> Outcome:
    outcomes = {runtime: found[runtime, cell].result() for runtime in RUNTIMES}
    for runtime, outcome in outcomes.items():
        assert list(wrongs(cell, outcome)) == [], (str(cell), runtime, outcome)
    first, *others = outcomes.values()
    assert [other.told for other in others] == [first.told] * len(others), (str(cell), outcomes)
    return first


def version(program: str) -> str:
    """Of what is installed here: its number."""
    found = re.search(r"\d+(\.\d+)*", run(*VERSIONS[program]).stdout)
    assert found is not None
    return found[0]


def versions() -> str:
    """Whose words these are."""
    return f"The words are those of {', '.join(f'{program} {version(program)}' for program in VERSIONS)}."


def draw(outcomes: Mapping[Cell, Outcome], whose: str) -> str:
    """The whole page."""
    return "\n".join([HEAD, whose, "", *clients(), *overview(outcomes), *situations(outcomes)])


def clients() -> Iterator[str]:
    yield "## The clients\n"
    yield "| client | |\n|---|---|"
    yield from (f"| {name} | {client.what} |" for name, client in CLIENTS.items())
    yield ""


def overview(outcomes: Mapping[Cell, Outcome]) -> Iterator[str]:
    yield "## At a glance\n"
    yield f"| | {' | '.join(SITUATIONS)} |"
    yield "|---" * (1 + len(SITUATIONS)) + "|"
    for client in CLIENTS:
        row = (outcomes.get(Cell(client, situation)) for situation in SITUATIONS)
        yield f"| {client} | {' | '.join(brief(outcome) if outcome else '—' for outcome in row)} |"
    yield "\n— : it names no remote, so there is no such situation for it.\n"


def brief(outcome: Outcome) -> str:
    return " → ".join(gist(told) for told in outcome.told.values())


def gist(told: Told) -> str:
    """What a health check says; a reply's code, and the kind of our failure, if it is ours; else how a client ended."""
    found = re.search(r"(?:^|[ *])([245]\d\d) (?:.*gaproxy: (\w+): )?", told.text)
    if found is None or told.ended in (UP, DEAD):
        return told.ended
    return " ".join(word for word in found.groups() if word)


def situations(outcomes: Mapping[Cell, Outcome]) -> Iterator[str]:
    for name, situation in SITUATIONS.items():
        yield f"## {name[0].upper()}{name[1:]}\n\n{situation.what}\n\n{COLUMNS}"
        for cell in cells():
            if cell.situation == name:
                yield from rows(cell, outcomes[cell])
        yield ""


def rows(cell: Cell, outcome: Outcome) -> Iterator[str]:
    """What the page says of one cell."""
    for moment, told in outcome.told.items():
        who = f"{cell.client}: *{moment}*" if moment else cell.client
        yield f"| {who} | {told.ended} | {'<br>'.join(f'`{line}`' for line in told.shown)} |"


def main() -> int:
    with TemporaryDirectory() as folder:
        page = draw(story(play_all(Path(folder))), versions())
    TARGET.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
