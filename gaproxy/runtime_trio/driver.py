"""Runs an edge on trio: knows that it is readable, that the alarm rings, that a signal came.

Does not know any fact or order.
"""

import math
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext

import trio

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
    """One run of one edge, and what trio lends to it."""

    def __init__(self, machine: Machine, log: int, certificate: Certificate | None, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.edge = Edge(machine, Lent(clock, os.urandom, self.alarm, log, certificate))
        self.over = trio.CancelScope()
        self.fault: BaseException | None = None
        self.rings_at = math.inf
        self.timer = trio.CancelScope()

    async def run(self, signals: bool) -> int:
        """From `START` until it is over, whatever ends it; then nothing is left open."""
        try:
            with trio.open_signal_receiver(*SIGNALS) if signals else nullcontext() as heard, self.over:
                async with trio.open_nursery() as nursery:
                    self.guarded(self.edge.signalled, "START")
                    nursery.start_soon(self._ring)
                    if heard is not None:
                        nursery.start_soon(self._hear_signals, heard)
                    while True:
                        await trio.lowlevel.wait_readable(self.edge.fileno())
                        self.guarded(self.edge.turn)
        finally:
            trio.lowlevel.notify_closing(self.edge.fileno())
            self.edge.close()
        if self.fault is not None:
            raise self.fault
        assert self.edge.exit_code is not None
        return self.edge.exit_code

    def alarm(self, deadline: int) -> None:
        """Ring at this time of the clock, and no longer at any other."""
        wait_s = max(0, deadline - self.clock()) / 1e9
        self.rings_at = self.timer.deadline = trio.current_time() + wait_s

    def guarded(self, call: Callable[..., None], *args: str) -> None:
        """Call the edge. A fault ends the run, as `Exit` does; it is kept, for a nursery would wrap it into a group."""
        if self.over.cancel_called:
            return
        try:
            call(*args)
        except BaseException as fault:
            self.fault = fault
        if self.fault is not None or self.edge.exit_code is not None:
            self.over.cancel()

    async def _ring(self) -> None:
        while True:
            with trio.CancelScope(deadline=self.rings_at) as self.timer:
                await trio.sleep_forever()
            self.rings_at = math.inf
            self.guarded(self.edge.rang)

    async def _hear_signals(self, heard: AsyncIterator[int]) -> None:
        async for number in heard:
            self.guarded(self.edge.signalled, SIGNALS[signal.Signals(number)])
