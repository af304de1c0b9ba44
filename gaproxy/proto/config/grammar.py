"""The grammar of a configuration file: words, lists, blocks, and where each stands. Does not know a directive.

`directive value…`: one a line, `;` also ends one, `#` to the end of the line is a comment.
`directive value, value`: a list.
`directive [value…] { directive… }`: a block, on one line or several; the `}` ends the directive.
`"a value"`: no escapes, no line end and no `"` inside.
"""

import re
from collections.abc import Iterator

from attrs import Factory, define, frozen

TOKEN = re.compile(
    r"""
      (?P<space>    [ \t]+ | \r(?=\n|\Z) )
    | (?P<comment>  \#[^\n]* )
    | (?P<line_end> \n )
    | (?P<end>      ; )
    | (?P<comma>    , )
    | (?P<opening>  \{ )
    | (?P<closing>  \} )
    | (?P<quoted>   "[^"\n]*" )
    | (?P<unclosed> "[^"\n]* )
    | (?P<word>     (?: (?![\#;,{}"]) [!-~] )+ )
    | (?P<stray>    [^!-~ \t\n]+ )
    """,
    re.VERBOSE,
)


@frozen(order=True)
class Fault:
    """One thing that is wrong, or doubtful: where (both from 1), under which directive, and what.

    `directive` is empty where there is none that can be named.
    """

    line: int
    column: int
    directive: str
    text: str

    def __str__(self) -> str:
        named = f"{self.directive}: " if self.directive else ""
        return f"{self.line}:{self.column}: {named}{self.text}"


@frozen
class Word:
    """A word or a quoted string, without its quotes, and where it begins."""

    text: str
    line: int
    column: int
    quoted: bool = False


@frozen
class Statement:
    """A directive as it was written: its name, its items (between commas; each of one or more words), its block.

    `broken`: a word of it was spoilt, so what its words mean is not worth asking.
    """

    name: Word
    items: tuple[tuple[Word, ...], ...] = ()
    block: "tuple[Statement, ...] | None" = None
    broken: bool = False


@frozen
class _Token:
    kind: str
    text: str
    line: int
    column: int


@define
class _Draft:
    """A statement that is still being written."""

    name: Word
    items: list[list[Word]] = Factory(lambda: [[]])
    comma: _Token | None = None
    broken: bool = False

    def finished(self, block: tuple[Statement, ...] | None = None) -> Statement:
        return Statement(self.name, tuple(tuple(item) for item in self.items if item), block, self.broken)


@define
class _Level:
    """The file, or an open block: the statement it belongs to, where its `{` stands, what it holds so far."""

    owner: _Draft | None = None
    opening: _Token | None = None
    statements: list[Statement] = Factory(list)


def parse(text: str) -> tuple[tuple[Statement, ...], tuple[Fault, ...]]:
    """The statements of a whole file, and every fault of its grammar. Raises nothing."""
    parser = _Parser()
    for token in _tokens(text):
        getattr(parser, token.kind)(token)
    return parser.finished()


def _tokens(text: str) -> Iterator[_Token]:
    line, line_begin = 1, 0
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind not in ("space", "comment"):
            yield _Token(kind, match.group(), line, match.start() - line_begin + 1)
        if kind == "line_end":
            line, line_begin = line + 1, match.end()


@define
class _Parser:
    """One method for each kind of token. The levels are a list, so that no depth of blocks is too deep."""

    levels: list[_Level] = Factory(lambda: [_Level()])
    draft: _Draft | None = None
    faults: list[Fault] = Factory(list)

    def word(self, token: _Token) -> None:
        self._add(Word(token.text, token.line, token.column))

    def quoted(self, token: _Token) -> None:
        self._add(Word(token.text[1:-1], token.line, token.column, quoted=True))
        if not token.text.isprintable():
            self._blame(token, "a character within the quotes cannot be printed")

    def unclosed(self, token: _Token) -> None:
        self._add(Word(token.text[1:], token.line, token.column, quoted=True))
        self._blame(token, 'the string has no closing " on its line')

    def stray(self, token: _Token) -> None:
        points = " ".join(f"U+{ord(character):04X}" for character in token.text[:4])
        self._blame(token, f"found {points}; outside of quotes only printable ASCII is allowed")

    def comma(self, token: _Token) -> None:
        if self.draft is None or not self.draft.items[-1]:
            self._blame(token, "a comma with no value before it", breaks=False)
            return
        self.draft.items.append([])
        self.draft.comma = token

    def opening(self, token: _Token) -> None:
        if self.draft is None:
            self._blame(token, "a { with no directive before it on its line")
        self._look_for_value_behind_comma()
        self.levels.append(_Level(self.draft, token))
        self.draft = None

    def closing(self, token: _Token) -> None:
        self._end_statement()
        if len(self.levels) == 1:
            self._blame(token, "a } that closes nothing")
            return
        self._end_block()

    def end(self, token: _Token) -> None:
        self._end_statement()

    line_end = end

    def finished(self) -> tuple[tuple[Statement, ...], tuple[Fault, ...]]:
        self._end_statement()
        while (opening := self.levels[-1].opening) is not None:
            self.draft = self.levels[-1].owner
            self._blame(opening, "the block has no closing }")
            self._end_block()
        return tuple(self.levels[0].statements), tuple(sorted(self.faults))

    def _add(self, word: Word) -> None:
        if self.draft is None:
            self.draft = _Draft(word)
        else:
            self.draft.items[-1].append(word)

    def _end_statement(self) -> None:
        if self.draft is not None:
            self._look_for_value_behind_comma()
            self.levels[-1].statements.append(self.draft.finished())
            self.draft = None

    def _end_block(self) -> None:
        level = self.levels.pop()
        self.draft = None
        if level.owner is not None:
            self.levels[-1].statements.append(level.owner.finished(tuple(level.statements)))

    def _look_for_value_behind_comma(self) -> None:
        if self.draft is not None and self.draft.comma is not None and not self.draft.items[-1]:
            self._blame(self.draft.comma, "a comma with no value behind it", breaks=False)

    def _blame(self, token: _Token, text: str, breaks: bool = True) -> None:
        directive = ""
        if self.draft is not None:
            self.draft.broken |= breaks
            directive = self.draft.name.text
        self.faults.append(Fault(token.line, token.column, directive, text))
