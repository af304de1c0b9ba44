"""One connection: knows its socket, what waits to be sent, how to end in order. Does not know what is said on it."""

import errno
import socket
from typing import Protocol

from attrs import define, field

from gaproxy.proto.events import Closed, Ended, Received
from gaproxy.proto.wire.body import EndOfData
from gaproxy.proto.wire.tls import Tls
from gaproxy.sockets.cover import Cover, Threshold
from gaproxy.sockets.ground import Ground
from gaproxy.sockets.passage import UNSENT_LIMIT_BYTES, Passage

HEARD_BYTES = 16 * 1024  # at a time, of what the machine is to hear: a flood must not make one step a long one
CARRIED_BYTES = 128 * 1024  # at a time, of what passes the machine by

# What becomes of our half of the connection, in this order; LOST: the peer takes nothing any more.
OPEN, ENDING, FINISHED, LOST, GONE = "open", "ending", "finished", "lost", "gone"

# What the kernel says about a connection that broke; all else is `reset`.
KINDS = dict.fromkeys((errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH), "timeout")


class Sock(Protocol):
    """What a link needs of a socket that does not block. All of these raise OSError."""

    def recv_into(self, buffer: memoryview, size: int, /) -> int: ...

    def send(self, data: bytes | bytearray | memoryview, /) -> int: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


class Owner(Ground, Protocol):
    """Whose links these are."""

    buffer: memoryview  # the one that all of them read into

    def left(self, link: "Link") -> None:
        """This one is gone."""


