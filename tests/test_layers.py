"""The floors of the house, read from its imports: who stands on whom, and who may touch the outside.

The tables are the rule; each refusal names file, line and the sentence that was broken.
"""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from shutil import copytree
from sys import stdlib_module_names

import pytest
from tools.house import ROOT, Import, read_imports, read_sources

# Lowest first. Nobody imports upward; rooms of one floor do not import each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("gaproxy", "gaproxy.proto"),  # name-plates: they import nothing
    ("gaproxy.throttle",),
    ("gaproxy.proto.errors",),
    ("gaproxy.proto.smtp", "gaproxy.proto.events", "gaproxy.proto.actions", "gaproxy.proto.wire"),
    ("gaproxy.proto.asks",),
    ("gaproxy.proto.session", "gaproxy.proto.patience"),
    (
        "gaproxy.proto.doors",
        "gaproxy.proto.relay",
        "gaproxy.proto.remote",
        "gaproxy.proto.config",
        "gaproxy.proto.report",
    ),
    ("gaproxy.proto.seating",),
    ("gaproxy.proto.caretaker", "gaproxy.proto.tenants"),
    ("gaproxy.proto.turnstile",),
    ("gaproxy.proto.switchboard",),
    ("gaproxy.proto.proxy", "gaproxy.client"),
    ("gaproxy.sockets",),
    ("gaproxy.runtime_asyncio", "gaproxy.runtime_trio", "gaproxy.runtime_world"),
    ("gaproxy.journal", "gaproxy.peers"),
    ("gaproxy.cli", "gaproxy.__main__"),
)
FLOOR: Mapping[str, int] = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
CORE = ("gaproxy.proto", "gaproxy.throttle")
HALL = ("gaproxy.proto.proxy", "gaproxy.proto.switchboard", "gaproxy.proto.caretaker", "gaproxy.proto.seating")

# The one thing that two rooms of a floor share.
NEIGHBOURS = {
    ("gaproxy.proto.actions", "gaproxy.proto.events"),  # an order names an Address as a fact does
    ("gaproxy.__main__", "gaproxy.cli"),
}

# Who knows less than the floors below: these rooms or files, and nothing else of the house.
KNOWS_ONLY: Mapping[str, tuple[str, ...]] = {
    "gaproxy.throttle": ("gaproxy.throttle",),
    "gaproxy.proto.seating": (
        "gaproxy.proto.actions",
        "gaproxy.proto.asks",
        "gaproxy.proto.errors",
        "gaproxy.proto.patience",
        "gaproxy.proto.report",
        "gaproxy.proto.session",
        "gaproxy.throttle.places",  # whoever stands in line is patient, too
    ),
    "gaproxy.client": (
        "gaproxy",
        "gaproxy.proto.errors",
        "gaproxy.proto.asks",
        "gaproxy.proto.smtp",
        "gaproxy.proto.doors.native_words",
        "gaproxy.proto.doors.credentials",
    ),
    "gaproxy.sockets": ("gaproxy.sockets", "gaproxy.proto.events", "gaproxy.proto.actions", "gaproxy.proto.wire"),
    "gaproxy.runtime_asyncio.driver": ("gaproxy.sockets", "gaproxy.runtime_asyncio"),
    "gaproxy.runtime_trio.driver": ("gaproxy.sockets", "gaproxy.runtime_trio"),
    "gaproxy.runtime_asyncio.client": ("gaproxy.client", "gaproxy.proto.wire.tls", "gaproxy.runtime_asyncio"),
    "gaproxy.runtime_trio.client": ("gaproxy.client", "gaproxy.proto.wire.tls", "gaproxy.runtime_trio"),
    "gaproxy.runtime_world": (
        "gaproxy.runtime_world",
        "gaproxy.sockets",
        "gaproxy.proto.events",
        "gaproxy.proto.actions",
        "gaproxy.proto.wire",
    ),
}

