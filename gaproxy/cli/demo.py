"""`gaproxy demo`: two MTAs and a remote, without a proxy and with one. Knows how they meet, and what people see.

Does not know how any of them works: the proxy is a process of its own, started as anywhere, and the others are peers.
"""

import secrets
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _SubParsersAction
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from subprocess import STDOUT, Popen, TimeoutExpired
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from attrs import frozen

from gaproxy.client import Client
from gaproxy.peers.direct import Direct
from gaproxy.peers.errand import Letter, Outcome
from gaproxy.peers.mta import Mta
from gaproxy.peers.mx import Arrival, Mx
from gaproxy.peers.stage import Stage
from gaproxy.peers.tally import tally
from gaproxy.proto.actions import Action, Exit, Listener, Prepare
from gaproxy.proto.events import Event, Prepared, Signalled

if TYPE_CHECKING:
    from gaproxy.sockets.cover import Certificate
    from gaproxy.sockets.edge import Edge, Machine

MTAS = ("mta-1", "mta-2")
SOURCE = "127.0.0.11"  # whence all mail leaves
HERE, REMOTE = "127.0.0.1", "127.0.0.25"
CONNECTIONS, DELAY_MS = 2, 20  # the remote takes no more at a time, and is so far away
BOOT_S, PLAY_S, STOP_S = 8.0, 60.0, 5.0
DIRECT, SHARED = "direct", "gaproxy"
LOOK_S = 0.02
TAIL_BYTES = 4096
PORT_ATTEMPTS = 3
SECOND = 1_000_000_000
FAULTS_SHOWN = 10
INTERRUPTED = 130  # as a shell says it: 128, and the number of SIGINT


class NoDemo(Exception):
    """Why there is nothing to see, in one sentence."""


def add(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "demo",
        help="show two MTAs and a remote on loopback, without a proxy and with one",
        description=f"Send the same messages from two MTAs to a remote that is {DELAY_MS} ms away and takes "
        f"{CONNECTIONS} connections at a time, first without a proxy, then through one that shares its connections, "
        "all on loopback. Prove that each one arrived exactly once, unchanged, under TLS all the way and from the "
        "right address.",
        epilog="example: gaproxy demo --runtime trio --messages 1000",
    )
    parser.add_argument("--runtime", choices=tuple(RUNTIMES), default="asyncio", help="default: asyncio")
    parser.add_argument("--messages", metavar="N", type=at_least_one, default=200, help="default: 200")
    parser.set_defaults(run=run)


def at_least_one(text: str) -> int:
    """A number of messages. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number of messages")
    return int(text)


def run(arguments: Namespace) -> int:
    """Return 0 only if every message arrived as it must, and the proxy left in order."""
    missing = what_is_missing()
    if missing is not None:
        print(f"gaproxy demo: {missing}", file=sys.stderr)
        return 2
    try:
        with TemporaryDirectory(prefix="gaproxy-demo-") as folder:
            return perform(Path(folder), arguments.runtime, arguments.messages)
    except NoDemo as reason:
        print(f"gaproxy demo: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gaproxy demo: interrupted", file=sys.stderr)
        return INTERRUPTED


def what_is_missing() -> str | None:
    """Why the demo cannot be shown on this machine, in one sentence."""
    if sys.platform != "linux":
        return "it needs Linux, where all of 127.0.0.0/8 is there to send from"
    if find_spec("trustme") is None:
        return "trustme, which makes the remote's certificate, is not installed: pip install 'gaproxy[demo]'"
    return None


def perform(folder: Path, runtime: str, messages: int) -> int:
    """Boot, play, stop, tell. Raises NoDemo and KeyboardInterrupt."""
    certificate = make_certificate(folder)
    secret = secrets.token_urlsafe(32)
    proxy, ports = boot(folder, runtime, secret)
    letters = share_out(messages, f"{REMOTE}:{ports['mx']}")
    try:
        print(
            f"{messages} messages of two MTAs to a remote with STARTTLS, {DELAY_MS} ms away, {CONNECTIONS} connections "
            f"at a time: direct, then through a proxy with TLS ({runtime}, process {proxy.pid})",
            flush=True,
        )
        results = []
        for way, mtas in ((DIRECT, without_proxy(letters, ports)), (SHARED, with_proxy(letters, ports, secret))):
            play = Play(way, ports, letters, mtas)
            with display(way, letters, proxy.last_line if way == SHARED else str) as play.show:
                RUNTIMES[runtime](play, certificate=certificate)
            if play.why == "interrupted":
                raise KeyboardInterrupt
            results.append(play.result())
    finally:
        unrest = proxy.stop()
    return tell(results, unrest)


# The proxy: a process like any other.


def make_certificate(folder: Path) -> "Certificate":
    """A chain and a key for the remote, in two files."""
    import trustme

    issued = trustme.CA().issue_cert("mx.demo.example")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return str(chain), str(key)


class FreePorts:
    """A machine that asks the kernel for a port at each listener, and leaves. Somebody else may take one meanwhile."""

    next_deadline: int | None = None

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = tuple(listeners)
        self.ports: dict[str, int] = {}

    def meet(self, edge: "Edge") -> None:
        self.edge = edge

    def step(self, now: int, event: Event) -> list[Action]:
        match event:
            case Signalled(name="START"):
                return [Prepare(self.listeners)]
            case Prepared(problems=()):
                self.ports = {listener.name: self.edge.port(listener.name) for listener in self.listeners}
        return [Exit(0)]


def boot(folder: Path, runtime: str, secret: str) -> tuple["ProxyProcess", Mapping[str, int]]:
    """A proxy that serves, and the ports: of its door, and for the remote. Raises NoDemo."""
    for _ in range(PORT_ATTEMPTS):
        free = FreePorts([Listener("door", (HERE, 0)), Listener("mx", (REMOTE, 0))])
        RUNTIMES[runtime](free, started=free.meet)
        if not free.ports:
            raise NoDemo(f"there is no free port on {HERE} or {REMOTE}")
        proxy = ProxyProcess(folder, runtime, configuration(secret, free.ports))
        try:
            if proxy.serves():
                return proxy, free.ports
        except BaseException:
            proxy.stop()
            raise
        proxy.stop()
        if "cannot listen" not in proxy.last_line():
            break
    raise NoDemo(f"the proxy does not start; it says: {proxy.last_line() or 'nothing'}")


def configuration(secret: str, ports: Mapping[str, int]) -> str:
    return f"""
