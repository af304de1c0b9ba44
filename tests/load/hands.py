"""Those who make the load: machines of `gaproxy.peers`, moved by hand in turn, and a remote in a thread of its own.

Knows how a machine's orders are carried out on one socket, and in which pieces; does not know what anybody says.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from typing import Protocol, Self, TypeVar

import trustme
from tools.real import HELO, PORT, SECRET, SOURCES, WAIT_S, RealProxy, fresh_address

from gaproxy.client import Client
from gaproxy.peers.errand import Letter
from gaproxy.peers.mta import PROXY, Mta
from gaproxy.peers.mx import Mx
from gaproxy.proto import actions, events
from gaproxy.proto.wire.tls import proxy_context
from gaproxy.runtime_asyncio import driver

ALL_BYTES = 64 * 1024
LETTER_BYTES = 2000
CONTEXT = proxy_context()


class Machine(Protocol):
    """Whoever says something on a connection."""

    def step(self, now: int, event: events.Event) -> list[actions.Action]: ...


class Hand:
    """One connection of a machine, `id`; all that it does is `write` and `read`, once each in a turn.

    It waits for what comes, unless it is slow: then it takes and gives so many bytes in a turn, if they are there.
    """

    def __init__(self, machine: Machine, id: int, sock: socket.socket) -> None:
        self.machine = machine
        self.id = id
        self.sock = sock
        self.sock.settimeout(WAIT_S)
        self.outbox = bytearray()
        self.closing = False
        self.gone = False
        self.reads = self.writes = ALL_BYTES

    def slow(self, reads: int = ALL_BYTES, writes: int = ALL_BYTES) -> None:
        """Be slow from now on."""
        self.reads, self.writes = reads, writes
        self.sock.setblocking(False)

    def hear(self, event: events.Event) -> None:
        """Have the machine hear a fact, and keep what it orders for the next turn."""
        for order in self.machine.step(0, event):
            if isinstance(order, actions.Send):
                self.outbox += order.data
            elif isinstance(order, actions.Close):
                self.closing = True

    def write(self) -> None:
        if self.outbox:
            try:
                sent = self.sock.send(memoryview(self.outbox)[: self.writes])
            except BlockingIOError:
                return
            del self.outbox[:sent]
        if self.closing and not self.outbox:
            self.close()

    def read(self) -> None:
        if self.gone or self.closing:
            return
        try:
            data = self.sock.recv(self.reads)
        except BlockingIOError:
            return
        self.hear(events.Received(self.id, data) if data else events.Ended(self.id))

    def close(self) -> None:
        self.sock.close()
        self.gone = True


class Sender(Hand):
    """The hand of an MTA on its connection to a proxy."""

    def __init__(self, mta: Mta, sock: socket.socket) -> None:
        super().__init__(mta, PROXY, sock)
        self.mta = mta


H = TypeVar("H", bound=Hand)


def turn(hands: Sequence[H]) -> list[H]:
    """Everybody says what is to be said; then everybody hears an answer. Returns those who are still there."""
    for hand in hands:
        hand.write()
    for hand in hands:
        hand.read()
    return [hand for hand in hands if not hand.gone]


def play(hands: Sequence[Hand]) -> None:
    """Turn by turn, until everybody has left."""
    while hands:
        hands = turn(hands)


def proved(proxy: RealProxy, letters: Iterable[Letter], tls: bool = False) -> Sender:
    """An MTA that has called a proxy and proved itself: in its next turn it asks for a remote for its first letter."""
    mta = Mta(Client(SECRET, "mta", os.urandom(32).hex()), proxy.place, "", letters, tls)
    sock = socket.create_connection(proxy.place, WAIT_S)
    if tls:
        sock = CONTEXT.wrap_socket(sock)
    hand = Sender(mta, sock)
    hand.hear(events.Connected(PROXY, sock.getsockname()))
    if isinstance(sock, ssl.SSLSocket):
        shown = sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
        hand.hear(events.Secured(PROXY, "", "", shown, (), False))
    while mta.errand is None:  # few strangers are read at a time, so each is through before the next one calls
        assert not mta.done, mta.outcomes
        turn([hand])
    return hand


def letter(number: int, to: str, tls: str = "none", size: int = LETTER_BYTES) -> Letter:
    """A letter of this number, from one source or the other; some of its lines begin with a dot."""
    message_id = f"{number}@src.test"
    line = f"..{number} {'x' * 60}\r\n"
    return Letter(
        message_id=message_id,
        source=SOURCES[number % 2],
        to=(to,),
        helo=HELO,
        tls=tls,
        sender=b"a@src.test",
        recipients=(b"b@dst.test",),
        data=f"Message-ID: <{message_id}>\r\n\r\n{line * (size // len(line))}".encode(),
    )


class Remote(Mx):
    """A remote that takes what it is sent, and knows how many were there at once. `folder`: for its certificate."""

    def __init__(self, folder: Path) -> None:
        self.address = fresh_address()
        super().__init__(actions.Listener("remote", (self.address, PORT)))
        self.to = f"{self.address}:{PORT}"
        self.most_guests = 0
        self.certificate = certificate(folder)
        self.listens = Event()
        self.thread = Thread(target=lambda: asyncio.run(self.run()))

    def __enter__(self) -> Self:
        self.thread.start()
        assert self.listens.wait(WAIT_S)
        assert self.problems == ()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join(WAIT_S)

    async def run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(driver.run(self, signals=False, certificate=self.certificate))
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()  # raises

    def step(self, now: int, event: events.Event) -> list[actions.Action]:
        orders = super().step(now, event)
        self.most_guests = max(self.most_guests, len(self.guests))
        if isinstance(event, events.Prepared):
            self.listens.set()
        return orders


def certificate(folder: Path) -> tuple[str, str]:
    """A chain and its key, in two files."""
    issued = trustme.CA().issue_cert("mx.test")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return str(chain), str(key)
