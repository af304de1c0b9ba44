"""SMTP as all clients and the sink speak it: whole sessions, and what is said within one that stands.

Knows how a client behind a PROXY header and one at our native door come by a session; does not know who is between.
"""

import secrets
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256

from bench.load import SINK, SOURCES, WAIT_S, Crowd, Dialogue, Pair, open_pairs, said_to_sink
from bench.subjects import Native, Subject
from gaproxy.client import Challenged, Client, Event

HELO = "out.example.com"
LINE = b"x" * 68 + b"\r\n"
END_OF_DATA = b".\r\n"
BODY = LINE * 100 + END_OF_DATA  # 7 KB

GOODBYE = b"221"
EHLO = b"EHLO " + HELO.encode("ascii") + b"\r\n"
ENVELOPE = b"MAIL FROM:<a@out.example.com>\r\nRCPT TO:<b@mx.example.com>\r\nDATA\r\n"

# What a client says, and how what it waits for ends. The sink offers PIPELINING, and so does our door.
Steps = Sequence[tuple[bytes, bytes]]
HELLO, FAREWELL = (EHLO, b"250 PIPELINING\r\n"), (b"QUIT\r\n", GOODBYE)
CALL: Steps = (HELLO, FAREWELL)
SMTP: Steps = (HELLO, (ENVELOPE, b"354 go on\r\n"), (BODY, b"250 2.0.0 taken\r\n"), FAREWELL)
GREETING = b"220 mx.example.com ESMTP\r\n"
REPLIES = {
    b"EHLO": b"250-mx.example.com\r\n250 PIPELINING\r\n",
    b"MAIL": b"250 2.1.0 sender\r\n",
    b"RCPT": b"250 2.1.5 recipient\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
    b"RSET": b"250 2.0.0 forgotten\r\n",
}
TAKEN = b"250 2.0.0 taken\r\n"
READ_BYTES = 1 << 16

# Within a session that stands.
NOOP: Dialogue = ((b"NOOP " + b"x" * 43 + b"\r\n", b"250 " + b"x" * 44 + b"\r\n"),)  # 50 bytes each


def message(body: bytes) -> Dialogue:
    """A message in two turns: the envelope in one segment, and the body."""
    return (ENVELOPE, REPLIES[b"MAIL"] + REPLIES[b"RCPT"] + REPLIES[b"DATA"]), (body, TAKEN)


def open_sessions(subject: Subject, sink: socket.socket, count: int, stack: ExitStack) -> list[Pair]:
    """Pairs whose EHLO was answered."""
    pairs = open_pairs(subject, sink, count, stack)
    for client, server in pairs:
        greet(client, server)
        answer_ehlo(server, REPLIES[b"EHLO"])
        read_until(client, HELLO[1])
        for end in (client, server):
            end.setblocking(False)
    return pairs


def greet(client: socket.socket, server: socket.socket) -> None:
    """From the greeting to the client's EHLO; both ends wait."""
    for end in (client, server):
        end.settimeout(WAIT_S)
    server.sendall(GREETING)
    read_until(client, GREETING)
    client.sendall(EHLO)


def answer_ehlo(server: socket.socket, reply: bytes) -> None:
    read_until(server, b"\r\n")
    server.sendall(reply)


def read_until(sock: socket.socket, ending: bytes) -> None:
    """Read until what was said last is this. Raises ConnectionError, TimeoutError."""
    heard = b""
    while not heard.endswith(ending):
        data = sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError(f"the proxy ended the connection behind {heard!r}")
        heard += data


