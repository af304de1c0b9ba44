"""The job: 2,000 messages of 0 bytes to 5 MB over few connections, each exactly once, unchanged, from its source."""

import asyncio
import random
import socket
import threading
from contextlib import closing, suppress
from hashlib import sha256
from itertools import islice

import pytest
import trio
from tools.real import HELO, SECRET, SOURCES, WAIT_S, RealProxy

from gaproxy.runtime_asyncio.client import connect as connect_on_asyncio
from gaproxy.runtime_trio.client import connect as connect_on_trio

MESSAGES = 2000
MTAS = 8
MESSAGES_PER_SESSION = 5
MESSAGES_PER_CONNECTION = 100  # unless `reuse_connections { messages }` says otherwise
SMALL_BYTES, LARGEST_BYTES = 50_000, 5_000_000
PATIENCE_S = 200.0  # it takes 10 s on two cores that have nothing else to do

# Measured: 3.5 MB on either runtime, the MTAs' TLS included. Each of the eight may have 64 KiB and one read of 128 KiB
# on its way; whoever kept whole messages would need 40 MB.
GROWTH_BYTES = 8 * 1024 * 1024

DICE = random.Random(300)
LINE_END_FREE = bytes(byte if byte not in b"\r\n" else ord("x") for byte in range(256))


def make_lines(size: int) -> bytes:
    """Lines of random bytes, a tenth of which begin with a dot or are nothing else."""
    lines, made = [], 0
    while made < size:
        dots = DICE.choice([b".", b"..", b".\r\n"]) if DICE.random() < 0.1 else b""
        lines.append(dots + DICE.randbytes(DICE.randrange(996)).translate(LINE_END_FREE) + b"\r\n")
        made += len(lines[-1])
    return b"".join(lines)


LINES = make_lines(2 * LARGEST_BYTES)


def make_sizes() -> list[int]:
    """Spread by their logarithm, small ones more often, 300 MB in all. The smallest one that is not empty is a CRLF."""
    tops = [LARGEST_BYTES if DICE.random() < 0.45 else SMALL_BYTES for _ in range(MESSAGES - 2)]
    drawn = [int(top ** DICE.random()) for top in tops]
    return [0, LARGEST_BYTES, *[size if size > 1 else 0 for size in drawn]]


SIZES = make_sizes()


def message(number: int) -> bytes:
    """The message of this number: some of the lines, from a place of its own on, and of its own size."""
    size = SIZES[number]
    if not size:
        return b""
    start = LINES.index(b"\r\n", number * LARGEST_BYTES // MESSAGES) + 2
    return LINES[start : start + size - 2].removesuffix(b"\r").ljust(size - 2, b"x") + b"\r\n"


class Sink:
    """A remote that keeps hashes: who sent it, from where, what, how often."""

    def __init__(self, remote) -> None:
        self.remote = remote
        self.kept = []
        self.threads = [threading.Thread(target=self.welcome)]
        self.threads[0].start()

    def welcome(self):
        with suppress(OSError):  # the listener was closed
            while True:
                peer = self.remote.take()
                peer.introduce(b"PIPELINING")
                self.threads.append(threading.Thread(target=self.serve, args=(peer,)))
                self.threads[-1].start()

    def serve(self, peer):
        number = b""
        with closing(peer), suppress(ConnectionError):  # whoever rests here when all is over is hung up on
            while (command := peer.line()) != b"QUIT":
                if command == b"DATA":
                    peer.say(b"354 go on")
                    self.kept.append((int(number), peer.source, sha256(self.body(peer)).hexdigest()))
                elif command.startswith(b"MAIL"):
                    number = command.partition(b"<")[2].partition(b"@")[0]
                peer.say(b"250 ok")
            peer.say(b"221 bye")

    def body(self, peer) -> bytes:
        """One message, its doubled dots undone."""
        text = bytearray(b"\r\n") + peer.unheard  # as if a line went before: the first one may be the end
        scanned = 0
        while (end := text.find(b"\r\n.\r\n", scanned)) < 0:
            scanned = max(0, len(text) - 4)
            data = peer.sock.recv(1 << 18)
            assert data
            text += data
        peer.unheard[:] = text[end + 5 :]
        return bytes(text[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]

    def close(self):
        """Hang up on whoever rests here, and wait until everybody has left."""
        self.remote.listener.shutdown(socket.SHUT_RDWR)
        self.threads[0].join(WAIT_S)
        for peer in self.remote.peers:
            with suppress(OSError):  # it has left
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(WAIT_S)


async def send_share(connection, share: int, to: str) -> list[list[int]]:
    """One MTA's share of the messages, a few in each session. Returns the codes of all replies."""
    numbers = iter(range(share, MESSAGES, MTAS))
    codes = []
    while chosen := list(islice(numbers, MESSAGES_PER_SESSION)):
        async with connection.open(source=SOURCES[share % 2], to=[to], helo=HELO, tls="none") as session:
            for number in chosen:
                replies = await session.send_message(f"{number}@src.test", ["b@dst.test"], message(number))
                codes.append([reply.code for reply in replies])
    return codes


def send_all_on_asyncio(proxy: RealProxy, to: str) -> list[list[int]]:
    async def one(share: int) -> list[list[int]]:
        async with connect_on_asyncio(*proxy.place, secret=SECRET, node=f"mta-{share}") as connection:
            return await send_share(connection, share, to)

    async def all_of_them() -> list[list[int]]:
        async with asyncio.timeout(PATIENCE_S):
            return [code for codes in await asyncio.gather(*map(one, range(MTAS))) for code in codes]

    return asyncio.run(all_of_them())


def send_all_on_trio(proxy: RealProxy, to: str) -> list[list[int]]:
    heard: list[list[int]] = []

    async def one(share: int) -> None:
        async with connect_on_trio(*proxy.place, secret=SECRET, node=f"mta-{share}") as connection:
            heard.extend(await send_share(connection, share, to))

    async def all_of_them() -> None:
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                for share in range(MTAS):
                    nursery.start_soon(one, share)

    trio.run(all_of_them)
    return heard


@pytest.mark.timeout(PATIENCE_S + 40)
def test_every_message_arrives_exactly_once_unchanged_from_the_asked_source(runtime, proxy, remote):
    assert 290e6 < sum(SIZES) < 310e6
    send_all = {"asyncio": send_all_on_asyncio, "trio": send_all_on_trio}[runtime]
    with closing(Sink(remote)) as sink:
        assert send_all(proxy, remote.to) == [[250, 250, 354, 250]] * MESSAGES
    assert len(remote.peers) <= MESSAGES // MESSAGES_PER_CONNECTION + MTAS
    asked = [(number, SOURCES[number % MTAS % 2], sha256(message(number)).hexdigest()) for number in range(MESSAGES)]
    assert sorted(sink.kept) == asked
    assert proxy.grown_bytes() < GROWTH_BYTES
