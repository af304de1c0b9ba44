"""Who is slow on one side makes the other one wait: memory stays bounded, and in the end nothing is missing."""

import hashlib
import socket
import threading
from contextlib import suppress

import pytest
from tools.real import WAIT_S, Mta, Peer, RealProxy, Remote, narrow

PAUSE_S = 0.5  # a socket that takes nothing for so long has stopped: all buffers on the way are full
BODY_BYTES = 50 * 1000 * 1000
LINES = (b"x" * 98 + b"\r\n") * 10_000
COMMAND = b"NOOP " + b"x" * 243 + b"\r\n"
REPLY = b"250 2.0.0 " + b"o" * 490 + b"\r\n"

# Measured: never more than 2 MB. Whoever kept what the other side does not take would need 50.
GROWTH_BYTES = 8 * 1024 * 1024


@pytest.fixture
def proxy(runtime, folder):
    """One for each test, for what is measured is the most that it ever held."""
    with RealProxy(runtime, folder) as proxy:
        yield proxy
        assert proxy.grown_bytes() < GROWTH_BYTES


def fill(sock: socket.socket, data: memoryview) -> int:
    """Send until nothing is taken any more. Returns how much was taken."""
    sent = 0
    sock.settimeout(PAUSE_S)
    with suppress(TimeoutError):
        while sent < len(data):
            sent += sock.send(data[sent : sent + 65_536])
    sock.settimeout(WAIT_S)
    return sent


def swallow(sock: socket.socket, size: int) -> str:
    """The hash of the next so many bytes."""
    seen = hashlib.sha256()
    while size > 0:
        piece = sock.recv(min(size, 1 << 20))
        assert piece
        size -= len(piece)
        seen.update(piece)
    return seen.hexdigest()


def in_thread(call, *args) -> threading.Thread:
    thread = threading.Thread(target=call, args=args)
    thread.start()
    return thread


def joined(mta: Mta, remote: Remote, tls: str) -> Peer:
    """The MTA has the remote, under TLS or in plain text."""
    if tls == "none":
        return mta.is_joined(remote)
    mta.ask_for(remote.to, tls=tls)
    peer = remote.introduced(b"STARTTLS")
    peer.secure()
    assert mta.ready().tls == "TLSv1.3"
    return peer


def answer(peer: Peer) -> None:
    """Say the reply to each command, until the end."""
    waiting = b""
    while data := peer.sock.recv(65_536):
        waiting += data
        heard = waiting.count(COMMAND)
        waiting = waiting[heard * len(COMMAND) :]
        peer.sock.sendall(REPLY * heard)


@pytest.mark.parametrize("tls", ["none", "encrypt"])
def test_a_remote_that_does_not_read_makes_the_mta_wait(mta, remote, tls):
    narrow(remote.listener)
    narrow(mta.sock)
    peer = joined(mta, remote, tls)
    for command, reply in [
        (b"MAIL FROM:<a@b.test>", b"250 ok"),
        (b"RCPT TO:<b@b.test>", b"250 ok"),
        (b"DATA", b"354 go"),
    ]:
        mta.order(command)
        peer.answer(command, reply)
        assert mta.reply().wire == reply + b"\r\n"
    body = memoryview(mta.client.say_body(LINES * (BODY_BYTES // len(LINES))))
    sent = fill(mta.sock, body)
    assert sent < len(body) // 2
    sending = in_thread(mta.say, body[sent:])
    assert swallow(peer.sock, len(body)) == hashlib.sha256(body).hexdigest()
    sending.join(WAIT_S)
    peer.say(b"250 2.0.0 kept")
    assert mta.reply().wire == b"250 2.0.0 kept\r\n"


@pytest.mark.parametrize("who_is_slow", ["mta", "remote"])
def test_replies_and_commands_that_nobody_reads_make_the_other_side_wait(mta, remote, who_is_slow):
    narrow(remote.listener)
    narrow(mta.sock)
    peer = mta.is_joined(remote, b"PIPELINING")
    most = BODY_BYTES // len(COMMAND)
    if who_is_slow == "mta":
        answering = in_thread(answer, peer)
        count = fill(mta.sock, memoryview(COMMAND * most)) // len(COMMAND)
    else:
        count = fill(mta.sock, memoryview(COMMAND * most)) // len(COMMAND)
        answering = in_thread(answer, peer)
    assert count < most // 2
    assert swallow(mta.sock, count * len(REPLY)) == hashlib.sha256(REPLY * count).hexdigest()
    mta.sock.close()
    answering.join(WAIT_S)
