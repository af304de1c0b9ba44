"""The MTA and the remote of one message, on blocking sockets: step by step, or on their own to the end.

Know their side of the dialogue and how to vanish from it; do not know who vanishes, nor what should come of it.
"""

import os
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from kill.cells import CLOSE, FIN, NOTHING, RST, STEPS, UNKNOWN
from tools.real import HELO, SECRET, SOURCES, WAIT_S, Remote

from gaproxy.client import Challenged, Client, Event, Failed, Ready, Replied, Welcomed

BODY_END = b"\r\n.\r\n"


class Over(Exception):
    """The other side ended, or refused: there is nothing to go on with."""


def read(sock: socket.socket) -> bytes:
    """What comes next; nothing at the end, in whatever way it came. Raises TimeoutError."""
    try:
        return sock.recv(65_536)
    except (ConnectionError, ssl.SSLError):
        return b""


def write(sock: socket.socket, data: bytes) -> None:
    """Say this to whoever still listens."""
    try:
        sock.sendall(data)
    except (ConnectionError, ssl.SSLError):
        raise Over from None


def leave(sock: socket.socket, way: str) -> None:
    """Vanish. Who is only silent does nothing; beneath TLS nothing is said of it."""
    if way == FIN:
        socket.socket.shutdown(sock, socket.SHUT_WR)
    elif way == CLOSE:
        drop_unread(sock)
        sock.close()
    elif way == RST:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def drop_unread(sock: socket.socket) -> None:
    """Unread bytes would make an RST of a close."""
    sock.setblocking(False)
    try:
        while socket.socket.recv(sock, 65_536):
            pass
    except (BlockingIOError, ConnectionError):
        pass


