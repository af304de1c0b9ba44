"""What the core alone costs: facts go into a `Proxy` through the hall, in this process, and no socket is there.

Knows a whole session as a list of facts, and how to time some of them over and over.
"""

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import ClassVar

from bench.report import Result
from bench.rows import Figure
from bench.sessions import BODY, EHLO, ENVELOPE, GREETING, HELO, REPLIES, TAKEN
from gaproxy.client import Challenged, Client
from gaproxy.proto import events
from gaproxy.proto.actions import Send
from gaproxy.proto.doors.credentials import Keyring
from gaproxy.proto.events import Event
from gaproxy.proto.proxy import Proxy

SECRET = "only-for-the-time-that-a-bench-takes"
NATIVE, PROXY = "127.0.0.1:807", "127.0.0.1:2525"
CONFIG = (
    f'listen "{NATIVE}"\nauth_shared_secret "{SECRET}"\nlisten_proxy_protocol "{PROXY}"\n'
    "remote_allow 192.0.2.0/24\nreuse_connections no\n"
)
CLIENT = ("127.0.0.1", 40_000)
SOURCE, REMOTE, PORT = "127.0.0.2", "192.0.2.5", 25
RECIPIENTS = 50
RCPT = b"RCPT TO:<somebody@mx.example.com>\r\n"
LOCKSTEP = b"250 mx.example.com\r\n"
BATCH = 200  # sessions for one figure


class Hall:
    """A proxy; `spent_ns` is the time that facts have taken, `mta` who is there now."""

    DOOR: ClassVar[str]
    mta = 1

    def __init__(self) -> None:
        self.proxy = Proxy("bench.conf", Keyring(), strict=True)
        self.opened = 0
        self.spent_ns = 0
        self.hear(events.Signalled("START", bytes(16)))
        self.hear(events.ConfigRead(CONFIG))
        self.hear(events.Prepared())

    def hear(self, event: Event) -> bytes:
        """Tell one fact, and time it. Returns what is sent thereupon."""
        began = time.perf_counter_ns()
        orders = self.proxy.step(began, event)
        self.spent_ns += time.perf_counter_ns() - began
        return b"".join(order.data for order in orders if isinstance(order, Send))

    def open(self, offer: bytes) -> int:
        """A session up to the reply to its EHLO, which the remote answers so. Returns the remote's id."""
        self.opened += 1
        remote = 2 * self.opened
        self.ask_for(remote, offer)
        return remote

    def ask_for(self, remote: int, offer: bytes) -> None:
        raise NotImplementedError

    def close(self, remote: int) -> None:
        """QUIT, and the ends that follow it."""
        self.hear(events.Received(self.mta, b"QUIT\r\n"))
        self.hear(events.Received(remote, REPLIES[b"QUIT"]))
        self.hear(events.Ended(remote))
        self.hear(events.Closed(remote, "closed"))


class NativeHall(Hall):
    """An MTA has proved itself, and opens session after session."""

    DOOR = "native"

    def __init__(self) -> None:
        super().__init__()
        client = Client(SECRET, "bench", "ab" * 32)
        self.hear(events.Accepted(self.mta, NATIVE, CLIENT, bytes(48)))
        (challenged,) = client.receive(self.hear(events.Received(self.mta, client.hello())))
        assert isinstance(challenged, Challenged)
        self.hear(events.Received(self.mta, challenged.answer))

    def ask_for(self, remote: int, offer: bytes) -> None:
        order = f"OPEN id={self.opened} source={SOURCE} to={REMOTE}:{PORT} helo={HELO} tls=none\r\n"
        self.hear(events.Received(self.mta, order.encode("ascii")))
        self.hear(events.Connected(remote, (SOURCE, 40_001)))
        self.hear(events.Received(remote, GREETING))
        ready = self.hear(events.Received(remote, offer))
        assert ready.startswith(b"READY"), ready
        self.hear(events.Received(self.mta, EHLO))


