"""What the core alone costs: facts go into a `Proxy` through the hall, in this process, and no socket is there.

Knows a whole session as a list of facts, and how to time some of them over and over.
"""

import time
from collections.abc import Iterator, Sequence
from statistics import median

from bench.report import Result
from bench.rows import Figure
from bench.sessions import BODY, HELO, REPLIES, TAKEN
from gaproxy.client import Challenged, Client
from gaproxy.proto import events
from gaproxy.proto.actions import Send
from gaproxy.proto.doors.credentials import Keyring
from gaproxy.proto.events import Event
from gaproxy.proto.proxy import Proxy

LISTENER, SECRET = "127.0.0.1:807", "only-for-the-time-that-a-bench-takes"
CONFIG = f'listen "{LISTENER}"\nauth_shared_secret "{SECRET}"\nremote_allow 192.0.2.0/24\n'
SOURCE, REMOTE = "127.0.0.2", "192.0.2.5:25"
MTA = 1
RECIPIENTS = 50
RCPT = b"RCPT TO:<somebody@mx.example.com>\r\n"
LOCKSTEP = b"250 mx.example.com\r\n"
BATCH = 200  # sessions for one figure


class Hall:
    """A proxy with one MTA that has proved itself; `spent_ns` is the time that facts have taken."""

    def __init__(self) -> None:
        self.proxy = Proxy("bench.conf", Keyring(), strict=True)
        self.client = Client(SECRET, "bench", "ab" * 32)
        self.opened = 0
        self.spent_ns = 0
        self.hear(events.Signalled("START", bytes(16)))
        self.hear(events.ConfigRead(CONFIG))
        self.hear(events.Prepared())
        self.hear(events.Accepted(MTA, LISTENER, ("127.0.0.1", 40_000), bytes(48)))
        challenge = self.hear(events.Received(MTA, self.client.hello()))
        (challenged,) = self.client.receive(challenge)
        assert isinstance(challenged, Challenged)
        self.hear(events.Received(MTA, challenged.answer))

    def hear(self, event: Event) -> bytes:
        """Tell one fact, and time it. Returns what is sent thereupon."""
        began = time.perf_counter_ns()
        orders = self.proxy.step(began, event)
        self.spent_ns += time.perf_counter_ns() - began
        return b"".join(order.data for order in orders if isinstance(order, Send))

    def open(self, offer: bytes) -> int:
        """From OPEN to READY with a remote that answers EHLO so. Returns the remote's id."""
        self.opened += 1
        remote = 2 * self.opened
        order = f"OPEN id={self.opened} source={SOURCE} to={REMOTE} helo={HELO} tls=none\r\n"
        self.hear(events.Received(MTA, order.encode("ascii")))
        self.hear(events.Connected(remote, (SOURCE, 40_001)))
        self.hear(events.Received(remote, b"220 mx.example.com ESMTP\r\n"))
        ready = self.hear(events.Received(remote, offer))
        assert ready.startswith(b"READY"), ready
        return remote

    def close(self, remote: int) -> None:
        """QUIT, and the remote's end."""
        said = self.hear(events.Received(MTA, b"QUIT\r\n"))
        assert b"221" in said, said
        self.hear(events.Received(remote, REPLIES[b"QUIT"]))
        self.hear(events.Ended(remote))
        self.hear(events.Closed(remote, "closed"))


def hall_results(found: Sequence[Result], rounds: int) -> list[Result]:
    """Row 10. Its last line needs the time that a whole session takes on asyncio: the figures found so far."""
    lines, replies, sessions = ([timed() for _ in range(rounds)] for timed in (line_us, reply_us, session_us))
    told = [
        result("a line of a pipelined segment, through the hall", lines, 7, "µs"),
        result("a reply that frees the next command", replies, 12, "µs"),
    ]
    whole = next((one for one in found if one.subject == "native asyncio" and one.row == "-"), None)
    if whole is not None:
        shares = [alone / figure.value for alone, figure in zip(sessions, whole.figures, strict=True)]
        told.append(result("the hall's share of a whole session's CPU", shares, 0.25, "of it"))
    return told


def result(what: str, values: Sequence[float], aim: float, unit: str) -> Result:
    value = median(values)
    figures = [Figure(value) for value in values]
    return Result("10", what, "hall", value, unit, f"≤ {aim:g} {unit}", value <= aim, "", values, figures)


def line_us() -> float:
    """One line of a pipelined segment, by the median over segments of 50 recipients and their replies apart."""
    hall, took = Hall(), []
    remote = hall.open(REPLIES[b"EHLO"])
    segment, answers = RCPT * RECIPIENTS, REPLIES[b"RCPT"] * RECIPIENTS
    for _ in range(BATCH):
        before = hall.spent_ns
        hall.hear(events.Received(MTA, segment))
        took.append((hall.spent_ns - before) / RECIPIENTS / 1000)
        hall.hear(events.Received(remote, answers))
    return median(took)


def reply_us() -> float:
    """A reply that frees the next command: the remote has no PIPELINING, and the MTA sends all the same."""
    hall, took = Hall(), []
    remote = hall.open(LOCKSTEP)
    hall.hear(events.Received(MTA, RCPT * RECIPIENTS))
    for _ in range(BATCH):
        for _ in range(RECIPIENTS - 1):
            before = hall.spent_ns
            said = hall.hear(events.Received(remote, REPLIES[b"RCPT"]))
            took.append((hall.spent_ns - before) / 1000)
            assert said.endswith(RCPT), said
        hall.hear(events.Received(MTA, RCPT * (RECIPIENTS - 1)))
    return median(took)


def session_us() -> float:
    """All facts of one session with one message, from OPEN to the remote's end."""
    hall, took = Hall(), []
    for _ in range(BATCH):
        before = hall.spent_ns
        remote = hall.open(REPLIES[b"EHLO"])
        for fact in message(remote):
            hall.hear(fact)
        hall.close(remote)
        took.append((hall.spent_ns - before) / 1000)
    return median(took)


def message(remote: int) -> Iterator[Event]:
    yield events.Received(MTA, f"EHLO {HELO}\r\n".encode("ascii"))
    yield events.Received(MTA, b"MAIL FROM:<a@out.example.com>\r\nRCPT TO:<b@mx.example.com>\r\nDATA\r\n")
    yield events.Received(remote, REPLIES[b"MAIL"] + REPLIES[b"RCPT"] + REPLIES[b"DATA"])
    yield events.Relayed(MTA, len(BODY), b"", "dot")
    yield events.Received(remote, TAKEN)
