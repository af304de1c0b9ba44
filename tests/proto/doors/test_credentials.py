"""Proofs: who knows the secret is believed, nobody else, and no secret is ever seen."""

import hmac
from hashlib import sha256

import pytest

from gaproxy.proto.doors.credentials import (
    REFUSED,
    Keyring,
    Verdict,
    certificate_binding,
    mta_proof,
    proxy_proof,
)

OLD, NEW = "test-vector-secret-not-for-use-0001", "test-vector-secret-not-for-use-0002"
HELLO = b"GAPROXY/1 min=1 node=mta-1 role=smtp nonce=" + b"00" * 32 + b"\r\n"
CHALLENGE = b"CHALLENGE v=1 nonce=" + b"20" * 32 + b"\r\n"
AUTH = b"AUTH proof=" + mta_proof(OLD, HELLO, CHALLENGE).encode() + b"\r\n"
OVER_TLS = certificate_binding("ab" * 32)


def test_a_proof_is_what_the_document_says():
    def mac(key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, "sha256").digest()

    prk = mac(b"gaproxy auth v1", OLD.encode())
    of_mta, of_proxy = mac(prk, b"mta proof\x01"), mac(prk, b"proxy proof\x01")
    for binding in (b"none", OVER_TLS):
        assert (
            mta_proof(OLD, HELLO, CHALLENGE, binding) == mac(of_mta, sha256(HELLO + CHALLENGE + binding).digest()).hex()
        )
        assert (
            proxy_proof(OLD, HELLO, CHALLENGE, AUTH, binding)
            == mac(of_proxy, sha256(HELLO + CHALLENGE + AUTH + binding).digest()).hex()
        )


def test_the_binding_of_a_certificate_is_text():
    assert certificate_binding("ab" * 32) == b"cert-sha256:" + b"ab" * 32


@pytest.mark.parametrize(("secrets", "which"), [((OLD,), 0), ((NEW, OLD), 1), ((OLD, NEW), 0), ((OLD, OLD), 0)])
@pytest.mark.parametrize("binding", [b"none", OVER_TLS])
def test_a_proof_with_any_secret_is_believed_and_answered_with_the_same_one(secrets, which, binding):
    proof = mta_proof(OLD, HELLO, CHALLENGE, binding)
    verdict = Keyring(secrets).judge(HELLO, CHALLENGE, AUTH, proof, binding)
    assert verdict == Verdict(True, which, proxy_proof(OLD, HELLO, CHALLENGE, AUTH, binding))


PROOF = mta_proof(OLD, HELLO, CHALLENGE)


@pytest.mark.parametrize(
    ("hello", "challenge", "proof", "binding"),
    [
        (HELLO, CHALLENGE, "", b"none"),
        (HELLO, CHALLENGE, "0" * 64, b"none"),
        (HELLO, CHALLENGE, PROOF.upper(), b"none"),
        (HELLO, CHALLENGE, PROOF + "0", b"none"),
        (HELLO, CHALLENGE, PROOF[:-1] + "é", b"none"),
        (HELLO, CHALLENGE, mta_proof("wrong" * 7, HELLO, CHALLENGE), b"none"),
        (HELLO, CHALLENGE, proxy_proof(OLD, HELLO, CHALLENGE, AUTH), b"none"),  # sent back to us
        (HELLO.replace(b"mta-1", b"mta-2"), CHALLENGE, PROOF, b"none"),
        (HELLO, CHALLENGE.replace(b"v=1", b"v=0"), PROOF, b"none"),
        (HELLO, CHALLENGE.replace(b"2", b"3"), PROOF, b"none"),  # recorded elsewhere
        (HELLO, CHALLENGE, PROOF, OVER_TLS),  # somebody sits in between
        (HELLO, CHALLENGE, mta_proof(OLD, HELLO, CHALLENGE, OVER_TLS), b"none"),
        (HELLO, CHALLENGE, mta_proof(OLD, HELLO, CHALLENGE, OVER_TLS), certificate_binding("ac" * 32)),
    ],
)
def test_any_other_proof_is_refused(hello, challenge, proof, binding):
    assert Keyring((NEW, OLD)).judge(hello, challenge, AUTH, proof, binding) == REFUSED == Verdict(False, -1, "")


def test_nobody_is_believed_without_a_secret():
    assert Keyring().judge(HELLO, CHALLENGE, AUTH, mta_proof("", HELLO, CHALLENGE)) == REFUSED


def test_our_proof_depends_on_theirs():
    assert proxy_proof(OLD, HELLO, CHALLENGE, AUTH) != proxy_proof(OLD, HELLO, CHALLENGE, AUTH.lower())


def test_only_the_secrets_kept_last_are_in_force():
    keys = Keyring((OLD,))
    keys.keep((NEW,))
    assert not keys.judge(HELLO, CHALLENGE, AUTH, PROOF).ok
    assert keys.judge(HELLO, CHALLENGE, AUTH, mta_proof(NEW, HELLO, CHALLENGE)).ok


def test_a_keyring_shows_how_many_secrets_it_has_and_none_of_them():
    keys = Keyring((OLD, NEW))
    for seen in (repr(keys), str(keys), f"{keys}", f"{[keys]}"):
        assert OLD not in seen
        assert "2 hidden" in seen
