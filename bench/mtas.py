"""MTAs that deliver single messages, all from one address to one remote. Knows how each of them comes by a session.

Does not know what stands between them and the remote, nor how far away that is.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Sequence

from attrs import define, field

from bench.load import SOURCES, WAIT_S, Crowd
from bench.sessions import EHLO, END_OF_DATA, ENVELOPE, HELO, LINE, READ_BYTES, Server, enter
from bench.subjects import Haproxy, Native, Subject
from gaproxy.proto.events import Address

MTAS, WORKERS = 3, 12
LETTER = LINE * 33 + END_OF_DATA  # 2.3 KB
STARTTLS, QUIT = b"STARTTLS\r\n", b"QUIT\r\n"
TOO_MANY = b"421"
COME_AGAIN_S = 0.040  # behind a 421
WAIT_MS = 120_000

Said = Iterator[tuple[bytes, int]]
"""What a client says, one thing after the other, and how many replies it waits for behind each."""


@define(eq=False)
class Worker:
    """One of an MTA's senders: it has one message at a time. `says` is over with the connection."""

    subject: Subject
    number: int
    remote: Address
    tls: bool
    sock: socket.socket | None = None
    says: Said = field(factory=lambda: iter(()))
    said: bytes = b""
    owed: int = 0
    heard: bytes = b""
    began_ns: int = 0

    def call(self) -> socket.socket:
        """A new connection."""
        subject = self.subject
        if isinstance(subject, Native):
            sock, _ = enter(subject, node=f"mta-{self.number % MTAS}")
            self.says = at_the_native_door(self.remote, "encrypt" if self.tls else "none")
        else:
            sock = socket.create_connection(subject.place, WAIT_S)
            peer = isinstance(subject, Haproxy)
            source = SOURCES[self.number if peer else 0]  # who shares nothing needs more ports than one address has
            self.says = behind_a_header(subject.header(source, self.remote), self.tls and peer)
        self.sock, self.heard, self.began_ns = sock, b"", time.perf_counter_ns()
        return sock

    def secure(self) -> socket.socket:
        """The same connection, under TLS as soon as its handshake is over."""
        assert self.sock is not None
        self.sock.setblocking(False)
        self.sock = trusting().wrap_socket(self.sock, do_handshake_on_connect=False)
        return self.sock


def behind_a_header(header: bytes, tls: bool) -> Said:
    """A session for one message; with TLS of its own, where there is any."""
    yield header, 1
    yield EHLO, 1
    if tls:
        yield STARTTLS, 1
        yield EHLO, 1
    yield ENVELOPE, 3
    yield LETTER, 1
    yield QUIT, 1


def at_the_native_door(remote: Address, tls: str) -> Said:
    """Session after session: the end of one, the request for the next and its EHLO are one segment."""
    order = f"OPEN id=1 source={SOURCES[0]} to={remote[0]}:{remote[1]} helo={HELO} tls={tls} wait_ms={WAIT_MS}\r\n"
    again = order.encode("ascii") + EHLO
    yield again, 2
    while True:
        yield ENVELOPE, 3
        yield LETTER, 1
        yield QUIT + again, 3


def trusting() -> ssl.SSLContext:
    """Like an MTA with `may` or `encrypt`: any certificate will do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Deliveries(Crowd):
    """All workers at work. One more is done with the remote's reply to a message; its time began when it was wanted.

    Whoever hears a 421 hangs up, and comes again a little later. Any other reply that is no success ends the bench.
    """

    def __init__(self, subject: Subject, sink: socket.socket, remote: Address, tls: bool = False) -> None:
        super().__init__(sink)
        self.late: deque[tuple[float, Worker]] = deque()
        for number in range(WORKERS):
            self.begin(Worker(subject, number, remote, tls))

    def accept(self, sink: socket.socket) -> None:
        server = Server(sink.accept()[0])
        self.watch(server.sock, lambda sock: None if server.hear() else self.leave(sock))

    def turn(self) -> None:
        now = time.monotonic()
        while self.late and self.late[0][0] <= now:
            self.begin(self.late.popleft()[1])
        self.listen(max(0.0, self.late[0][0] - now) if self.late else WAIT_S)

    def begin(self, worker: Worker) -> None:
        self.watch(worker.call(), lambda sock: self.hear(worker, worker.sock or sock))
        self.go_on(worker)

    def go_on(self, worker: Worker) -> None:
        """Say what comes next; or hang up, and begin anew."""
        assert worker.sock is not None
        following = next(worker.says, None)
        if following is None:
            self.leave(worker.sock)
            self.begin(worker)
        else:
            worker.said, worker.owed = following
            worker.sock.send(worker.said)

    def hear(self, worker: Worker, sock: socket.socket) -> None:
        try:
            worker.heard += read(sock)
        except ssl.SSLWantReadError:
            return
        replies = replies_in(worker.heard)
        if any(reply.startswith(TOO_MANY) for reply in replies):
            self.leave(sock)
            self.late.append((time.monotonic() + COME_AGAIN_S, worker))
        elif len(replies) >= worker.owed:
            self.heard_all(worker, replies)

    def heard_all(self, worker: Worker, replies: Sequence[bytes]) -> None:
        if len(replies) > worker.owed or any(reply[:1] not in b"23" for reply in replies):
            raise RuntimeError(f"{worker.subject.name} says {worker.heard!r} to {worker.said!r}")
        worker.heard = b""
        if worker.said is LETTER:
            self.done(worker.began_ns)
            worker.began_ns = time.perf_counter_ns()
        if worker.said is STARTTLS:
            secured = worker.secure()
            self.watch(secured, lambda sock: self.shake_hands(worker))
            self.shake_hands(worker)
        else:
            self.go_on(worker)

    def shake_hands(self, worker: Worker) -> None:
        sock = worker.sock
        assert isinstance(sock, ssl.SSLSocket)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.watch(sock, lambda sock: self.hear(worker, sock))
        self.go_on(worker)


def read(sock: socket.socket) -> bytes:
    """What is there. Raises ConnectionError at the end, SSLWantReadError where it is nothing for us."""
    data = sock.recv(READ_BYTES)
    if not data:
        raise ConnectionError("the proxy ended the connection")
    while isinstance(sock, ssl.SSLSocket) and sock.pending():
        data += sock.recv(READ_BYTES)
    return data


def replies_in(heard: bytes) -> list[bytes]:
    """The last line of each whole reply; a line of the native door is none, but for FAILED, which ends the bench."""
    whole = heard[: heard.rfind(b"\n") + 1]
    return [line for line in whole.splitlines() if line[3:4] == b" " or line.startswith(b"FAILED")]
