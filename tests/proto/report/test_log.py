"""How the log words an event, and what the network cannot do to it."""

import pytest

from gaproxy.proto.actions import Note
from gaproxy.proto.report.log import TOPICS, TRACE_CHARACTERS_MOST, VALUE_CHARACTERS_MOST, escaped, note


def test_a_line_tells_what_and_then_each_field():
    told = note("native_refused", {"session": "ab/7", "client": "127.0.0.9:1", "reason": "no_proof"}, 0)
    assert told == Note(
        "native: session(ab/7): refused client=127.0.0.9:1 reason=no_proof",
        {"event": "native_refused", "session": "ab/7", "client": "127.0.0.9:1", "reason": "no_proof"},
    )


def test_the_end_of_a_session_tells_its_length_before_its_reason():
    told = note("smtp_end", {"session": "ab/7", "messages": 1, "reason": "quit"}, 1_284_499_999)
    assert told.line == "smtp: session(ab/7): end messages=1 seconds=1.284 reason=quit"
    assert list(told.fields) == ["event", "session", "messages", "seconds", "reason"]


def test_an_event_without_fields_is_its_name():
    assert note("exhausted", {}, 0) == Note("gaproxy: no descriptor left", {"event": "exhausted"})


def test_a_field_that_is_empty_is_not_told_unless_the_line_has_a_place_for_it():
    told = note("smtp_failed", {"session": "ab/7", "reply": "", "text": "", "again": 0}, 0)
    assert told == Note("smtp: session(ab/7): failed again=0", {"event": "smtp_failed", "session": "ab/7", "again": 0})
    said = note("smtp_said", {"session": "ab/7", "who": "mta", "line": ""}, 0)
    assert said.line == "smtp: session(ab/7): mta: "
    assert said.fields["line"] == ""


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_can_be_told(topic):
    fields = {
        "session": "ab/7",
        "listener": "127.0.0.1:807",
        "remote": "192.0.2.5:25",
        "reason": "x",
        "who": "mta",
        "line": "NOOP",
    }
    assert "{" not in note(topic, fields, 0).line


HOSTILE = {
    "line\nlistener(evil): refused": r"line\nlistener(evil): refused",
    "cr\rtab\tnul\0": r"cr\rtab\tnul\x00",
    "\x1b[2J": r"\x1b[2J",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2028": r"\u2028",
    "\x85": r"\x85",
    "münchen": "münchen",
    "a b=c": "a b=c",
}


@pytest.mark.parametrize("said", HOSTILE)
def test_nobody_can_write_a_line_of_our_log(said):
    assert escaped(said) == HOSTILE[said]
    line = note("smtp_failed", {"session": said, "text": said}, 0).line
    assert line == f"smtp: session({HOSTILE[said]}): failed text={HOSTILE[said]}"


def test_a_long_value_is_cut():
    told = note("exhausted", {"what": "x" * 1000}, 0)
    assert told.line == f"gaproxy: no descriptor left what={'x' * VALUE_CHARACTERS_MOST}"
    assert told.fields["what"] == "x" * VALUE_CHARACTERS_MOST


def test_a_traceback_is_told_to_its_end_for_that_is_where_the_fault_stands():
    trace = "x" * 5000 + " | AssertionError"
    assert note("internal", {"session": "Near", "text": trace}, 0).line.endswith("AssertionError")
    assert len(note("internal", {"text": "x" * 99_999}, 0).line) < TRACE_CHARACTERS_MOST + 100
