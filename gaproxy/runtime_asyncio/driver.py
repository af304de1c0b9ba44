"""Runs an edge on asyncio or uvloop: knows that it is readable, that the alarm rings, that a signal came.

Does not know any fact or order.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable

from gaproxy.sockets.cover import Certificate
from gaproxy.sockets.edge import Edge, Lent, Machine

SIGNALS = {signal.SIGTERM: "TERM", signal.SIGINT: "INT", signal.SIGHUP: "HUP"}


async def run(
    machine: Machine,
    *,
    signals: bool = True,
    log: int = 1,
    certificate: Certificate | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    started: Callable[[Edge], None] | None = None,
) -> int:
    """Run a machine until it orders `Exit`, and return the exit code; or until we are cancelled, or the machine raises.

    `signals`: hear SIGTERM, SIGINT and SIGHUP (in the main thread only). `log`, `certificate`: see `Lent`. `started` is
    given the edge before the first fact.
    """
    driver = Driver(machine, log, certificate, clock)
    if started is not None:
        started(driver.edge)
    return await driver.run(signals)


class Driver:
    """One run of one edge, and what asyncio lends to it."""

    def __init__(self, machine: Machine, log: int, certificate: Certificate | None, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.edge = Edge(machine, Lent(clock, os.urandom, self.alarm, log, certificate))
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[int] = self.loop.create_future()
        self.timer: asyncio.TimerHandle | None = None

    async def run(self, signals: bool) -> int:
        """From `START` until it is over, whatever ends it; then nothing is left open."""
        heard = SIGNALS if signals else {}
        before = {number: signal.getsignal(number) for number in heard}
        try:
            for number, name in heard.items():
                self.loop.add_signal_handler(number, self.guarded, self.edge.signalled, name)
            self.loop.add_reader(self.edge.fileno(), self.guarded, self.edge.turn)
            self.guarded(self.edge.signalled, "START")
            return await self.over
        finally:
            for number, handler in before.items():
                self.loop.remove_signal_handler(number)
                signal.signal(number, handler)  # asyncio leaves the default behind
            if self.timer is not None:
                self.timer.cancel()
            self.loop.remove_reader(self.edge.fileno())
            self.edge.close()

    def alarm(self, deadline: int) -> None:
        """Ring at this time of the clock, and no longer at any other."""
        if self.timer is not None:
            self.timer.cancel()
        wait_s = max(0, deadline - self.clock()) / 1e9
        self.timer = self.loop.call_later(wait_s, self.guarded, self.edge.rang)

    def guarded(self, call: Callable[..., None], *args: str) -> None:
        """Call the edge. asyncio logs a fault of a callback and goes on: here it ends the run, as `Exit` does."""
        if self.over.done():
            return
        try:
            call(*args)
        except BaseException as fault:
            self.over.set_exception(fault)
        else:
            if self.edge.exit_code is not None:
                self.over.set_result(self.edge.exit_code)