# Who of the core may know a room of the core at all. (Outside the core the floors alone hold.)
KNOWN_TO: Mapping[str, tuple[str, ...]] = {
    "gaproxy.proto.events": ("gaproxy.proto.actions", *HALL, "gaproxy.proto.report.log"),
    "gaproxy.proto.actions": (*HALL, "gaproxy.proto.report.log"),
    "gaproxy.proto.wire": (),
}

# The doors stand beside each other on the words that they share. A new door adds itself to the last row.
DOORS = ("native", "haproxy", "socks5", "plain", "status")
WITHIN: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "gaproxy.proto.doors": (("credentials", "native_words", "haproxy_words", "admission", "looks"), DOORS),
    "gaproxy.proto.relay": (("states", "owed"), ("dialogue", "tunnel"), ("near",), ("far",)),
    "gaproxy.proto.remote": (("names", "route"), ("caller", "dialler"), ("pool",)),
    "gaproxy.sockets": (
        ("options", "notes", "files", "readiness", "certificate"),
        ("listener", "dial", "link"),
        ("edge",),
    ),
}
"""Files of one room, lowest first: a file may import any that stands on a lower row, and none of its own row."""

# What of the world outside a file of the core may import. To add a name here is a decision.
PURE = (
    *("__future__", "abc", "attr", "attrs", "base64", "binascii", "bisect", "collections", "dataclasses", "difflib"),
    *("enum", "fractions", "functools", "hashlib", "heapq", "hmac", "html", "ipaddress", "itertools", "json", "math"),
    *("operator", "re", "string", "struct", "textwrap", "traceback", "types", "typing", "unicodedata"),
)

# The outside is touched in few places. A module that stands in no row may be imported by every room above the core.
LENT: Mapping[str, tuple[str, ...]] = {
    "ssl": ("gaproxy.proto.wire.tls",),
    "socket": ("gaproxy.sockets",),
    "select": ("gaproxy.sockets",),
    "selectors": ("gaproxy.sockets",),
    "socketserver": (),
    "_thread": (),
    "logging": (),
    "multiprocessing": (),
    "concurrent": (),
    "threading": (),
    "subprocess": ("gaproxy.cli",),
    "asyncio": ("gaproxy.runtime_asyncio", "gaproxy.cli"),
    "uvloop": ("gaproxy.runtime_asyncio", "gaproxy.cli"),
    "trio": ("gaproxy.runtime_trio", "gaproxy.cli"),
    "time": ("gaproxy.runtime_asyncio", "gaproxy.runtime_trio", "gaproxy.cli"),
    "datetime": ("gaproxy.cli", "gaproxy.sockets.certificate"),  # a certificate has dates; no clock is asked for them
    "secrets": ("gaproxy.runtime_asyncio", "gaproxy.runtime_trio", "gaproxy.cli"),
    "random": ("gaproxy.runtime_world", "gaproxy.cli"),
    "signal": ("gaproxy.runtime_asyncio", "gaproxy.runtime_trio", "gaproxy.cli"),
}


def within(module: str, rooms: tuple[str, ...]) -> bool:
    """Whether the module is one of these rooms or files, or stands in one. A name-plate holds only itself."""
    return any(module == room or (room not in FLOORS[0] and module.startswith(room + ".")) for room in rooms)


def in_core(module: str) -> bool:
    return module.startswith(tuple(f"{room}." for room in CORE)) or module in CORE


def room_of(module: str) -> str | None:
    """The room that the module stands in; None: the house has no such room."""
    return next((room for room in FLOOR if within(module, (room,))), None)


def refuse_floor(found: Import) -> Iterator[str]:
    """Upward, sideways and circular imports between rooms."""
    mine, theirs = room_of(found.source.module), room_of(found.target)
    if theirs is None:
        yield f"{found.target} is in no room of the house"
    elif mine is None or mine == theirs or (mine, theirs) in NEIGHBOURS:
        return
    elif FLOOR[mine] < FLOOR[theirs]:
        yield f"nobody imports upward: {mine} stands below {theirs}"
    elif FLOOR[mine] == FLOOR[theirs]:
        yield f"rooms of one floor do not import each other: {mine} and {theirs}"


