"""Which directives belong together: knows what contradicts itself or another (a fault), and what is idle (a doubt).

Does not know how a directive is read; a value that could not be read is None.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from attrs import frozen

from gaproxy.proto.config.directives import AUTO, NATIVE, PROXY_PROTOCOL, REUSE, THROTTLE, Values
from gaproxy.proto.config.grammar import Fault, Statement, Word
from gaproxy.throttle.blocks import ANY


@frozen
class Given:
    """One entry as the file gives it: a door or a block of `throttle`, its value and its options."""

    statement: Statement
    value: Any
    options: Values

    @property
    def word(self) -> Word:
        """Where its value stands, or its name where it has none."""
        return self.statement.items[0][0] if self.statement.items else self.statement.name

    def statements(self, option: str) -> Iterator[Statement]:
        return (each for each in self.statement.block or () if each.name.text == option)

    def words(self, option: str) -> Iterator[tuple[Word, Any]]:
        """Each word of a list, and what it was read as."""
        values = self.options[option] or ()
        words = [word for each in self.statements(option) for item in each.items for word in item]
        return ((word, value) for word, value in zip(words, values, strict=False) if value is not None)


@frozen
class Contents:
    """A whole file as it was read. `places`: where what was given stands, by the same names as `values`."""

    values: Values
    places: Mapping[str, Word]
    entries: Mapping[str, Sequence[Given]]


def fault_at(word: Word, path: str, text: str) -> Fault:
    return Fault(word.line, word.column, path, text)


def faults(contents: Contents) -> Iterator[Fault]:
    """What cannot be meant together."""
    yield from _lonely_key(contents)
    yield from _doors(contents)
    yield from _throttles(contents.entries[THROTTLE])


def doubts(contents: Contents) -> Iterator[Fault]:
    """What is in force without effect. Asked of a file without faults."""
    yield from _reuse_doubts(contents)
    for block in contents.entries[THROTTLE]:
        yield from _throttle_doubts(block, contents)
    yield from _names_that_nobody_knows(contents)


def _lonely_key(contents: Contents) -> Iterator[Fault]:
    """A key is of no use without the certificate that it belongs to."""
    lonely = "tls_certificate" not in contents.places or contents.values["tls_certificate"] == AUTO
    if lonely and contents.values["tls_key"] is not None:
        text = "stands without its certificate: tls_certificate must name a file"
        yield fault_at(contents.places["tls_key"], "tls_key", text)


def _doors(contents: Contents) -> Iterator[Fault]:
    taken = list(contents.values[NATIVE] or ())
    for door in contents.entries[PROXY_PROTOCOL]:
        if door.value is not None and door.value in taken:
            yield fault_at(door.word, PROXY_PROTOCOL, "the same address as an earlier one")
        taken.append(door.value)
        yield from _door_options(door)


def _door_options(door: Given) -> Iterator[Fault]:
    """Options that only mean something beside others."""
    opaque = door.options["relay"] == "opaque"
    for each in door.statement.block or ():
        name = each.name.text
        if opaque and name in ("starttls", "level", "pool"):
            yield fault_at(each.name, f"{PROXY_PROTOCOL} {name}", "means nothing with relay opaque")
        elif name == "level" and door.options["starttls"] != "proxy":
            yield fault_at(each.name, f"{PROXY_PROTOCOL} {name}", "needs starttls proxy")


def _throttles(blocks: Sequence[Given]) -> Iterator[Fault]:
    """What is wrong with a block of `throttle`, and blocks that are for the same thing: only one could hold."""
    first: dict[tuple[object, ...], int] = {}
    for block in blocks:
        yield from _throttle_options(block)
        for subject, word, text in _subjects(block):
            if subject in first:
                yield fault_at(word, THROTTLE, f"{text} as the one on line {first[subject]}")
            first.setdefault(subject, block.statement.name.line)


def _throttle_options(block: Given) -> Iterator[Fault]:
    given = {each.name.text: each.name for each in block.statement.block or ()}
    if not block.statement.broken and given.keys() <= {"source", "remote"}:
        yield fault_at(
            block.statement.name, THROTTLE, "limits nothing; it takes max_connections or messages_per_connection"
        )
    if "source" in given and "remote" in given:
        yield fault_at(given["remote"], f"{THROTTLE} remote", "stands beside source; a block has one or the other")
    if "remote" in given and ANY in (block.value or ""):
        yield fault_at(block.word, THROTTLE, "with remote this is a label, for any name: no wildcard")
    sources = list(block.words("source"))
    for word, source in sources:
        if source == ANY and len(sources) > 1:
            yield fault_at(word, f"{THROTTLE} source", f"{ANY} is all sources; it stands alone")


def _subjects(block: Given) -> Iterator[tuple[tuple[object, ...], Word, str]]:
    """What a block is for, which no other may be for; where that stands; how it is told."""
    if block.value is None:
        return
    if block.options["remote"] is not None:
        yield ("label", block.value), block.word, "has the same label"
        for word, network in block.words("remote"):
            yield ("network", network), word, "has the same network"
        return
    for word, source in [*block.words("source")] if block.options["source"] else [(block.word, ANY)]:
        yield (source, block.value), word, f"is for the same name and {'any ' if source == ANY else ''}source"


def _reuse_doubts(contents: Contents) -> Iterator[Fault]:
    """A bound that another one, which is lower, makes useless."""
    for higher, lower in (("idle", "max_age"), ("per_destination", "total")):
        place = contents.places.get(f"{REUSE} {higher}")
        if place and contents.values[f"{REUSE} {higher}"] > contents.values[f"{REUSE} {lower}"]:
            yield fault_at(place, f"{REUSE} {higher}", f"is more than {lower}, which holds")


def _throttle_doubts(block: Given, contents: Contents) -> Iterator[Fault]:
    allowed = contents.values["source_ips"]
    for word, source in block.words("source"):
        if allowed is not None and source != ANY and not any(ip_address(source) in network for network in allowed):
            yield fault_at(word, f"{THROTTLE} source", "is not in source_ips: nothing leaves from there")
    messages, most = block.options["messages_per_connection"], contents.values[f"{REUSE} messages"]
    for each in block.statements("messages_per_connection"):
        path = f"{THROTTLE} messages_per_connection"
        if most is None:
            yield fault_at(each.name, path, f"means nothing with {REUSE} no")
        elif messages > most:
            yield fault_at(each.name, path, f"is more than messages of {REUSE}, which holds")


def _names_that_nobody_knows(contents: Contents) -> Iterator[Fault]:
    """Told once: what holds for one such block holds for all."""
    if not contents.entries[PROXY_PROTOCOL]:
        return
    for block in contents.entries[THROTTLE]:
        if block.options["remote"] is None and block.value != ANY:
            text = f"holds at {NATIVE} alone, as all that name something do: at {PROXY_PROTOCOL} no name is known"
            yield fault_at(block.word, THROTTLE, text)
            return
