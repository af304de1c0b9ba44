"""Every cell of the table of clients, played with the real client, a real proxy and a real remote on each runtime.

Knows who is started for a cell, in which order, and what of a client's words is about its outcome; does not know what
should come of it.
"""

import re
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from ssl import SSLContext

import trustme
from attrs import frozen
from clients.cells import (
    AFTERWARDS,
    BY_CHECK,
    BY_HEADER,
    BY_OWN_PAIR,
    CLIENTS,
    DOWN,
    IMPATIENT,
    IN_FLIGHT,
    KEEPS,
    MTA,
    PROXY,
    REFUSES,
    RESTARTS,
    SILENT,
    SITUATIONS,
    SOURCE,
    Cell,
    Outcome,
    Told,
    cells,
)
from ops.daemon import Daemon
from tools.mailbox import Mailbox, receiving, server_tls
from tools.real import PROXY_DOOR_PORT, SOURCES, WAIT_S, RealProxy, Remote, fresh_address
from tools.stock import Address, Said, Way, checking, curl, haproxy, naming, python, server, swaks

RUNTIMES = ("asyncio", "trio")
SOURCE_IPS = f"source_ips {', '.join(SOURCES)}"
AT_A_TIME = 6
Found = Mapping[tuple[str, Cell], "Future[Outcome]"]
Send = Callable[[], Said]
Ask = Callable[[str], Said]


# What is told of what a client says.

TELLING = re.compile(
    r"<[-~]  .*kept|<(?:\*\*|~\*) |\*\*\*|"  # swaks
    r"< .*kept|< [45]|curl: |"
    r"[2-5]\d\d |\[Errno|Connection|"  # smtplib
    r"Health check"
)
NOISE = (
    (re.compile(r"\[[0-9a-f]{16}\]"), "[SESSION]"),
    (re.compile(r".*?, reason: (.*), check duration: .*"), r"\1"),
    (re.compile(r"after \d+ ms"), "after N ms"),
    (re.compile(r"errno: \d+"), "errno: N"),
    (re.compile(r"\s+"), " "),
)


def tell(said: Said, names: Mapping[str, str]) -> Told:
    """The lines that say what came of it, without what is another thing each time."""
    return Told(said.ended, tuple(cleared(line, names) for line in said.lines if TELLING.match(line)))


def cleared(line: str, names: Mapping[str, str]) -> str:
    for pattern, words in NOISE:
        line = pattern.sub(words, line)
    for place, name in names.items():
        line = re.sub(rf"{re.escape(place)}(?!\d)", name, line)
    return line


def named(way: Way, door: Address) -> dict[str, str]:
    """Which addresses are told by which name; whole places before the addresses in them."""
    return {f"{way.remote}:{way.port}": "REMOTE", way.remote: "REMOTE", **at(door), way.source: SOURCE}


def at(door: Address) -> dict[str, str]:
    return {f"{door[0]}:{door[1]}": "PROXY", door[0]: "PROXY"}


# Clients.


@contextmanager
def sending(client: str, door: Address, way: Way, tls: bool, folder: Path) -> Iterator[Send]:
    """A client that may be asked, more than once, for one message along this way."""
    options = CLIENTS[client].options
    program = client.partition(",")[0]
    if program == "swaks":
        yield lambda: swaks(door, int(options[0]), way, *(["--tls"] if tls else []))
    elif program == "smtplib":
        yield lambda: python(door, way, tls)
    elif program == "curl":
        yield lambda: curl(door, "--haproxy-protocol")
    else:
        with haproxy(folder, *naming(way), server(door, options[0])) as front:
            yield lambda: curl(front, *(["--ssl-reqd", "--insecure"] if tls else []))


def watching(client: str, door: Address, folder: Path) -> AbstractContextManager[Ask]:
    """A health check that may be asked what it says next."""
    return checking(folder, door, *CLIENTS[client].options)


# Remotes.


@contextmanager
def remote(kind: str, tls: SSLContext | None) -> Iterator[tuple[str, Mailbox | None]]:
    """A remote of its kind: its address, and what it keeps, if it keeps anything."""
    if kind == REFUSES:
        yield fresh_address(), None
    elif kind == KEEPS:
        with receiving(tls) as box:
            yield box.hostname, box
    else:
        with Remote() as place, greeting(place, kind):
            yield place.address, None


@contextmanager
def greeting(place: Remote, words: str) -> Iterator[None]:
    """One call is taken and greeted so, unless it is met with silence: then it is left where the kernel has it."""

    def greet() -> None:
        peer = place.take()
        peer.say(words.encode())
        peer.rest()

    thread = threading.Thread(target=greet) if words != SILENT else None
    if thread:
        thread.start()
    yield
    if thread:
        thread.join(WAIT_S)


# Cells.


