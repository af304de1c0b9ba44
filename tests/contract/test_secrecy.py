"""What the edge promises about TLS: it stands below all facts, and is answered once."""

import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from tools.script import PATIENCE_S, RUNTIMES, Script, Stage, read_all, reset

from gaproxy.proto.actions import Close, End, Hold, Relay, Secure, Send
from gaproxy.proto.events import Closed, Ended, Received, Relayed, Secured, SecureFailed

NAME = "mx.example.net"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def mx_certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(NAME, "mx2.example.net")


@pytest.fixture
def mx_context(mx_certificate: trustme.LeafCert) -> ssl.SSLContext:
    """The policy of a remote."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    mx_certificate.configure_cert(context)
    return context


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> tuple[str, str]:
    """What an edge is lent."""
    issued = authority.issue_cert("proxy.example.net")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    return str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")


def serve(stage: Stage, peer: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Be the server on a connection, strict about how it ends."""
    secured = context.wrap_socket(peer, server_side=True, suppress_ragged_eofs=False)
    stage.keep(secured)
    return secured


def secured_remote(stage: Stage, id: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A peer that was called, with TLS."""
    peer = stage.call(id)
    stage.order(Secure(id))
    secured = serve(stage, peer, context)
    assert isinstance(stage.next(), Secured)
    return secured


def test_a_remote_is_secured_unseen_by_the_machine(
    stage: Stage, mx_certificate: trustme.LeafCert, mx_context: ssl.SSLContext
) -> None:
    peer = stage.call(2)
    asked: list[str | None] = []
    mx_context.sni_callback = lambda sock, name, context: asked.append(name)
    stage.order(Secure(2, server_name=NAME))
    mx = serve(stage, peer, mx_context)
    secured = stage.next()
    assert (secured.id, secured.version, secured.cipher) == (2, "TLSv1.3", mx.cipher()[0])
    shown = ssl.PEM_cert_to_DER_cert(mx_certificate.cert_chain_pems[0].bytes().decode())
    assert secured.certificate_sha256 == hashlib.sha256(shown).hexdigest()
    assert (secured.names, secured.verified) == ((), False)
    assert asked == [NAME]
    assert stage.is_quiet()  # the tickets behind the handshake are nobody's bytes
    stage.order(Send(2, b"EHLO us\r\n"))
    assert mx.recv(100) == b"EHLO us\r\n"
    mx.sendall(b"250 mx\r\n")
    stage.hears(Received(2, b"250 mx\r\n"))


def test_a_chain_that_leads_to_a_root_is_verified_and_tells_its_names(
    raise_curtain: Callable[..., Stage],
    authority: trustme.CA,
    mx_context: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "roots.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    stage = raise_curtain()
    peer = stage.call(2)
    stage.order(Secure(2, verify=True))
    serve(stage, peer, mx_context)
    secured = stage.next()
    assert (secured.names, secured.verified) == ((NAME, "mx2.example.net"), True)


def test_a_chain_that_leads_nowhere_is_refused(stage: Stage, mx_context: ssl.SSLContext) -> None:
    peer = stage.call(2)
    stage.order(Secure(2, verify=True))
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        serve(stage, peer, mx_context).recv(1)
    failed = stage.next()
    assert (failed.id, failed.kind) == (2, "certificate")
    assert failed.text
    stage.hears(Ended(2))


def test_what_came_instead_of_tls_is_seen(stage: Stage) -> None:
    mx = stage.call(2)
    stage.order(Secure(2))
    mx.sendall(b"4")
    stage.settle()
    mx.sendall(b"21 4.7.0 " + b"x" * 100 + b"\r\n")
    failed = stage.next()
    assert (failed.id, failed.kind, failed.seen) == (2, "handshake", b"421 4.7.0 " + b"x" * 54)
    mx.sendall(b"more of it")
    assert stage.is_quiet()
    stage.order(Send(2, b"QUIT\r\n"), Close(2))
    assert b"QUIT" not in read_all(mx)
    mx.close()
    stage.hears(Closed(2, "closed"))


def test_an_end_in_a_handshake_is_a_failure_and_then_an_end(stage: Stage) -> None:
    mx = stage.call(2)
    stage.order(Secure(2))
    stage.settle()
    mx.shutdown(socket.SHUT_WR)
    stage.hears(SecureFailed(2, "handshake", "the peer ended the connection", b""), Ended(2))


def test_an_end_before_the_handshake_is_a_failure(stage: Stage) -> None:
    mx = stage.call(2)
    mx.shutdown(socket.SHUT_WR)
    stage.hears(Ended(2))
    stage.order(Secure(2))
    stage.hears(SecureFailed(2, "handshake", "the peer ended the connection", b""))
    assert stage.is_quiet()


def test_a_reset_in_a_handshake_is_closed(stage: Stage) -> None:
    mx = stage.call(2)
    stage.order(Secure(2))
    stage.settle()
    reset(mx)
    stage.hears(Closed(2, "reset"))
    assert stage.is_quiet()


def test_a_close_in_a_handshake_is_closed(stage: Stage) -> None:
    mx = stage.call(2)
    stage.order(Secure(2), Close(2))
    assert read_all(mx).startswith(b"\x16\x03")
    mx.close()
    stage.hears(Closed(2, "closed"))
    stage.order(Secure(2))
    assert stage.is_quiet()


def test_what_is_sent_during_the_handshake_is_said_behind_it(stage: Stage, mx_context: ssl.SSLContext) -> None:
    peer = stage.call(2)
    stage.order(Secure(2), Send(2, b"first "), Send(2, b"second"))
    mx = serve(stage, peer, mx_context)
    assert isinstance(stage.next(), Secured)
    stage.order(End(2))
    assert read_all(mx) == b"first second"


def test_the_edge_serves_with_the_certificate_it_was_lent(
    raise_curtain: Callable[..., Stage], certificate: tuple[str, str], authority: trustme.CA
) -> None:
    stage = raise_curtain(certificate=certificate)
    peer, id = stage.knock()
    stage.order(Secure(id, serve=True))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    client = stage.keep(context.wrap_socket(peer, server_hostname="proxy.example.net"))
    secured = stage.next()
    shown = hashlib.sha256(client.getpeercert(binary_form=True)).hexdigest()
    assert secured == Secured(id, "TLSv1.3", secured.cipher, shown, (), False)
    client.sendall(b"GAPROXY 1\r\n")
    stage.hears(Received(id, b"GAPROXY 1\r\n"))


def test_a_certificate_that_cannot_be_loaded_ends_the_run_at_its_start(runtime: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RUNTIMES[runtime](Script(), signals=False, certificate=(str(tmp_path / "no"), str(tmp_path / "key")))


def test_close_notify_is_an_end_behind_all_bytes(stage: Stage, mx_context: ssl.SSLContext) -> None:
    mx = secured_remote(stage, 2, mx_context)
    mx.sendall(b"221 bye\r\n")
    stage.hears(Received(2, b"221 bye\r\n"))
    ending = threading.Thread(target=mx.unwrap)  # says that it ends, and hears the same
    ending.start()
    stage.hears(Ended(2))
    stage.order(End(2))
    stage.hears(Closed(2, "closed"))
    ending.join(PATIENCE_S)


def test_our_end_says_close_notify_and_the_other_direction_lives(stage: Stage, mx_context: ssl.SSLContext) -> None:
    mx = secured_remote(stage, 2, mx_context)
    stage.order(Send(2, b"QUIT\r\n"), End(2))
    assert read_all(mx) == b"QUIT\r\n"  # a bare FIN would have raised
    mx.sendall(b"221 bye\r\n")
    stage.hears(Received(2, b"221 bye\r\n"))
    mx.close()
    stage.hears(Ended(2), Closed(2, "closed"))


def test_a_peer_that_does_not_even_take_our_end_is_closed_once(stage: Stage, mx_context: ssl.SSLContext) -> None:
    mx = secured_remote(stage, 2, mx_context)
    socket.socket.shutdown(mx, socket.SHUT_WR)
    stage.hears(Ended(2))
    reset(mx)  # nobody reads there any more, so our close_notify is the first to meet it
    stage.order(Close(2))
    stage.hears(Closed(2, "reset"))


def test_a_broken_record_is_closed(stage: Stage, mx_context: ssl.SSLContext) -> None:
    peer = stage.call(2)
    raw = stage.keep(socket.socket(fileno=os.dup(peer.fileno())))
    stage.order(Secure(2))
    mx = serve(stage, peer, mx_context)
    assert isinstance(stage.next(), Secured)
    mta, near = stage.knock()
    stage.order(Relay(near, 2))
    sent = stage.fill(mta, near)
    mx.sendall(b"good")
    raw.sendall(b"this is no record")
    stage.hears(Received(2, b"good"), Closed(2, "tls"))
    mta.sendall(b"\r\n.\r\n")
    stage.hears(Relayed(near, sent + 5, b"", "dot"))


def test_a_body_goes_from_one_cover_to_another(
    raise_curtain: Callable[..., Stage], certificate: tuple[str, str], mx_context: ssl.SSLContext
) -> None:
    stage = raise_curtain(certificate=certificate)
    peer, near = stage.knock()
    stage.order(Secure(near, serve=True))
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    mta = stage.keep(context.wrap_socket(peer))
    assert isinstance(stage.next(), Secured)
    mx = secured_remote(stage, 2, mx_context)
    stage.order(Relay(near, 2))
    stage.settle()
    body = bytes(range(14, 256)) * 40_000 + b"\r\n.\r\n"
    sender = threading.Thread(target=mta.sendall, args=[body + b"QUIT\r\n"])
    sender.start()
    arrived = bytearray()
    while len(arrived) < len(body):
        arrived += mx.recv(65536)
    sender.join()
    assert hashlib.sha256(arrived).digest() == hashlib.sha256(body).digest()
    relayed = stage.next()
    assert (relayed.size, relayed.outcome) == (len(body), "dot")
    rest = relayed.rest or stage.next().data
    assert rest == b"QUIT\r\n"


def test_a_closed_remote_hears_no_end_of_half_a_message(stage: Stage, mx_context: ssl.SSLContext) -> None:
    mx = secured_remote(stage, 2, mx_context)
    mta, near = stage.knock()
    stage.order(Relay(near, 2))
    stage.fill(mta, near)
    stage.order(Close(2))
    with pytest.raises(ssl.SSLError, match="EOF"):
        read_all(mx)
    assert stage.is_quiet()


def test_who_is_held_is_held_below_his_cover(stage: Stage, mx_context: ssl.SSLContext) -> None:
    mx = secured_remote(stage, 2, mx_context)
    stage.order(Hold(2))
    stage.settle()
    mx.sendall(b"patience")
    assert stage.is_quiet()
