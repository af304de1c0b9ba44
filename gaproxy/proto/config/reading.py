"""From a text to the value of every directive: knows the tables and what belongs together. Does not know a file.

All faults are told at once. None repeats a word of 32 or more characters, nor one that stands on a line with a secret:
it may be the secret.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from attrs import Factory, define, evolve

from gaproxy.proto.config.directives import AUTO, DIRECTIVES, NATIVE, Block, Directive, Door
from gaproxy.proto.config.grammar import Fault, Statement, Word, parse
from gaproxy.proto.config.values import SECRET_LENGTH, ListenAddress


class ConfigFaults(Exception):
    """A configuration that cannot be used, and every reason why."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


Row = Directive | Block | Door
Values = Mapping[str, Any]  # "listen" or "timeouts connect" → what its kind reads; None where there is none
Option = tuple[ListenAddress, Mapping[str, Any]]  # of a `Door`: its address, its options

MISSPELLED = re.compile(rf"[A-Za-z_]{{1,{SECRET_LENGTH - 1}}}")  # may be shown where it resembles a directive
FILE = Word("", 1, 1)  # who owns the outermost statements
SECRET_NAMES = [row.name for row in DIRECTIVES if isinstance(row, Directive) and row.kind.secret]
DOORS = [row for row in DIRECTIVES if isinstance(row, Door)]
KNOWN_NAMES = {row.name for row in DIRECTIVES} | {
    row.name for block in DIRECTIVES if not isinstance(block, Directive) for row in block.directives
}


def read_values(text: str) -> tuple[Values, tuple[Fault, ...]]:
    """The value of every directive, defaults included, and the warnings. Raises ConfigFaults."""
    statements, grammar_faults = parse(text)
    reading = _Reading(lines_with_secrets(statements), [_without_unknown_name(fault) for fault in grammar_faults])
    names = {statement.name.text for statement in statements}
    reading.needs_native = NATIVE in names or names.isdisjoint(door.name for door in DOORS)
    reading.read_level(statements, DIRECTIVES, FILE)
    reading.blame_lonely_key(statements)
    if reading.faults:
        raise ConfigFaults(tuple(sorted(reading.faults)))
    return reading.values, tuple(sorted(reading.warnings))


@define
class _Reading:
    """The file as far as it has been read. `owner` is the name of the block that is being read, or FILE.

    `needs_native`: what the native door requires must be there, for there is one, or no door at all.
    """

    lines_with_secrets: frozenset[int]
    faults: list[Fault]
    needs_native: bool = True
    warnings: list[Fault] = Factory(list)
    values: dict[str, Any] = Factory(dict)

    def read_level(self, statements: Iterable[Statement], rows: Sequence[Row], owner: Word) -> None:
        given = self._by_name(statements, rows, owner)
        for row in rows:
            if isinstance(row, Block):
                self._read_block(row, given[row.name])
            elif isinstance(row, Door):
                self._read_doors(row, given[row.name])
            else:
                self._read_directive(row, given[row.name], owner)

    def _by_name(self, statements: Iterable[Statement], rows: Sequence[Row], owner: Word) -> dict[str, list[Statement]]:
        given: dict[str, list[Statement]] = {row.name: [] for row in rows}
        repeating = {row.name for row in rows if isinstance(row, Door) or (isinstance(row, Directive) and row.repeats)}
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
        if not given and block.optional:
            self.values.update({f"{block.name} {row.name}": None for row in block.directives})
            return
        statement = given[0] if given else Statement(Word(block.name, 1, 1), block=())
        if not statement.broken and (statement.items or statement.block is None):
            self._blame(statement.name, block.name, "takes a block in { } and nothing before it")
        else:
            self.read_level(statement.block or (), block.directives, statement.name)

    def _read_doors(self, door: Door, given: list[Statement]) -> None:
        taken, found = list(self.values[NATIVE] or ()), []
        for statement in given:
            row = Directive(door.name, door.kind, door.help)
            place = None if statement.broken else self._read_statement(row, evolve(statement, block=None), door.name)
            if place is not None and place in taken:
                self._blame(statement.items[0][0], door.name, "the same address as an earlier one")
            taken.append(place)
            self.read_level(statement.block or (), door.directives, statement.name)
            options = {row.name: self.values.pop(_path(statement.name, row.name)) for row in door.directives}
            self._blame_options(statement, options)
            found.append((place, options))
        self.values[door.name] = tuple(found)

    def _blame_options(self, statement: Statement, options: Mapping[str, Any]) -> None:
        """Options that only mean something beside others."""
        opaque = options["relay"] == "opaque"
        for each in statement.block or ():
            name = each.name.text
            if opaque and name in ("starttls", "level"):
                self._blame(each.name, _path(statement.name, name), "means nothing with relay opaque")
            elif name == "level" and options["starttls"] != "proxy":
                self._blame(each.name, _path(statement.name, name), "needs starttls proxy")

    def _read_directive(self, row: Directive, given: list[Statement], owner: Word) -> None:
        path = _path(owner, row.name)
        if not given:
            self.values[path] = _default(row)
            if row.required and (self.needs_native or owner is not FILE):
                self._blame(owner, path, f"is missing; it takes {row.kind.allowed}")
            return
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
            self.warnings.append(Fault(word.line, word.column, path, doubt))
        return value

    def blame_lonely_key(self, statements: Iterable[Statement]) -> None:
        """A key is of no use without the certificate that it belongs to."""
        names = {statement.name.text: statement.name for statement in statements}
        lonely = "tls_certificate" not in names or self.values["tls_certificate"] == AUTO
        if lonely and self.values["tls_key"] is not None:
            self._blame(names["tls_key"], "tls_key", "stands without its certificate: tls_certificate must name a file")

    def _blame(self, word: Word, path: str, text: str) -> None:
        self.faults.append(Fault(word.line, word.column, path, text))

    def _blame_unknown(self, name: Word, known: list[str], owner: Word) -> None:
        where = "" if owner is FILE else f" in {owner.text}"
        if name.quoted:
            self._blame(name, owner.text, f"found a quoted string where the name of a directive{where} belongs")
            return
        nearest = _nearest(name.text, known)
        found = f'"{name.text}"' if nearest and MISSPELLED.fullmatch(name.text) else self._shown(name)
        advice = f'did you mean "{nearest}"?' if nearest else f"known are {', '.join(known)}"
        for door in DOORS:
            if name.text in [option.name for option in door.directives]:
                advice = f"it is an option of {door.name}"
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
    """The lines on which a secret is given, if only under a misspelled name."""
    waiting, lines = list(statements), set[int]()
    while waiting:
        statement = waiting.pop()
        waiting.extend(statement.block or ())
        name = statement.name
        if "secret" in name.text.lower() or _nearest(name.text, SECRET_NAMES):
            lines.add(name.line)
    return frozenset(lines)


def _without_unknown_name(fault: Fault) -> Fault:
    """The grammar cannot tell a directive's name from a piece of a secret."""
    return fault if fault.directive in KNOWN_NAMES else evolve(fault, directive="")


def _default(row: Directive) -> Any:
    if row.default is None:
        return None
    values = tuple(row.kind.read(text) for text in row.default.split(", "))
    return values if row.kind.listed else values[0]