@frozen
class Stage:
    """The proxies of one runtime, and which of their doors is which."""

    proxies: Mapping[str, RealProxy]
    doors: Mapping[str, Address]
    tls: SSLContext
    folder: Path

    def play(self, cell: Cell) -> Outcome:
        situation = SITUATIONS[cell.situation]
        door = self.doors[situation.door]
        comes = CLIENTS[cell.client].comes
        if comes == BY_CHECK:
            with watching(cell.client, door, self.folder) as ask:
                return Outcome({"": tell(ask(""), at(door))})
        with remote(situation.remote, self.tls if situation.tls else None) as (address, box):
            way = Way(**{"remote": address, **situation.asks})
            with sending(cell.client, door, way, situation.by_client, self.folder) as send:
                told = tell(send(), named(way, door))
            log = self.proxies[situation.door].wait_for(f" remote={way.remote}:") if comes == BY_HEADER else None
        return Outcome({"": told}, kept(box), log)


def kept(box: Mailbox | None) -> tuple[tuple[str, bool], ...]:
    mails = box.mails if box else []
    return tuple((SOURCE if source == SOURCES[0] else source, secured) for source, secured in mails)


@contextmanager
def standing(runtime: str, folder: Path, tls: SSLContext) -> Iterator[Stage]:
    """Two proxies, of which one is impatient, and three doors."""
    encrypting = (fresh_address(), PROXY_DOOR_PORT)
    second = f'{SOURCE_IPS}\nlisten_proxy_protocol "{encrypting[0]}:{encrypting[1]}" {{ {PROXY} }}'
    with (
        RealProxy(runtime, folder, second, proxy_door=MTA) as patient,
        RealProxy(runtime, folder, f"{SOURCE_IPS}\n{IMPATIENT}", proxy_door=MTA) as impatient,
    ):
        doors = {MTA: patient.proxy_place, PROXY: encrypting, IMPATIENT: impatient.proxy_place}
        yield Stage({MTA: patient, PROXY: patient, IMPATIENT: impatient}, doors, tls, folder)


# The restart, which all clients see together.

Say = Callable[[str], Told]
Looker = tuple[Say, Mailbox | None]
"""Who sees the proxy go and come again, and may be asked at each moment; and a remote that owes its first reply."""


@contextmanager
def looking(client: str, door: Address, folder: Path) -> Iterator[Looker]:
    comes = CLIENTS[client].comes
    if comes == BY_CHECK:
        with watching(client, door, folder) as ask:
            yield lambda moment: tell(ask("refused" if moment == DOWN else ""), at(door)), None
    else:
        with receiving(holding=True) as box:
            way = Way(box.hostname)
            with sending(client, door, way, False, folder) as send:
                yield lambda moment: tell(send(), named(way, door)), box if comes == BY_HEADER else None


def play_restart(runtime: str, folder: Path, clients: list[str]) -> dict[str, Outcome]:
    """What each of these clients sees of one restart. Who names no remote has nothing in flight."""
    door = (fresh_address(), PROXY_DOOR_PORT)
    more = f'{SOURCE_IPS}\nlisten_proxy_protocol "{door[0]}:{door[1]}"'
    said: dict[str, dict[str, Future[Told]]] = {client: {} for client in clients}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2 * len(clients)))
        with Daemon(runtime, folder, more) as first:
            lookers = {client: stack.enter_context(looking(client, door, folder)) for client in clients}

            def ask(moment: str) -> list[Future[Told]]:
                for client, (say, _) in lookers.items():
                    if moment != IN_FLIGHT or CLIENTS[client].comes != BY_OWN_PAIR:
                        said[client][moment] = pool.submit(say, moment)
                return [told[moment] for told in said.values() if moment in told]

            ask(IN_FLIGHT)
            boxes = [box for _, box in lookers.values() if box]
            for box in boxes:
                box.arrives()
            wait([told[IN_FLIGHT] for client, told in said.items() if CLIENTS[client].comes == BY_CHECK])
            first.stop()
            wait(ask(DOWN))
            for box in boxes:
                box.grant()
            assert first.ends_with(0) == "gaproxy: drained cut=0 unknown=0"
        with Daemon(runtime, folder, more):
            wait(ask(AFTERWARDS))
        told = {client: {moment: one.result() for moment, one in moments.items()} for client, moments in said.items()}
        return {client: Outcome(told[client], kept(box)) for client, (_, box) in lookers.items()}


# All cells.


def play_all(folder: Path, lacking: Container[str] = ()) -> Found:
    """Every cell on both runtimes, but for clients whose programs are `lacking`. Raises what a cell raises."""
    tls = server_tls(trustme.CA())
    present = [cell for cell in cells() if not any(program in lacking for program in CLIENTS[cell.client].programs)]
    with ExitStack() as stack:
        stages = {runtime: stack.enter_context(standing(runtime, folder, tls)) for runtime in RUNTIMES}
        pool = stack.enter_context(ThreadPoolExecutor(AT_A_TIME))
        lookers = [cell.client for cell in present if cell.situation == RESTARTS]
        restarts = {runtime: pool.submit(play_restart, runtime, folder, lookers) for runtime in RUNTIMES}

        def play(runtime: str, cell: Cell) -> Outcome:
            if cell.situation == RESTARTS:
                return restarts[runtime].result()[cell.client]
            return stages[runtime].play(cell)

        return {(runtime, cell): pool.submit(play, runtime, cell) for runtime in RUNTIMES for cell in present}
