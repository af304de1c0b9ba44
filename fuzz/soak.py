"""A long day: random MTAs and remotes on sockets, with aborts, half-closes and stalls, and a daemon between them.

Knows the daemon from outside: its files, its memory, its log. What it must look like in the end is judged here.
"""

import asyncio
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from attrs import frozen

from fuzz.cast import Cast
from fuzz.mta import NATIVE, PROXY, SECRET, Manner
from fuzz.play import NAMES, SOURCES
from fuzz.remote import KINDS, Temper
from gaproxy.runtime_asyncio import driver
from gaproxy.sockets.edge import Edge

RUNTIMES = ("asyncio", "trio")
MTAS = 24
ENDLESS = 1 << 40
ENDS_WITHIN_S = 90.0
STARTS_WITHIN_S = 20.0
GROWTH_MOST_KB = 16_384  # from a fifth of the time to its end; where a day is long enough to say so
LONG_S = 60.0

CONFIG = """
listen "{native}"
listen_proxy_protocol "{proxy}" {{ starttls proxy; level may }}
allow_from 127.0.0.0/8
auth_shared_secret "{secret}"
remote_allow 127.0.0.0/8
remote_ports {ports}
reuse_connections {{ idle 2s; messages 50 }}
throttle "*" {{ source *; max_connections 8 }}
timeouts {{ mail 3s; rcpt 3s; data 3s; body 5s; end 5s; rset 3s; idle 5s; greeting 3s; ehlo 3s; drain 5s }}
"""

END = re.compile(r"^smtp: session\(.*\): end .*\bmessages=(\d+) ", re.MULTILINE)


@frozen
class Look:
    """A process at one moment: open files, threads, memory that is its own."""

    files: int
    threads: int
    memory_kb: int


@frozen
class Day:
    """What happened, and a sentence for each thing that is not as it must be."""

    runtime: str
    sessions: int
    taken: int
    told: int
    counted: int
    unknown: int
    before: Look
    after: Look
    growth_kb: int
    faults: tuple[str, ...]


