"""A proxy as a process of its own, MTAs and remotes as blocking sockets: a test plays both ends of a real dialogue.

Knows how each is started and waited for; does not know what a test wants of it. Every peer listens at an address of its
own out of 127/8 and all at one port, for a configuration names its ports one by one.
"""

import asyncio
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import trio
import trustme
import uvloop

from gaproxy.client import Client, Connection, Event, Failed, Ready, Replied, Welcomed
from gaproxy.proto.smtp.replies import Reply
from gaproxy.runtime_asyncio.client import connect as connect_on_asyncio
from gaproxy.runtime_trio.client import connect as connect_on_trio

KERNEL_BYTES = 64 * 1024
PIECE_BYTES = 1024 * 1024
WAIT_S = 20.0  # for what must come; a test that waits so long has failed
PORT = 20025  # below what the kernel gives out to those who dial
DOOR_PORT = 20807
PROXY_DOOR_PORT = 20850
SECRET = "correct-horse-battery-staple-0123456789"
SOURCES = ("127.0.0.2", "127.0.0.3")
HELO = "out.example.com"

_hosts = count(1)

E = TypeVar("E", bound=Event)


def fresh_address() -> str:
    """A loopback address that nobody else uses, in this process or another one: out of 127.64/9, 2,048 for each."""
    number = os.getpid() % 4096 * 2048 + next(_hosts)
    return f"127.{64 + number // 65_536}.{number // 256 % 256}.{number % 256}"


SERVE_ON_UVLOOP = """
import asyncio, sys, uvloop
from gaproxy.proto.doors.credentials import Keyring
from gaproxy.proto.proxy import Proxy
from gaproxy.runtime_asyncio import driver
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    sys.exit(runner.run(driver.run(Proxy(sys.argv[1], Keyring()))))
"""


def serve(runtime: str, path: Path) -> list[str]:
    """The command that starts a proxy; there is no option for uvloop, so it is put together by hand."""
    if runtime == "uvloop":
        return [sys.executable, "-c", SERVE_ON_UVLOOP, str(path)]
    return [sys.executable, "-m", "gaproxy", "serve", f"--config-filename={path}", f"--runtime={runtime}"]


