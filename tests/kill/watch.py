"""What a proxy's process holds, seen from outside: its connections, files and threads.

Knows /proc; does not know who is at the other end, nor when anything should be gone.
"""

import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from tools.real import ORDINARY, WAIT_S, Mta, RealProxy

Address = tuple[str, int]

ALONE = "reuse_connections no"


def sockets(pid: int, far_ends: set[Address]) -> dict[Address, str]:
    """The TCP connections that a process has to these far ends, each as /proc names it."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {far_end: f"socket:[{row[9]}]" for row in rows if (far_end := address(row[2])) in far_ends}


def address(word: str) -> Address:
    """As the kernel prints it: an IPv4 address in the order of the machine's bytes, and a port."""
    host, port = word.split(":")
    return socket.inet_ntoa(struct.pack("=I", int(host, 16))), int(port, 16)


def holds(pid: int, name: str) -> bool:
    """Whether a process has this socket."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed while we look
            if os.readlink(fd) == name:
                return True
    return False


def size(pid: int) -> tuple[int, int]:
    """How many files and how many threads a process has."""
    threads = re.search(r"Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert threads is not None
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(threads[1])


def until(proxy: RealProxy, is_so: Callable[[], bool], what: str) -> None:
    """Wait for a fact that nobody tells; look again more and more seldom."""
    pause_s, deadline = 0.01, monotonic() + WAIT_S
    while not is_so():
        assert monotonic() < deadline, what
        with proxy.news:
            proxy.news.wait(pause_s)
        pause_s = min(1.0, pause_s * 2)


def takes_note(proxy: RealProxy) -> None:
    """Return when the proxy has heard all that has happened by now: what it hears later was answered."""
    with Mta(proxy) as another:
        another.say(another.client.ping(1))
        another.hear()


@contextmanager
def serving(runtime: str, folder: Path, config: str = "") -> Iterator[RealProxy]:
    """A proxy that must be in the end as it was in the beginning, and close with nothing in flight.

    It shares nothing: each cell is about a dial of its own, and the end of a session is the end of its connection.
    """
    with RealProxy(runtime, folder, f"{ALONE}\n{config}") as proxy:
        before = size(proxy.process.pid)
        yield proxy
        strange = [line for line in list(proxy.log) if not ORDINARY.match(line)]
        assert not strange, strange
        until(proxy, lambda: size(proxy.process.pid) == before, f"{before} became {size(proxy.process.pid)}")
        proxy.process.terminate()
        assert proxy.wait_for("drained").endswith("cut=0 unknown=0")
        assert proxy.process.wait(WAIT_S) == 0
