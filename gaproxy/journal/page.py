"""One line of a journal: knows how facts, orders and verdicts are spelled. Does not know what may be written of them.

A journal is ASCII text, one JSON object a line. The first line is the `Head`, every other one a `Page`. Whatever has
fields is `["Received", {"id": 1, "data": "QUIT\r\n"}]`; bytes are a string of the characters of the same numbers.
"""

import json
from collections.abc import Mapping, Sequence
from reprlib import repr as shown
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs
from attrs import evolve, frozen

from gaproxy.proto.actions import Action
from gaproxy.proto.doors.credentials import Verdict
from gaproxy.proto.events import Event, Received, Relayed

FORMAT = 1

Speech = Received | Relayed
"""The facts in which a peer speaks."""


class Damaged(ValueError):
    """What is no journal, or no longer one: which line, and why."""


@frozen
class Head:
    """The first line: the format, who wrote it, and what a machine needs to play it: the name of its configuration."""

    journal: int
    gaproxy: str
    filename: str


@frozen
class Reveal:
    """Bytes of an earlier fact that somebody hears only now: in which step (from 1), from which byte on, and which."""

    step: int
    offset: int
    data: bytes


@frozen
class Page:
    """One step: when (nanoseconds of the run's clock), what happened, and all that was ordered.

    `verdicts`: what the keyring said, in order. `reveals`: what was heard in this step of facts before it.
    """

    now: int
    fact: Event
    orders: tuple[Action, ...]
    verdicts: tuple[Verdict, ...] = ()
    reveals: tuple[Reveal, ...] = ()


def spoken(fact: Speech) -> bytes:
    """What the peer says in this fact."""
    return fact.data if isinstance(fact, Received) else fact.rest


def with_spoken(fact: Speech, data: bytes) -> Speech:
    """The same fact, in which the peer says this."""
    return evolve(fact, data=data) if isinstance(fact, Received) else evolve(fact, rest=data)


def write_line(record: Head | Page) -> bytes:
    """The line of this head or page."""
    return json.dumps(_written(record)[1], separators=(",", ":")).encode("ascii") + b"\n"


def read_head(line: bytes) -> Head:
    """The head of a journal. Raises Damaged."""
    head: Head = _read_line(line, Head, 1)
    if head.journal != FORMAT:
        raise Damaged(f"line 1: format {head.journal}; this version reads format {FORMAT}")
    return head


def read_page(line: bytes, number: int) -> Page:
    """The page on line `number`. Raises Damaged."""
    page: Page = _read_line(line, Page, number)
    return page


def _written(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    fields = FIELDS.get(type(value))
    if fields is None:
        return value
    return [type(value).__name__, {name: _written(getattr(value, name)) for name in fields}]


def _read_line(line: bytes, kind: type, number: int) -> Any:
    try:
        if not line.endswith(b"\n"):
            raise ValueError("it ends in the middle")
        return _read_fields(kind, json.loads(line.decode("ascii")))
    except (ValueError, RecursionError) as fault:
        raise Damaged(f"line {number}: {fault}") from fault


def _read(kind: Any, value: Any) -> Any:
    """The value of this kind (a type, as the fields are annotated). Raises ValueError."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _read_one_of(get_args(kind), value)
    if origin is tuple:
        return _read_tuple(get_args(kind), value)
    if origin is Mapping:
        return _read_mapping(get_args(kind)[1], value)
    if kind is bytes:
        return _read(str, value).encode("latin-1")
    if kind in FIELDS:
        return _read_named((kind,), value)
    if type(value) is not kind:
        raise ValueError(f"found {shown(value)} where {kind.__name__} belongs")
    return value


def _read_one_of(kinds: Sequence[Any], value: Any) -> Any:
    if isinstance(value, list) and any(kind in FIELDS for kind in kinds):
        return _read_named(kinds, value)
    if value is None and NoneType in kinds:
        return None
    return _read(next((kind for kind in kinds if type(value) is kind), kinds[0]), value)


def _read_named(kinds: Sequence[Any], value: Any) -> Any:
    if not (isinstance(value, list) and len(value) == 2):
        raise ValueError(f"found {shown(value)} where a name and its fields belong")
    name, fields = value
    for kind in kinds:
        if kind.__name__ == name:
            return _read_fields(kind, fields)
    raise ValueError(f"nothing is called {shown(name)} here")


def _read_fields(kind: type, fields: Any) -> Any:
    if not isinstance(fields, dict) or set(fields) != set(FIELDS[kind]):
        raise ValueError(f"the fields of {kind.__name__} are {', '.join(FIELDS[kind])}")
    return kind(**{name: _read(FIELDS[kind][name], value) for name, value in fields.items()})


def _read_tuple(kinds: Sequence[Any], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"found {shown(value)} where a list belongs")
    if kinds[-1] is Ellipsis:
        kinds = [kinds[0]] * len(value)
    if len(kinds) != len(value):
        raise ValueError(f"found {len(value)} values where {len(kinds)} belong")
    return tuple(_read(kind, one) for kind, one in zip(kinds, value, strict=True))


def _read_mapping(kind: Any, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"found {shown(value)} where names and values belong")
    return {name: _read(kind, one) for name, one in value.items()}


def _with_parts(kinds: Sequence[Any]) -> set[type]:
    """These classes, and all that stand in their fields."""
    found, fresh = set[type](), list(kinds)
    while fresh:
        kind = fresh.pop()
        if isinstance(kind, type) and attrs.has(kind) and kind not in found:
            found.add(kind)
            fresh += [field.type for field in attrs.fields(kind)]
        fresh += get_args(kind)
    return found


FIELDS: Mapping[type, Mapping[str, Any]] = {
    kind: {field.name: field.type for field in attrs.fields(kind)} for kind in _with_parts((Head, Page))
}
"""Every class that stands in a journal, and the types of its fields."""