def refuse_acquaintance(found: Import) -> Iterator[str]:
    """What the floors allow and ignorance forbids."""
    me, them = found.source.module, found.target
    for room, known in KNOWS_ONLY.items():
        if within(me, (room,)) and not within(them, known):
            yield f"{room} knows only {', '.join(known)}"
    for room, friends in KNOWN_TO.items():
        if in_core(me) and within(them, (room,)) and not within(me, (*friends, room)):
            yield f"inside the core {room} is known to {', '.join(friends) or 'nobody'}, and to no one else"


def refuse_room_order(found: Import) -> Iterator[str]:
    """Imports between the files of one room that has an order."""
    me, them = found.source.module, found.target
    room = me.rpartition(".")[0]
    if room not in WITHIN or not them.startswith(room + ".") or me == them:
        return
    row = {f"{room}.{name}": number for number, names in enumerate(WITHIN[room]) for name in names}
    if me not in row or them not in row:
        return
    if row[me] <= row[them]:
        yield f"within {room} a file imports only from rows below its own; {them} is not"


def refuse_outside(found: Import) -> Iterator[str]:
    """The world outside: sockets, clocks, dice, threads."""
    me, outside = found.source.module, found.target.partition(".")[0]
    if outside in LENT:
        if not within(me, LENT[outside]):
            yield f"{outside} belongs to {', '.join(LENT[outside]) or 'nobody'} alone"
    elif in_core(me) and outside not in PURE:
        kind = "standard library" if outside in stdlib_module_names else "package"
        yield f"the core is pure: the {kind} {outside} is not among what it may import"


def refuse(found: Import) -> Iterator[str]:
    if found.target.startswith("."):
        yield "imports are written in full"
    elif found.target.partition(".")[0] != "gaproxy":
        yield from refuse_outside(found)
    else:
        for rule in (refuse_floor, refuse_acquaintance, refuse_room_order):
            yield from rule(found)


def refuse_circles(imports: list[Import]) -> Iterator[str]:
    """Files that import each other, however long the way round."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        if found.target != found.source.module:
            graph.setdefault(found.source.module, set()).add(found.target)
    while circle := find_circle(graph):
        yield f"a circle of imports: {' < '.join(circle)}"
        graph[circle[1]].discard(circle[0])  # opened here, so that the next one shows


def find_circle(graph: Mapping[str, set[str]]) -> list[str] | None:
    """One circle, each file followed by one that imports it, the first also last; None when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        return list(circle.args[1])
    return None


def violations(root: Path) -> list[str]:
    """Every sentence that the house under `root` breaks, each with its place."""
    sources = read_sources(root)
    imports = read_imports(sources)
    found = [f"{one.source.at(one.line)}: {sentence}" for one in imports for sentence in refuse(one)]
    for source in sources:
        room, _, name = source.module.rpartition(".")
        if room_of(source.module) is None:
            found.append(f"{source.at(1)}: {source.module} is in no room of the house")
        if room == "gaproxy.proto.doors" and name not in [n for row in WITHIN[room] for n in row]:
            found.append(f"{source.at(1)}: a new door, or its words, stands in no row of tests/test_layers.py yet")
    return found + list(refuse_circles(imports))


def test_the_house_keeps_its_floors():
    assert violations(ROOT) == []


@pytest.fixture
def house(tmp_path):
    """A copy of the house in which things may be planted."""
    copytree(ROOT / "gaproxy", tmp_path / "gaproxy")
    return tmp_path


