"""docs/load.md, written by the run that found what stands in it: `PYTHONPATH=tests python -m load.page`.

Knows how figures are told, and on which machine they were found; does not know how they are found.
"""

import os
import platform
import re
import resource
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen
from load.plays import EARLY, MTAS, SESSIONS_A_CONNECTION, let_a_crowd_in, let_a_procession_pass, let_all_rest
from load.snails import OTHERS, let_snails_in
from tools.house import ROOT

from gaproxy import __version__

TARGET = ROOT / "docs" / "load.md"
RUNTIMES = ("asyncio", "trio")

HEAD = """# Load

What a proxy does when there are many, on asyncio and on trio. The page is written by the run that found its figures:
`PYTHONPATH=tests python -m load.page`. `tests/load/test_load.py` plays the same again wherever the tests run, within
looser bounds, for another machine is another machine.

The proxy is a process of its own, as `gaproxy serve` starts it. The MTAs and the remote are another one, over loopback:
so *messages a second* tell how fast they all were together, and *CPU* what the proxy itself used, in and out of the
kernel. *Memory* is what the process holds (resident), without the buffers of the kernel. How long one session or one
wave takes is told without the time in which they stood in line for a processor.

In each of these plays it was seen that

- every message arrived exactly once, byte for byte, from the source that was asked for, and its MTA was told so;
- the log has one `smtp: … end` line for each session, and their `messages=` add up;
- the status lines return to zero, and the proxy has as many files as at its beginning;
- told to stop, it leaves at once with `cut=0 unknown=0` and exit code 0.
"""

Row = tuple[str, Callable[[Any], str]]


@frozen
class Table:
    """One play: its heading, what happens in it, how it is played, and the rows that its figures fill."""

    title: str
    text: str
    play: Callable[[str, Path], Any]
    rows: Sequence[Row]


def each(seconds: float, number: int) -> str:
    """Seconds, and what that is for each."""
    return f"{seconds:.2f} s ({ms(seconds / number)})"


def grown(size: int, number: int) -> str:
    """Bytes, and what that is for each."""
    return f"{mib(size)} ({kib(size / number)})"


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def kib(size: float) -> str:
    return f"{size / 1024:.1f} KiB"


def mib(size: float) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"


CROWD_ROWS: Sequence[Row] = (
    ("sessions, all of them open at once", lambda found: f"{found.at_once}"),
    ("seconds, from the first connection to the last QUIT", lambda found: f"{found.seconds:.2f}"),
    ("messages a second", lambda found: f"{found.sessions / found.seconds:.0f}"),
    ("CPU of the proxy (for each)", lambda found: each(found.cpu_s, found.sessions)),
    ("memory that it grew by at its peak (for each)", lambda found: grown(found.grown_bytes, found.sessions)),
)

