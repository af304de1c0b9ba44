"""A configuration in which no secret stands: knows where the grammar lets one hide. Does not know who reads it."""

from collections.abc import Iterator
from difflib import get_close_matches

from gaproxy.proto.config.grammar import TOKEN, Statement, Word, parse
from gaproxy.proto.config.reading import KNOWN_NAMES, SECRET_NAMES, lines_with_secrets
from gaproxy.proto.config.values import SECRET_LENGTH


def without_secrets(text: str) -> str:
    """The configuration of the same length that is read as this one is, fault for fault, and tells no secret.

    Hidden are secrets, all that belongs to a directive that nobody knows (its name may be misspelled), comments, and
    words in the place of a directive that resemble none, wherever the settings do not tell them either.
    """
    statements, _ = parse(text)
    hidden, line_begins = list(text), [0]
    for line in text.split("\n"):
        line_begins.append(line_begins[-1] + len(line) + 1)
    for word, instead in _hidden_words(statements):
        start = line_begins[word.line - 1] + word.column - 1 + word.quoted
        hidden[start : start + len(word.text)] = instead
    for match in TOKEN.finditer(text):
        if match.lastgroup == "comment":
            hidden[match.start() + 1 : match.end()] = "0" * (len(match.group()) - 1)
    return "".join(hidden)


def _hidden_words(statements: tuple[Statement, ...]) -> Iterator[tuple[Word, str]]:
    """Every word that is hidden, and what stands in its place. (A list, so that no depth of blocks is too deep.)"""
    secret_lines = lines_with_secrets(statements)
    waiting = [(statement, False) for statement in statements]
    while waiting:
        statement, within_hidden = waiting.pop()
        name = statement.name
        hides = within_hidden or name.quoted or name.text not in KNOWN_NAMES or name.text in SECRET_NAMES
        if not _is_told(name, secret_lines):
            yield name, _zeros_for_name(name.text)
        if hides:
            yield from ((word, _zeros(word.text)) for item in statement.items for word in item)
        waiting += [(inner, hides) for inner in statement.block or ()]


def _is_told(name: Word, secret_lines: frozenset[int]) -> bool:
    """Whether the settings tell this name, or see a directive in it."""
    if name.quoted or name.text in KNOWN_NAMES:
        return name.text in KNOWN_NAMES
    resembles = get_close_matches(name.text.lower(), KNOWN_NAMES, n=1)
    return bool(resembles) or (len(name.text) < SECRET_LENGTH and name.line not in secret_lines)


def _zeros_for_name(text: str) -> str:
    """A name that makes the settings hide its whole line does so still."""
    if not lines_with_secrets([Statement(Word(text, 1, 1))]):
        return _zeros(text)
    zeros = "0" * len(text) if text.isprintable() else "\0" * len(text)
    return "secret" + zeros[len("secret") :]


def _zeros(text: str) -> str:
    """As long, as varied (the settings doubt a secret of one character) and as impossible as this word is."""
    zeros = "".join("0" if " " <= one <= "~" else "é" if one.isprintable() else one for one in text)
    return zeros[:-1] + "1" if len(set(text)) > 1 and zeros.endswith("0") else zeros
