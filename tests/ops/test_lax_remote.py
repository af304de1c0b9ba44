"""A remote that takes more than CRLF.CRLF for the end of a message: the proxy lets nobody use it against others."""

import re
import socket
from contextlib import suppress
from itertools import count
from threading import Thread

import pytest
from ops.daemon import Daemon
from ops.traffic import Sender
from tools.real import HELO, PORT, WAIT_S, Peer, Remote

BEFORE = b"Subject: innocent\r\n\r\nhello"
SMUGGLED = b"MAIL FROM:<ceo@victim.test>\r\nRCPT TO:<b@dst.test>\r\nDATA\r\nFrom: boss\r\n\r\npay\r\n.\r\n"
ENDS = [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r"]


class LaxRemote:
    """A remote with one more end of data. `accepted`: each message, behind the number of the call that brought it."""

    def __init__(self, end: bytes) -> None:
        self.remote = Remote()
        self.to = self.remote.to
        self.end = re.compile(rb"\r\n\.\r\n|" + re.escape(end))
        self.accepted: list[tuple[int, bytes]] = []
        self.thread = Thread(target=self.serve)

    def __enter__(self) -> "LaxRemote":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self.remote.listener, *(peer.sock for peer in self.remote.peers)):
            with suppress(OSError):  # who was called may rest there, or be gone already
                sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(WAIT_S)
        self.remote.__exit__()

    def serve(self) -> None:
        """One call after the other."""
        with suppress(OSError):  # the listener was closed
            for call in count(1):
                peer = self.remote.take()
                with suppress(ConnectionError):
                    self.answer(peer, call)
                peer.close()

    def answer(self, peer: Peer, call: int) -> None:
        peer.introduce(b"PIPELINING")
        while (command := peer.line()) != b"QUIT":
            if command != b"DATA":
                peer.say(b"250 ok")
                continue
            peer.say(b"354 go on")
            while (found := self.end.search(peer.unheard)) is None:
                data = peer.sock.recv(65_536)
                if not data:
                    raise ConnectionError("ended within a message")
                peer.unheard += data
            self.accepted.append((call, bytes(peer.unheard[: found.start()])))
            del peer.unheard[: found.end()]
            peer.say(b"250 2.0.0 number %d of call %d" % (len(self.accepted), call))
        peer.say(b"221 bye")


@pytest.fixture(scope="module")
def daemon(runtime, tmp_path_factory):
    """One for all."""
    with Daemon(runtime, tmp_path_factory.mktemp("lax")) as daemon:
        yield daemon


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_such_a_remote_can_be_used_where_nobody_looks(end):
    with LaxRemote(end) as lax, socket.create_connection((lax.remote.address, PORT), WAIT_S) as sock:
        sock.sendall(b"EHLO " + HELO.encode() + b"\r\nMAIL FROM:<a@src.test>\r\nRCPT TO:<b@dst.test>\r\nDATA\r\n")
        sock.sendall(BEFORE + end + SMUGGLED + b"QUIT\r\n")
        while sock.recv(1000):
            pass
        assert lax.accepted == [(1, BEFORE), (1, b"From: boss\r\n\r\npay")]


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("bytes_at_a_time", [1, 1000])
def test_behind_a_proxy_it_accepts_nothing_of_it_and_the_next_mta_hears_the_truth(daemon, end, bytes_at_a_time):
    with LaxRemote(end) as lax, Sender(daemon.place) as smuggler, Sender(daemon.place) as honest:
        smuggler.opens(lax.to)
        smuggler.begins()
        smuggler.client.say_body(b"")  # its reply is owed from here on; the bytes are sent by hand
        body = BEFORE + end + SMUGGLED
        for start in range(0, len(body), bytes_at_a_time):
            smuggler.say(body[start : start + bytes_at_a_time])
        refusal = smuggler.reply()
        assert refusal.code == 550 and b"lone dot" in refusal.wire
        assert smuggler.command(b"RSET").code == 421
        honest.opens(lax.to)
        honest.begins()
        honest.sends(b"a true message")
        assert honest.reply().lines == (b"2.0.0 number 1 of call 2",)
        honest.parts()
        smuggler.parts()
    assert lax.accepted == [(2, b"a true message")]
    assert "reason=smuggled" in daemon.log.wait_for(f"session({smuggler.session}/1): end")
