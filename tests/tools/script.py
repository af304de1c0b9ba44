"""A machine that does as its test says, and a stage on which it plays with real sockets on a real runtime.

Knows facts and orders; does not know what a proxy would do. The edge runs in a thread of its own, so that a test is
plain blocking code: its peers are blocking sockets, and each fact is waited for.
"""

import asyncio
import os
import queue
import resource
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio
import uvloop

from gaproxy.proto import actions, events
from gaproxy.runtime_asyncio import driver as on_asyncio
from gaproxy.runtime_trio import driver as on_trio
from gaproxy.sockets.edge import Edge

PATIENCE_S = 20.0  # for what must come; a test that waits so long has failed
PROMPTER = actions.Listener("prompter", ("127.0.0.1", 0))
DOOR = actions.Listener("door", ("127.0.0.1", 0))


class Script:
    """A machine. It opens the door, lets the prompter in as 1, and from then on gives the orders that it is prompted.

    `facts` has every fact but those about the prompter; `answers` has what is ordered at once when such a fact comes.
    """

    def __init__(self) -> None:
        self.facts: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.prompts: queue.SimpleQueue[Callable[[], list[actions.Action]]] = queue.SimpleQueue()
        self.answers: dict[type[Any], Callable[[Any], list[actions.Action]]] = {}
        self.next_deadline: int | None = None
        self.now = 0
        self.boot: dict[type[Any], list[actions.Action]] = {
            events.Signalled: [actions.Prepare((PROMPTER, DOOR))],
            events.Prepared: [actions.Adopt()],
            events.Accepted: [],
        }

    def step(self, now: int, event: events.Event) -> list[actions.Action]:
        self.now = now
        if isinstance(event, events.Received) and event.id == 1:
            return [order for _ in event.data for order in self.prompts.get_nowait()()]
        if isinstance(event, events.Elapsed):
            self.next_deadline = None
        self.facts.put(event)
        if type(event) in self.boot:
            return self.boot.pop(type(event))
        return self.answers.get(type(event), lambda event: [])(event)


def play_asyncio(script: Script, loop: Callable[[], asyncio.AbstractEventLoop] | None = None, **lent: Any) -> int:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(on_asyncio.run(script, **lent))


def play_trio(script: Script, **lent: Any) -> int:
    return trio.run(partial(on_trio.run, script, **lent))


RUNTIMES: dict[str, Callable[..., int]] = {
    "asyncio": play_asyncio,
    "uvloop": partial(play_asyncio, loop=uvloop.new_event_loop),
    "trio": play_trio,
}


