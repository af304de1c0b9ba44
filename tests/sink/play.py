"""Two MTAs that send to one smtp-sink in turn, through one proxy, and what each is told.

Knows the order of the letters and how an answer is put into a few words; does not know what is right.
"""

import getpass
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import create_connection

from attrs import frozen
from sink.faults import FAULTS
from tools.programs import find
from tools.real import PORT, Mta, RealProxy, fresh_address

from gaproxy.client import Failed

RUNTIMES = ("asyncio", "trio")
NAMES = ("A", "B", "A", "B")
CONFIG = "timeouts { total 10s }"


@frozen
class Told:
    """What became of one message: in a few words; and on which connection, `fresh` or `shared` with others."""

    words: str
    on: str

    def __str__(self) -> str:
        return f"{self.words}, {self.on}" if self.on else self.words


@frozen
class Story:
    """Of one fault: what each message was told, and how often the remote has it."""

    told: tuple[Told, ...]
    copies: tuple[int, ...]


@contextmanager
def serving(fault: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """A sink with these options. Gives its address and port, and the folder in which it keeps what it took."""
    kept = folder / re.sub(r"\W+", "-", f"sink {fault}")
    kept.mkdir()
    address = fresh_address()
    user = ["-u", getpass.getuser()] if os.getuid() == 0 else []  # it does not run as root unless it is told to
    program = find("smtp-sink")
    assert program is not None
    command = [program, *user, *fault.split(), "-d", f"{kept}/%M.", f"{address}:{PORT}", "16"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_it_listens(process, address, counts="-n" in fault)
            yield f"{address}:{PORT}", kept
        finally:
            process.terminate()


def wait_until_it_listens(process: subprocess.Popen[bytes], address: str, counts: bool) -> None:
    """It does not say when it is ready: look for its socket, or knock where that is not counted."""
    for _ in range(1000):
        if is_listening(address) if counts else is_open(address):
            return
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"smtp-sink ended with {process.returncode}")
    raise AssertionError("smtp-sink does not listen")


def is_open(address: str) -> bool:
    try:
        create_connection((address, PORT)).close()
    except ConnectionRefusedError:
        return False
    return True


def is_listening(address: str) -> bool:
    number = int.from_bytes(bytes(map(int, address.split("."))), "little")
    rows = Path("/proc/net/tcp").read_text().splitlines()
    return any(f"{number:08X}:{PORT:04X}" in row and row.split()[3] == "0A" for row in rows[1:])


def send(proxy: RealProxy, mta: Mta, number: int, to: str) -> Told:
    """One message, and QUIT. What was told, and what the log says of the connection."""
    mta.ask_for(to)
    outcome = mta.hear()
    if isinstance(outcome, Failed):
        return Told(f"FAILED {outcome.kind}", "")
    mta.reply()
    words = converse(mta, number)
    mta.command(b"QUIT")
    line = proxy.wait_for(f"session({mta.session}/{outcome.id}): end ")
    return Told(words, "shared" if "reused=yes" in line else "fresh")


def converse(mta: Mta, number: int) -> str:
    """EHLO to the end of data, up to the first reply that does not let it go on."""
    envelope = [b"EHLO out", b"MAIL FROM:<a@src.test>", b"RCPT TO:<b@dst.test>", b"DATA"]
    for command in envelope:
        reply = mta.command(command)
        if reply.code >= 400:
            return worded(command.split(b" ")[0].decode(), reply.wire)
    mta.say(mta.client.say_body(b"Subject: %d\r\n\r\nhello\r\n" % number))
    reply = mta.reply()
    return "250" if reply.code == 250 else worded(".", reply.wire)


def worded(step: str, wire: bytes) -> str:
    """At which step it came to nothing, and in whose words."""
    ours = " ours" if b"gaproxy: " in wire else ""
    unknown = ", outcome unknown" if b"outcome unknown" in wire else ""
    return f"{step} {wire[:3].decode()}{ours}{unknown}"


def play(runtime: str, fault: str, folder: Path) -> Story:
    """The messages of one fault, each behind the other."""
    with ExitStack() as house:
        to, kept = house.enter_context(serving(fault, folder))
        proxy = house.enter_context(RealProxy(runtime, folder, CONFIG))
        mtas = {name: house.enter_context(Mta(proxy)) for name in dict.fromkeys(NAMES)}
        told = tuple(send(proxy, mtas[name], number, to) for number, name in enumerate(NAMES))
    kept_files = (file.read_bytes() for file in kept.iterdir())
    found = Counter(number for text in kept_files for number in re.findall(rb"(?m)^Subject: (\d+)", text))
    return Story(told, tuple(found[b"%d" % number] for number in range(len(NAMES))))


def play_all(folder: Path) -> dict[tuple[str, str], Story]:
    """Every fault on every runtime, several side by side: most of the time somebody waits."""
    everything = [(runtime, fault) for runtime in RUNTIMES for fault in FAULTS]
    for runtime in RUNTIMES:
        (folder / runtime).mkdir()
    with ThreadPoolExecutor(4) as hands:
        stories = hands.map(lambda one: play(*one, folder / one[0]), everything)
        return dict(zip(everything, stories, strict=True))
