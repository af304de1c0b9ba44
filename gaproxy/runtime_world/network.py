"""A network without a kernel: connections whose bytes come late, in pieces and in any order, as its dice say.

Knows how TCP delivers, ends and breaks. Does not know any fact or order, nor what is said.
"""

from collections.abc import Callable
from random import Random
from typing import Protocol

WHOLE = (0.3, 0.7, 0.95)  # how often all that is under way arrives in one piece
WINDOWS_BYTES = (200, 4096, 65_536, 1 << 20)  # what fits between two ends

FLOWING, ENDING, ENDED, BREAKING, OVER = "flowing", "ending", "ended", "breaking", "over"


class Carrier(Protocol):
    """Something that may happen next."""

    waiting: bool  # it belongs to the network: this stands in its list

    def move(self) -> bool:
        """Let it happen. Returns whether there is more of it."""


class Soon:
    """A call that will be made once."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.waiting = False

    def move(self) -> bool:
        self.call()
        return False


class Receiver(Protocol):
    """One end of a connection, as what comes from the other one finds it."""

    def room(self) -> int:
        """How many bytes it takes now."""

    def arrive(self, data: bytes) -> None: ...

    def arrive_end(self) -> None: ...

    def arrive_reset(self) -> None: ...


class Network:
    """All that may happen next, in no order."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.whole = dice.choice(WHOLE)
        self.window = dice.choice(WINDOWS_BYTES)
        self.carriers: list[Carrier] = []

    def wake(self, carrier: Carrier) -> None:
        """This may happen from now on."""
        if not carrier.waiting:
            carrier.waiting = True
            self.carriers.append(carrier)

    def move(self) -> None:
        """Let one thing happen, whichever it is."""
        carriers = self.carriers
        place = int(self.dice.random() * len(carriers))
        carrier = carriers[place]
        carriers[place] = carriers[-1]
        carriers.pop()
        carrier.waiting = False
        if carrier.move():
            self.wake(carrier)

    def cut(self, size: int) -> int:
        """How much of so many bytes arrives at once."""
        if size == 1 or self.dice.random() < self.whole:
            return size
        return 1 + int(self.dice.random() * size)


class Pipe:
    """One direction of a connection. `flight`: what was sent and has not arrived; `drained` is told when some has."""

    __slots__ = ("drained", "flight", "network", "state", "to", "waiting")

    def __init__(self, network: Network, to: Receiver, drained: Callable[[], None]) -> None:
        self.network = network
        self.to = to
        self.drained = drained
        self.flight = bytearray()
        self.state = FLOWING
        self.waiting = False

    def put(self, data: bytes | bytearray | memoryview) -> None:
        if self.state == FLOWING:
            self.flight += data
            self.network.wake(self)

    def end(self) -> None:
        """FIN, behind all that is under way."""
        if self.state == FLOWING:
            self.state = ENDING
            self.network.wake(self)

    def reset(self) -> None:
        """RST: what has not left this host will not (it may have left)."""
        if self.state != OVER:
            del self.flight[int(self.network.dice.random() * (len(self.flight) + 1)) :]
            self.state = BREAKING
            self.network.wake(self)

    def move(self) -> bool:
        if self.flight:
            size = min(len(self.flight), self.to.room())
            if size <= 0:
                return False
            size = self.network.cut(size)
            data = bytes(self.flight[:size])
            del self.flight[:size]
            self.to.arrive(data)
            self.drained()
        elif self.state == ENDING:
            self.state = ENDED
            self.to.arrive_end()
        elif self.state == BREAKING:
            self.state = OVER
            self.to.arrive_reset()
        return bool(self.flight) or self.state in (ENDING, BREAKING)


