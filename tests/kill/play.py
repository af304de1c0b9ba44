"""Every cell of the kill table, played with real processes and sockets on every run.

Knows in which order the three of a cell act and who is asked what came of it; does not know what should come of it.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Semaphore
from typing import Any

import trustme
from attrs import define, evolve, field, frozen
from kill.cells import (
    BEFORE_A_REMOTE,
    FIN,
    KEPT,
    ONLY_IN_TLS,
    SAID_BY_THE_REMOTE,
    SILENCE,
    STEPS,
    Cell,
    Outcome,
    cells,
)
from kill.players import Exchanger, Sender, leave
from kill.watch import ALONE, Address, holds, serving, sockets, takes_note, until
from tools.real import WAIT_S, RealProxy, Remote

RUNTIMES = ("asyncio", "trio")
TIMEOUTS = "greeting ehlo starttls mail rcpt data body end rset idle quit"
IMPATIENT_S = 3
AT_A_TIME = 160  # nearly all of them only wait
WALK_AT_A_TIME = 3


@frozen
class Run:
    """On which runtime, and whether the remote offers TLS."""

    runtime: str
    secured: bool

    def __str__(self) -> str:
        return f"{self.runtime}, {'TLS' if self.secured else 'plain text'}"


RUNS = tuple(Run(runtime, secured) for runtime in RUNTIMES for secured in (True, False))

Found = Mapping[tuple[Run, Cell], "Future[Outcome]"]


# One cell.


@define
class Stage:
    """Where one cell is played. `again` serves the second attempt; `turn`: few walk at a time, so that none is late.

    `sockets`: what the proxy had of this cell when somebody vanished.
    """

    proxy: RealProxy
    again: RealProxy
    tls: ssl.SSLContext | None
    turn: Semaphore
    cell: Cell
    sockets: Mapping[Address, str] = field(factory=dict)

    def play(self) -> Outcome:
        message = f"Subject: {self.cell}\r\n\r\n{'x' * 200}\r\n".encode()
        kept: list[bytes] = []
        with Remote() as place, ExitStack() as closing:
            remote = Exchanger(place, self.tls, kept, closing)
            mta = Sender(self.proxy.place, place.to, "encrypt" if self.tls else "none", message, closing)
            with self.turn:
                self.walk(mta, remote)
                self.sockets = sockets(self.proxy.process.pid, {mta.address, remote.far_end})
            self.vanish(mta, remote)
            assert not place.is_called(), "the proxy called once more by itself"
            session, told, dotted, copies = mta.session, mta.told, mta.dotted, len(kept)
            if told != KEPT:
                with self.turn:
                    self.send_again(mta, Exchanger(place, self.tls, kept, closing))
            mta.sock.close()
            self.lets_go(mta.address)
            assert kept == [message] * len(kept), "the remote has a message that nobody sent"
            outcome = Outcome(told, dotted, remote.granted, copies, len(kept))
            return evolve(outcome, **self.logged(session, told))

    def steps(self) -> list[str]:
        return [step for step in STEPS if self.tls is not None or step not in ONLY_IN_TLS]

    def walk(self, mta: Sender, remote: Exchanger) -> None:
        """Up to the step at which somebody vanishes. A remote that does so behind its own words is not heard first."""
        for step in self.steps():
            remote.pay()
            if (self.cell.step, self.cell.who) == (step, "remote") and step in SAID_BY_THE_REMOTE:
                return
            mta.reach(step)
            remote.reach(step)
            if step in ("connected", "accepted"):
                takes_note(self.proxy)
            if step == self.cell.step:
                return

    # Who vanishes, and how the others go on once the proxy has heard of it: which of two news is first is no story.

    def vanish(self, mta: Sender, remote: Exchanger) -> None:
        {"MTA": self.lose_mta, "remote": self.lose_remote, "proxy": self.lose_proxy}[self.cell.who](mta, remote)

    def lose_mta(self, mta: Sender, remote: Exchanger) -> None:
        """The remote goes on. An MTA that is silent behind its QUIT may rest for minutes; another one is closed."""
        rests = (self.cell.step, self.cell.way) == ("QUIT", SILENCE)
        self.leave(mta.sock)
        if self.cell.step not in BEFORE_A_REMOTE:
            remote.go_on()
            self.lets_go(remote.far_end)
        if self.cell.way == SILENCE and not rests:
            self.lets_go(mta.address)
        if self.cell.way in (FIN, SILENCE) and not rests:
            mta.listen()

    def lose_remote(self, mta: Sender, remote: Exchanger) -> None:
        self.leave(remote.sock)
        mta.go_on()
        self.lets_go(remote.far_end)
        remote.close()

    def lose_proxy(self, mta: Sender, remote: Exchanger) -> None:
        self.proxy.process.kill()
        self.proxy.process.wait(WAIT_S)
        mta.listen()
        if self.cell.step not in BEFORE_A_REMOTE:
            remote.go_on()

    def leave(self, sock: socket.socket) -> None:
        leave(sock, self.cell.way)
        takes_note(self.proxy)

    def lets_go(self, far_end: Address) -> None:
        """The proxy closes this connection; who was killed has none."""
        pid = self.proxy.process.pid
        if self.proxy.process.poll() is None:
            until(self.proxy, lambda: not holds(pid, self.sockets[far_end]), f"a connection to {far_end} is left")

    # Afterwards.

    def send_again(self, former: Sender, remote: Exchanger) -> None:
        """The MTA has no 250: a fresh session, on the connection that it has, if it has one."""
        mta, steps = former, self.steps()
        if self.cell.who == "remote":
            mta.begin()
            mta.open()
            remote.reach("accepted")
            steps = steps[steps.index("accepted") + 1 :]
        else:
            mta = former.anew(self.again.place)
        for step in steps:
            remote.pay()
            mta.reach(step)
            remote.reach(step)
        remote.go_on()
        mta.heed_farewell()
        mta.sock.close()
        assert (mta.told, remote.granted) == (KEPT, 1)
        self.again.wait_for(f"session({mta.session}): end")

    def logged(self, session: str, told: str) -> dict[str, Any]:
        """What the log says of the end of a session, as an outcome tells it. Later sessions are told by now."""
        if self.cell.who == "proxy" or not session:
            return {}
        if told == KEPT:
            self.proxy.wait_for(f"session({session}): end")
        ends = [line for line in list(self.proxy.log) if f"smtp: session({session}): " in line]
        assert len(ends) <= 1, ends
        if not ends or " failed " in ends[0]:
            return {"log": "failed" if ends else None}
        ended = re.search(r" messages=(\d+) .* reason=(\w+)$", ends[0])
        assert ended is not None, ends
        return {"log": ended[2], "messages": int(ended[1]), "log_unknown": " outcome=unknown " in ends[0]}


# All cells.


def play_all(folder: Path) -> Found:
    """Every cell on every run. What a proxy leaves behind when all is over raises AssertionError."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("mx.test").configure_cert(tls)
    found: dict[tuple[Run, Cell], Future[Outcome]] = {}
    turn = Semaphore(WALK_AT_A_TIME)
    timeouts = " ".join(f"{name} {IMPATIENT_S}s;" for name in TIMEOUTS.split())
    with ExitStack() as stack:
        patient = {one: stack.enter_context(serving(one, folder)) for one in RUNTIMES}
        impatient = {one: stack.enter_context(serving(one, folder, f"timeouts {{ {timeouts} }}")) for one in RUNTIMES}
        pool = stack.enter_context(ThreadPoolExecutor(AT_A_TIME))

        def play(run: Run, cell: Cell) -> Outcome:
            context = tls if run.secured else None
            standing = (impatient if cell.way == SILENCE else patient)[run.runtime]
            if cell.who != "proxy":
                return Stage(standing, standing, context, turn, cell).play()
            with doomed(run.runtime, folder, turn) as proxy:
                return Stage(proxy, standing, context, turn, cell).play()

        everything = [(run, cell) for run in RUNS for cell in cells(run.secured)]
        for run, cell in sorted(everything, key=lambda one: one[1].way != SILENCE):  # who is silent takes longest
            found[run, cell] = pool.submit(play, run, cell)
    return found


@contextmanager
def doomed(runtime: str, folder: Path, turn: Semaphore) -> Iterator[RealProxy]:
    """A proxy to be killed."""
    with ExitStack() as stack:
        with turn:
            proxy = stack.enter_context(RealProxy(runtime, folder, ALONE))
        yield proxy
