"""Every client in every situation, on both runtimes: each message arrives once, and who is refused sees why."""

from collections.abc import Callable

import pytest
from clients.cells import AFTERWARDS, CLIENTS, DOWN, IN_FLIGHT, SITUATIONS, Cell, Outcome, Told, cells, wrongs
from clients.play import RUNTIMES, Found, play_all, tell
from clients.table import TARGET, VERSIONS, draw, one_story, rows, story, version, versions
from tools.programs import find, miss
from tools.stock import Said, swaks_speaks_tls

pytestmark = pytest.mark.timeout(300)  # the first test waits for all cells, which are played side by side

PAGE = TARGET.read_text(encoding="utf-8")
DRAW = "run `PYTHONPATH=tests python -m clients.table`"
Need = Callable[[str], str]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What came of every cell on both runtimes, as far as its programs are installed."""
    lacking = [program for program in VERSIONS if find(program) is None]
    return play_all(tmp_path_factory.mktemp("clients"), lacking)


def needs(cell: Cell, need: Need) -> None:
    """The programs of a cell are there, and can do what they are asked."""
    for program in CLIENTS[cell.client].programs:
        need(program)
    if "swaks" in cell.client and SITUATIONS[cell.situation].by_client and not swaks_speaks_tls():
        miss("swaks cannot speak TLS: apt-get install libnet-ssleay-perl")


def are_those_of_the_page(programs: tuple[str, ...]) -> None:
    """Another version of a client may have other words."""
    for program in programs:
        if f"{program} {version(program)}" not in PAGE:
            miss(f"the page has the words of another {program} than {version(program)}: {DRAW}")


@pytest.mark.parametrize("cell", list(cells()), ids=str)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_a_client_says_is_true(found: Found, need: Need, runtime: str, cell: Cell) -> None:
    needs(cell, need)
    outcome = found[runtime, cell].result()
    assert list(wrongs(cell, outcome)) == [], outcome


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_a_client_says_on_both_runtimes_what_the_page_tells(found: Found, need: Need, cell: Cell) -> None:
    needs(cell, need)
    are_those_of_the_page(CLIENTS[cell.client].programs)
    for row in rows(cell, one_story(found, cell)):
        assert row in PAGE.splitlines(), DRAW


def test_the_page_is_the_one_that_this_run_would_write(found: Found, need: Need) -> None:
    for cell in cells():
        needs(cell, need)
    are_those_of_the_page(tuple(VERSIONS))
    assert draw(story(found), versions()) == PAGE, DRAW


def told(*shown: str, ended: str = "exit 0") -> Told:
    return Told(ended, shown)


KEPT = told("250 2.0.0 kept from SOURCE")
REFUSED = told("421 4.4.1 gaproxy: refused: REMOTE from SOURCE: Connection refused [SESSION]", ended="exit 21")
ONCE = (("SOURCE", False),)
LOG = "smtp: session(1): end client=127.0.0.1:1 tls=none reused=no uses=1 messages=1 bytes=1"
RESTART = {IN_FLIGHT: KEPT, DOWN: told(ended="exit 2"), AFTERWARDS: KEPT}


@pytest.mark.parametrize(
    ("situation", "outcome", "wrong"),
    [
        ("delivered", Outcome({"": KEPT}, (), LOG), "does not have each message once"),
        ("delivered", Outcome({"": KEPT}, ONCE * 2, LOG), "does not have each message once"),
        ("delivered", Outcome({"": KEPT}, (("127.0.0.1", False),), LOG), "from the asked address"),
        ("delivered", Outcome({"": KEPT}, ONCE, "smtp: session(1): failed"), "the log does not tell"),
        ("delivered", Outcome({"": REFUSED}, (), LOG), "it does not show: 250"),
        ("delivered", Outcome({}, (), LOG), "at each moment"),
        ("TLS by the proxy", Outcome({"": KEPT}, ONCE), "does not have each message once"),
        ("the remote refuses", Outcome({"": REFUSED}, ONCE), "does not have each message once"),
        ("the remote refuses", Outcome({"": told(*REFUSED.shown)}, ONCE), "its exit says something else"),
        ("the proxy restarts", Outcome({**RESTART, DOWN: KEPT}, ONCE * 3), "by a proxy that was down"),
        ("the proxy restarts", Outcome(RESTART, ONCE), "does not have each message once"),
    ],
)
def test_what_must_not_be_is_named(situation: str, outcome: Outcome, wrong: str) -> None:
    assert any(wrong in sentence for sentence in wrongs(Cell("swaks, v1", situation), outcome))


def test_what_is_right_has_no_name() -> None:
    assert list(wrongs(Cell("swaks, v1", "delivered"), Outcome({"": KEPT}, ONCE, LOG))) == []
    assert list(wrongs(Cell("swaks, v1", "the proxy restarts"), Outcome(RESTART, ONCE * 2))) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("<** 421 no: 127.0.0.8:25 from 127.0.0.2 [0123456789abcdef]", "<** 421 no: REMOTE from SOURCE [SESSION]"),
        ("curl: (7) no 127.0.0.88 after 12 ms", "curl: (7) no 127.0.0.88 after N ms"),
        ('Health check for server us, reason: no, info: "x", check duration: 3ms, status: 0/1 DOWN.', 'no, info: "x"'),
    ],
)
def test_what_is_another_thing_each_time_is_not_told(line: str, words: str) -> None:
    names = {"127.0.0.8:25": "REMOTE", "127.0.0.8": "REMOTE", "127.0.0.2": "SOURCE"}
    assert tell(Said("exit 1", ["=== what is of no account", line]), names).shown == (words,)
