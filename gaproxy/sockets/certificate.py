"""The certificate that those who come in are shown: knows how it is loaded, made, and replaced. Does not know who asks.

One that we make ourselves is good for this process only and stands on no disk: whoever knows the shared secret believes
it, because the proofs of the native protocol are bound to it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from tempfile import NamedTemporaryFile

from gaproxy.proto.actions import Certificate
from gaproxy.proto.wire.tls import ServerPolicy, server_policy

INSTALL = "pip install 'gaproxy[tls]'"

# No clock is asked, and none that is wrong does harm. RFC 5280 4.1.2.5: the end that stands for none.
VALID_FROM = datetime(2000, 1, 1, tzinfo=UTC)
VALID_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class Certificates:
    """The certificate that is shown, and the one that the last `Prepare` made ready."""

    def __init__(self) -> None:
        self.standing: ServerPolicy | None = None
        self.prepared: ServerPolicy | None = None

    def prepare(self, wanted: Certificate | None) -> list[str]:
        """Load or make what is wanted, also where it stands already: the file may be another one now.

        Returns a sentence where it is not to be had; none where it need not be.
        """
        self.prepared = None
        if wanted is None:
            return []
        if wanted.chain:
            return self.load(wanted.chain, wanted.key)
        return self.make(wanted.needed)

    def make(self, needed: bool) -> list[str]:
        try:
            self.prepared = own_policy()
        except ImportError as missing:
            return [f"cannot make a certificate for TLS: {missing}: {INSTALL}"] if needed else []
        return []

    def load(self, chain: str, key: str) -> list[str]:
        try:
            for path in (chain, key):
                with open(path, "rb"):
                    pass  # OpenSSL does not tell which of the two it cannot read
        except OSError as error:
            return [f"cannot read {error.filename}: {error.strerror}"]
        try:
            self.prepared = server_policy(chain, key)
        except OSError as error:
            return [f"cannot use the certificate {chain} with the key {key}: {reason_of(error)}"]
        return []

    def adopt(self) -> None:
        """Show what was prepared to everybody who comes in from now on."""
        self.standing = self.prepared

    @property
    def prepared_sha256(self) -> str:
        return "" if self.prepared is None else self.prepared.certificate_sha256


def reason_of(error: OSError) -> str:
    """In words. OpenSSL has none for a file in which there is nothing of the kind."""
    reason: str | None = getattr(error, "reason", str(error))
    return "no certificate or no key in PEM" if reason is None else reason.replace("_", " ").lower()


@cache
def own_policy() -> ServerPolicy:
    """Made at first use, and the same until the process ends."""
    held = in_memory if hasattr(os, "memfd_create") else on_disk
    with held(make_certificate()) as path:
        return server_policy(path, path)


def make_certificate() -> bytes:
    """A fresh key (EC, P-256) and a certificate that it signs itself, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gaproxy")])
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, VALID_FROM, VALID_UNTIL)
    certificate = builder.sign(key, SHA256())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)


@contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """The path of a file that is on no disk, since OpenSSL takes a certificate by its path alone."""
    with open(os.memfd_create("certificate"), "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


@contextmanager
def on_disk(data: bytes) -> Iterator[str]:
    """The path of a file that nobody else may read, and that is gone behind the block."""
    with NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.name