class Sender:
    """An MTA with one message to send. `told`: what it has heard of it by now."""

    sock: socket.socket
    address: tuple[str, int]

    def __init__(self, place: tuple[str, int], to: str, tls: str, message: bytes, closing: ExitStack) -> None:
        self.place, self.to, self.tls = place, to, tls
        self.message = message
        self.closing = closing
        self.client = Client(SECRET, "mta", os.urandom(32).hex())
        self.heard: deque[Event] = deque()
        self.session = ""  # what the log calls it
        self.opens = 0
        self.at = ""
        self.begin()

    def begin(self) -> None:
        """With this message, from the beginning: it was not told 250 for it."""
        self.told = NOTHING
        self.dotted = False

    def anew(self, place: tuple[str, int]) -> "Sender":
        """The same, on another connection that is still to be made."""
        return Sender(place, self.to, self.tls, self.message, self.closing)

    def connect(self) -> None:
        self.sock = self.closing.enter_context(socket.create_connection(self.place, WAIT_S))
        self.address = self.sock.getsockname()

    # Step by step.

    def reach(self, step: str) -> None:
        """Hear the answer to the last thing that we said, and say the next. Raises Over where that is not to be."""
        self.at = step
        says = self.SAYS.get(step)
        if says is not None:
            says(self)

    def greet(self) -> None:
        write(self.sock, self.client.hello())

    def ask(self) -> None:
        challenged = self.hear()
        assert isinstance(challenged, Challenged)
        write(self.sock, challenged.answer)
        welcomed = self.hear()
        assert isinstance(welcomed, Welcomed)
        self.name = welcomed.session
        self.open()

    def open(self) -> None:
        self.opens += 1
        self.session = f"{self.name}/{self.opens}"
        write(self.sock, self.client.open(source=SOURCES[0], to=[self.to], helo=HELO, tls=self.tls))

    def mail(self) -> None:
        ready = self.hear()
        assert isinstance(ready, Ready)
        self.hear()
        self.order(b"EHLO mta.test")
        self.hear()
        self.order(b"MAIL FROM:<a@src.test>")

    def rcpt(self) -> None:
        self.hear()
        self.order(b"RCPT TO:<b@dst.test>")

    def data(self) -> None:
        self.hear()
        self.order(b"DATA")

    def half(self) -> None:
        self.hear()
        self.body = self.client.say_body(self.message)
        write(self.sock, self.body[: len(self.body) // 2])

    def dot(self) -> None:
        self.dotted = True
        write(self.sock, self.body[len(self.body) // 2 :])

    def outcome(self) -> None:
        self.hear()

    def quit(self) -> None:
        self.order(b"QUIT")

    SAYS = {
        "connected": connect,
        "challenged": greet,
        "accepted": ask,
        "MAIL": mail,
        "RCPT": rcpt,
        "DATA": data,
        "in the body": half,
        "after the dot": dot,
        "after 250": outcome,
        "QUIT": quit,
    }

    def order(self, command: bytes) -> None:
        write(self.sock, self.client.say(command))

    def hear(self) -> Event:
        """The next thing that the proxy says; Over where it says that this message will not go, or nothing."""
        while not self.heard:
            data = read(self.sock)
            if not data:
                raise Over
            self.heard += self.client.receive(data)
        event = self.heard.popleft()
        if self.learns(event):
            raise Over
        return event

    def learns(self, event: Event) -> bool:
        """Note what this means for the message; whether it is the end of it."""
        if isinstance(event, Failed):
            self.told = f"FAILED {event.kind}"
            return True
        if not isinstance(event, Replied) or self.told != NOTHING:
            return False
        reply = event.reply
        if reply.code >= 400:
            self.told = UNKNOWN if b"outcome unknown" in reply.wire else str(reply.code)
            return True
        if self.dotted:
            self.told = str(reply.code)
        return False

    # On its own.

    def go_on(self) -> None:
        """Say all that is left to say, and QUIT, whatever is answered; the connection is good for the next one then."""
        steps = list(STEPS)
        try:
            for step in steps[steps.index(self.at) + 1 :]:
                self.reach(step)
        except Over:
            if self.told == NOTHING:  # the proxy itself is gone
                return
            if not self.told.startswith("FAILED"):
                self.order(b"QUIT")
        self.heed_farewell()

    def heed_farewell(self) -> None:
        """Hear everything up to the 221, if one is owed."""
        while self.client.state == "SMTP":
            data = read(self.sock)
            assert data, "the proxy closed the connection before its 221"
            self.client.receive(data)

    def listen(self) -> None:
        """Say nothing any more, and hear all that is said until the end."""
        try:
            while True:
                self.hear()
        except Over:
            pass
        while data := read(self.sock):
            self.heard += self.client.receive(data)


class Exchanger:
    """A remote, for one connection. `kept`: the messages that it has; `granted`: how often it said 250 to one.

    What it owes is said when it is told to go on. It has a message as soon as it has read its end: a remote that
    vanishes then may have stored it.
    """

    sock: socket.socket

    def __init__(self, remote: Remote, tls: ssl.SSLContext | None, kept: list[bytes], closing: ExitStack) -> None:
        self.remote, self.tls = remote, tls
        self.kept = kept
        self.closing = closing
        self.far_end: tuple[str, int] = remote.listener.getsockname()
        self.granted = 0
        self.secured = False
        self.in_body = False
        self.unheard = bytearray()
        self.owed: Callable[[], None] | None = None

    # Step by step.

    def pay(self) -> None:
        """Say what is owed."""
        owed, self.owed = self.owed, None
        if owed is not None:
            owed()

    def reach(self, step: str) -> None:
        """Hear what this step brings."""
        if step == "accepted":
            self.accept()
        elif step == "handshake":
            self.sock.recv(1, socket.MSG_PEEK)
        elif step == "in the body":
            self.fill(64)
        elif step not in ("connected", "challenged", "greeted", "after 250"):
            heard = self.hear()
            assert step.startswith(heard) or (step, heard) == ("after the dot", ""), heard

    def accept(self) -> None:
        self.sock, _ = self.remote.listener.accept()
        self.closing.callback(self.close)
        self.sock.settimeout(WAIT_S)
        self.owe(b"220 mx.test ESMTP")

    def owe(self, *lines: bytes) -> None:
        self.owed = lambda: write(self.sock, b"".join(line + b"\r\n" for line in lines))

    def hear(self) -> str:
        """The next command, or the rest of a message; what it asks for is owed then. Returns its verb."""
        if self.in_body:
            self.keep(self.until(BODY_END) + b"\r\n")
            return ""
        verb = self.until(b"\r\n")[:4].decode()
        self.ANSWERS.get(verb, Exchanger.agree)(self)
        return verb

    def introduce(self) -> None:
        offers_tls = self.tls is not None and not self.secured
        self.owe(b"250-mx.test", b"250 STARTTLS" if offers_tls else b"250 8BITMIME")

    def prepare(self) -> None:
        def go_ahead() -> None:
            write(self.sock, b"220 2.0.0 go ahead\r\n")
            self.owed = self.secure

        self.owed = go_ahead

    def secure(self) -> None:
        assert self.tls is not None
        try:
            self.sock = self.tls.wrap_socket(self.sock, server_side=True)
        except (ConnectionError, ssl.SSLError):
            raise Over from None
        self.secured = True

    def invite(self) -> None:
        self.in_body = True
        self.owe(b"354 go on")

    def agree(self) -> None:
        self.owe(b"250 2.0.0 ok")

    def part(self) -> None:
        self.owe(b"221 2.0.0 bye")

    ANSWERS = {"EHLO": introduce, "STAR": prepare, "DATA": invite, "QUIT": part}

    def keep(self, message: bytes) -> None:
        self.in_body = False
        self.kept.append(message)

        def grant() -> None:
            self.granted += 1
            write(self.sock, b"250 2.0.0 kept\r\n")

        self.owed = grant

    def until(self, end: bytes) -> bytes:
        while end not in self.unheard:
            self.fill(len(self.unheard) + 1)
        said, _, rest = bytes(self.unheard).partition(end)
        self.unheard[:] = rest
        return said

    def fill(self, size: int) -> None:
        """Read until so many bytes wait to be heard."""
        while len(self.unheard) < size:
            data = read(self.sock)
            if not data:
                raise Over
            self.unheard += data

    # On its own.

    def go_on(self) -> None:
        """Answer whatever comes, up to the end."""
        try:
            while True:
                while self.owed is not None:
                    self.pay()
                self.hear()
        except Over:
            self.close()

    def close(self) -> None:
        self.sock.close()