def prepared(*problems: str, certificate_sha256: str = "") -> events.Prepared:
    """What answers a `Prepare` in this process."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return events.Prepared(problems, certificate_sha256, descriptors)


class Stage:
    """One run of a script. Facts are asked for in the order in which they came."""

    def __init__(self, runtime: str, **lent: Any) -> None:
        self.script = Script()
        self.edge: Edge
        self.outcome: int | BaseException | None = None
        self.sockets: list[socket.socket] = []
        self.play = partial(RUNTIMES[runtime], self.script, signals=False, started=self.meet, **lent)
        self.thread = threading.Thread(target=self.perform, daemon=True)
        self.thread.start()
        assert isinstance(self.next(), events.Signalled)
        assert self.next() == prepared()
        self.prompter = self.keep(socket.create_connection(("127.0.0.1", self.edge.port("prompter")), PATIENCE_S))
        assert self.next().listener == "prompter"

    def meet(self, edge: Edge) -> None:
        self.edge = edge

    def perform(self) -> None:
        try:
            self.outcome = self.play()
        except BaseException as fault:
            self.outcome = fault
        self.script.facts.put(self.outcome)

    # What the machine is told to do.

    def order(self, *orders: actions.Action) -> None:
        """Have the machine give these orders now."""
        self.within(lambda: list(orders))

    def within(self, call: Callable[[], list[actions.Action]]) -> None:
        """Have this called inside a step."""
        self.script.prompts.put(call)
        self.prompter.sendall(b"!")

    @contextmanager
    def stalled(self, first: Callable[[], None] = lambda: None) -> Iterator[None]:
        """The whole process stands still, inside a step, while the test goes on."""
        reader, writer = os.pipe()
        standing, going = threading.Event(), threading.Event()

        def stand() -> list[actions.Action]:
            first()
            standing.set()
            os.read(reader, 1)
            going.set()
            return []

        self.within(stand)
        assert standing.wait(PATIENCE_S)
        try:
            yield
        finally:
            os.write(writer, b"!")
            assert going.wait(PATIENCE_S)
            os.close(reader)
            os.close(writer)

    # What it heard.

    def next(self) -> Any:
        """The next fact."""
        return self.script.facts.get(timeout=PATIENCE_S)

    def hears(self, *facts: events.Event) -> None:
        """Exactly these facts are next."""
        assert [self.next() for _ in facts] == list(facts)

    def settle(self) -> None:
        """Wait until all that is ready now was taken: two prompts are two turns."""
        for _ in range(2):
            done = threading.Event()

            def told(done: threading.Event = done) -> list[actions.Action]:
                done.set()
                return []

            self.within(told)
            assert done.wait(PATIENCE_S)

    def is_quiet(self) -> bool:
        """No other fact came."""
        self.settle()
        return self.script.facts.empty()

    # Whom it plays with.

    def keep(self, sock: socket.socket) -> socket.socket:
        sock.settimeout(PATIENCE_S)
        self.sockets.append(sock)
        return sock

    def knock(self) -> tuple[socket.socket, int]:
        """A peer that comes in at the door, and its id."""
        peer = self.keep(socket.create_connection(("127.0.0.1", self.edge.port("door")), PATIENCE_S))
        accepted = self.next()
        assert accepted == events.Accepted(accepted.id, "door", peer.getsockname(), accepted.entropy)
        return peer, accepted.id

    def listen(self, backlog: int = 8) -> tuple[socket.socket, events.Address]:
        """Somewhere to connect to."""
        listener = self.keep(socket.create_server(("127.0.0.2", 0), backlog=backlog))
        return listener, listener.getsockname()

    def call(self, id: int) -> socket.socket:
        """A peer that was called, as this id."""
        listener, address = self.listen()
        self.order(actions.Connect(id, "127.0.0.1", address))
        peer, source = listener.accept()
        self.hears(events.Connected(id, source))
        return self.keep(peer)

    def black_hole(self) -> events.Address:
        """Where nobody answers: a listener whose backlog is full."""
        _, address = self.listen(backlog=0)
        self.keep(socket.create_connection(address, PATIENCE_S))
        return address

    def fill(self, peer: socket.socket, id: int) -> int:
        """Have a peer send zeros until our side, who knows it as `id`, stops reading. Returns how many were sent."""
        sent = 0
        paused = False
        peer.setblocking(False)
        while True:
            try:
                sent += peer.send(bytes(65536))
                paused = False
            except BlockingIOError:
                if paused and not self.reads(id):
                    break
                paused = not self.reads(id)
                self.settle()
        peer.settimeout(PATIENCE_S)
        return sent

    def reads(self, id: int) -> bool:
        """Whether the edge wants to read from this link."""
        return bool(self.edge.links[id].interest & select.EPOLLIN)

    # How it ends.

    def end(self) -> int | BaseException | None:
        """What `run` returned or raised."""
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        return self.outcome

    def leave(self) -> None:
        """End the run if it still runs, and close all that the test opened."""
        if self.thread.is_alive():
            self.order(actions.Exit(0))
        self.end()
        for sock in self.sockets:
            sock.close()


def reset(peer: socket.socket) -> None:
    """Close with RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def read_all(peer: socket.socket) -> bytes:
    """What a peer says until its end."""
    return b"".join(iter(lambda: peer.recv(65536), b""))
