"""From figures to ratios, and from those to a file for machines and a table for people. Knows no proxy and no load."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from attrs import asdict, frozen

from bench.rows import NO_AIM, Figure, Options, Row
from bench.subjects import find_haproxy

PEER = "haproxy"
FULL_SHARE, IDLE_SHARE = 0.9, 0.8  # of a core

MARKS = {
    "": "",
    "load": "\\* In most rounds the load, not the proxy, was at its limit.",
    "others": "† In most rounds neither the load nor the proxy had its core whole: somebody else was at work there.",
}
"""Who set the pace, where it was not the proxy, and what that is called below the table."""

PACKAGES = ("attrs", "trio", "uvloop", "cryptography")

Figures = Mapping[str, Sequence[Figure]]
"""Subject → its figures, one a round."""


@frozen
class Result:
    """One subject in one row. `value`: the median; where there is a peer, of the ratios round by round."""

    row: str
    what: str
    subject: str
    value: float
    unit: str
    aim: str
    reached: bool | None
    pace: str
    rounds: Sequence[float]
    figures: Sequence[Figure]


def results(row: Row, figures: Figures) -> list[Result]:
    """What the figures of one row come to."""
    values = {name: relative(mine, figures.get(PEER)) for name, mine in figures.items()}
    told = []
    for name, mine in figures.items():
        aim, most = aim_of(row, name, values)
        value, paced = median(values[name]), pace(mine)
        known = name != PEER and not (row.waits and paced == "others")
        reached = (value >= most if row.more else value <= most) if known and most is not None else None
        told.append(Result(row.number, row.what, name, value, row.unit, aim, reached, paced, values[name], mine))
    return told


def pace(figures: Sequence[Figure]) -> str:
    """Who set it, as `MARKS` has it. Where there is no load, nobody does."""
    load, proxy = median(one.load_share for one in figures), median(one.proxy_share for one in figures)
    if load and max(load, proxy) < IDLE_SHARE:
        return "others"
    return "load" if load > FULL_SHARE > proxy else ""


def relative(mine: Sequence[Figure], peers: Sequence[Figure] | None) -> list[float]:
    """Round by round against the peer, where there is one."""
    if peers is None:
        return [one.value for one in mine]
    return [one.value / peer.value for one, peer in zip(mine, peers, strict=True)]


def aim_of(row: Row, subject: str, values: Mapping[str, Sequence[float]]) -> tuple[str, float | None]:
    """In words, and as the most or least that it may be; none where there is no aim, or nothing to hold it against."""
    kind, _, runtime = subject.partition(" ")
    asyncio = values.get(f"{kind} asyncio")
    if row.aim is None or kind == PEER or (runtime == "trio" and row.trio == NO_AIM):
        return "-", None
    if runtime == "trio" and row.trio is not None:
        return f"≤ {row.trio:g} × asyncio", None if asyncio is None else row.trio * median(asyncio)
    return f"{'≥' if row.more else '≤'} {row.aim:g} {row.unit}", row.aim


def described() -> dict[str, str]:
    """This machine, and the versions of all that was measured or helped to."""
    processor = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    haproxy = subprocess.run([find_haproxy(), "-v"], capture_output=True, text=True, check=True).stdout
    return {
        "processor": processor.partition(":")[2].strip(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "haproxy": haproxy.split()[2],
        **{package: version(package) for package in PACKAGES},
    }


def write(folder: Path, verb: str, options: Options, found: Sequence[Result]) -> str:
    """Both files. Returns the table."""
    machine = described()
    document: dict[str, Any] = {
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine,
        "options": asdict(options),
        "results": [asdict(result) for result in found],
    }
    table = as_table(machine, options, found)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{verb}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{verb}.md").write_text(table)
    return table


def as_table(machine: Mapping[str, str], options: Options, found: Sequence[Result]) -> str:
    """Markdown: rows down, subjects beside them."""
    lines = [
        f"Median of {options.rounds} rounds; × is the ratio to HAProxy {machine['haproxy']} in the same round.",
        f"{machine['processor']}, Python {machine['python']}, Linux {machine['kernel']}.",
        "",
        "| row | what | who | is | aim | reached |",
        "|---|---|---|---|---|---|",
    ]
    for result in found:
        if result.subject != PEER:
            lines.append("| " + " | ".join(cells(result)) + " |")
    lines += [f"\n{told}" for mark, told in MARKS.items() if mark and any(result.pace == mark for result in found)]
    return "\n".join(lines) + "\n"


def cells(result: Result) -> list[str]:
    value = f"{result.value:.2f} {result.unit}{MARKS[result.pace].partition(' ')[0]}"
    reached = {None: "", True: "yes", False: "no"}[result.reached]
    return [result.row, result.what, result.subject, value, result.aim, reached]
