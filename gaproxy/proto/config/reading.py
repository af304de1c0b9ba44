"""From a text to the value of every directive: knows the tables. Does not know a file, nor what belongs together.

All faults are told at once. None repeats a word of 32 or more characters, nor one that stands on a line with a secret:
it may be the secret.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from attrs import Factory, define, evolve

from gaproxy.proto.config import contradictions
from gaproxy.proto.config.contradictions import Given, fault_at
from gaproxy.proto.config.directives import DIRECTIVES, NATIVE, Block, Directive, Door, Entry, Row, Values
from gaproxy.proto.config.grammar import Fault, Statement, Word, parse
from gaproxy.proto.config.values import SECRET_LENGTH


class ConfigFaults(Exception):
    """A configuration that cannot be used, and every reason why."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


MISSPELLED = re.compile(rf"[A-Za-z_]{{1,{SECRET_LENGTH - 1}}}")  # may be shown where it resembles a directive
FILE = Word("", 1, 1)  # who owns the outermost statements
SECRET_NAMES = [row.name for row in DIRECTIVES if isinstance(row, Directive) and row.kind.secret]
ENTRIES = [row for row in DIRECTIVES if isinstance(row, Entry)]
KNOWN_NAMES = {row.name for row in DIRECTIVES} | {
    row.name for block in DIRECTIVES if not isinstance(block, Directive) for row in block.directives
}


def read_values(text: str) -> tuple[Values, tuple[Fault, ...]]:
    """The value of every directive, defaults included, and the warnings. Raises ConfigFaults."""
    statements, grammar_faults = parse(text)
    reading = _Reading(lines_with_secrets(statements), [_without_unknown_name(fault) for fault in grammar_faults])
    names = {statement.name.text for statement in statements}
    reading.needs_native = NATIVE in names or names.isdisjoint(row.name for row in ENTRIES if isinstance(row, Door))
    reading.read_level(statements, DIRECTIVES, FILE)
    whole = contradictions.Contents(reading.values, reading.places, reading.entries)
    reading.faults += contradictions.faults(whole)
    if reading.faults:
        raise ConfigFaults(tuple(sorted(reading.faults)))
    return reading.values, tuple(sorted([*reading.warnings, *contradictions.doubts(whole)]))