listen "{HERE}:{ports["door"]}"
auth_shared_secret "{secret}"
native_tls required
source_ips {SOURCE}
remote_ports {ports["mx"]}
remote_allow {REMOTE}
throttle "*" {{ max_connections {CONNECTIONS} }}
"""


class ProxyProcess:
    """`gaproxy serve`, with its configuration and its log in a folder."""

    def __init__(self, folder: Path, runtime: str, text: str) -> None:
        config = folder / "gaproxy.conf"
        config.write_text(text)
        self.log = folder / "gaproxy.log"
        words = ["serve", "--config-filename", str(config), "--runtime", runtime]
        with self.log.open("wb") as log:
            # In a group of its own: a Ctrl-C in our terminal is for us, and we tell it.
            self.process = Popen([sys.executable, "-m", "gaproxy", *words], stdout=log, stderr=STDOUT, process_group=0)
        self.pid = self.process.pid

    def serves(self) -> bool:
        """Wait until it does, or it has ended, or it is too late."""
        until = time.monotonic() + BOOT_S
        while self.process.poll() is None and time.monotonic() < until:
            if b"configuration adopted" in self.log.read_bytes():
                return True
            time.sleep(LOOK_S)
        return False

    def last_line(self) -> str:
        """The newest whole line of its log."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").split("\n")
        return lines[-2] if len(lines) > 1 else ""

    def stop(self) -> str:
        """SIGTERM, and wait. Returns what was not as it should be, in one sentence."""
        self.process.terminate()
        try:
            code = self.process.wait(STOP_S)
        except TimeoutExpired:
            return f"the proxy did not leave within {STOP_S:.0f} seconds of SIGTERM"
        finally:
            self.process.kill()
            self.process.wait()
        return f"the proxy left with exit code {code}; it says: {self.last_line() or 'nothing'}" if code else ""


# The play: what is sent, and who looks on.

Letters = Mapping[str, Sequence[Letter]]
"""MTA → what it is to send."""

Sender = Direct | Mta


