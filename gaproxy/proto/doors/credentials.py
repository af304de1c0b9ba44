"""Proofs that a secret is known, without saying it: knows secrets and the sums of the native handshake.

Does not know who is proving, when, or what a proof opens.
"""

from hashlib import sha256
from hmac import compare_digest, digest
from typing import Protocol

from attrs import frozen

PLAIN_BINDING = b"none"


@frozen
class Verdict:
    """What a keyring says of a proof. `which`: the secret that made it, from 0, or -1; `proof`: ours, for WELCOME."""

    ok: bool
    which: int
    proof: str


REFUSED = Verdict(False, -1, "")


class Keys(Protocol):
    """Whatever can judge a proof: a keyring, a recorder around one, a replayer in place of one."""

    def keep(self, secrets: tuple[str, ...]) -> None: ...

    def judge(
        self, hello: bytes, challenge: bytes, auth: bytes, proof: str, binding: bytes = PLAIN_BINDING
    ) -> Verdict: ...


class Keyring:
    """The secrets of this run, the current one first. None of them shows in a representation."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._secrets = secrets

    def __repr__(self) -> str:
        return f"Keyring({len(self._secrets)} hidden)"

    def keep(self, secrets: tuple[str, ...]) -> None:
        """These secrets, and no former one, are in force from now on."""
        self._secrets = secrets

    def judge(self, hello: bytes, challenge: bytes, auth: bytes, proof: str, binding: bytes = PLAIN_BINDING) -> Verdict:
        """Judge an MTA's proof. The three lines are the exact bytes, CRLF included.

        Every secret is tried and both proofs are made for each, so that time tells neither whether one fits nor which.
        """
        verdict = REFUSED
        for which, secret in enumerate(self._secrets):
            wanted = mta_proof(secret, hello, challenge, binding)
            ours = proxy_proof(secret, hello, challenge, auth, binding)
            if compare_digest(wanted.encode("ascii"), proof.encode("utf-8")) and not verdict.ok:
                verdict = Verdict(True, which, ours)
        return verdict


def mta_proof(secret: str, hello: bytes, challenge: bytes, binding: bytes = PLAIN_BINDING) -> str:
    """What AUTH says, as 64 hex digits. `hello` and `challenge`: those lines as sent, CRLF included."""
    return _hmac(_key(secret, b"mta proof"), sha256(hello + challenge + binding).digest()).hex()


def proxy_proof(secret: str, hello: bytes, challenge: bytes, auth: bytes, binding: bytes = PLAIN_BINDING) -> str:
    """What WELCOME says, as 64 hex digits. `auth`: the AUTH line as sent, CRLF included."""
    return _hmac(_key(secret, b"proxy proof"), sha256(hello + challenge + auth + binding).digest()).hex()


def certificate_binding(certificate_sha256: str) -> bytes:
    """The binding of a TLS connection, from the lower-case hex SHA-256 of the proxy's certificate (DER)."""
    return b"cert-sha256:" + certificate_sha256.encode("ascii")


def _key(secret: str, use: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869): Extract, then the first block of Expand. One key a role: a proof cannot be sent back."""
    extracted = _hmac(b"gaproxy auth v1", secret.encode("ascii"))
    return _hmac(extracted, use + b"\x01")


def _hmac(key: bytes, message: bytes) -> bytes:
    return digest(key, message, "sha256")