@define
class _Reading:
    """The file as far as it has been read. `owner` is the name of the block that is being read, or FILE.

    `needs_native`: what the native door requires must be there, for there is one, or no door at all.
    `places`: where what was given stands, by the same names as `values`.
    """

    lines_with_secrets: frozenset[int]
    faults: list[Fault]
    needs_native: bool = True
    warnings: list[Fault] = Factory(list)
    values: dict[str, Any] = Factory(dict)
    places: dict[str, Word] = Factory(dict)
    entries: dict[str, list[Given]] = Factory(dict)

    def read_level(self, statements: Iterable[Statement], rows: Sequence[Row], owner: Word) -> None:
        given = self._by_name(statements, rows, owner)
        for row in rows:
            if isinstance(row, Block):
                self._read_block(row, given[row.name])
            elif isinstance(row, Entry):
                self._read_entries(row, given[row.name])
            else:
                self._read_directive(row, given[row.name], owner)

    def _by_name(self, statements: Iterable[Statement], rows: Sequence[Row], owner: Word) -> dict[str, list[Statement]]:
        given: dict[str, list[Statement]] = {row.name: [] for row in rows}
        repeating = {row.name for row in rows if isinstance(row, Entry) or (isinstance(row, Directive) and row.repeats)}
        for statement in statements:
            name = statement.name
            if name.quoted or name.text not in given:
                self._blame_unknown(name, list(given), owner)
            elif given[name.text] and name.text not in repeating:
                first_line = given[name.text][0].name.line
                self._blame(name, _path(owner, name.text), f"given twice; the first stands on line {first_line}")
            else:
                given[name.text].append(statement)
        return given

    def _read_block(self, block: Block, given: list[Statement]) -> None:
        statement = given[0] if given else Statement(Word(block.name, 1, 1), block=())
        off = block.switch and [word.text for item in statement.items for word in item] == ["no"]
        if (not given and block.optional) or (off and statement.block is None):
            self.values.update({f"{block.name} {row.name}": None for row in block.directives})
        elif not statement.broken and (statement.items or statement.block is None):
            switch = ", or no in its place" if block.switch else ""
            self._blame(statement.name, block.name, f"takes a block in {{ }} and nothing before it{switch}")
        else:
            self.read_level(statement.block or (), block.directives, statement.name)

    def _read_entries(self, entry: Entry, given: list[Statement]) -> None:
        row, found = Directive(entry.name, entry.kind, entry.help), []
        for statement in given:
            bare = evolve(statement, block=None)
            value = None if statement.broken else self._read_statement(row, bare, entry.name)
            self.read_level(statement.block or (), entry.directives, statement.name)
            options = {option.name: self.values.pop(_path(statement.name, option.name)) for option in entry.directives}
            found.append(Given(statement, value, options))
        self.entries[entry.name] = found
        self.values[entry.name] = tuple((one.value, one.options) for one in found)

    def _read_directive(self, row: Directive, given: list[Statement], owner: Word) -> None:
        path = _path(owner, row.name)
        if not given:
            self.values[path] = _default(row)
            if row.required and (self.needs_native or owner is not FILE):
                self._blame(owner, path, f"is missing; it takes {row.kind.allowed}")
            return
        self.places[path] = given[0].name
        values: list[Any] = []
        for statement in given:
            value = None if statement.broken else self._read_statement(row, statement, path)
            if value is not None and value in values:
                self._blame(statement.items[0][0], path, "the same as an earlier one")
            values.append(value)
        self.values[path] = tuple(values) if row.repeats else values[0]

    def _read_statement(self, row: Directive, statement: Statement, path: str) -> Any:
        if statement.block is not None:
            self._blame(statement.name, path, "takes no block")
        words = [word for item in statement.items for word in item]
        if row.kind.listed:
            if not words:
                self._blame(statement.name, path, f"found no value; allowed: {row.kind.allowed}")
            for item in statement.items:
                for word in item[1:]:
                    self._blame(word, path, "a comma belongs before this value")
            return tuple(self._read_word(row, word, path) for word in words)
        if len(words) != 1:
            self._blame(statement.name, path, f"found {len(words)} values; it takes one: {row.kind.allowed}")
            return None
        return self._read_word(row, words[0], path)

    def _read_word(self, row: Directive, word: Word, path: str) -> Any:
        try:
            value = row.kind.read(word.text)
        except ValueError:
            found = _count(word) if row.kind.secret else self._shown(word)
            self._blame(word, path, f"found {found}; allowed: {row.kind.allowed}")
            return None
        if doubt := row.kind.doubt(word.text):
            self.warnings.append(fault_at(word, path, doubt))
        return value

    def _blame(self, word: Word, path: str, text: str) -> None:
        self.faults.append(fault_at(word, path, text))

    def _blame_unknown(self, name: Word, known: list[str], owner: Word) -> None:
        where = "" if owner is FILE else f" in {owner.text}"
        if name.quoted:
            self._blame(name, owner.text, f"found a quoted string where the name of a directive{where} belongs")
            return
        nearest = _nearest(name.text, known)
        found = f'"{name.text}"' if nearest and MISSPELLED.fullmatch(name.text) else self._shown(name)
        advice = f'did you mean "{nearest}"?' if nearest else f"known are {', '.join(known)}"
        for entry in ENTRIES:
            if name.text in [option.name for option in entry.directives]:
                advice = f"it is an option of {entry.name}"
        self._blame(name, owner.text, f"found {found}, which is no directive{where}; {advice}")

    def _shown(self, word: Word) -> str:
        if len(word.text) >= SECRET_LENGTH or word.line in self.lines_with_secrets:
            return _count(word)
        return f'"{word.text}"'


def _path(owner: Word, name: str) -> str:
    return name if owner is FILE else f"{owner.text} {name}"


def _count(word: Word) -> str:
    return f"{len(word.text)} characters"


def _nearest(name: str, known: list[str]) -> str | None:
    return next(iter(get_close_matches(name.lower(), known, n=1)), None)


def lines_with_secrets(statements: Iterable[Statement]) -> frozenset[int]:
    """The lines on which a secret is given, if only under a misspelled name. (Each name is looked at once.)"""
    waiting, lines_of = list(statements), defaultdict[str, set[int]](set)
    while waiting:
        statement = waiting.pop()
        waiting.extend(statement.block or ())
        lines_of[statement.name.text].add(statement.name.line)
    secrets = [name for name in lines_of if "secret" in name.lower() or _nearest(name, SECRET_NAMES)]
    return frozenset(line for name in secrets for line in lines_of[name])


def _without_unknown_name(fault: Fault) -> Fault:
    """The grammar cannot tell a directive's name from a piece of a secret."""
    return fault if fault.directive in KNOWN_NAMES else evolve(fault, directive="")


def _default(row: Directive) -> Any:
    if row.default is None:
        return None
    values = tuple(row.kind.read(text) for text in row.default.split(", "))
    return values if row.kind.listed else values[0]