class Socket:
    """Our end: what a `Link` takes for a socket that does not block. `turn` is told to read or to write."""

    def __init__(self, network: Network, fd: int) -> None:
        self.network = network
        self.fd = fd
        self.out: Pipe
        self.back: Pipe
        self.turn: Callable[[bool, bool], None]
        self.reads = self.writes = False
        self.arrived = bytearray()
        self.ended = self.broken = self.gone = False
        self.waiting = False

    # What the link calls.

    def recv_into(self, buffer: memoryview, size: int, /) -> int:
        """As the kernel does: what had arrived before a reset is read first."""
        arrived = self.arrived
        if arrived:
            size = min(size, len(arrived))
            buffer[:size] = arrived[:size]
            del arrived[:size]
            if self.back.flight:
                self.network.wake(self.back)
            return size
        if self.broken:
            raise ConnectionResetError("reset by the peer")
        if not self.ended:
            raise BlockingIOError
        return 0

    def send(self, data: bytes | bytearray | memoryview, /) -> int:
        if self.broken:
            raise BrokenPipeError("the peer is gone")
        room = self.network.window - len(self.out.flight)
        if room <= 0:
            raise BlockingIOError
        self.out.put(data[:room])
        return min(room, len(data))

    def shutdown(self, how: int, /) -> None:
        if self.broken:
            raise OSError("not connected")
        self.out.end()

    def close(self) -> None:
        """With anything unread this is a reset (RFC 2525 2.17)."""
        self.gone = True
        if self.arrived:
            self.out.reset()
        else:
            self.out.end()

    # What the network calls.

    def room(self) -> int:
        return self.network.window - len(self.arrived)

    def arrive(self, data: bytes) -> None:
        if self.gone:
            self.out.reset()
        else:
            self.arrived += data
            self.attend()

    def arrive_end(self) -> None:
        self.ended = True
        self.attend()

    def arrive_reset(self) -> None:
        self.ended = self.broken = True
        self.out.state = OVER
        self.out.flight.clear()
        self.attend()

    def watch(self, reads: bool, writes: bool) -> None:
        self.reads, self.writes = reads, writes
        if reads or writes:
            self.attend()

    def peer(self) -> "Peer":
        """Who stands at the other end."""
        assert isinstance(self.out.to, Line)
        return self.out.to.peer

    def quiet(self) -> bool:
        """Whether all that either side has sent was heard."""
        return not (self.out.flight or self.back.flight or self.arrived)

    def readiness(self) -> tuple[bool, bool]:
        """Whether it would read, and write, now."""
        reads = self.reads and bool(self.arrived or self.ended)
        return reads, self.writes and (self.broken or len(self.out.flight) < self.network.window)

    def attend(self) -> None:
        if not self.waiting and True in self.readiness():
            self.network.wake(self)

    def move(self) -> bool:
        reads, writes = self.readiness()
        if reads or writes:
            self.turn(reads, writes)
        return True in self.readiness()


class Voice(Protocol):
    """What a peer says on its connection, in this world or on a socket."""

    def say(self, data: bytes) -> None: ...

    def end(self) -> None:
        """FIN behind all that was said."""

    def reset(self) -> None:
        """Be gone at once, and hear nothing more."""

    def leave(self) -> None:
        """Hear nothing more, whatever comes."""

    def under_way(self) -> bytes:
        """What was said and has not arrived, as far as that is known."""


class Peer(Protocol):
    """Whoever stands at the other end of a connection, and is no part of what is tried."""

    def joined(self, line: Voice) -> None:
        """The connection stands."""

    def hear(self, data: bytes) -> None: ...

    def ended(self) -> None:
        """Nothing more will be heard."""

    def lost(self) -> None:
        """The connection is broken."""

    def refused(self) -> None:
        """There is no connection."""


class Line:
    """The other end: what a peer says and hears. It reads all that comes."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.out: Pipe
        self.deaf = False

    # What the peer calls.

    def say(self, data: bytes) -> None:
        self.out.put(data)

    def end(self) -> None:
        self.out.end()

    def reset(self) -> None:
        self.deaf = True
        self.out.reset()

    def leave(self) -> None:
        self.deaf = True

    def under_way(self) -> bytes:
        return bytes(self.out.flight)

    # What the network calls.

    def room(self) -> int:
        return 1 << 30

    def arrive(self, data: bytes) -> None:
        if not self.deaf:
            self.peer.hear(data)

    def arrive_end(self) -> None:
        if not self.deaf:
            self.peer.ended()

    def arrive_reset(self) -> None:
        self.out.state = OVER
        self.out.flight.clear()
        if not self.deaf:
            self.deaf = True
            self.peer.lost()


def connect(network: Network, socket: Socket, line: Line) -> None:
    """Join both ends."""
    socket.out = Pipe(network, line, socket.attend)
    line.out = socket.back = Pipe(network, socket, lambda: None)  # a peer puts as much on its line as it likes
