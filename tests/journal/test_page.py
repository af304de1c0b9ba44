"""Lines of a journal: everything that may be said is read as it was written, and nothing else is read at all."""

import json
from contextlib import suppress

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.journal.page import (
    FORMAT,
    Damaged,
    Head,
    Page,
    Reveal,
    read_head,
    read_page,
    spoken,
    with_spoken,
    write_line,
)
from gaproxy.proto import actions, events
from gaproxy.proto.doors.credentials import Verdict

facts = st.one_of([st.builds(kind) for kind in events.Event.__args__])
orders = st.one_of([st.builds(kind) for kind in actions.Action.__args__])
pages = st.builds(
    Page,
    st.integers(),
    facts,
    st.lists(orders).map(tuple),
    st.lists(st.builds(Verdict)).map(tuple),
    st.lists(st.builds(Reveal)).map(tuple),
)


@given(pages)
def test_a_page_is_read_as_it_was_written(page):
    line = write_line(page)
    assert read_page(line, 2) == page
    assert line.isascii() and line.count(b"\n") == 1


def test_every_fact_and_every_order_has_its_line():
    page = Page(5, events.Received(1, b"QUIT\r\n\xff"), (actions.Send(2, b"QUIT\r\n"), actions.Adopt(("d", 3))))
    assert json.loads(write_line(page)) == {
        "now": 5,
        "fact": ["Received", {"id": 1, "data": "QUIT\r\n\xff"}],
        "orders": [["Send", {"id": 2, "data": "QUIT\r\n"}], ["Adopt", {"capture": ["d", 3], "log_format": "text"}]],
        "verdicts": [],
        "reveals": [],
    }


def test_the_head_says_what_a_machine_needs():
    head = Head(FORMAT, "0.1.0", "/etc/proxy.conf")
    assert read_head(write_line(head)) == head


def test_a_head_of_another_format_is_refused():
    with pytest.raises(Damaged, match="line 1: format 2; this version reads format 1"):
        read_head(write_line(Head(2, "9", "x")))


FACT = '["Elapsed",{}]'


def line(now="1", fact=FACT, orders="[]", verdicts="[]", reveals="[]"):
    text = f'{{"now":{now},"fact":{fact},"orders":{orders},"verdicts":{verdicts},"reveals":{reveals}}}\n'
    return text.encode()


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"", "it ends in the middle"),
        (line()[:-1], "it ends in the middle"),
        (b"\x7fELF\xff\n", "can't decode"),
        (b"{\n", "Expecting"),
        (b"[" * 100_000 + b"\n", "recursion"),
        (b"[]\n", "the fields of Page are now, fact, orders, verdicts, reveals"),
        (b'{"now":1}\n', "the fields of Page are"),
        (line(now='"1"'), "found '1' where int belongs"),
        (line(now="true"), "found True where int belongs"),
        (line(now="1.5"), "found 1.5 where int belongs"),
        (line(fact='["Send",{"id":1,"data":""}]'), "nothing is called 'Send' here"),
        (line(fact='["Elapsed"]'), "where a name and its fields belong"),
        (line(fact="7"), "where .* belong"),
        (line(fact='["Received",{"id":1}]'), "the fields of Received are id, data"),
        (line(fact='["Received",{"id":1,"data":"\\u0100"}]'), "latin-1"),
        (line(fact='["Received",{"id":1,"data":null}]'), "found None where str belongs"),
        (line(fact='["Connected",{"id":1,"source":["a"]}]'), "found 1 values where 2 belong"),
        (
            line(fact='["Prepared",{"problems":"x","certificate_sha256":"","descriptors":0}]'),
            "found 'x' where a list belongs",
        ),
        (line(orders='[["Note",{"line":"x","fields":[]}]]'), r"found \[\] where names and values belong"),
        (line(orders='[["Note",{"line":"x","fields":{"a":null}}]]'), "found None where"),
        (line(orders='[["Adopt",{"capture":1,"log_format":"text"}]]'), "found 1 where a list belongs"),
        (line(verdicts="[[]]"), "where a name and its fields belong"),
    ],
)
def test_a_damaged_line_is_told_with_its_number(damaged, reason):
    with pytest.raises(Damaged, match=f"(?s)^line 7: .*{reason}"):
        read_page(damaged, 7)


@given(st.binary())
def test_nothing_but_damage_escapes(data):
    with pytest.raises(Damaged):
        read_page(data + b"\n", 2)


@given(pages, st.data())
def test_a_line_that_was_changed_is_read_or_refused(page, data):
    """Whatever stands in it, there is no third way."""
    changed = bytearray(write_line(page))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Damaged):
        assert isinstance(read_page(bytes(changed), 2), Page)


@pytest.mark.parametrize("fact", [events.Received(1, b"abc"), events.Relayed(1, 9, b"abc", "dot")])
def test_what_a_peer_says_can_be_said_otherwise(fact):
    assert spoken(fact) == b"abc"
    assert with_spoken(fact, b"xyz") == attrs.evolve(fact, **{"data" if hasattr(fact, "data") else "rest": b"xyz"})