@define(eq=False)
class Link:
    """A connection that stands, from `Accepted` or `Connected` to `Closed`."""

    owner: Owner
    id: int
    sock: Sock
    fd: int
    interest: int = 0
    outbox: bytearray = field(factory=bytearray)
    sending: str = OPEN
    ended: bool = False  # the peer's half: its end was read
    held: bool = False
    closing: bool = False  # what the peer still says is dropped
    kind: str = "closed"  # what `Closed` will tell
    threshold: Threshold | None = None  # until the first byte, where that decides what is between the wire and us
    cover: Cover | None = None  # the TLS between the wire and us
    passage: Passage | None = None  # where our bytes go, if past the machine
    feeder: Passage | None = None  # what fills our outbox past the machine
    always_read: bool = False  # until what a body put into our outbox is sent

    # What the machine orders.

    def send(self, data: bytes | memoryview) -> None:
        """Put bytes behind all that was sent."""
        if self.cover is None:
            self.put(data)
        elif self.sending == OPEN:
            self.cover.say(data)

    def put(self, data: bytes | memoryview) -> None:
        """Put these very bytes behind all that was sent, and on the wire if it takes them."""
        if self.sending != OPEN or not data:
            return
        sent = 0 if self.outbox else self.push(data)
        if sent < len(data):
            self.outbox += memoryview(data)[sent:]
            self.arm()
            if self.feeder is not None:
                self.feeder.source.arm()

    def secure(self, tls: Tls) -> None:
        """Begin TLS."""
        assert self.cover is None, f"{self.id} is secured already"
        self.cover = Cover(self.owner, self, tls)
        self.cover.begin()
        if self.ended:
            self.cover.end()

    def relay(self, to: "Link | None", until: str) -> None:
        """Let our bytes go to another link."""
        assert self.passage is None, f"{self.id} is relayed already"
        if self.closing:
            return
        scanner = EndOfData() if until == "dot" else None
        if to is not None and to.sending != OPEN:
            to = None
        self.passage = Passage(self.owner, self, to, scanner, self.owner.clock())
        if to is not None:
            assert to.feeder is None, f"{to.id} is fed already"
            to.feeder = self.passage
            to.always_read = scanner is not None
            to.arm()
        if self.ended:
            self.passage.end()
        self.arm()

    def hold(self, held: bool) -> None:
        """Stop reading, or go on."""
        self.held = held
        self.arm()

    def end(self) -> None:
        """FIN behind all that was sent."""
        if self.sending == OPEN:
            if self.cover is not None:
                self.put(self.cover.tls.finish())
            if self.sending == OPEN:  # else the peer took not even that, and we are through
                self.sending = ENDING
        self.finish_when_flushed()

    def close(self) -> None:
        """Flush, FIN, read and drop until the peer's end. Once more: leave at once."""
        if self.closing or self.sending == LOST:
            self.leave()
            return
        self.closing = True
        if self.passage is not None:
            self.passage.stop()
        if self.feeder is not None:
            if self.feeder.scanner is not None:
                self.outbox.clear()  # half a message: let it have no end, nor half a record a close_notify
                self.sending = ENDING
            self.feeder.cut_off()
        self.end()
        self.arm()

    # What the kernel says.

    def ready(self, reads: bool, writes: bool) -> None:
        if reads:
            self.read()
        if writes and self.outbox:
            self.flush()

    def read(self) -> None:
        wanted = HEARD_BYTES if self.passage is None and not self.closing else CARRIED_BYTES
        try:
            size = self.sock.recv_into(self.owner.buffer, wanted)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(error)
            self.leave()
            return
        if not size:
            self.peer_ended()
        elif not self.closing:
            self.take(self.owner.buffer[:size])

    def take(self, data: memoryview) -> None:
        """The peer sent this. It stands in the buffer of all, until the next is read: who keeps any of it copies it."""
        if self.threshold is not None:
            threshold, self.threshold = self.threshold, None
            self.cover = threshold.cross(self, data)
        if self.cover is None:
            self.hear(data)
        else:
            self.cover.take(data)

    def hear(self, data: bytes | memoryview) -> None:
        """The peer said this."""
        if self.passage is not None:
            self.passage.take(data)
        else:
            self.owner.tell(Received(self.id, bytes(data)))

    def peer_ended(self) -> None:
        """The peer will say nothing more; what we have to say it still takes, unless we are through as well."""
        self.ended = True
        if not self.closing and self.sending != LOST:
            if self.cover is not None:
                self.cover.end()
            if self.passage is not None:
                self.passage.end()
            self.owner.tell(Ended(self.id))
        if self.sending in (FINISHED, LOST):
            self.leave()
        self.arm()

    def push(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the kernel takes. Returns how much is done with: all, where the peer takes nothing any more."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.lose(error)
            return len(data)

    def flush(self) -> None:
        """Send on, and let whoever filled the outbox go on."""
        sent = self.push(self.outbox)
        del self.outbox[:sent]
        if self.feeder is not None:
            self.feeder.drained()
        self.finish_when_flushed()
        self.arm()

    # How it ends.

    def finish_when_flushed(self) -> None:
        if self.sending != ENDING or self.outbox:
            return
        self.sending = FINISHED
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.lose(error)
        if self.ended:
            self.leave()

    def lose(self, error: OSError) -> None:
        """Nothing can be sent any more. What the peer sent before is still read: it may say why."""
        if not (self.closing and self.sending == FINISHED) and self.sending != LOST:
            self.kind = KINDS.get(error.errno or 0, "reset")
        self.sending = LOST
        self.outbox.clear()
        if self.feeder is not None:
            self.feeder.lose_end()
        if self.ended:
            self.leave()
        self.arm()

    def break_off(self, kind: str) -> None:
        """Be gone, for this reason."""
        self.kind = kind
        self.leave()

    def leave(self) -> None:
        """Be gone."""
        if self.sending == GONE:
            return
        self.abandon()
        if self.passage is not None:
            self.passage.break_off()
        if self.feeder is not None:
            self.feeder.lose_end()
        self.owner.left(self)
        self.owner.tell(Closed(self.id, self.kind))

    def abandon(self) -> None:
        """Close the socket, and tell nobody."""
        self.sending = GONE
        self.outbox.clear()
        self.arm()
        self.sock.close()

    def arm(self) -> None:
        """Watch for what we want now."""
        if not self.outbox and self.feeder is None:
            self.always_read = False
        self.owner.readiness.watch(self, self.wants_reading(), bool(self.outbox))

    def wants_reading(self) -> bool:
        if self.ended or self.sending == GONE:
            return False
        if self.closing:
            return True
        if self.held or (self.passage is not None and self.passage.blocked):
            return False
        return self.always_read or len(self.outbox) <= UNSENT_LIMIT_BYTES
