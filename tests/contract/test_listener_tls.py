"""What the edge promises about TLS on a listener: the first byte decides, and the certificate is that of an `Adopt`."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from attrs import define, field
from tools.every_split import every_split
from tools.script import DOOR, PROMPTER, Stage, prepared, read_all, reset

from gaproxy.proto.actions import Adopt, Certificate, Close, End, Hear, Hold, Listener, Prepare, Send
from gaproxy.proto.events import Accepted, Closed, Ended, Prepared, Received, Secured, SecureFailed
from gaproxy.proto.wire.tls import Bios, Tls, proxy_context
from gaproxy.sockets.certificate import in_memory, on_disk

OURS = Certificate()  # of the edge's own making
HELLO = b"GAPROXY/1 and so on\r\n"


@define
class Caller:
    """Who calls with TLS, by hand, over a blocking socket."""

    sock: socket.socket
    tls: Tls = field(factory=lambda: Tls(Bios(), proxy_context()))
    heard: bytes = b""

    def shake_hands(self) -> "Caller":
        self.sock.sendall(self.tls.start())
        while not self.tls.established:
            self.read()
        return self

    def read(self) -> None:
        got = self.tls.receive(self.sock.recv(65536))
        assert got.fault is None
        self.heard += got.plain
        if got.send:
            self.sock.sendall(got.send)

    def say(self, data: bytes) -> None:
        self.sock.sendall(self.tls.encrypt(data))

    def hears(self, data: bytes) -> None:
        while len(self.heard) < len(data):
            self.read()
        assert self.heard == data
        self.heard = b""


def adopt(stage: Stage, mode: str, certificate: Certificate | None = OURS) -> str:
    """The door has this mode from now on. Returns the fingerprint of its certificate."""
    stage.order(Prepare((PROMPTER, Listener(DOOR.name, DOOR.address, mode)), (), certificate))
    answer = stage.next()
    assert answer == prepared(certificate_sha256=answer.certificate_sha256)
    stage.order(Adopt())
    stage.settle()
    return answer.certificate_sha256


def enters(stage: Stage) -> tuple[Caller, Secured]:
    """Somebody comes in with TLS."""
    peer, id = stage.knock()
    caller = Caller(peer).shake_hands()
    secured = stage.next()
    assert isinstance(secured, Secured) and secured.id == id
    return caller, secured


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Certificate:
    """A chain and its key."""
    return renew(authority, Certificate(str(tmp_path / "chain.pem"), str(tmp_path / "key.pem"), needed=True))


def renew(authority: trustme.CA, files: Certificate) -> Certificate:
    issued = authority.issue_cert("proxy.example.net")
    Path(files.chain).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    Path(files.key).write_bytes(issued.private_key_pem.bytes())
    return files


# The first byte.


@pytest.mark.parametrize("mode", ["either", "required"])
def test_whoever_begins_with_tls_is_secured_unasked_and_before_all_else(stage: Stage, mode: str) -> None:
    shown = adopt(stage, mode)
    caller, secured = enters(stage)
    assert secured == Secured(secured.id, "TLSv1.3", secured.cipher, shown, (), False)
    assert caller.tls.certificate_sha256 == shown
    caller.say(HELLO)
    stage.hears(Received(secured.id, HELLO))
    stage.order(Send(secured.id, b"CHALLENGE\r\n"))
    caller.hears(b"CHALLENGE\r\n")


def test_where_both_may_be_plain_text_is_heard_as_it_comes(stage: Stage) -> None:
    adopt(stage, "either")
    peer, id = stage.knock()
    peer.sendall(HELLO)
    stage.hears(Received(id, HELLO))
    peer.sendall(b"\x16\x03\x01")  # too late to be TLS
    stage.hears(Received(id, b"\x16\x03\x01"))
    stage.order(Send(id, b"CHALLENGE\r\n"), Close(id))
    assert read_all(peer) == b"CHALLENGE\r\n"


def test_where_tls_is_required_plain_text_is_refused_and_no_more_of_it_heard(stage: Stage) -> None:
    adopt(stage, "required")
    peer, id = stage.knock()
    said = HELLO + b"x" * 100
    peer.sendall(said)
    stage.hears(SecureFailed(id, "plain_text", "plain text where TLS is required", said[:64]))
    peer.sendall(b"more of it")
    stage.order(Send(id, b"not even this"))
    assert stage.is_quiet()
    stage.order(Close(id))
    assert read_all(peer) == b""
    peer.close()
    stage.hears(Closed(id, "closed"))


@pytest.mark.parametrize("certificate", [None, OURS])
def test_a_listener_without_tls_hears_what_comes(stage: Stage, certificate: Certificate | None) -> None:
    adopt(stage, "none", certificate)
    peer, id = stage.knock()
    peer.sendall(b"\x16\x03\x01\x02\x00")
    stage.hears(Received(id, b"\x16\x03\x01\x02\x00"))


def test_without_a_certificate_nothing_is_tls(stage: Stage) -> None:
    assert adopt(stage, "either", None) == ""
    peer, id = stage.knock()
    peer.sendall(b"\x16\x03\x01\x02\x00")
    stage.hears(Received(id, b"\x16\x03\x01\x02\x00"))


def test_a_handshake_byte_by_byte_is_one(stage: Stage) -> None:
    adopt(stage, "required")
    peer, id = stage.knock()
    caller = Caller(peer)
    for byte in caller.tls.start():
        peer.sendall(bytes([byte]))
    caller.shake_hands()
    assert stage.next().id == id


def test_what_comes_with_the_end_of_the_handshake_comes_behind_secured(stage: Stage) -> None:
    adopt(stage, "either")
    peer, id = stage.knock()
    caller = Caller(peer)
    peer.sendall(caller.tls.start())
    flight = b""
    while not caller.tls.established:
        flight += caller.tls.receive(peer.recv(65536)).send
    peer.sendall(flight + caller.tls.encrypt(HELLO))
    assert isinstance(stage.next(), Secured)
    stage.hears(Received(id, HELLO))


@pytest.mark.parametrize("said", [b"\x16" + b"x" * 100, b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"])
def test_what_only_begins_like_tls_is_a_handshake_that_failed(stage: Stage, said: bytes) -> None:
    adopt(stage, "either")
    peer, id = stage.knock()
    peer.sendall(said)
    failed = stage.next()
    assert (failed.id, failed.kind, failed.seen) == (id, "handshake", said[:64])
    assert failed.text
    stage.order(Close(id))
    assert HELLO not in read_all(peer)
    peer.close()
    stage.hears(Closed(id, "closed"))


def test_an_end_in_a_handshake_is_a_failure_and_then_an_end(stage: Stage) -> None:
    adopt(stage, "either")
    peer, id = stage.knock()
    peer.sendall(b"\x16")
    stage.settle()
    peer.shutdown(socket.SHUT_WR)
    stage.hears(SecureFailed(id, "handshake", "the peer ended the connection", b"\x16"), Ended(id))


@pytest.mark.parametrize("mode", ["either", "required"])
def test_who_ends_without_a_byte_has_ended(stage: Stage, mode: str) -> None:
    adopt(stage, mode)
    peer, id = stage.knock()
    peer.shutdown(socket.SHUT_WR)
    stage.hears(Ended(id))
    stage.order(End(id))
    stage.hears(Closed(id, "closed"))


def test_a_reset_before_the_first_byte_is_closed(stage: Stage) -> None:
    adopt(stage, "required")
    peer, id = stage.knock()
    reset(peer)
    stage.hears(Closed(id, "reset"))


def test_who_is_held_is_not_even_asked_for_his_first_byte(stage: Stage) -> None:
    adopt(stage, "required")
    stage.script.answers[Accepted] = lambda event: [Hold(event.id)]
    peer, id = stage.knock()
    caller = Caller(peer)
    peer.sendall(caller.tls.start())
    assert stage.is_quiet()
    stage.order(Hear(id))
    while not caller.tls.established:
        caller.read()
    assert isinstance(stage.next(), Secured)


# How it ends.


def test_close_notify_is_the_peers_end_and_we_go_on_writing(stage: Stage) -> None:
    adopt(stage, "either")
    caller, secured = enters(stage)
    caller.say(b"QUIT\r\n")
    caller.sock.sendall(caller.tls.finish())
    stage.hears(Received(secured.id, b"QUIT\r\n"), Ended(secured.id))
    stage.order(Send(secured.id, b"221 bye\r\n"))
    caller.hears(b"221 bye\r\n")
    stage.order(Send(secured.id, b"and more"), End(secured.id))
    while not caller.tls.ended:
        caller.read()
    assert caller.heard == b"and more"
    stage.hears(Closed(secured.id, "closed"))


# The certificate.


def test_the_certificate_of_our_own_is_made_once_for_a_process(stage: Stage) -> None:
    first = adopt(stage, "either")
    assert len(first) == 64
    assert adopt(stage, "required") == first


def test_a_certificate_of_a_file_is_shown_and_told(stage: Stage, files: Certificate) -> None:
    shown = adopt(stage, "required", files)
    caller, secured = enters(stage)
    assert caller.tls.certificate_sha256 == secured.certificate_sha256 == shown
    assert shown != adopt(stage, "required", OURS)


def test_key_and_chain_may_stand_in_one_file(stage: Stage, files: Certificate) -> None:
    one = Path(files.chain)
    one.write_bytes(Path(files.key).read_bytes() + one.read_bytes())
    shown = adopt(stage, "either", Certificate(str(one), str(one), needed=True))
    _, secured = enters(stage)
    assert secured.certificate_sha256 == shown


def test_a_renewed_certificate_is_shown_to_those_who_come_after_adopt(
    stage: Stage, files: Certificate, authority: trustme.CA
) -> None:
    former = adopt(stage, "required", files)
    here, _ = enters(stage)
    waiting, _ = stage.knock()
    renew(authority, files)
    listener = Listener(DOOR.name, DOOR.address, "required")
    stage.order(Prepare((PROMPTER, listener), (), files))
    renewed = stage.next().certificate_sha256
    assert renewed != former
    assert enters(stage)[1].certificate_sha256 == former  # nothing is in force before Adopt
    stage.order(Adopt())
    stage.settle()
    assert enters(stage)[1].certificate_sha256 == renewed
    Caller(waiting).shake_hands()
    assert stage.next().certificate_sha256 == former  # who came in before was let in by the former one
    here.say(HELLO)
    assert stage.next().data == HELLO


def broken(files: Certificate, authority: trustme.CA, how: str) -> str:
    """Break the files, and say what is to be told."""
    chain, key = Path(files.chain), Path(files.key)
    if how == "missing":
        chain.unlink()
        return f"cannot read {chain}: No such file or directory"
    if how == "key missing":
        key.unlink()
        return f"cannot read {key}: No such file or directory"
    cannot = f"cannot use the certificate {chain} with the key {key}: "
    if how == "empty":
        chain.write_bytes(b"")
        return cannot + "no certificate or no key in PEM"
    key.write_bytes(authority.issue_cert("other.example.net").private_key_pem.bytes())
    return cannot + "key values mismatch"


@pytest.mark.parametrize("how", ["missing", "key missing", "empty", "another key"])
def test_a_certificate_that_cannot_be_used_is_a_problem_and_the_old_one_stays(
    stage: Stage, files: Certificate, authority: trustme.CA, how: str
) -> None:
    former = adopt(stage, "required", files)
    told = broken(files, authority, how)
    new = Listener("new", ("127.0.0.3", 0), "required")
    stage.order(Prepare((PROMPTER, Listener(DOOR.name, DOOR.address), new), (), files))
    stage.hears(prepared(told))
    assert enters(stage)[1].certificate_sha256 == former
    with pytest.raises(KeyError):
        stage.edge.port("new")


def test_a_mode_holds_from_adopt_on_and_for_those_who_come_then(stage: Stage) -> None:
    adopt(stage, "either")
    before, first = stage.knock()
    stage.order(Prepare((PROMPTER, Listener(DOOR.name, DOOR.address, "required")), (), OURS))
    assert isinstance(stage.next(), Prepared)
    meanwhile, second = stage.knock()
    stage.order(Adopt())
    stage.settle()
    after, third = stage.knock()
    for peer in (before, meanwhile, after):
        peer.sendall(HELLO)
        heard = stage.next()
        refused = isinstance(heard, SecureFailed)
        assert (heard.id, refused) == {before: (first, False), meanwhile: (second, False), after: (third, True)}[peer]


def test_many_callers_over_one_pair_of_buffers_are_kept_apart(raise_curtain: Callable[..., Stage]) -> None:
    stage = raise_curtain()
    adopt(stage, "either")
    callers = [enters(stage) for _ in range(5)]
    for pieces in list(every_split(b"abcde", 1))[:3]:
        for piece in pieces:
            for caller, secured in callers:
                caller.say(piece)
                stage.hears(Received(secured.id, piece))


# Where it is kept.


@pytest.mark.parametrize("held", [in_memory, on_disk])
def test_a_certificate_of_our_own_is_for_nobody_elses_eyes(held: Callable[..., object]) -> None:
    with held(b"a key") as path:
        assert Path(path).read_bytes() == b"a key"
        assert not os.stat(path).st_mode & (stat.S_IRWXG | stat.S_IRWXO) or held is in_memory
    assert not Path(path).exists()