PLANTS = [
    ("proto/patience.py", "import time", "time belongs to"),
    ("proto/patience.py", "def f():\n    import random", "random belongs to"),
    ("proto/patience.py", "if TYPE_CHECKING:\n    import socket", "socket belongs to gaproxy.sockets alone"),
    ("proto/patience.py", "import os.path", "the standard library os is not among"),
    ("proto/smtp/planted.py", "import ssl", "ssl belongs to gaproxy.proto.wire.tls alone"),
    ("proto/smtp/planted.py", "import trio", "trio belongs to"),
    ("proto/smtp/planted.py", "import rich", "the package rich is not among"),
    ("proto/errors.py", "from gaproxy.proto.asks import Say", "nobody imports upward"),
    ("proto/errors.py", "from gaproxy.proto import asks", "nobody imports upward"),
    ("proto/session.py", "from gaproxy.proto import patience", "rooms of one floor do not import each other"),
    ("proto/doors/native.py", "import gaproxy.proto.relay", "rooms of one floor do not import each other"),
    ("proto/doors/native.py", "import gaproxy.proto.doors.socks5", "a file imports only from rows below its own"),
    ("proto/doors/native_words.py", "import gaproxy.proto.doors.native", "a file imports only from rows below"),
    ("proto/doors/finger.py", "", "stands in no row"),
    ("proto/doors/native.py", "from gaproxy.proto.events import Received", "is known to"),
    ("proto/report/pages.py", "from gaproxy.proto.actions import Note", "is known to"),
    ("proto/remote/planted.py", "import gaproxy.proto.wire.tls", "is known to nobody, and to no one else"),
    ("proto/config/planted.py", "import gaproxy.proto.remote.route", "rooms of one floor"),
    ("throttle/planted.py", "from gaproxy import __version__", "gaproxy.throttle knows only"),
    ("proto/seating.py", "import gaproxy.proto.relay", "gaproxy.proto.seating knows only"),
    ("proto/seating.py", "import gaproxy.proto.proxy", "nobody imports upward"),
    ("client.py", "import gaproxy.proto.session", "gaproxy.client knows only"),
    ("client.py", "import gaproxy.proto.proxy", "rooms of one floor"),
    ("sockets/planted.py", "import gaproxy.proto.asks", "gaproxy.sockets knows only"),
    ("runtime_trio/driver.py", "import gaproxy.proto.proxy", "gaproxy.runtime_trio.driver knows only"),
    ("runtime_trio/driver.py", "import gaproxy.runtime_asyncio.driver", "rooms of one floor"),
    ("peers/planted.py", "import socket", "socket belongs to gaproxy.sockets alone"),
    ("cli/demo.py", "import socket", "socket belongs to gaproxy.sockets alone"),
    ("cellar/wine.py", "", "gaproxy.cellar.wine is in no room of the house"),
    ("proto/cellar.py", "", "gaproxy.proto.cellar is in no room of the house"),
    ("proto/smtp/planted.py", "import gaproxy.cellar", "gaproxy.cellar is in no room of the house"),
    ("proto/smtp/planted.py", "from . import replies", "imports are written in full"),
]


@pytest.mark.parametrize(("file", "plant", "sentence"), PLANTS)
def test_a_planted_import_is_refused_with_its_place_and_its_rule(house, file, plant, sentence):
    path = house / "gaproxy" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.exists() else '"""Planted."""\n'
    path.write_text(text + plant + "\n")
    line = (text + plant).count("\n") + 1 if plant else 1
    told = [one for one in violations(house) if one.startswith(f"gaproxy/{file}:{line}: ")]
    assert any(sentence in one for one in told), told


def test_a_circle_is_refused(house):
    room = house / "gaproxy" / "proto" / "smtp"
    (room / "heads.py").write_text("from gaproxy.proto.smtp import tails\n")
    (room / "tails.py").write_text("def late():\n    from gaproxy.proto.smtp.heads import late\n")
    assert any("a circle of imports" in one and "heads" in one for one in violations(house))


def test_a_house_of_one_room_is_fine(tmp_path):
    (tmp_path / "gaproxy" / "throttle").mkdir(parents=True)
    (tmp_path / "gaproxy" / "__init__.py").write_text('"""A house."""\n')
    (tmp_path / "gaproxy" / "throttle" / "rate.py").write_text("import math\n")
    assert violations(tmp_path) == []
