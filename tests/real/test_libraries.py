"""After READY the socket simply is SMTP: the libraries that everybody has speak on it, and do not know of a proxy."""

import asyncio
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import aiosmtplib
import pytest
import trio
from tools.house import ROOT
from tools.real import HELO, SECRET, SOURCES, WAIT_S, RealProxy

from gaproxy.client import Ready
from gaproxy.runtime_asyncio.client import connect as connect_on_asyncio
from gaproxy.runtime_trio.client import connect as connect_on_trio

MESSAGE = b"Subject: hello\r\n\r\n.a dot leads this line\r\n"
STUFFED = b"Subject: hello\r\n\r\n..a dot leads this line\r\n"


@pytest.fixture
def serving(remote):
    """A remote that takes messages on one call after the other, in a thread. Gives what it took."""
    taken = []

    def serve_one(peer):
        peer.introduce(b"PIPELINING", b"SIZE 1000000", b"8BITMIME", b"SMTPUTF8")
        while True:
            command = peer.line().upper()
            if command == b"DATA":
                peer.say(b"354 go on")
                taken.append((peer.source, peer.until(b"\r\n.\r\n") + b"\r\n"))
                peer.say(b"250 2.0.0 kept as %d" % len(taken))
            elif command == b"QUIT":
                peer.say(b"221 2.0.0 bye")
                break
            else:
                peer.say(b"250 2.0.0 ok")

    def serve():
        try:
            while True:
                serve_one(remote.take())
        except OSError:
            return  # the listener was closed

    thread = threading.Thread(target=serve)
    thread.start()
    yield taken
    remote.hang_up()
    thread.join(WAIT_S)


@pytest.fixture
def ready(mta, remote, serving):
    """A blocking socket on which READY was read, and not a byte behind it."""
    mta.ask_for(remote.to)
    assert isinstance(mta.hear(), Ready)
    assert mta.client.detach() == b""
    return mta.sock


def test_smtplib_sends_on_a_socket_that_it_is_given(ready, serving):
    smtp = smtplib.SMTP()
    smtp.sock = ready
    code, greeting = smtp.getreply()
    assert (code, greeting) == (220, b"mx.test ESMTP")
    smtp.ehlo("any.name.will.do")
    assert smtp.esmtp_features == {"pipelining": "", "size": "1000000", "8bitmime": "", "smtputf8": ""}
    assert smtp.sendmail("ann@src.test", ["bob@dst.test", "eve@dst.test"], MESSAGE) == {}
    assert smtp.sendmail("ann@src.test", "bob@dst.test", MESSAGE) == {}
    assert smtp.quit()[0] == 221
    assert serving == [(SOURCES[0], STUFFED)] * 2


class ThroughProxy(smtplib.SMTP):
    """The other way to hand a socket over: smtplib believes that it dialled."""

    def __init__(self, sock):
        self.given = sock
        super().__init__("behind.the.proxy", 25)

    def _get_socket(self, host, port, timeout):
        return self.given


def test_smtplib_believes_that_it_dialled(ready, serving):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@src.test", "bob@dst.test", "hello"
    message.set_content("Grüße")
    with ThroughProxy(ready) as smtp:
        assert smtp.send_message(message) == {}
    ((source, body),) = serving
    assert source == SOURCES[0]
    assert body.endswith("\r\n\r\nGrüße\r\n".encode())


def test_aiosmtplib_sends_on_a_socket_that_it_is_given(ready, serving):
    async def send():
        ready.setblocking(False)
        async with aiosmtplib.SMTP(sock=ready, hostname=None, port=None, start_tls=False) as smtp:
            await smtp.sendmail("ann@src.test", ["bob@dst.test"], MESSAGE)
            await smtp.sendmail("ann@src.test", ["eve@dst.test"], MESSAGE)

    asyncio.run(send())
    assert serving == [(SOURCES[0], STUFFED)] * 2


