"""From a text to settings: knows what every directive means and which of them belong together. Does not know a file.

All faults are told at once. None repeats a word of 32 or more characters, nor one that stands on a line with a secret:
it may be the secret.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from attrs import Factory, define, evolve, frozen

from gaproxy.proto.config.directives import (
    AUTO,
    DIRECTIVES,
    NATIVE,
    PROXY_PROTOCOL,
    TIMEOUTS,
    TOTALS,
    Block,
    Directive,
    Door,
)
from gaproxy.proto.config.grammar import Fault, Statement, Word, parse
from gaproxy.proto.config.values import SECRET_LENGTH, ListenAddress, Network, Secret, read_duration_s


@frozen
class DoorSettings:
    """One place to listen at: by which directive, where, and what its options say. `allow_from`: None narrows nothing.

    `tls`, of doors that are not native: who speaks TLS with the remote. `mta`: the MTA itself; `may` and `encrypt`: we,
    where it can be had or in any case; `opaque`: whoever likes, we only carry bytes.
    """

    directive: str
    name: str
    address: tuple[str, int]
    allow_from: tuple[Network, ...] | None = None
    tls: str = ""


@frozen
class Settings:
    """What a run goes by. `doors`: all places to listen at, those of `listeners` (native ones) first.

    `secrets`: the current one, then the previous. `timeouts`: name → seconds.

    `tls_certificate`: a file, AUTO, or None: AUTO where it can be had. `source_ips`: None is any local address.
    `remote_deny`: beyond the addresses that are denied anyway.
    """

    doors: tuple[DoorSettings, ...]
    listeners: tuple[ListenAddress, ...]
    allow_from: tuple[Network, ...]
    secrets: tuple[Secret, ...]
    tls_certificate: str | None
    tls_key: str | None
    native_tls: str
    log_verbose: bool
    log_format: str
    source_ips: tuple[Network, ...] | None
    remote_ports: frozenset[int]
    remote_deny: tuple[Network, ...]
    remote_allow: tuple[Network, ...]
    greeting_5xx: str
    connections_max: int
    connections_per_client: int
    unauthenticated_total: int
    unauthenticated_per_client: int
    timeouts: Mapping[str, float]
    capture: tuple[str, int] | None


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


def read_settings(text: str) -> tuple[Settings, tuple[Fault, ...]]:
    """The settings that a configuration file stands for, and its warnings. Raises ConfigFaults."""
    values, warnings = read_values(text)
    return _compose(values), warnings


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


def effective_lines(values: Values) -> tuple[str, ...]:
    """A configuration file that says everything and means the same, but for its secrets: they are hidden."""
    return tuple(line for row in DIRECTIVES for line in _spell(row, values))


def plain_text_warnings(settings: Settings) -> Iterator[str]:
    """What an operator should know where there is no certificate."""
    if settings.listeners:
        yield (
            "there is no TLS on `listen`: no tls_certificate is given, and to make one takes pip install 'gaproxy[tls]'"
        )
    for listener in settings.listeners:
        if listener.is_public:
            yield f"{listener.name} may be public, and is plain text: what follows the proofs can be read and changed"


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


def _spell(row: Row, values: Values) -> list[str]:
    if isinstance(row, Directive):
        return _spell_directive(row, values[row.name])
    if isinstance(row, Door):
        return [line for place, options in values[row.name] for line in _spell_door(row, place, options)] or [
            f"# {row.name}: none"
        ]
    inner = [(each, values[f"{row.name} {each.name}"]) for each in row.directives]
    if all(value is None for _, value in inner):
        return [f"# {row.name}: none"]
    lines = [f"    {line}" for each, value in inner for line in _spell_directive(each, value)]
    return [f"{row.name} {{", *lines, "}"]


def _spell_door(row: Door, place: ListenAddress, options: Mapping[str, Any]) -> list[str]:
    lines = [f"    {line}" for each in row.directives for line in _spell_directive(each, options[each.name])]
    return [f"{row.name} {row.kind.spell(place)} {{", *lines, "}"]


def _spell_directive(row: Directive, value: Any) -> list[str]:
    if value is None:
        return [f"# {row.name}: {row.without}"]
    if row.repeats:
        return [f"{row.name} {row.kind.spell(each)}" for each in value]
    if row.kind.listed:
        return [f"{row.name} {', '.join(map(row.kind.spell, value))}"]
    return [f"{row.name} {row.kind.spell(value)}"]


def _compose(values: Values) -> Settings:
    secrets = (values["auth_shared_secret"], values["auth_shared_secret_previous"])
    directory = values["capture directory"]
    listeners = values[NATIVE] or ()
    native = tuple(DoorSettings(NATIVE, one.name, one.address) for one in listeners)
    return Settings(
        doors=native + tuple(_compose_door(PROXY_PROTOCOL, *one) for one in values[PROXY_PROTOCOL]),
        listeners=listeners,
        allow_from=values["allow_from"],
        secrets=tuple(secret for secret in secrets if secret is not None),
        tls_certificate=values["tls_certificate"],
        tls_key=values["tls_key"],
        native_tls=values["native_tls"],
        log_verbose=values["log_verbose"],
        log_format=values["log_format"],
        source_ips=values["source_ips"],
        remote_ports=frozenset(values["remote_ports"]),
        remote_deny=values["remote_deny"] or (),
        remote_allow=values["remote_allow"] or (),
        greeting_5xx=values["greeting_5xx"],
        connections_max=values["connections max"],
        connections_per_client=values["connections per_client"],
        unauthenticated_total=values["unauthenticated total"],
        unauthenticated_per_client=values["unauthenticated per_client"],
        timeouts=MappingProxyType(_compose_timeouts(values)),
        capture=None if directory is None else (directory, values["capture max_size"]),
    )


def _compose_door(directive: str, place: ListenAddress, options: Mapping[str, Any]) -> DoorSettings:
    if options["relay"] == "opaque":
        tls = "opaque"
    else:
        tls = (options["level"] or "may") if options["starttls"] == "proxy" else "mta"
    return DoorSettings(directive, place.name, place.address, options["allow_from"], tls)


def _compose_timeouts(values: Values) -> dict[str, float]:
    """`total` where it is not given has a default of its own for each kind of door."""
    timeouts = {row.name: values[f"timeouts {row.name}"] for row in TIMEOUTS}
    given = timeouts["total"]
    return timeouts | {name: given or read_duration_s(default) for name, default in TOTALS.items()}
