"""The reference of an operator is drawn from the tables, is up to date, and passes over nothing."""

import ast
import inspect
import re
import subprocess
from pathlib import Path
from runpy import run_path

import pytest
from tools.house import ROOT

from gaproxy.proto import switchboard, turnstile
from gaproxy.proto.caretaker import Caretaker
from gaproxy.proto.doors import haproxy, native
from gaproxy.proto.relay import dialogue, far, near, tunnel
from gaproxy.proto.remote import caller
from gaproxy.proto.remote.pool import Pool
from gaproxy.proto.report.log import TOPICS
from gaproxy.proto.smtp import replies

DRAWN = run_path(str(ROOT / "docs" / "draw_reference.py"))
PAGE, MANUAL = ROOT / "docs" / "running.md", ROOT / "docs" / "gaproxy.8"

REASON_AT = {
    haproxy: {"let_go": 0},
    tunnel: {"over": 0},
    native: {"mention_refusal": 0, "doom": 0},
    dialogue: {"lose_remote": 2},
    near: {"lose": 2, "leave": 0, "depart": 0},
    far: {"lose_remote": 2},
}
"""Which argument of which call is a reason that the log tells."""


def test_the_drawn_parts_of_the_page_are_up_to_date():
    text = PAGE.read_text(encoding="utf-8")
    assert text == DRAWN["draw_page"](text), "run `make docs`"


def test_every_section_that_can_be_drawn_stands_on_the_page_once():
    found = [match[2] for match in DRAWN["SECTION"].finditer(PAGE.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(DRAWN["SECTIONS"])


def test_the_manual_is_up_to_date():
    assert MANUAL.read_text(encoding="utf-8") == DRAWN["draw_manual"](), "run `make docs`"


def test_every_topic_has_a_meaning_and_no_meaning_lacks_its_topic():
    assert DRAWN["MEANINGS"].keys() == TOPICS.keys()


@pytest.mark.parametrize(
    ("module", "topic"),
    [
        (native, "native_refused"),
        (dialogue, "smtp_end"),
        (near, "smtp_end"),
        (far, "smtp_end"),
        (haproxy, "smtp_end"),
        (tunnel, "smtp_end"),
    ],
)
def test_every_reason_that_a_session_gives_is_explained(module, topic):
    given = {reason for call, at in REASON_AT[module].items() for reason in literals(module.__file__, call, at)}
    assert given
    assert given - DRAWN["REASONS"][topic].keys() == set()


def test_every_reason_to_refuse_a_client_is_explained():
    given = set(re.findall(r'"(\w+)"', inspect.getsource(Caretaker.refuses)))
    given |= literals(haproxy.__file__, "refuse_client", 0)
    assert given == DRAWN["REASONS"]["client_refused"].keys()


def test_every_kind_of_health_check_is_explained():
    assert literals(haproxy.__file__, "mention_health", 0) == DRAWN["REASONS"]["health"].keys()


ENDS = {"remote_closed", "remote_reset", "remote_timeout", "remote_tls"}  # as `Ended` and `Closed` tell them
ODD_REPLIES = {"reply_lf", "mixed_codes"}


def test_every_reason_not_to_keep_a_connection_is_explained():
    judges = (Pool.refuses, switchboard.Switchboard.refuses_rest, switchboard.unfit)
    given = {reason for judge in judges for reason in re.findall(r'"(\w+)"', inspect.getsource(judge))}
    given |= tainting(near.__file__) | ODD_REPLIES
    given.remove("off")  # where nothing is ever kept nobody wants to read of it each time
    assert given == DRAWN["REASONS"]["not_kept"].keys()


def test_every_reason_to_let_a_connection_go_is_explained():
    given = {reason for call in ("retire", "let_go") for reason in literals(caller.__file__, call, 0)}
    given |= literals(switchboard.__file__, "let_go", 1) | literals(turnstile.__file__, "let_go", 1)
    assert given | ENDS | ODD_REPLIES == DRAWN["REASONS"]["let_go"].keys()


def test_what_is_odd_about_a_reply_has_a_name():
    assert literals(replies.__file__, "append", 0) == ODD_REPLIES


def tainting(filename: str) -> set[str]:
    """The words that a source assigns to a `taint`."""
    assigned = [node for node in ast.walk(ast.parse(Path(filename).read_text())) if isinstance(node, ast.Assign)]
    values = [node.value for node in assigned if ast.unparse(node.targets[0]).endswith(".taint")]
    words = [node for value in values for node in ast.walk(value) if isinstance(node, ast.Constant)]
    return {str(word.value) for word in words}


def literals(filename: str, call: str, at: int) -> set[str]:
    """The words that stand in a source as this argument of `….call(…)`."""
    calls = [node for node in ast.walk(ast.parse(Path(filename).read_text())) if isinstance(node, ast.Call)]
    named = [node for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == call]
    given = [node.args[at] for node in named if len(node.args) > at]
    words = [word for one in given for word in ((one.body, one.orelse) if isinstance(one, ast.IfExp) else (one,))]
    return {word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)}


def test_roff_has_nothing_to_warn_of(need):
    words = [need("groff"), "-man", "-ww", "-z", "-Tutf8", "-K", "utf8", str(MANUAL)]
    told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("say `--to FILE…`", r"say \fB\-\-to FILE...\fR"),
        (".SH is no request", r"\&.SH is no request"),
        ("`'quoted'`", r"\fB'quoted'\fR"),
        (r"a \n", r"a \en"),
    ],
)
def test_nothing_that_is_said_becomes_a_request_of_roff(text, drawn):
    assert DRAWN["roff"](text) == drawn
