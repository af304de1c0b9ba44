"""The slow: those who write or read a byte or a piece at a time, on either side, while mail of others goes on.

Knows who is slow and in which way; does not know how much of it is too much for a proxy.
"""

import socket
from itertools import count
from pathlib import Path
from statistics import median

from attrs import frozen
from load.hands import ALL_BYTES, LETTER_BYTES, Hand, Remote, Sender, letter, play, proved, turn
from load.plays import all_went_well, serving
from load.watch import undisturbed_s
from tools.real import PORT, RealProxy
from tools.real import Remote as Place

from gaproxy.peers.errand import Letter
from gaproxy.peers.mx import Mx
from gaproxy.proto import actions, events

OF_EACH = 100
OTHERS = 4
WAVES_BEFORE = 50
TURNS_MOST = 3000
SOON_OUT_OF_REST = "reuse_connections { idle 1s }"  # a remote is done when it is let go
LARGE_BYTES, PIECE_BYTES = 1024 * 1024, 2048
KERNEL_BYTES, SEGMENT_BYTES = 4096, 1400  # as on a network: loopback's own segments and buffers swallow whole letters


@frozen
class Kind:
    """Who is slow, `MTA` or `remote`; how many bytes it takes and gives in a turn; and the size of its letter."""

    who: str
    reads: int = ALL_BYTES
    writes: int = ALL_BYTES
    letter_bytes: int = 400


KINDS = (
    Kind("MTA", writes=1),
    Kind("MTA", reads=1),
    Kind("remote", writes=1),
    Kind("remote", reads=PIECE_BYTES, letter_bytes=LARGE_BYTES),
)


@frozen
class Snails:
    """What slow peers cost, so many of each kind at once, and what became of the others meanwhile.

    `large_bytes`: of a letter to a remote that reads slowly; `grown_bytes`: the proxy, at its peak. `messages`: of the
    others, who come in waves, each of them with a connection, a message and QUIT. Of the time that a wave took:
    medians, and the longest meanwhile, in seconds.
    """

    of_each: int
    large_bytes: int
    grown_bytes: int
    messages: int
    wave_before_s: float
    wave_meanwhile_s: float
    wave_longest_s: float


class Garden:
    """Where the slow are: behind one proxy, at one remote that is fast and one place where remotes are slow."""

    def __init__(self, proxy: RealProxy, remote: Remote, place: Place) -> None:
        self.proxy = proxy
        self.remote = remote
        self.place = place
        place.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
        place.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        self.mx = Mx(actions.Listener("slow", (place.address, PORT)))
        self.ids = count(1, 2)
        self.letters: list[Letter] = []
        self.senders: list[Sender] = []
        self.moving: list[Hand] = []

    def sender(self, to: str, size: int) -> Sender:
        """An MTA that is about to send one letter."""
        self.letters.append(letter(len(self.letters), to, size=size))
        self.senders.append(proved(self.proxy, self.letters[-1:]))
        return self.senders[-1]

    def let_in(self, kind: Kind) -> None:
        """One more of this kind, and whoever it talks with, who waits for nobody."""
        sender = self.sender(self.remote.to if kind.who == "MTA" else self.place.to, kind.letter_bytes)
        self.moving.append(sender)
        if kind.who == "MTA":
            sender.slow(kind.reads, kind.writes)
            return
        sender.slow()
        sender.write()
        hand = self.called()
        hand.slow(kind.reads, kind.writes)
        self.moving.append(hand)

    def called(self) -> Hand:
        """The hand of the remote that is called now."""
        sock, source = self.place.listener.accept()
        hand = Hand(self.mx, next(self.ids), sock)
        hand.hear(events.Accepted(hand.id, "slow", source, b""))
        return hand

    def wave(self) -> float:
        """Some others come at once, send a letter each, and leave. Returns how long that took, in seconds."""
        began = undisturbed_s(self.proxy)
        play([self.sender(self.remote.to, LETTER_BYTES) for _ in range(OTHERS)])
        return undisturbed_s(self.proxy) - began


def let_snails_in(runtime: str, folder: Path) -> Snails:
    """All who are slow have a turn; then some others have a whole session each; and so on, until the slow are done."""
    with serving(runtime, folder, SOON_OUT_OF_REST) as proxy, Remote(folder) as remote, Place() as place:
        garden = Garden(proxy, remote, place)
        before = [garden.wave() for _ in range(WAVES_BEFORE)]
        for kind in KINDS:
            for _ in range(OF_EACH):
                garden.let_in(kind)
        meanwhile: list[float] = []
        while garden.moving:
            assert len(meanwhile) < TURNS_MOST
            garden.moving = turn(garden.moving)
            meanwhile.append(garden.wave())
        all_went_well(proxy, garden.letters, garden.senders, [*remote.arrivals, *garden.mx.arrivals])
        messages, grown = OTHERS * len(meanwhile), proxy.grown_bytes()
    times = median(before), median(meanwhile), max(meanwhile)
    return Snails(OF_EACH, LARGE_BYTES, grown, messages, *times)