def test_aiosmtplib_takes_over_from_our_asyncio_client(proxy, remote, serving):
    async def send():
        async with (
            connect_on_asyncio(*proxy.place, secret=SECRET, node="mta", tls=False) as connection,
            connection.open(source=SOURCES[1], to=[remote.to], helo=HELO, tls="none") as session,
            aiosmtplib.SMTP(sock=session.detach(), hostname=None, port=None, start_tls=False) as smtp,
        ):
            await smtp.sendmail("ann@src.test", ["bob@dst.test"], MESSAGE)

    asyncio.run(send())
    assert serving == [(SOURCES[1], STUFFED)]


def test_our_asyncio_client_gives_out_streams_that_simply_are_smtp(proxy, remote, serving):
    async def talk():
        async with (
            asyncio.timeout(WAIT_S),
            connect_on_asyncio(*proxy.place, secret=SECRET, node="mta") as connection,
            connection.open(source=SOURCES[1], to=[remote.to], helo=HELO, tls="none") as session,
        ):
            reader, writer = session.detach()
            writer.write(b"NOOP\r\nQUIT\r\n")
            heard = await reader.readuntil(b"221 2.0.0 gaproxy: goodbye\r\n")
            writer.close()
            await writer.wait_closed()
            return heard

    assert asyncio.run(talk()).splitlines()[:-1] == [b"220 mx.test ESMTP", b"250 2.0.0 ok"]


@contextmanager
def made_ready(proxy: RealProxy, secret: str, node: str, **words: object) -> Iterator[ssl.SSLSocket]:
    """A socket on which READY was read, as docs/native-protocol.md tells those who bring one of their own."""
    text = (ROOT / "docs" / "native-protocol.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n((?:(?!```).)*def make_ready.*?)^```$", text, re.DOTALL | re.MULTILINE)
    namespace: dict[str, object] = {}
    exec(compile(code, "native-protocol.md", "exec"), namespace)
    with (
        socket.create_connection(proxy.place, WAIT_S) as plain,
        namespace["context"].wrap_socket(plain) as secured,
    ):
        namespace["make_ready"](secured, secret, node, **words)
        yield secured


def test_smtplib_sends_over_tls_on_a_socket_that_was_made_as_the_document_tells(proxy, remote, serving):
    words = {"source": SOURCES[1], "to": [remote.to], "helo": HELO, "tls": "none"}
    with made_ready(proxy, SECRET, "recipe", **words) as sock:
        smtp = smtplib.SMTP()
        smtp.sock = sock
        assert smtp.getreply() == (220, b"mx.test ESMTP")
        assert smtp.sendmail("ann@src.test", ["bob@dst.test"], MESSAGE) == {}
        assert smtp.quit()[0] == 221
    assert serving == [(SOURCES[1], STUFFED)]
    assert " tls=TLSv1.3 " in proxy.wait_for(": authenticated node=recipe ")


def test_the_recipe_of_the_document_says_why_there_is_no_socket(proxy):
    words = {"source": "192.0.2.1", "to": ["127.0.0.1:20025"], "helo": HELO}
    with pytest.raises(ConnectionError, match="source_unavailable"), made_ready(proxy, SECRET, "mta", **words):
        pass
    with pytest.raises(ConnectionError, match="auth_failed"), made_ready(proxy, SECRET[::-1], "mta"):
        pass


def test_our_trio_client_gives_out_a_stream_that_simply_is_smtp(proxy, remote, serving):
    async def talk():
        with trio.fail_after(WAIT_S):
            async with (
                connect_on_trio(*proxy.place, secret=SECRET, node="mta") as connection,
                connection.open(source=SOURCES[1], to=[remote.to], helo=HELO, tls="none") as session,
                session.detach() as stream,
            ):
                await stream.send_all(b"NOOP\r\nQUIT\r\n")
                heard = b""
                while not heard.endswith(b"221 2.0.0 gaproxy: goodbye\r\n"):
                    heard += await stream.receive_some()
                return heard

    assert trio.run(talk).splitlines()[:-1] == [b"220 mx.test ESMTP", b"250 2.0.0 ok"]