def share_out(messages: int, remote: str) -> Letters:
    """So many letters, dealt out to the MTAs in turn."""
    dealt: dict[str, list[Letter]] = {name: [] for name in MTAS}
    for number in range(messages):
        name = MTAS[number % len(MTAS)]
        dealt[name].append(write_letter(name, number // len(MTAS) + 1, remote))
    return dealt


def write_letter(mta: str, number: int, remote: str) -> Letter:
    """A letter of 1 to 16 KiB, no two alike, in which dots begin lines in every way."""
    message_id = f"{number}@{mta}.demo.example"
    head = f"Message-ID: <{message_id}>\r\nFrom: <a@{mta}.demo.example>\r\nTo: <b@mx.demo.example>\r\n\r\n"
    lines = (f"{'.' * (line % 4)} line {line} of letter {message_id}\r\n" for line in range(20 * (number % 16 + 1)))
    return Letter(
        message_id=message_id,
        source=SOURCE,
        to=(remote,),
        helo="out.demo.example",
        tls="encrypt",
        sender=f"a@{mta}.demo.example".encode("ascii"),
        recipients=(b"b@mx.demo.example",),
        data=(head + "".join(lines) + ".\r\n").encode("ascii"),
        wait_ms=int(PLAY_S * 1000),
    )


def without_proxy(letters: Letters, ports: Mapping[str, int]) -> Mapping[str, Sender]:
    return {name: Direct((REMOTE, ports["mx"]), letters[name]) for name in letters}


def with_proxy(letters: Letters, ports: Mapping[str, int], secret: str) -> Mapping[str, Sender]:
    door = (HERE, ports["door"])
    return {name: Mta(Client(secret, name, secrets.token_hex(32)), door, HERE, letters[name]) for name in letters}


@frozen
class Result:
    """One play: what was sent, what the MTAs were told, what the remote has, how often it was called and how often TLS
    began, how long it took (None: it never ended), and why it ended.
    """

    way: str
    letters: Letters
    outcomes: Mapping[str, Sequence[Outcome]]
    arrivals: Sequence[Arrival]
    connections: int
    handshakes: int
    seconds: float | None
    why: str = "done"


class Play:
    """The MTAs and the remote as one machine, which ends when nothing is left to send.

    `way` is its name. `show` is told how many letters each MTA is done with. `why` it ended: `done`, `late`,
    `interrupted`, or a sentence.
    """

    def __init__(self, way: str, ports: Mapping[str, int], letters: Letters, mtas: Mapping[str, Sender]) -> None:
        self.way = way
        self.letters = letters
        self.mx = Mx(Listener("mx", (REMOTE, ports["mx"])), most=CONNECTIONS, delay_ns=DELAY_MS * 1_000_000)
        self.mtas = mtas
        self.stage = Stage(self.mx, *self.mtas.values())
        self.show: Show = lambda done: None
        self.shown: dict[str, int] = {}
        self.began: int | None = None
        self.took: int | None = None
        self.why = ""

    @property
    def next_deadline(self) -> int | None:
        if self.began is None:
            return None
        late = self.began + int(PLAY_S * SECOND)
        return min(late, self.stage.next_deadline or late)

    def step(self, now: int, event: Event) -> list[Action]:
        if self.began is None:
            self.began = now
        orders = self.stage.step(now, event)
        self.look(now - self.began)
        if isinstance(event, Signalled) and event.name != "START":
            self.why = "interrupted"
        elif self.mx.problems:
            self.why = "; ".join(self.mx.problems)
        elif self.took is not None:
            self.why = "done"
        elif now - self.began >= PLAY_S * SECOND:
            self.why = "late"
        return [*orders, Exit(0)] if self.why else orders

    def look(self, elapsed: int) -> None:
        """See how far everybody is."""
        if all(mta.done for mta in self.mtas.values()):
            self.took = elapsed
        done = {name: len(mta.outcomes) for name, mta in self.mtas.items()}
        if done != self.shown:
            self.shown = done
            self.show(done)

    def result(self) -> Result:
        outcomes = {name: mta.outcomes for name, mta in self.mtas.items()}
        seconds = None if self.took is None else self.took / SECOND
        counts = self.mx.connections, self.mx.handshakes
        return Result(self.way, self.letters, outcomes, self.mx.arrivals, *counts, seconds, self.why)


# What people see while it lasts.

Show = Callable[[Mapping[str, int]], None]


def display(way: str, letters: Letters, last_line: Callable[[], str]) -> AbstractContextManager[Show]:
    """Bars on a terminal, lines elsewhere."""
    if sys.stdout.isatty() and find_spec("rich") is not None:
        return bars(way, letters, last_line)
    return lines(way, sum(map(len, letters.values())))


@contextmanager
def lines(way: str, total: int) -> Iterator[Show]:
    """A line for every quarter."""
    quarters = 0

    def show(done: Mapping[str, int]) -> None:
        nonlocal quarters
        now = 4 * sum(done.values()) // total
        if now > quarters:
            quarters = now
            counts = ", ".join(f"{name} {count}" for name, count in done.items())
            print(f"{way:7} {25 * quarters:3} %  {counts}", flush=True)

    yield show


@contextmanager
def bars(way: str, letters: Letters, last_line: Callable[[], str]) -> Iterator[Show]:
    """A bar for each MTA, and what the proxy said last."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console = Console()

    class LastLine:
        def __rich__(self) -> Text:
            room = console.width - 4  # the terminal puts ^C behind it, which must not begin a line of its own
            said = last_line()
            return Text(f"proxy {said}"[:room] if said else "", style="dim", no_wrap=True)

    progress = Progress(TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    tasks = {name: progress.add_task(f"{way:7} {name}", total=len(letters[name])) for name in letters}

    def show(done: Mapping[str, int]) -> None:
        for name, count in done.items():
            progress.update(tasks[name], completed=count)

    with Live(Group(progress, LastLine()), console=console, refresh_per_second=12):
        yield show


# What they see in the end.

ALL_IS_WELL = (
    "Every message arrived exactly once, byte for byte, under TLS all the way, from the IP that its MTA asked for."
)
HEAD = ("way", "messages", "exactly once", "connections", "handshakes", "TLS", "seconds", "messages/s")


def tell(results: Sequence[Result], unrest: str = "") -> int:
    """Print the table and what is wrong. Returns the demo's exit code. `unrest`: what the proxy did at its end."""
    print_table([row(result) for result in results])
    faults = [fault for result in results for fault in faults_of(result)] + ([unrest] if unrest else [])
    for fault in faults[:FAULTS_SHOWN]:
        print(f"wrong: {fault}")
    if len(faults) > FAULTS_SHOWN:
        print(f"wrong: and {len(faults) - FAULTS_SHOWN} more of the kind")
    if not faults:
        print(ALL_IS_WELL)
    return 1 if faults else 0


def row(result: Result) -> tuple[str, ...]:
    """One way, in figures."""
    letters = [letter for each in result.letters.values() for letter in each]
    once = tally(letters, (), result.arrivals).once
    tls = ", ".join(sorted({arrival.tls or "none" for arrival in result.arrivals})) or "-"
    seconds = result.seconds
    pace = ("-", "-") if seconds is None else (f"{seconds:.2f}", f"{once / max(seconds, 0.001):.1f}")
    return result.way, str(len(letters)), str(once), str(result.connections), str(result.handshakes), tls, *pace


def print_table(body: Sequence[tuple[str, ...]]) -> None:
    """With rules on a terminal, in columns elsewhere; words to the left, numbers to the right."""
    numbers = [all(row[column].replace(".", "").isdecimal() for row in body) for column in range(len(HEAD))]
    if sys.stdout.isatty() and find_spec("rich") is not None:
        print_ruled_table(body, numbers)
        return
    widths = [max(len(row[column]) for row in (HEAD, *body)) for column in range(len(HEAD))]
    for row in (HEAD, *body):
        cells = zip(row, widths, numbers, strict=True)
        print("  ".join(word.rjust(width) if number else word.ljust(width) for word, width, number in cells).rstrip())


def print_ruled_table(body: Sequence[tuple[str, ...]], numbers: Sequence[bool]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title, number in zip(HEAD, numbers, strict=True):
        table.add_column(title, justify="right" if number else "left")
    for row in body:
        table.add_row(*row, style="bold" if row is body[-1] else "")
    Console().print(table)


def faults_of(result: Result) -> list[str]:
    """One sentence for each thing that is not as it must be; none: all is well."""
    found = []
    if result.why == "late":
        found.append(f"{result.way}: it was not over within {PLAY_S:.0f} seconds")
    elif result.why != "done":
        found.append(f"{result.way}: {result.why}")
    letters = [letter for each in result.letters.values() for letter in each]
    outcomes = [outcome for each in result.outcomes.values() for outcome in each]
    return [*found, *(f"{result.way}: {fault}" for fault in tally(letters, outcomes, result.arrivals).faults)]


# A run loads its own runtime, and no other.


def play_on_asyncio(
    machine: "Machine", certificate: "Certificate | None" = None, started: "Callable[[Edge], None] | None" = None
) -> int:
    import asyncio

    from gaproxy.runtime_asyncio import driver

    return asyncio.run(driver.run(machine, certificate=certificate, started=started))


def play_on_trio(
    machine: "Machine", certificate: "Certificate | None" = None, started: "Callable[[Edge], None] | None" = None
) -> int:
    import trio

    from gaproxy.runtime_trio import driver

    return trio.run(partial(driver.run, machine, certificate=certificate, started=started))


RUNTIMES = {"asyncio": play_on_asyncio, "trio": play_on_trio}
