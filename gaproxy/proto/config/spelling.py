"""From values back to a file that says everything: knows how each directive is written. Does not know a fault."""

from collections.abc import Mapping
from typing import Any

from gaproxy.proto.config.directives import DIRECTIVES, Directive, Entry, Row, Values


def effective_lines(values: Values) -> tuple[str, ...]:
    """A configuration file that says everything and means the same, but for its secrets: they are hidden."""
    return tuple(line for row in DIRECTIVES for line in _spell(row, values))


def _spell(row: Row, values: Values) -> list[str]:
    if isinstance(row, Directive):
        return _spell_directive(row, values[row.name])
    if isinstance(row, Entry):
        return [line for value, options in values[row.name] for line in _spell_entry(row, value, options)] or [
            f"# {row.name}: none"
        ]
    inner = [(each, values[f"{row.name} {each.name}"]) for each in row.directives]
    if all(value is None for _, value in inner):
        return [f"{row.name} no" if row.switch else f"# {row.name}: none"]
    lines = [f"    {line}" for each, value in inner for line in _spell_directive(each, value)]
    return [f"{row.name} {{", *lines, "}"]


def _spell_entry(row: Entry, value: Any, options: Mapping[str, Any]) -> list[str]:
    lines = [f"    {line}" for each in row.directives for line in _spell_directive(each, options[each.name])]
    return [f"{row.name} {row.kind.spell(value)} {{", *lines, "}"]


def _spell_directive(row: Directive, value: Any) -> list[str]:
    if value is None:
        return [f"# {row.name}: {row.without}"]
    if row.repeats:
        return [f"{row.name} {row.kind.spell(each)}" for each in value]
    if row.kind.listed:
        return [f"{row.name} {', '.join(map(row.kind.spell, value))}"]
    return [f"{row.name} {row.kind.spell(value)}"]