TABLES: Mapping[str, Table] = {
    "crowd": Table(
        "A thousand sessions at once",
        """
As many MTAs connect, prove their secret, and ask for a remote each. When all sessions are open, each sends one message
of 2 kB, step by step, and says QUIT. In plain text on both sides.
""",
        lambda runtime, folder: let_a_crowd_in(runtime, folder, False),
        CROWD_ROWS,
    ),
    "crowd in TLS": Table(
        "The same in TLS",
        """
TLS 1.3 on both sides: each session has two full handshakes, each with a certificate on a P-256 key.
""",
        lambda runtime, folder: let_a_crowd_in(runtime, folder, True),
        CROWD_ROWS,
    ),
    "procession": Table(
        "Twenty thousand sessions, one after the other",
        f"""
{MTAS} MTAs at a time. Each has {SESSIONS_A_CONNECTION} sessions of one message on a connection, then makes a fresh one.
In plain text.
""",
        let_a_procession_pass,
        (
            ("sessions", lambda found: f"{found.sessions}"),
            ("messages a second", lambda found: f"{found.sessions / found.seconds:.0f}"),
            ("CPU of the proxy (for each)", lambda found: each(found.cpu_s, found.sessions)),
            (f"memory behind the first {EARLY}", lambda found: mib(found.early_bytes)),
            ("memory behind all", lambda found: mib(found.late_bytes)),
            ("difference", lambda found: f"{(found.late_bytes / found.early_bytes - 1) * 100:.1f} %"),
        ),
    ),
    "rest": Table(
        "Those who rest",
        """
MTAs that have proved their secret and want nothing, in plain text and in TLS; and, of those in plain text, some with a
session that is open and in which nothing is said.
""",
        let_all_rest,
        (
            ("MTAs in plain text", lambda found: f"{found.resting}"),
            ("memory for each", lambda found: kib(found.bytes_each)),
            ("MTAs in TLS", lambda found: f"{found.resting_in_tls}"),
            ("memory for each", lambda found: kib(found.bytes_each_in_tls)),
            ("open sessions", lambda found: f"{found.in_session}"),
            ("memory for each, beside that of its MTA", lambda found: kib(found.bytes_each_in_session)),
            ("CPU of the proxy while all rest", lambda found: f"{found.idle_cpu_s:.2f} s in {found.idle_s:.0f} s"),
            ("one more session then, from connecting to QUIT", lambda found: ms(found.session_s)),
        ),
    ),
    "snails": Table(
        "Those who are slow",
        f"""
Four kinds of them at once: MTAs that write a byte at a time, MTAs that read a byte at a time, remotes that write a byte
at a time, and remotes that read a large message in small pieces. Between two of their moves {OTHERS} other MTAs come,
each with a connection, a message and QUIT: a wave.
""",
        let_snails_in,
        (
            ("slow ones of each kind", lambda found: f"{found.of_each}"),
            ("messages to remotes that read slowly", lambda found: mib(found.of_each * found.large_bytes)),
            ("memory that the proxy grew by at its peak", lambda found: mib(found.grown_bytes)),
            ("messages of the others meanwhile", lambda found: f"{found.messages}"),
            ("a wave when nobody is slow (median)", lambda found: ms(found.wave_before_s)),
            ("a wave meanwhile (median)", lambda found: ms(found.wave_meanwhile_s)),
            ("the longest of them", lambda found: ms(found.wave_longest_s)),
        ),
    ),
}

Found = Mapping[tuple[str, str], Any]


def play_all(folder: Path) -> Found:
    """The figures of every play on every runtime."""
    return {(name, runtime): table.play(runtime, folder) for name, table in TABLES.items() for runtime in RUNTIMES}


def draw(found: Found, machine: Sequence[tuple[str, str]]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *rows(("the machine", ""), machine), *tables(found)])


def tables(found: Found) -> Iterator[str]:
    for name, table in TABLES.items():
        yield f"## {table.title}\n"
        yield f"{table.text.strip()}\n"
        figures = [found[name, runtime] for runtime in RUNTIMES]
        yield from rows(("", *RUNTIMES), [(label, *map(tell, figures)) for label, tell in table.rows])


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(head)} |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    yield from (f"| {' | '.join(row)} |" for row in body)
    yield ""


def shape(page: str) -> str:
    """A page without its figures, and without what stands above the first of its plays' headings."""
    _, _, told = page.partition("\n## ")
    return re.sub(r"-?\d+(\.\d+)?", "0", told)


def machine() -> list[tuple[str, str]]:
    """What the figures were found on."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return [
        ("processor", f"{len(os.sched_getaffinity(0))} cores of {model[1] if model else platform.machine()}"),
        ("memory", f"{memory / (1 << 30):.0f} GiB"),
        ("files that a process may open", f"{resource.getrlimit(resource.RLIMIT_NOFILE)[1]}"),
        ("kernel", f"{platform.system()} {platform.release().partition('-')[0]}"),
        ("load by others just before", f"{os.getloadavg()[0]:.1f} processes"),
        ("software", f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, gaproxy {__version__}"),
    ]


def main() -> int:
    with TemporaryDirectory() as folder:
        where = machine()
        page = draw(play_all(Path(folder)), where)
    TARGET.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
