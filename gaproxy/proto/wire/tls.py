"""TLS of one connection: knows which bytes are said within it, and what was agreed. Does not know who carries them.

The only file that imports `ssl`. Its MemoryBIOs never shrink, so one pair of them serves all connections of a process
(a third of the memory). Three rules keep connections apart: whoever steps reads until OpenSSL wants more and leaves
both empty, an error empties them too, and nobody ever writes an end of file into them.
"""

import hashlib
import ssl

from attrs import Factory, define, field, frozen

_RECORD_BYTES = 16 * 1024  # no record holds more plain text (RFC 8446 5.1)
_LEGACY_SERVER_CONNECT = 0x4  # SSL_OP_LEGACY_SERVER_CONNECT; Python names it from 3.12 on


def client_context(verify: bool) -> ssl.SSLContext:
    """The policy of all connections that call: TLS 1.2 at least. Names are matched by whoever ordered it, not here.

    `verify`: the chain must lead to a root of the system, or of SSL_CERT_FILE and SSL_CERT_DIR. Without it whatever a
    remote has is better than the plain text that would follow (RFC 7435): old ciphers, keys and signatures will do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if verify:
        context.load_default_certs()
    else:
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.options |= _LEGACY_SERVER_CONNECT
    return context


def proxy_context() -> ssl.SSLContext:
    """The policy of an MTA that calls its proxy: TLS 1.2 at least.

    No chain is verified, for both sides prove that they know a secret, and bind the proof to the certificate itself.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def server_context(certificate_path: str, key_path: str) -> ssl.SSLContext:
    """The policy of all connections that come in, with this chain and its key (PEM, the key without a passphrase).

    Raises OSError where a file cannot be read, holds nothing of the kind, or does not fit the other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate_path, key_path, password="")  # else OpenSSL would ask the terminal
    return context


@frozen
class ServerPolicy:
    """The policy of a server, and the fingerprint of the certificate that it shows."""

    context: ssl.SSLContext
    certificate_sha256: str


def server_policy(certificate_path: str, key_path: str) -> ServerPolicy:
    """As `server_context`. Raises OSError also where no client could agree with it."""
    context = server_context(certificate_path, key_path)
    return ServerPolicy(context, _shown_sha256(context))


def _shown_sha256(context: ssl.SSLContext) -> str:
    """Fingerprint of the certificate that a server with this policy shows, as a client sees it: we are one, for once.

    Which of the certificates in a file that is, OpenSSL knows better than anybody who would read the file again.
    """
    client, server = Tls(Bios(), proxy_context()), Tls(Bios(), context, server_side=True)
    said = client.start()
    while not client.established:
        answer = server.receive(said)
        heard = client.receive(answer.send)
        if answer.fault or heard.fault:
            raise OSError(f"no handshake is possible with it: {answer.fault or heard.fault}")
        said = heard.send
    return client.certificate_sha256


@define
class Bios:
    """The pair of buffers between OpenSSL and us. One for a process: it is empty whenever nobody steps."""

    incoming: ssl.MemoryBIO = Factory(ssl.MemoryBIO)
    outgoing: ssl.MemoryBIO = Factory(ssl.MemoryBIO)

    def drain(self) -> bytes:
        """Empty both. Returns what is to be sent."""
        self.incoming.read()
        return self.outgoing.read()


@frozen
class Decrypted:
    """What one step came to.

    `plain`: what the peer said. `send`: what must go to it, in every case. `ended`: it has said close_notify, in this
    step or before. `established`: the handshake was completed in this very step. `fault`: why there is no TLS (any
    more), in words, for good; kinds: `certificate` (the chain was refused), `handshake` (before it was established),
    `tls` (after).
    """

    plain: bytes = b""
    send: bytes = b""
    ended: bool = False
    established: bool = False
    fault: str | None = None
    fault_kind: str | None = None


@define(eq=False)
class Tls:
    """One end of TLS: cipher text in, plain text out, and the other way round.

    `server_name`: the SNI of a client; one that cannot stand in a ClientHello is left out. `own_sha256`: fingerprint of
    a server's certificate.
    """

    bios: Bios
    context: ssl.SSLContext
    server_side: bool = False
    server_name: str | None = None
    own_sha256: str = ""
    established: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)
    finished: bool = field(default=False, init=False)
    _fault: str | None = field(default=None, init=False)
    _fault_kind: str | None = field(default=None, init=False)
    _object: ssl.SSLObject = field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            self._object = self._wrap(self.server_name)
        except (ValueError, TypeError):  # no host name (RFC 6066 3); TypeError: one with a NUL
            self._object = self._wrap(None)

    def _wrap(self, server_name: str | None) -> ssl.SSLObject:
        bios = self.bios
        return self.context.wrap_bio(bios.incoming, bios.outgoing, self.server_side, server_name)

    def start(self) -> bytes:
        """Begin. Returns the first flight of a client, nothing for a server: it waits."""
        return self.receive(b"").send

    def receive(self, cipher: bytes | memoryview) -> Decrypted:
        """Take what came from the peer. What comes behind its end or a fault is dropped."""
        was_established, plain = self.established, list[bytes]()
        if self._fault is None and not self.ended:
            self.bios.incoming.write(cipher)
            try:
                self._shake_hands()
                self._read(plain)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._fail(error)
        return Decrypted(
            b"".join(plain),
            self.bios.drain(),
            self.ended,
            self.established and not was_established,
            self._fault,
            self._fault_kind,
        )

    def _shake_hands(self) -> None:
        if not self.established:
            self._object.do_handshake()
            self.established = True

    def _read(self, plain: list[bytes]) -> None:
        """Add all that the peer said to `plain`. Ends by SSLWantReadError, or with the peer's close_notify."""
        try:
            while data := self._object.read(_RECORD_BYTES):
                plain.append(data)
        except ssl.SSLZeroReturnError:  # how close_notify is told where we have said ours
            pass
        self.ended = True

    def _fail(self, error: ssl.SSLError) -> None:
        if isinstance(error, ssl.SSLCertVerificationError):
            self._fault, self._fault_kind = error.verify_message, "certificate"
        else:
            self._fault = (error.reason or "close_notify instead of a handshake").replace("_", " ").lower()
            self._fault_kind = "tls" if self.established else "handshake"

    def encrypt(self, plain: bytes | bytearray | memoryview) -> bytes:
        """What to send so that the peer hears this. Nothing after a fault: nobody is there to hear it."""
        assert self.established and not self.finished, "said before TLS stands or behind our own end"
        if self._fault is not None or not plain:
            return b""
        self._object.write(plain)
        return self.bios.drain()

    def finish(self) -> bytes:
        """Our close_notify, once. What the peer says can still be heard."""
        if self.established and not self.finished and self._fault is None:
            try:
                self.finished = True
                self._object.unwrap()
            except ssl.SSLError:  # it would wait for the peer's own close_notify; `receive` does
                pass
        return self.bios.drain()

    @property
    def version(self) -> str:
        """As in `TLSv1.3`, or ""."""
        return self._object.version() or ""

    @property
    def cipher(self) -> str:
        """OpenSSL's name of it, or ""."""
        cipher = self._object.cipher()
        return cipher[0] if cipher else ""

    @property
    def certificate_sha256(self) -> str:
        """Fingerprint of the certificate that was shown (hex SHA-256 of the DER): the server's; or ""."""
        if self.server_side:
            return self.own_sha256
        certificate = self._object.getpeercert(binary_form=True) if self.established else None
        return hashlib.sha256(certificate).hexdigest() if certificate else ""

    @property
    def verified(self) -> bool:
        """Whether the peer's chain was found good."""
        return self.established and self.context.verify_mode == ssl.CERT_REQUIRED

    @property
    def names(self) -> tuple[str, ...]:
        """DNS names of the peer's certificate (SAN), if it was verified and its names are text."""
        try:
            certificate = self._object.getpeercert() if self.verified else None
        except ValueError:
            return ()
        alternatives = certificate.get("subjectAltName", ()) if certificate else ()
        return tuple(str(name[1]) for name in alternatives if name[0] == "DNS")
