"""A mail server that is far away and offers STARTTLS, in a process of its own: `python -m bench.remote FAR SERVER`.

Knows how long the way there takes, TCP's own round trip included, and how many connections the server takes at a time.
Does not know who calls, nor any SMTP.
"""

import asyncio
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, cast

from bench.subjects import FAR_HOST, LOAD_CORE, SERVER_HOST, SINK_PORT, STOP_S, NoBench
from gaproxy.peers.mx import Mx
from gaproxy.proto.actions import Listener
from gaproxy.proto.events import Address
from gaproxy.runtime_asyncio import driver
from gaproxy.sockets.certificate import in_memory, make_certificate

FAR: Address = (FAR_HOST, SINK_PORT)
CONNECTIONS = 2
HALF_S = 0.010  # there, or back
TCP_S = 3 * HALF_S  # SYN, SYN-ACK, ACK: then the server knows of the connection
READY = b"ready\n"


class End(asyncio.Protocol):
    """One end of a connection: all that comes in here goes out at the other end, in order, when it has come that far.

    Nobody speaks before the server has greeted, so nothing comes before there is another end.
    """

    def __init__(self) -> None:
        self.under_way: deque[Callable[[asyncio.Transport], None]] = deque()
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.carry(lambda out: out.write(data))

    def eof_received(self) -> bool:
        self.carry(lambda out: out.write_eof())
        return True

    def connection_lost(self, fault: Exception | None) -> None:
        self.carry(lambda out: out.close())

    def carry(self, what: Callable[[asyncio.Transport], None]) -> None:
        self.under_way.append(what)
        asyncio.get_running_loop().call_later(HALF_S, self.arrive)

    def arrive(self) -> None:
        """Whatever has been under way for the longest is there. A transport that was closed takes nothing."""
        what = self.under_way.popleft()
        out = None if self.other is None else self.other.transport
        if out is not None and not out.is_closing():
            with suppress(OSError):  # the far side reset it, and the loop does not know yet
                what(out)


class NearEnd(End):
    """The caller's end: behind TCP's way there and back and there the server hears of it."""

    def __init__(self, server: Address) -> None:
        super().__init__()
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        loop.call_later(TCP_S, lambda: loop.create_task(self.reach()))

    async def reach(self) -> None:
        _, self.other = await asyncio.get_running_loop().create_connection(End, *self.server)
        self.other.other = self


async def serve(far: Address, server: Address) -> None:
    """Until the process ends. Says so when it listens."""
    mx = Mx(Listener("mx", server), most=CONNECTIONS)
    with in_memory(make_certificate()) as path:
        serving = asyncio.create_task(driver.run(mx, certificate=(path, path)))
        await asyncio.sleep(0)
    if mx.problems:
        raise NoBench("; ".join(mx.problems))
    await asyncio.get_running_loop().create_server(lambda: NearEnd(server), *far)
    os.write(sys.stdout.fileno(), READY)
    await serving


class Remote:
    """The same, as long as its block lasts, on the load's core. Raises NoBench."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.remote", FAR_HOST, SERVER_HOST]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        os.sched_setaffinity(self.process.pid, {LOAD_CORE})
        assert self.process.stdout is not None
        if self.process.stdout.readline() != READY:
            self.stop()
            raise NoBench("the remote does not start")
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(STOP_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve((sys.argv[1], SINK_PORT), (sys.argv[2], SINK_PORT)))
