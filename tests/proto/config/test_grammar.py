"""The grammar: what is one statement, what is one word, and where each fault stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.config.grammar import Fault, Statement, Word, parse


def shape(statement: Statement) -> tuple[object, ...]:
    """A statement without its places."""
    items = [[word.text for word in item] for item in statement.items]
    block = None if statement.block is None else [shape(inner) for inner in statement.block]
    return statement.name.text, items, block


def statements(text: str) -> list[tuple[object, ...]]:
    found, faults = parse(text)
    assert faults == ()
    return [shape(statement) for statement in found]


def faults(text: str) -> list[str]:
    return [str(fault) for fault in parse(text)[1]]


def test_an_empty_file_says_nothing():
    assert parse("") == ((), ())


@pytest.mark.parametrize(
    "text", ["a b\nc d", "a b;c d", "a b ; c d ;", "\n\ta b\r\n\r\n c d\r\n", "a b;;\n;c d # e\n# f"]
)
def test_a_line_end_or_a_semicolon_ends_a_directive(text):
    assert statements(text) == [("a", [["b"]], None), ("c", [["d"]], None)]


def test_commas_part_the_items_of_a_list():
    assert statements('a b c, d,"e, f"') == [("a", [["b", "c"], ["d"], ["e, f"]], None)]


@pytest.mark.parametrize("text", ["a b{c d;e}", "a b { c d; e }", "a b {\n  c d\n  e\n}\n", "a b { # x }\n c d\n e }"])
def test_a_block_stands_on_one_line_or_on_several(text):
    assert statements(text) == [("a", [["b"]], [("c", [["d"]], None), ("e", [], None)])]


def test_a_closing_brace_ends_its_directive():
    assert statements("a { } b { c {} } d") == [("a", [], []), ("b", [], [("c", [], [])]), ("d", [], None)]


def test_a_hash_begins_a_comment_anywhere_but_within_quotes():
    assert statements('a "b # c" d# e') == [("a", [["b # c", "d"]], None)]


def test_words_know_their_place_and_whether_they_were_quoted():
    found, _ = parse('\n  a "b",\tc')
    words = ((Word("b", 2, 5, quoted=True),), (Word("c", 2, 10),))
    assert found == (Statement(Word("a", 2, 3), words),)


FAULTS = {
    'a "b': ['1:3: a: the string has no closing " on its line'],
    '"b': ['1:1: b: the string has no closing " on its line'],
    'a "b\nc"': ['1:3: a: the string has no closing " on its line', '2:2: c: the string has no closing " on its line'],
    'a "\x00"': ["1:3: a: a character within the quotes cannot be printed"],
    'a "\ud800"': ["1:3: a: a character within the quotes cannot be printed"],
    "a b\x00\x01c": ["1:4: a: found U+0000 U+0001; outside of quotes only printable ASCII is allowed"],
    "\ufeffa b": ["1:1: found U+FEFF; outside of quotes only printable ASCII is allowed"],
    "a\rb": ["1:2: a: found U+000D; outside of quotes only printable ASCII is allowed"],
    "a\u00a0b": ["1:2: a: found U+00A0; outside of quotes only printable ASCII is allowed"],
    "\x01\x02\x03\x04\x05": [
        "1:1: found U+0001 U+0002 U+0003 U+0004; outside of quotes only printable ASCII is allowed"
    ],
    ",": ["1:1: a comma with no value before it"],
    "a , b": ["1:3: a: a comma with no value before it"],
    "a b,,c": ["1:5: a: a comma with no value before it"],
    "a b,": ["1:4: a: a comma with no value behind it"],
    "a b,\nc": ["1:4: a: a comma with no value behind it"],
    "a b, {}": ["1:4: a: a comma with no value behind it"],
    "a { b c, }": ["1:8: b: a comma with no value behind it"],
    "}": ["1:1: a } that closes nothing"],
    "a }": ["1:3: a } that closes nothing"],
    "a { } }": ["1:7: a } that closes nothing"],
    "{ a }": ["1:1: a { with no directive before it on its line"],
    "a\n{ b }": ["2:1: a { with no directive before it on its line"],
    "a {\n b {": ["1:3: a: the block has no closing }", "2:4: b: the block has no closing }"],
    "{": ["1:1: a { with no directive before it on its line", "1:1: the block has no closing }"],
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_says_where_it_stands(text):
    assert faults(text) == FAULTS[text]


@pytest.mark.parametrize(("text", "broken"), [('a "b', True), ("a b\x00", True), ("a {", True), ("a b,", False)])
def test_a_statement_knows_whether_a_word_of_it_was_spoilt(text, broken):
    assert [statement.broken for statement in parse(text)[0]] == [broken]


def test_no_depth_of_blocks_is_too_deep():
    assert parse("a{" * 50_000 + "}" * 50_000)[1] == ()


ANY_TEXT = st.text(alphabet=st.one_of(st.characters(), st.sampled_from('ab{};,#" \n\r\t')), max_size=60)


@given(ANY_TEXT)
def test_any_text_gives_statements_and_faults_in_order(text):
    found, told = parse(text)
    assert list(told) == sorted(told)
    assert all(isinstance(fault, Fault) for fault in told)
    for name in [statement.name for statement in found]:
        line = text.split("\n")[name.line - 1][name.column - 1 :]
        assert line.startswith('"' * name.quoted + name.text)


WORDS = st.text(
    alphabet=st.characters(codec="ascii", exclude_characters='#;,{}"', min_codepoint=33, max_codepoint=126),
    min_size=1,
    max_size=9,
)
STRINGS = st.text(alphabet=st.characters(exclude_characters='"', categories=["L", "N", "P", "S"]), max_size=9)
ITEMS = st.lists(st.lists(st.one_of(WORDS, STRINGS.map('"{}"'.format)), min_size=1, max_size=2), max_size=3)
TREES = st.recursive(
    st.tuples(WORDS, ITEMS, st.none()),
    lambda inner: st.tuples(WORDS, ITEMS, st.lists(inner, max_size=3)),
    max_leaves=6,
)


def spell(tree: tuple[str, list[list[str]], list[object] | None]) -> str:
    name, items, block = tree
    inner = "" if block is None else " {\n" + "".join(map(spell, block)) + "}"
    return f"{name} {', '.join(map(' '.join, items))}{inner}\n"


def bare(tree: tuple[str, list[list[str]], list[object] | None]) -> tuple[object, ...]:
    name, items, block = tree
    words = [[word[1:-1] if word.startswith('"') else word for word in item] for item in items]
    return name, words, None if block is None else [bare(inner) for inner in block]


@given(st.lists(TREES, max_size=4))
def test_what_was_written_is_what_is_read(trees):
    assert statements("".join(map(spell, trees))) == [bare(tree) for tree in trees]