class RealProxy:
    """A proxy that serves while its block lasts. A fault of its own, or anything on standard error, fails the test.

    `proxy_door`: options of a second door, for PROXY headers, which stands at `proxy_place`; None: there is none.
    """

    def __init__(
        self,
        runtime: str,
        folder: Path,
        config: str = "",
        environment: Mapping[str, str] | None = None,
        proxy_door: str | None = None,
    ) -> None:
        self.runtime = runtime
        self.place = (fresh_address(), DOOR_PORT)
        self.proxy_place = (self.place[0], PROXY_DOOR_PORT)
        if proxy_door is not None:
            config += f'\nlisten_proxy_protocol "{self.place[0]}:{PROXY_DOOR_PORT}" {{ {proxy_door} }}'
        path = folder / f"{runtime}-{self.place[0]}.conf"
        path.write_text(
            f'listen "{self.place[0]}:{DOOR_PORT}"\n'
            f'auth_shared_secret "{SECRET}"\n'
            f"remote_allow 127.0.0.0/8, ::1\nremote_ports {PORT}, {DOOR_PORT}, 465\n{config}\n"
        )
        self.log: list[str] = []
        self.over = False  # there will be no more of it
        self.news = threading.Condition()
        self.process = subprocess.Popen(
            serve(runtime, path),
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def __enter__(self) -> Self:
        try:
            self.wait_for("configuration adopted")
            self.begun_bytes = self.peak_bytes()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.end()
        if kind is None:
            assert [line for line in self.log if not ORDINARY.match(line)] == []

    def end(self) -> None:
        """At once, and the log to its last line."""
        self.process.kill()
        self.process.wait(WAIT_S)
        self.reader.join(WAIT_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as log:
            for line in log:
                with self.news:
                    self.log.append(line.rstrip("\n"))
                    self.news.notify_all()
        with self.news:
            self.over = True
            self.news.notify_all()

    def wait_for(self, words: str) -> str:
        """The first line of the log in which these words stand, now or later."""
        with self.news:
            self.news.wait_for(lambda: self.over or self._found(words) is not None, WAIT_S)
            found = self._found(words)
            assert found is not None, self.log
            return found

    def _found(self, words: str) -> str | None:
        return next((line for line in self.log if words in line), None)

    def grown_bytes(self) -> int:
        """How much more memory it ever held than at its beginning."""
        return self.peak_bytes() - self.begun_bytes

    def peak_bytes(self) -> int:
        """The most memory that it ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


ORDINARY = re.compile(
    r"gaproxy: (configuration adopted|capture begun|draining|drained)"
    r"|listener\(|direct_remote_smtp:|native: (session|refused again)|smtp: session"
)


class Mta:
    """An MTA with one connection to a proxy: our client as a machine, on a blocking socket.

    In plain text, unless `tls`: then as docs/native-protocol.md tells those who bring a socket of their own.
    """

    def __init__(self, proxy: RealProxy, tls: bool = False) -> None:
        self.client = Client(SECRET, "mta", os.urandom(32).hex())
        self.sock = socket.create_connection(proxy.place, WAIT_S)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
            self.client.bind(sha256(self.sock.getpeercert(binary_form=True)).hexdigest())
        self.heard: deque[Event] = deque()
        self.session = ""  # what the proxy's log calls this connection

    def __enter__(self) -> Self:
        self.say(self.client.hello())
        self.say(self.hear().answer)
        welcomed = self.hear()
        assert isinstance(welcomed, Welcomed)
        self.session = welcomed.session
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def say(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE_BYTES):  # the socket's patience holds for each, however many there are
            self.sock.sendall(data[start : start + PIECE_BYTES])

    def hear(self) -> Any:
        """The next thing that the proxy says."""
        while not self.heard:
            data = self.sock.recv(self.client.appetite)
            assert data, "the proxy closed the connection"
            self.heard += self.client.receive(data)
        return self.heard.popleft()

    def ask_for(self, *to: str, source: str = SOURCES[0], tls: str = "none") -> None:
        """Order a remote."""
        self.say(self.client.open(source=source, to=to, helo=HELO, tls=tls))

    def fails(self) -> Failed:
        """The OPEN comes to nothing."""
        failed = self.hear()
        assert isinstance(failed, Failed), failed
        return failed

    def is_joined(self, remote: "Remote", *keywords: bytes) -> "Peer":
        """Order a remote in plain text, and get it."""
        self.ask_for(remote.to)
        peer = remote.introduced(*keywords)
        self.ready()
        return peer

    def ready(self) -> Ready:
        """The OPEN was granted, and the remote has greeted."""
        ready = self.hear()
        assert isinstance(ready, Ready), ready
        assert self.reply().code == 220
        return ready

    def reply(self) -> Reply:
        replied = self.hear()
        assert isinstance(replied, Replied), replied
        return replied.reply

    def order(self, command: bytes) -> None:
        """Send one command; its reply is heard later."""
        self.say(self.client.say(command))

    def command(self, command: bytes) -> Reply:
        self.order(command)
        return self.reply()

    def at_end(self) -> bool:
        """Whether the proxy has nothing more to say."""
        return not self.heard and self.sock.recv(1) == b""


class Remote:
    """A place at which remotes are called; who takes a call is a `Peer`."""

    def __init__(self, address: str | None = None, port: int = PORT) -> None:
        self.address = fresh_address() if address is None else address
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.listener = socket.create_server((self.address, port), family=family, backlog=64)
        self.listener.settimeout(WAIT_S)
        self.to = f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"
        self.peers: list[Peer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        for peer in self.peers:
            peer.close()

    def take(self) -> "Peer":
        """Take the next call."""
        sock, source = self.listener.accept()
        sock.settimeout(WAIT_S)
        self.peers.append(Peer(sock, source[0]))
        return self.peers[-1]

    def introduced(self, *keywords: bytes) -> "Peer":
        """Take the next call, greet, and hear its EHLO."""
        peer = self.take()
        peer.introduce(*keywords)
        return peer

    def hang_up(self) -> None:
        """Take no more calls, and end those that were taken: whoever waits for either hears of it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        for peer in self.peers:
            with suppress(OSError):  # it has left
                peer.sock.shutdown(socket.SHUT_RDWR)

    def is_called(self) -> bool:
        """Whether a call waits to be taken."""
        self.listener.setblocking(False)
        try:
            self.take()
        except BlockingIOError:
            return False
        finally:
            self.listener.settimeout(WAIT_S)
        return True


class Peer:
    """A remote as far as one connection goes; it says what its test wants it to."""

    def __init__(self, sock: socket.socket, source: str) -> None:
        self.sock = sock
        self.source = source
        self.unheard = bytearray()

    def say(self, *lines: bytes) -> None:
        self.sock.sendall(b"".join(line + b"\r\n" for line in lines))

    def until(self, end: bytes) -> bytes:
        """What was said, up to these bytes. Raises OSError where it ends without them."""
        while end not in self.unheard:
            data = self.sock.recv(65_536)
            if not data:
                raise ConnectionError(f"ended behind {bytes(self.unheard[-200:])!r}")
            self.unheard += data
        said, _, rest = bytes(self.unheard).partition(end)
        self.unheard[:] = rest
        return said

    def line(self) -> bytes:
        return self.until(b"\r\n")

    def answer(self, command: bytes, *lines: bytes) -> None:
        """Exactly this command comes now, and gets this reply."""
        assert self.line() == command
        self.say(*lines)

    def introduce(self, *keywords: bytes) -> None:
        self.say(b"220 mx.test ESMTP")
        *before, last = [b"mx.test", *keywords]
        self.answer(b"EHLO " + HELO.encode(), *[b"250-" + line for line in before], b"250 " + last)

    def secure(self) -> None:
        """Hear STARTTLS and, under a certificate of nobody that anybody trusts, EHLO again."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("mx.test").configure_cert(context)
        self.answer(b"STARTTLS", b"220 2.0.0 go ahead")
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.answer(b"EHLO " + HELO.encode(), b"250-mx.test", b"250 PIPELINING")

    def rest(self) -> bytes:
        """All that is still said until the end; a reset is one."""
        try:
            while data := self.sock.recv(65_536):
                self.unheard += data
        except ConnectionResetError:
            pass
        return bytes(self.unheard)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with RST, as a machine does that has lost its memory."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def narrow(sock: socket.socket) -> None:
    """Have the kernel keep little of what this socket sends and receives; else it may keep tens of megabytes.

    Of a listener: before anybody calls, for those who do.
    """
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, KERNEL_BYTES)


def run_client(
    runtime: str,
    proxy: RealProxy,
    talk: Callable[[Connection[Any]], Any],
    patience_s: float = WAIT_S,
    place: tuple[str, int] | None = None,
) -> Any:
    """Have `talk`, a coroutine function, use one connection of our own client on this runtime. Returns its outcome.

    `place`: where it calls, if that is not the proxy.
    """
    host, port = place or proxy.place

    async def on_asyncio() -> Any:
        async with asyncio.timeout(patience_s), connect_on_asyncio(host, port, secret=SECRET, node="mta") as connection:
            return await talk(connection)

    async def on_trio() -> Any:
        with trio.fail_after(patience_s):
            async with connect_on_trio(host, port, secret=SECRET, node="mta") as connection:
                return await talk(connection)

    if runtime == "trio":
        return trio.run(on_trio)
    factory = uvloop.new_event_loop if runtime == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(on_asyncio())
