"""Draws docs/states.md from the tables that the sessions run on, so that the picture cannot be wrong.

Knows how to show a row; does not know what any row means.
"""

from collections.abc import Iterator
from importlib import import_module
from inspect import getsourcefile, getsourcelines
from pathlib import Path
from pkgutil import walk_packages

import gaproxy.proto
from gaproxy.proto.config.directives import REST_IDLE, TIMEOUTS, TOTALS
from gaproxy.proto.patience import HOUSE_S
from gaproxy.proto.session import ANY, Session, State, Word

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "states.md"
ARROWS_AT_MOST = 36

HEAD = """# The states of every role

Drawn from the tables by `make docs`; a test fails when this file is out of date. Change the table, then draw.

How to read a row: in this **state** the role **hears** these words, and each names the method that is told (a row that
hears none lets bytes wait; one that hears words refuses all others). It **waits** so long, counted from when the state
turned unless it says otherwise. What the **peer's end** does: *in turn*, it is heard behind the peer's last word; *at
once*, it overtakes what waits unheard. It may turn to the states in the last column, and to no other.
"""


def roles() -> list[type[Session]]:
    """Every session of the house that has a table, in the order in which they stand in the tree."""
    for module in walk_packages(gaproxy.proto.__path__, "gaproxy.proto."):
        import_module(module.name)
    found, fresh = set[type[Session]](), [Session]
    while fresh:
        fresh = [role for parent in fresh for role in parent.__subclasses__()]
        found |= {role for role in fresh if role.__module__.startswith("gaproxy.proto.")}
    return sorted(found, key=lambda role: (role.__module__, getsourcelines(role)[1]))


def waits(row: State) -> str:
    """The time-out of a row: its name, its default, where it comes from, and since when it counts."""
    if row.patience is None:
        return "–"
    defaults = {timeout.name: timeout.default for timeout in TIMEOUTS} | {"rest": REST_IDLE}
    length = TOTALS.get(row.patience) or defaults.get(row.patience) or f"{HOUSE_S[row.patience]:g}s"
    since = {"turn": "", "accept": ", since accept", "former": ", going on from the former state"}[row.since]
    source = f" ({row.section})" if row.section else ""
    name = "total" if row.patience in TOTALS else row.patience
    return f"`{name}` {length}{since}{source}"


def hears(row: State) -> str:
    """The words of a row; those that one method hears stand together."""
    methods: dict[str, list[str]] = {}
    for word, method in row.hears.items():
        methods.setdefault(method, []).append(spoken(word))
    return "; ".join(f"{' '.join(words)} → `{method}`" for method, words in methods.items()) or "–"


def spoken(word: Word) -> str:
    if word == ANY:
        return "*any other*"
    return str(word) or "*no word*"


def table(states: dict[str, State]) -> Iterator[str]:
    yield "| state | hears | waits | peer's end | becomes |"
    yield "|---|---|---|---|---|"
    for name, row in states.items():
        end = row.end.replace("_", " ")
        yield f"| {name} | {hears(row)} | {waits(row)} | {end} | {' '.join(row.becomes) or '–'} |"


def diagram(states: dict[str, State]) -> Iterator[str]:
    """The same as a picture, unless it would be nothing but arrows."""
    arrows = [f"    {name} --> {then}" for name, row in states.items() for then in row.becomes]
    arrows += [f"    {name} --> [*]" for name, row in states.items() if not row.becomes]
    if len(arrows) > ARROWS_AT_MOST:
        yield "Nearly every state may turn to every other; a picture of that would show nothing but arrows."
        return
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {next(iter(states))}"
    yield from arrows
    yield "```"


def section(role: type[Session]) -> Iterator[str]:
    place = Path(getsourcefile(role) or "").relative_to(ROOT)
    says = (role.__doc__ or "").split("\n\n")[0]
    yield f"## {role.__name__}"
    yield ""
    yield f"[`{place}`](../{place}): {' '.join(says.split())}"
    yield ""
    yield from table(dict(role.STATES))
    yield ""
    yield from diagram(dict(role.STATES))


def draw() -> str:
    """The whole page."""
    return "\n".join([HEAD, *("\n".join([*section(role), ""]) for role in roles())])


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