def look(pid: int) -> Look:
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Look(files, int(fields["Threads"]), int(fields["RssAnon"]))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class Soak:
    """One day on one runtime, in this folder."""

    def __init__(self, runtime: str, seconds: float, seed: int, folder: Path) -> None:
        self.runtime = runtime
        self.seconds = seconds
        self.folder = folder
        dice = Random(seed)
        tempers = {
            f"127.0.1.{number}": Temper(kind, pipelining=number % 2 == 0, honest=number > 3)
            for number, kind in enumerate(KINDS.values(), 1)
        }
        self.cast = Cast(dice, tempers)
        self.log = folder / "log"
        self.daemon: subprocess.Popen[bytes]
        self.looks: list[Look] = []

    def play(self) -> Day:
        """From the first MTA to the daemon's exit. Raises BrokenOath, or whatever else went wrong."""
        asyncio.run(self.run())
        self.daemon.send_signal(signal.SIGTERM)
        code = self.daemon.wait(ENDS_WITHIN_S)
        return self.judge(code)

    async def run(self) -> None:
        playing = asyncio.create_task(driver.run(self.cast, signals=False, started=self.meet))
        try:
            await asyncio.wait_for(self.day(playing), self.seconds + STARTS_WITHIN_S + ENDS_WITHIN_S)
        except BaseException:
            playing.cancel()
            if hasattr(self, "daemon"):
                self.daemon.kill()
                self.daemon.wait()
            raise

    def meet(self, edge: Edge) -> None:
        self.edge = edge

    async def day(self, playing: "asyncio.Task[int]") -> None:
        """The remotes listen, the daemon starts, the MTAs come in; then it is looked at now and then."""
        while self.cast.next_deadline is None:
            await asyncio.sleep(0)
        self.start()
        while b"configuration adopted" not in self.log.read_bytes():
            await asyncio.sleep(0.05)
        self.looks.append(look(self.daemon.pid))
        self.admit()
        while not playing.done():
            await asyncio.wait({playing}, timeout=min(5.0, self.seconds / 5))
            if not playing.done():
                self.looks.append(look(self.daemon.pid))
        await playing
        await self.settle()

    async def settle(self) -> None:
        """What the daemon has to close by itself has its time."""
        until = time.monotonic() + ENDS_WITHIN_S
        while look(self.daemon.pid).files > self.looks[0].files and time.monotonic() < until:
            await asyncio.sleep(0.1)
        self.looks.append(look(self.daemon.pid))

    def start(self) -> None:
        places = {NATIVE: f"127.0.0.1:{free_port()}", PROXY: f"127.0.0.1:{free_port()}"}
        self.cast.doors = {door: ("127.0.0.1", int(at.rpartition(":")[2])) for door, at in places.items()}
        ports = {address: self.edge.port(address) for address in self.cast.tempers}
        self.remotes = [f"{address}:{port}" for address, port in ports.items()]
        config = self.folder / "gaproxy.conf"
        wanted = {"native": places[NATIVE], "proxy": places[PROXY], "secret": SECRET}
        config.write_text(CONFIG.format(**wanted, ports=", ".join(map(str, ports.values()))))
        command = [sys.executable, "-m", "gaproxy", "serve", f"--config-filename={config}", f"--runtime={self.runtime}"]
        with self.log.open("wb") as log:
            self.daemon = subprocess.Popen(command, stdout=log, stderr=log)

    def admit(self) -> None:
        for number in range(MTAS):
            listener = (NATIVE, PROXY)[number % 2]
            self.cast.admit(Manner(number, listener, ENDLESS, SOURCES, NAMES, self.remotes))
        self.cast.over_at = time.monotonic_ns() + int(self.seconds * 1e9)

    def judge(self, code: int) -> Day:
        """No leak, and counters that agree with the remotes'."""
        self.cast.letters.judge()
        log = self.log.read_text()
        letters = self.cast.letters.letters.values()
        taken, told = sum(one.taken for one in letters), sum(one.told == 250 for one in letters)
        counted, unknown = sum(map(int, END.findall(log))), log.count(" outcome=unknown")
        first, last = self.looks[0], self.looks[-1]
        growth_kb = last.memory_kb - self.looks[len(self.looks) // 5].memory_kb
        faults = {
            f"it ended with {code}": code != 0,
            "its log tells a fault of its own": "Traceback" in log or "internal fault" in log,
            f"{last.files - first.files} files were left open": last.files != first.files,
            f"{last.threads} threads are there": last.threads != first.threads,
            f"it has grown by {growth_kb} KB": self.seconds >= LONG_S and growth_kb > GROWTH_MOST_KB,
            f"it counted {counted} messages, {taken} were taken, {unknown} outcomes are unknown": not (
                max(told, taken - unknown) <= counted <= taken
            ),
            "nothing was sent": not told,
        }
        sessions = sum(mta.sessions for mta in self.cast.mtas)
        found = tuple(sentence for sentence, wrong in faults.items() if wrong)
        return Day(self.runtime, sessions, taken, told, counted, unknown, first, last, growth_kb, found)


def day(runtime: str, seconds: float, seed: int) -> Day:
    """A day of so many seconds on one runtime."""
    with TemporaryDirectory(prefix="soak-") as folder:
        return Soak(runtime, seconds, seed, Path(folder)).play()


def soak(seconds: float) -> int:
    """A day on each runtime, one after the other; they share the time. Returns 1 where something was wrong."""
    seed = secrets.randbits(32)
    print(f"seed {seed}; the kernel has dice of its own")
    days = [day(runtime, seconds / len(RUNTIMES), seed) for runtime in RUNTIMES]
    print("\n".join(map(told, days)))
    return int(any(one.faults for one in days))


def told(one: Day) -> str:
    """One line, and one for each fault."""
    line = (
        f"{one.runtime}: {one.sessions} sessions, {one.taken} messages taken, {one.counted} counted, {one.told} told, "
        f"{one.unknown} outcomes unknown; files {one.before.files} → {one.after.files}, "
        f"memory {one.before.memory_kb} → {one.after.memory_kb} KB"
    )
    return "\n".join([line, *(f"    {fault}" for fault in one.faults)])
