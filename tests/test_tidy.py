"""The manners of the house, read from its source: sizes, names, docstrings, excuses. Loosely, but always.

Each rule is a small function from a source to sentences; the plants below prove that each can refuse.
"""

import ast
import os
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tools.house import ROOT, Source, read_sources

LINES_OF_A_FILE = 500
LINES_OF_A_FUNCTION = 40
LINES_OF: Mapping[str, int] = {
    "gaproxy/proto/proxy.py": 450,
    "gaproxy/runtime_asyncio/driver.py": 200,
    "gaproxy/runtime_trio/driver.py": 200,
    "gaproxy/runtime_world/driver.py": 200,
}

CATCHES_ALL: Mapping[str, str] = {
    "gaproxy/proto/seating.py": "the hall's gate: our own fault in a session ends that session and no other",
    "gaproxy/runtime_asyncio/driver.py": "asyncio logs a fault of a callback and goes on; it must end the run",
    "gaproxy/runtime_trio/driver.py": "the same, name for name",
}
"""The files in which one broad `except` may stand, and why."""

LONELY: Mapping[str, str] = {
    "gaproxy/runtime_asyncio": "the driver; the wrapper of an MTA's side stands beside it once there is one",
    "gaproxy/runtime_trio": "the same, name for name",
}
"""Folders that may hold a single file, and why."""

EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "core", "manager", "misc"}
EMPTY_PREFIXES = ("handle_", "process_", "do_")
LEFTOVERS = re.compile(r"\b(FIX" + r"ME|TO" + r"DO|XX" + r"X)\b")

EXCUSE = re.compile(r"#\s*(pragma: no (?:cover|branch)|type: ignore|noqa)(.*)")
EXCUSES_AT_MOST = 20

MARKS = ("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail")

PLACES = re.compile(
    r"(?<![\w.])/(?:wor" + r"k|tm" + r"p|roo" + r"t|hom" + r"e|User" + r"s)/"
    r"|\bpypi\.|\bpython" + r"hosted\b|\bnpm" + r"js\b|\bdeb\.deb" + r"ian\b|\bproxy\.golang\b|index-" + r"url"
)
"""Paths of somebody's machine and hosts of registries: neither belongs into a checkout."""


def sizes(source: Source) -> Iterator[str]:
    """A file that wants more wants two rooms; a function that wants more wants two names."""
    count, most = source.text.count("\n"), LINES_OF.get(source.path.as_posix(), LINES_OF_A_FILE)
    if count > most:
        yield f"{source.at(1)}: {count} lines, and {most} are enough"
    for function in source.functions():
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > LINES_OF_A_FUNCTION:
            yield f"{source.at(function.lineno)}: {function.name} has {length} lines, and 40 are enough"


def plates(source: Source) -> Iterator[str]:
    """Every module says what it knows."""
    if not ast.get_docstring(source.tree):
        yield f"{source.at(1)}: no docstring"


def names(source: Source) -> Iterator[str]:
    """A name says what a thing is; some names say nothing."""
    words = set(source.path.with_suffix("").parts[1:])
    for empty in words & EMPTY_NAMES:
        yield f"{source.at(1)}: a file called {empty} may hold anything"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(EMPTY_PREFIXES):
            yield f"{source.at(node.lineno)}: {node.name} does not say what it does"
        elif isinstance(node, ast.ClassDef) and node.name.endswith(("Manager", "Helper")):
            yield f"{source.at(node.lineno)}: {node.name} does not say what it is"


def broad_catches(source: Source) -> Iterator[str]:
    """Every handler that catches what it cannot name, and does not pass it on."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) != "raise":
            caught = ast.unparse(node.type) if node.type else "everything"
            if re.search(r"\b(everything|Exception|BaseException)\b", caught):
                yield f"{source.at(node.lineno)}: catches {caught}"


def catches(source: Source) -> Iterator[str]:
    """A fault has an owner: one broad `except` in the files that may have it, none elsewhere."""
    yield from list(broad_catches(source))[1 if source.path.as_posix() in CATCHES_ALL else 0 :]


def leftovers(source: Source) -> Iterator[str]:
    """What is to be done stands in the tracker, not in the house."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if found := LEFTOVERS.search(line):
            yield f"{source.at(number)}: {found[1]}"


