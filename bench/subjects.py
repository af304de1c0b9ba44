"""Who is measured: HAProxy and ours, each as a process of its own on core 0. Knows how each is started and spoken to.

Does not know what is measured. One who comes to stand beside them is a class here, and a row in `rows.py`.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from gaproxy.proto.events import Address

PROXY_CORE, LOAD_CORE = 0, 1
OURS = f"{os.getpid() // 256 % 256}.{os.getpid() % 256}"
# Of this process alone: another one may measure as well.
HERE, SINK_HOST, FAR_HOST, SERVER_HOST = (f"127.{network}.{OURS}" for network in range(192, 196))
SINK_PORT = 20025  # below those that the kernel gives out
BOOT_S, STOP_S, LOOK_S = 30.0, 5.0, 0.02
HAPROXY = "haproxy"
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class NoBench(Exception):
    """Why nothing can be measured, in one sentence."""


class Subject:
    """A proxy that stands while its block lasts."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.place: Address = (HERE, free_port())

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def header(self, source: str, destination: Address) -> bytes:
        """PROXY protocol 1: leave from this address, for that one."""
        return f"PROXY TCP4 {source} {destination[0]} 1 {destination[1]}\r\n".encode("ascii")

    def __enter__(self) -> Self:
        log = self.folder / f"{self.name.replace(' ', '-')}-{self.place[1]}.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=out)
        os.sched_setaffinity(self.process.pid, {PROXY_CORE})
        try:
            self.wait_until_it_listens(log)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def wait_until_it_listens(self, log: Path) -> None:
        until = time.monotonic() + BOOT_S
        while self.process.poll() is None and time.monotonic() < until:
            with socket.socket() as knock:
                if knock.connect_ex(self.place) == 0:
                    return
            time.sleep(LOOK_S)
        raise NoBench(f"{self.name} does not start: {log.read_text(errors='replace').strip() or 'it says nothing'}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(STOP_S)

    # What it has used.

    def cpu_ns(self) -> int:
        """Time that it has spent on a processor."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())

    def memory_bytes(self) -> int:
        """What is its own, in memory or swapped out. What it shares with others is less as soon as there are more."""
        own = 0
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            name, *size = line.split()
            if name in ("Anonymous:", "Swap:"):
                own += int(size[0]) * 1024
        return own


class Haproxy(Subject):
    """What people use today: TCP mode, one thread, the source that the header names.

    `connections`: as many as it has at a time, while others wait in its queue; None: as many as come.
    """

    def __init__(self, name: str, folder: Path, connections: int | None = None) -> None:
        super().__init__(name, folder)
        self.most = "" if connections is None else f" maxconn {connections}"

    def command(self) -> list[str]:
        program = find_haproxy()
        path = self.folder / f"haproxy-{self.place[1]}.cfg"
        path.write_text(
            "global\n  nbthread 1\n  maxconn 9000\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout queue 1h\n  timeout client 1h\n  timeout server 1h\n"
            f"frontend egress\n  bind {self.place[0]}:{self.place[1]} accept-proxy\n  default_backend anywhere\n"
            f"backend anywhere\n  source 0.0.0.0 usesrc clientip\n  server destination 0.0.0.0:0{self.most}\n"
        )
        return [program, "-db", "-q", "-f", str(path)]


class Ours(Subject):
    """One of ours: what `bench.serve` is told to put on a runtime."""

    KIND: ClassVar[str]

    def __init__(self, runtime: str, folder: Path) -> None:
        super().__init__(f"{self.KIND} {runtime}", folder)
        self.runtime = runtime

    def served(self, machine: str, what: str) -> list[str]:
        return [sys.executable, "-m", "bench.serve", machine, self.runtime, what]


class Bare(Ours):
    """Our edge with the machine of `bench/bare.py`: no door, no SMTP."""

    KIND = "bare"

    def command(self) -> list[str]:
        return self.served("bare", f"{self.place[0]}:{self.place[1]}")


class House(Ours):
    """Our proxy as `gaproxy serve` runs it, with one door open.

    `connections`: as many as it has at a time, shared by one session after the other; None: each session has its own.
    """

    def __init__(self, runtime: str, folder: Path, connections: int | None = None) -> None:
        super().__init__(runtime, folder)
        limit = f'throttle "*" {{ max_connections {connections} }}'
        self.sharing = "reuse_connections no" if connections is None else limit

    def door(self) -> str:
        """The directives that open it."""
        raise NotImplementedError

    def command(self) -> list[str]:
        path = self.folder / f"{self.KIND}-{self.place[1]}.conf"
        path.write_text(f"{self.door()}\n{self.sharing}\nremote_allow 127.0.0.0/8\nremote_ports {SINK_PORT}\n")
        return self.served("proxy", str(path))


class Native(House):
    """Spoken to through the native door."""

    KIND = "native"

    def __init__(self, runtime: str, folder: Path, connections: int | None = None) -> None:
        super().__init__(runtime, folder, connections)
        self.secret = secrets.token_urlsafe(32)

    def door(self) -> str:
        return f'listen "{self.place[0]}:{self.place[1]}"\nauth_shared_secret "{self.secret}"'


class ProxyDoor(House):
    """Spoken to through the PROXY door, by the clients that HAProxy has. `OPTIONS`: those of the door's block."""

    OPTIONS: ClassVar[str]

    def door(self) -> str:
        return f'listen_proxy_protocol "{self.place[0]}:{self.place[1]}" {{\n{self.OPTIONS}\n}}'


class Opaque(ProxyDoor):
    """It carries bytes and counts them: HAProxy's own job."""

    KIND, OPTIONS = "opaque", "relay opaque"


class Smtp(ProxyDoor):
    """It follows the dialogue: every command, every reply, and the end of every body."""

    KIND, OPTIONS = "smtp", "relay smtp"


class SmtpTls(ProxyDoor):
    """The same, and it speaks TLS with the remote by itself."""

    KIND, OPTIONS = "smtp", "starttls proxy\nlevel encrypt"


def find_haproxy() -> str:
    """Where it is. Raises NoBench."""
    found = shutil.which(HAPROXY, path=PLACES)
    if found is None:
        raise NoBench("haproxy is not installed: apt-get install haproxy")
    return found


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server((HERE, 0)) as server:
        port: int = server.getsockname()[1]
        return port