class ProxyHall(Hall):
    """Each session is another MTA behind a PROXY header."""

    DOOR = "smtp"

    def ask_for(self, remote: int, offer: bytes) -> None:
        self.mta = remote - 1
        header = f"PROXY TCP4 {SOURCE} {REMOTE} 1 {PORT}\r\n"
        self.hear(events.Accepted(self.mta, PROXY, CLIENT, bytes(48)))
        self.hear(events.Received(self.mta, header.encode("ascii")))
        self.hear(events.Connected(remote, (SOURCE, 40_001)))
        self.hear(events.Received(remote, GREETING))
        self.hear(events.Received(self.mta, EHLO))
        told = self.hear(events.Received(remote, offer))
        assert told.startswith(b"250"), told

    def close(self, remote: int) -> None:
        super().close(remote)
        self.hear(events.Ended(self.mta))
        self.hear(events.Closed(self.mta, "closed"))


HALLS = (NativeHall, ProxyHall)


def hall_results(found: Sequence[Result], rounds: int) -> list[Result]:
    """Row 10, of each door. The last line needs the time that a whole session takes on asyncio: the figures so far."""
    return [told for hall in HALLS for told in results_of(hall, found, rounds)]


def results_of(hall: type[Hall], found: Sequence[Result], rounds: int) -> list[Result]:
    lines, replies, sessions = ([timed(hall) for _ in range(rounds)] for timed in (line_us, reply_us, session_us))
    told = [
        result(hall, "a line of a pipelined segment, through the hall", lines, 7, "µs"),
        result(hall, "a reply that frees the next command", replies, 12, "µs"),
    ]
    whole = next((one for one in found if one.subject == f"{hall.DOOR} asyncio" and one.row == "-"), None)
    if whole is not None:
        shares = [alone / figure.value for alone, figure in zip(sessions, whole.figures, strict=True)]
        told.append(result(hall, "the hall's share of a whole session's CPU", shares, 0.25, "of it"))
    return told


def result(hall: type[Hall], what: str, values: Sequence[float], aim: float, unit: str) -> Result:
    value = median(values)
    figures = [Figure(value) for value in values]
    return Result("10", what, f"hall {hall.DOOR}", value, unit, f"≤ {aim:g} {unit}", value <= aim, "", values, figures)


def line_us(kind: type[Hall]) -> float:
    """One line of a pipelined segment, by the median over segments of 50 recipients and their replies apart."""
    hall, took = kind(), []
    remote = hall.open(REPLIES[b"EHLO"])
    segment, answers = RCPT * RECIPIENTS, REPLIES[b"RCPT"] * RECIPIENTS
    for _ in range(BATCH):
        before = hall.spent_ns
        hall.hear(events.Received(hall.mta, segment))
        took.append((hall.spent_ns - before) / RECIPIENTS / 1000)
        hall.hear(events.Received(remote, answers))
    return median(took)


def reply_us(kind: type[Hall]) -> float:
    """A reply that frees the next command: the remote has no PIPELINING, and the MTA sends all the same."""
    hall, took = kind(), []
    remote = hall.open(LOCKSTEP)
    hall.hear(events.Received(hall.mta, RCPT * RECIPIENTS))
    for _ in range(BATCH):
        for _ in range(RECIPIENTS - 1):
            before = hall.spent_ns
            said = hall.hear(events.Received(remote, REPLIES[b"RCPT"]))
            took.append((hall.spent_ns - before) / 1000)
            assert said.endswith(RCPT), said
        hall.hear(events.Received(hall.mta, RCPT * (RECIPIENTS - 1)))
    return median(took)


def session_us(kind: type[Hall]) -> float:
    """All facts of one session with one message, to the remote's end."""
    hall, took = kind(), []
    for _ in range(BATCH):
        before = hall.spent_ns
        remote = hall.open(REPLIES[b"EHLO"])
        for fact in message(hall.mta, remote):
            hall.hear(fact)
        hall.close(remote)
        took.append((hall.spent_ns - before) / 1000)
    assert len(hall.proxy.seating.connections) <= 1, "a session did not come to its end"
    return median(took)


def message(mta: int, remote: int) -> Iterator[Event]:
    yield events.Received(mta, ENVELOPE)
    yield events.Received(remote, REPLIES[b"MAIL"] + REPLIES[b"RCPT"] + REPLIES[b"DATA"])
    yield events.Relayed(mta, len(BODY), b"", "dot")
    yield events.Received(remote, TAKEN)
