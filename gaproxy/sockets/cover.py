"""The TLS of one link: knows when it stands, or what came instead. Does not know what is said in it."""

from collections.abc import Callable
from functools import cache
from typing import Protocol

from attrs import define

from gaproxy.proto.actions import Secure
from gaproxy.proto.events import Secured, SecureFailed
from gaproxy.proto.wire.tls import Bios, ServerPolicy, Tls, client_context, server_policy
from gaproxy.sockets.ground import Ground

SEEN_BYTES = 64
HANDSHAKE = 0x16  # how a TLS record begins that begins TLS (RFC 8446 5.1); no line of text does

Certificate = tuple[str, str]  # the file of the chain, the file of its key


class Policies:
    """What all TLS of one edge shares: one context for each policy, and one pair of BIOs."""

    def __init__(self, certificate: Certificate | None) -> None:
        """Raises OSError where the certificate cannot be loaded."""
        self.bios = Bios()
        self.client = cache(client_context)
        self.lent = None if certificate is None else server_policy(*certificate)

    def tls(self, order: Secure) -> Tls:
        """A new end of TLS, as it is ordered."""
        if not order.serve:
            return Tls(self.bios, self.client(order.verify), False, order.server_name)
        assert self.lent is not None, "no certificate was lent"
        return self.serve(self.lent)

    def serve(self, policy: ServerPolicy) -> Tls:
        """A new end of TLS, for whoever came in."""
        return Tls(self.bios, policy.context, True, own_sha256=policy.certificate_sha256)


class Covered(Protocol):
    """A link, as far as its cover knows it."""

    id: int

    def put(self, data: bytes) -> None:
        """Send these very bytes."""

    def hear(self, data: bytes) -> None:
        """The peer said this."""

    def peer_ended(self) -> None:
        """The peer will say nothing more."""

    def break_off(self, kind: str) -> None:
        """Be gone, for this reason."""


@define(eq=False)
class Cover:
    """One `Secure`: between the bytes that a link carries and what is said in them."""

    ground: Ground
    link: Covered
    tls: Tls
    waiting: bytes = b""  # what is to be said once TLS stands
    seen: bytes = b""
    failed: bool = False

    def begin(self) -> None:
        self.link.put(self.tls.start())

    def say(self, data: bytes | memoryview) -> None:
        """Send this under cover."""
        if self.tls.established:
            self.link.put(self.tls.encrypt(data))
        elif not self.failed:
            self.waiting += data

    def take(self, data: bytes | memoryview) -> None:
        """The peer sent these bytes. Behind a handshake that failed they mean nothing."""
        if self.failed:
            return
        if not self.tls.established:
            self.seen = (self.seen + data)[:SEEN_BYTES]
        got = self.tls.receive(data)
        self.link.put(got.send)
        if got.established:
            self.stand()
        if got.plain:
            self.link.hear(got.plain)
        if got.fault_kind == "tls":
            self.link.break_off("tls")
        elif got.fault_kind is not None:
            self.fail(got.fault_kind, got.fault or "")
        elif got.ended:
            self.link.peer_ended()

    def end(self) -> None:
        """The peer ended; in a handshake that is a failure."""
        if not self.tls.established and not self.failed:
            self.fail("handshake", "the peer ended the connection")

    def stand(self) -> None:
        tls = self.tls
        self.ground.tell(
            Secured(self.link.id, tls.version, tls.cipher, tls.certificate_sha256, tls.names, tls.verified)
        )
        waiting, self.waiting, self.seen = self.waiting, b"", b""
        self.say(waiting)

    def refuse_plain(self, data: memoryview) -> None:
        """These bytes came, and they are no TLS."""
        self.seen = bytes(data[:SEEN_BYTES])
        self.fail("plain_text", "plain text where TLS is required")

    def fail(self, kind: str, text: str) -> None:
        self.failed = True
        self.ground.tell(SecureFailed(self.link.id, kind, text, self.seen))


@define(eq=False)
class Threshold:
    """Whoever came in and has not said a byte: the first one tells whether it is TLS. `required`: it must be."""

    ground: Ground
    tls: Callable[[], Tls]
    required: bool

    def cross(self, link: Covered, first: memoryview) -> Cover | None:
        """What stands from these first bytes on between the wire and what is said; none: it is plain text."""
        secured = first[0] == HANDSHAKE
        if not (secured or self.required):
            return None
        cover = Cover(self.ground, link, self.tls())
        if not secured:
            cover.refuse_plain(first)
        return cover