class Server:
    """The sink's side of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unheard = b""
        self.in_body = False
        with suppress(ConnectionError):  # it took its call back: that is heard next
            sock.send(GREETING)

    def hear(self) -> bool:
        """Answer what has come. False: it is over."""
        data = said_to_sink(self.sock, READ_BYTES)
        if not data:
            return False
        self.unheard += data
        while (answer := self.next_answer()) is not None:
            self.sock.send(answer)
            if answer is REPLIES[b"QUIT"]:
                return False
        return True

    def next_answer(self) -> bytes | None:
        """The reply to the next line or body that is here whole; lines in one segment are answered in one."""
        if self.in_body:
            if not self.unheard.endswith(b"\r\n.\r\n"):
                return None
            self.in_body, self.unheard = False, b""
            return TAKEN
        if not self.unheard.endswith(b"\r\n"):
            return None
        verbs = [line[:4].upper() for line in self.unheard.splitlines()]
        self.unheard, self.in_body = b"", verbs[-1] == b"DATA"
        return REPLIES[verbs[0]] if len(verbs) == 1 else b"".join(REPLIES[verb] for verb in verbs)


class Caller:
    """A client that comes anew for each session, behind a header."""

    def __init__(self, subject: Subject, number: int) -> None:
        self.subject = subject
        self.number = number

    def begin(self) -> socket.socket:
        sock = socket.create_connection(self.subject.place)
        sock.send(self.subject.header(SOURCES[self.number % len(SOURCES)], SINK))
        return sock

    def is_gone(self) -> bool:
        """The session is over. True: and so is the connection."""
        return True


class Guest:
    """A client of our native door: one connection, session after session."""

    def __init__(self, subject: Native, number: int) -> None:
        self.sock, _ = enter(subject)
        self.open = f"OPEN id={{}} source={SOURCES[number]} to={SINK[0]}:{SINK[1]} helo={HELO} tls=none\r\n"
        self.sessions = 0

    def begin(self) -> socket.socket:
        self.sessions += 1
        self.sock.send(self.open.format(self.sessions).encode("ascii"))
        return self.sock

    def is_gone(self) -> bool:
        return False


def enter(subject: Native, tls: bool = False, node: str = "bench") -> tuple[socket.socket, Client]:
    """A connection to the native door, both sides proved."""
    sock = socket.create_connection(subject.place, WAIT_S)
    client = Client(subject.secret, node, secrets.token_hex(32))
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        sock = context.wrap_socket(sock)
        client.bind(sha256(sock.getpeercert(binary_form=True) or b"").hexdigest())
    sock.sendall(client.hello())
    challenged = hear(sock, client)
    assert isinstance(challenged, Challenged), challenged
    sock.sendall(challenged.answer)
    hear(sock, client)
    return sock, client


def hear(sock: socket.socket, client: Client) -> Event:
    """The next thing that the proxy says."""
    while True:
        data = sock.recv(client.appetite)
        if not data:
            raise ConnectionError("the proxy closed the connection")
        for event in client.receive(data):
            return event


class Sessions(Crowd):
    """So many clients, each with one session after the other. A session's time counts from its beginning to its 221."""

    def __init__(self, clients: Sequence[Caller | Guest], sink: socket.socket, steps: Steps) -> None:
        super().__init__(sink)
        self.steps = steps
        for client in clients:
            self.begin(client)

    def accept(self, sink: socket.socket) -> None:
        server = Server(sink.accept()[0])
        self.watch(server.sock, lambda sock: None if server.hear() else self.leave(sock))

    def begin(self, client: Caller | Guest) -> None:
        """One session, from step to step."""
        began, steps = time.perf_counter_ns(), iter(self.steps)
        unheard, wanted = b"", GREETING

        def heard(sock: socket.socket) -> None:
            nonlocal unheard, wanted
            unheard += sock.recv(READ_BYTES)
            if wanted == GOODBYE and unheard.startswith(wanted) and unheard.endswith(b"\r\n"):
                self.done(began)
                if client.is_gone():
                    self.leave(sock)
                self.begin(client)
            elif unheard.endswith(wanted):
                (said, wanted), unheard = next(steps), b""
                sock.send(said)

        self.watch(client.begin(), heard)
