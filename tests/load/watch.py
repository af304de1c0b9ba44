"""What a proxy's process uses and holds, seen from outside, and what its log tells.

Knows /proc and the lines of the log; does not know what should stand there.
"""

import os
import re
from collections.abc import Callable
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path
from time import monotonic

from tools.real import WAIT_S, RealProxy

PIPE_BYTES = 1024 * 1024  # what anybody may ask for, unless the machine is set up otherwise
REMOTES = "direct_remote_smtp:"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def make_room_for_log(proxy: RealProxy) -> None:
    """A proxy drops the lines that nobody reads in time (pipe(7)): we are busy, so let thousands wait."""
    assert proxy.process.stdout is not None
    fcntl(proxy.process.stdout, F_SETPIPE_SZ, PIPE_BYTES)


def cpu_s(proxy: RealProxy) -> float:
    """The CPU time that it has used by now, in seconds (proc(5): utime and stime, in ticks)."""
    stat = Path(f"/proc/{proxy.process.pid}/stat").read_text()
    utime, stime = stat.rpartition(")")[2].split()[11:13]
    return (int(utime) + int(stime)) / TICKS_PER_S


def undisturbed_s(proxy: RealProxy) -> float:
    """A clock, in seconds, that does not count how long the proxy and we stood in line for a processor.

    On a busy machine others decide about that, and it is no work of the proxy (proc(5): schedstat, in nanoseconds).
    """
    tasks = [task for pid in (proxy.process.pid, os.getpid()) for task in Path(f"/proc/{pid}/task").iterdir()]
    return monotonic() - sum(int((task / "schedstat").read_text().split()[1]) for task in tasks) / 1e9


def resident_bytes(proxy: RealProxy) -> int:
    """The memory that it holds now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{proxy.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def files(proxy: RealProxy) -> int:
    """How many descriptors it has open."""
    return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))


def come(proxy: RealProxy, *kinds: Callable[[str], bool]) -> list[str]:
    """The first line of each kind, one behind the other, of those that are written from now on."""
    with proxy.news:
        at, found = len(proxy.log), list[str]()

        def have_come() -> bool:
            nonlocal at
            while at < len(proxy.log) and len(found) < len(kinds):
                if kinds[len(found)](proxy.log[at]):
                    found.append(proxy.log[at])
                at += 1
            return len(found) == len(kinds)

        assert proxy.news.wait_for(have_come, WAIT_S), proxy.log[-20:]
    return found


def next_status(proxy: RealProxy) -> tuple[int, int]:
    """What the status lines say next: connections of MTAs, and to remotes."""
    mtas, remotes = come(proxy, lambda line: " open_connections=" in line, lambda line: line.startswith(REMOTES))
    return number("open_connections", mtas), number("connections", remotes)


def returns_to_zero(proxy: RealProxy) -> None:
    """Wait for status lines that know of no connection."""
    come(
        proxy,
        lambda line: line.endswith(" open_connections=0"),
        lambda line: line.startswith(f"{REMOTES} connections=0("),
    )


def messages(proxy: RealProxy, sessions: int) -> list[int]:
    """How many messages each session had, once so many have ended."""
    with proxy.news:
        at, found = 0, list[int]()

        def have_ended() -> bool:
            nonlocal at
            while at < len(proxy.log):
                if proxy.log[at].startswith("smtp: ") and ": end " in proxy.log[at]:
                    found.append(number("messages", proxy.log[at]))
                at += 1
            return len(found) >= sessions

        assert proxy.news.wait_for(have_ended, WAIT_S), (len(found), proxy.log[-20:])
    return found


def number(name: str, line: str) -> int:
    """A field of a line."""
    found = re.search(rf"\b{name}=(\d+)", line)
    assert found is not None, line
    return int(found[1])