def excuses(source: Source) -> Iterator[str]:
    """Who asks a tool to look away says why, on the same line and in words."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if (found := EXCUSE.search(line)) and not re.search(r"[—–-] \w+ \w+", found[2]):
            yield f"{source.at(number)}: {found[1]} without a reason"


def skips(source: Source) -> Iterator[str]:
    """A test that does not run says in a sentence why."""
    calls = [node for node in ast.walk(source.tree) if isinstance(node, ast.Call)]
    reasons = {id(call.func): ast.unparse(k.value) for call in calls for k in call.keywords if k.arg == "reason"}
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node) in MARKS
            and len(reasons.get(id(node), "").split()) < 3
        ):
            yield f"{source.at(node.lineno)}: {ast.unparse(node)} without a sentence"


def patience(source: Source) -> Iterator[str]:
    """A test waits for a fact, never for a while. (A sleep of 0 is how asyncio spells "let the others go first".)"""
    for node in ast.walk(source.tree):
        called = ast.unparse(node) if isinstance(node, ast.Call) else ""
        if re.match(r"(\w+\.)*sleep\((?!0\))", called):
            yield f"{source.at(node.lineno)}: sleeps"


def doubles(source: Source) -> Iterator[str]:
    """Real things for real: no mock, and nothing patched behind its back."""
    for node in ast.walk(source.tree):
        imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            imported = [f"{node.module}.{alias.name}" for alias in node.names]
        if any(name.startswith(("unittest.mock", "mock.", "pytest_mock")) or name == "mock" for name in imported):
            yield f"{source.at(node.lineno)}: imports a mock"
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "monkeypatch.setattr":
            yield f"{source.at(node.lineno)}: patches"


IN_THE_HOUSE = (sizes, plates, names, catches, leftovers, excuses)
IN_THE_TESTS = (plates, leftovers, excuses, skips, patience, doubles)


def refuse(sources: list[Source], rules: tuple[Callable[[Source], Iterator[str]], ...]) -> list[str]:
    return [sentence for source in sources for rule in rules for sentence in rule(source)]


def lonely_folders(sources: list[Source]) -> list[str]:
    """Folders that hold one file beside `__init__` and no other room: a room for one is a corridor."""
    held: dict[str, set[str]] = {}
    for source in sources:
        *folders, name = source.path.parts
        for depth in range(1, len(folders)):
            held.setdefault("/".join(folders[:depth]), set()).add(folders[depth])
        if name != "__init__.py":
            held.setdefault("/".join(folders), set()).add(name)
    return sorted(folder for folder, names in held.items() if len(names) == 1 and folder not in LONELY)


def texts() -> Iterator[Path]:
    """Every text file of the checkout that .gitignore does not pass over."""
    passed_over = [".git", *(line.strip("/") for line in (ROOT / ".gitignore").read_text().split())]
    for folder, folders, files in os.walk(ROOT):
        ignored = {name for name in folders + files if any(fnmatch(name, pattern) for pattern in passed_over)}
        folders[:] = sorted(set(folders) - ignored)
        for path in sorted(Path(folder, name) for name in set(files) - ignored):
            if b"\0" not in path.read_bytes():
                yield path


def undated_orders(source: Source) -> Iterator[str]:
    """Orders whose docstring does not say which fact answers them."""
    classes = {node.name: node for node in source.tree.body if isinstance(node, ast.ClassDef)}
    union = next(
        node for node in source.tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Action"
    )
    for name in re.findall(r"\w+", ast.unparse(union.value)):
        told = ast.get_docstring(classes[name]) or ""
        if not re.search(r"[Aa]nswered by [^.]*`[A-Z]\w+|No fact answers|Nothing answers", told):
            yield f"{source.at(classes[name].lineno)}: {name} does not say which fact answers it"


def test_the_house_is_tidy():
    assert refuse(read_sources(ROOT), IN_THE_HOUSE) == []


def test_the_tests_are_tidy():
    assert refuse(read_sources(ROOT, "tests"), IN_THE_TESTS) == []


def test_excuses_are_few():
    sources = read_sources(ROOT)
    found = [
        source.at(n) for source in sources for n, line in enumerate(source.text.splitlines(), 1) if EXCUSE.search(line)
    ]
    assert len(found) <= EXCUSES_AT_MOST, found


def test_no_folder_holds_a_single_file():
    assert lonely_folders(read_sources(ROOT)) == []


def test_every_order_says_which_fact_answers_it():
    actions = next(source for source in read_sources(ROOT) if source.module == "gaproxy.proto.actions")
    assert list(undated_orders(actions)) == []


def test_no_file_names_a_place_of_somebodys_machine_or_a_registry():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {place[0]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (place := PLACES.search(line))
    ]
    assert found == []


PLANTS = [
    (sizes, "gaproxy/planted.py", "\n" * 501, "501 lines"),
    (sizes, "gaproxy/proto/proxy.py", "\n" * 451, "450 are enough"),
    (sizes, "gaproxy/planted.py", "def f():\n" + "    f()\n" * 40, "f has 41 lines"),
    (plates, "gaproxy/planted.py", "x = 1\n", "no docstring"),
    (names, "gaproxy/utils.py", "", "called utils"),
    (names, "gaproxy/core/x.py", "", "called core"),
    (names, "gaproxy/planted.py", "class A:\n    def handle_x(self): ...\n", ":2: handle_x"),
    (names, "gaproxy/planted.py", "class LinkManager: ...\n", "LinkManager does not say"),
    (catches, "gaproxy/planted.py", "try: ...\nexcept: ...\n", "catches everything"),
    (catches, "gaproxy/planted.py", "try: ...\nexcept (OSError, Exception): ...\n", "catches (OSError, Exception)"),
    (catches, "gaproxy/planted.py", "try: ...\nexcept BaseException: ...\n", "catches BaseException"),
    (catches, "gaproxy/proto/seating.py", "try: ...\nexcept Exception: ...\n" * 2, ":4: catches Exception"),
    (leftovers, "gaproxy/planted.py", "x = 1  # TO" + "DO: y\n", ":1: TO" + "DO"),
    (excuses, "gaproxy/planted.py", "x = 1  # pragma: no " + "cover\n", "without a reason"),
    (excuses, "gaproxy/planted.py", "x = 1  # type: " + "ignore[arg-type]\n", "without a reason"),
    (skips, "tests/planted.py", "@pytest.mark.skip\ndef f(): ...\n", "pytest.mark.skip without"),
    (skips, "tests/planted.py", "@pytest.mark.xfail(reason='flaky')\ndef f(): ...\n", "pytest.mark.xfail without"),
    (patience, "tests/planted.py", "time.sleep(1)\n", "sleeps"),
    (patience, "tests/planted.py", "async def f():\n    await sleep(1)\n", ":2: sleeps"),
    (doubles, "tests/planted.py", "from unittest import mock\n", "imports a mock"),
    (doubles, "tests/planted.py", "import unittest.mock\n", "imports a mock"),
    (doubles, "tests/planted.py", "monkeypatch.setattr(a, 'b', 1)\n", "patches"),
    (undated_orders, "actions.py", "class Send:\n    '''Put bytes.'''\nAction = Send\n", "Send does not say"),
]


def planted(path: str, text: str) -> Source:
    return Source(path.removesuffix(".py").replace("/", "."), Path(path), text, ast.parse(text))


@pytest.mark.parametrize(("rule", "path", "text", "sentence"), PLANTS)
def test_a_planted_untidiness_is_refused(rule, path, text, sentence):
    assert any(sentence in told for told in rule(planted(path, text)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (catches, "try: ...\nexcept (OSError, ValueError): ...\n"),
        (catches, "try: ...\nexcept BaseException:\n    close()\n    raise\n"),
        (excuses, "x = 1  # pragma: no " + "cover — only on kqueue\n"),
        (skips, "@pytest.mark.skipif(x, reason='needs Linux and 127/8')\ndef f(): ...\n"),
        (names, "def redo_all(): ...\n"),
        (patience, "async def f():\n    await sleep_forever()\n"),
        (patience, "async def f():\n    await asyncio.sleep(0)\n"),
        (undated_orders, "class Send:\n    '''Put bytes. No fact answers.'''\nAction = Send\n"),
    ],
)
def test_what_is_tidy_is_let_be(rule, text):
    assert list(rule(planted("gaproxy/planted.py", text))) == []


def test_a_folder_for_one_is_told():
    alone = [planted("gaproxy/a/__init__.py", ""), planted("gaproxy/a/b.py", ""), planted("gaproxy/c.py", "")]
    assert lonely_folders([*alone, planted("gaproxy/d.py", "")]) == ["gaproxy/a"]


@pytest.mark.parametrize(
    "place", ["cd /wor" + "k/main", "(/tm" + "p/x)", "https://pyp" + "i.org/simple", "--index-" + "url x"]
)
def test_a_place_is_known_when_seen(place):
    assert PLACES.search(place)


@pytest.mark.parametrize(
    "text", ["the /work of it", "tmp_path / 'x'", "https://example.net/home/page", "pip install gaproxy"]
)
def test_what_only_looks_like_a_place_is_let_be(text):
    assert not PLACES.search(text)
