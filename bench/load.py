"""The load: clients and sink on core 1, in one loop that does nothing but send, receive and count.

Knows bytes and sizes; does not know what stands between client and sink, nor what SMTP is.
"""

import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from attrs import frozen

from bench.subjects import SINK_HOST, SINK_PORT, Subject
from gaproxy.proto.events import Address

SINK: Address = (SINK_HOST, SINK_PORT)
SOURCES = tuple(f"127.0.1.{number}" for number in range(1, 51))  # so that no tuple comes round before it is forgotten
WARM_S = 0.1
WAIT_S = 30.0  # for what must come
BUFFER_BYTES = 1 << 18
SEND_BUFFER_BYTES = 200 * 1024  # a request fits into it whole
BACKLOG = 1024

Pair = tuple[socket.socket, socket.socket]
"""The client's end and the sink's."""

Dialogue = Sequence[tuple[bytes, bytes]]
"""Turn by turn: what a client says, and what the sink answers to all of it."""


@frozen
class Measured:
    """What was done in how long, what the proxy and we used for it (shares of a core), and how long each one took."""

    count: int
    seconds: float
    cpu_us: float  # of the proxy, for each
    proxy_share: float
    load_share: float
    latencies_us: Sequence[float] = ()

    @property
    def p99_us(self) -> float:
        return sorted(self.latencies_us)[int(len(self.latencies_us) * 0.99)]


class Load:
    """Something that is done again and again: `turn` does what is ready, `count` says how often it was done."""

    count: int
    latencies_ns: list[int]

    def turn(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def measure(subject: Subject, load: Load, seconds: float, warm_s: float = WARM_S) -> Measured:
    """Let it run warm, then for so long; longer only where nothing came, for others may have had the core meanwhile."""
    spin(load, warm_s)
    del load.latencies_ns[:]
    count, cpu, own = load.count, subject.cpu_ns(), time.process_time()
    began = time.perf_counter()
    spin(load, seconds)
    while load.count == count and time.perf_counter() < began + WAIT_S:
        load.turn()
    took = time.perf_counter() - began
    count, cpu, own = load.count - count, subject.cpu_ns() - cpu, time.process_time() - own
    if not count:
        raise RuntimeError(f"nothing came through {subject.name}")
    latencies = [latency / 1000 for latency in load.latencies_ns]
    return Measured(count, took, cpu / 1000 / count, cpu / 1e9 / took, own / took, latencies)


def spin(load: Load, seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        load.turn()


def listen() -> socket.socket:
    """Where the proxy calls."""
    sink = socket.create_server(SINK, backlog=BACKLOG)
    sink.settimeout(WAIT_S)
    return sink


def open_pairs(subject: Subject, sink: socket.socket, count: int, stack: ExitStack) -> list[Pair]:
    """So many relayed connections, one after the other: who comes out is who went in."""
    pairs = []
    for number in range(count):
        client = stack.enter_context(socket.create_connection(subject.place, WAIT_S))
        client.sendall(subject.header(SOURCES[number % len(SOURCES)], SINK))
        server = stack.enter_context(sink.accept()[0])
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            end.setblocking(False)
        pairs.append((client, server))
    return pairs


def said_to_sink(server: socket.socket, size: int) -> bytes:
    """What a proxy says next, b"" at its end. Who was measured before may be late with a call, and take it back."""
    try:
        return server.recv(size)
    except ConnectionResetError:
        return b""


class Exchanges(Load):
    """Every client says its part of a dialogue, turn by turn, hears the sink's part, and begins anew.

    A turn is what the client says, then what the sink answers; a whole dialogue counts as one.
    """

    def __init__(self, pairs: Sequence[Pair], dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.clients = {client.fileno(): client for client, _ in pairs}
        self.servers = {server.fileno(): server for _, server in pairs}
        self.at = dict.fromkeys([*self.clients, *self.servers], 0)  # in which turn each of them is
        (request, answer), *_ = dialogue
        self.owed = dict.fromkeys(self.clients, len(answer)) | dict.fromkeys(self.servers, len(request))
        self.began: dict[int, int] = {}
        self.buffer = bytearray(BUFFER_BYTES)
        self.latencies_ns: list[int] = []
        self.count = 0
        self.epoll = select.epoll()
        for fd in self.owed:
            self.epoll.register(fd, select.EPOLLIN)
        for fd, client in self.clients.items():
            self.began[fd] = time.perf_counter_ns()
            client.send(request)

    def turn(self) -> None:
        owed, servers = self.owed, self.servers
        for fd, _ in self.epoll.poll(WAIT_S):
            server = servers.get(fd)
            if server is None:
                self.hear(fd)
                continue
            owed[fd] -= server.recv_into(self.buffer)
            if not owed[fd]:
                _, answer = self.dialogue[self.at[fd]]
                owed[fd] = len(self.next_turn(fd)[0])
                server.send(answer)

    def hear(self, fd: int) -> None:
        """The client's side."""
        self.owed[fd] -= self.clients[fd].recv_into(self.buffer)
        if not self.owed[fd]:
            request, answer = self.next_turn(fd)
            if not self.at[fd]:
                now = time.perf_counter_ns()
                self.latencies_ns.append(now - self.began[fd])
                self.count += 1
                self.began[fd] = now
            self.owed[fd] = len(answer)
            self.clients[fd].send(request)

    def next_turn(self, fd: int) -> tuple[bytes, bytes]:
        self.at[fd] = (self.at[fd] + 1) % len(self.dialogue)
        return self.dialogue[self.at[fd]]

    def close(self) -> None:
        self.epoll.close()


class Crowd(Load):
    """Sockets that come and go, the sink's listener among them, and who hears each."""

    def __init__(self, sink: socket.socket) -> None:
        self.sink = sink
        self.hears: dict[int, tuple[socket.socket, Callable[[socket.socket], None]]] = {}
        self.latencies_ns: list[int] = []
        self.count = 0
        self.epoll = select.epoll()
        sink.setblocking(False)
        self.watch(sink, self.accept)

    def accept(self, sink: socket.socket) -> None:
        """The proxy calls."""
        raise NotImplementedError

    def turn(self) -> None:
        self.listen(WAIT_S)

    def listen(self, wait_s: float) -> None:
        """Let everybody hear who has something to hear by then."""
        for fd, _ in self.epoll.poll(wait_s):
            sock, heard = self.hears[fd]
            heard(sock)

    def watch(self, sock: socket.socket, heard: Callable[[socket.socket], None]) -> None:
        if sock.fileno() not in self.hears:
            self.epoll.register(sock.fileno(), select.EPOLLIN)
        self.hears[sock.fileno()] = (sock, heard)

    def done(self, began_ns: int) -> None:
        """One more."""
        self.count += 1
        self.latencies_ns.append(time.perf_counter_ns() - began_ns)

    def leave(self, sock: socket.socket) -> None:
        del self.hears[sock.fileno()]
        sock.close()

    def close(self) -> None:
        """Whoever is still under way is cut off."""
        self.sink.settimeout(WAIT_S)
        del self.hears[self.sink.fileno()]
        for sock, _ in list(self.hears.values()):
            self.leave(sock)
        self.epoll.close()


class Calls(Crowd):
    """So many clients, each of which connects, sends 50 bytes, hears 50 bytes and the end, and comes again.

    The sink is who ends, as in SMTP.
    """

    SAID = bytes(50)

    def __init__(self, subject: Subject, sink: socket.socket, clients: int) -> None:
        super().__init__(sink)
        self.place = subject.place
        self.openings = [subject.header(source, SINK) + self.SAID for source in SOURCES]
        self.began: dict[int, int] = {}
        self.called = 0
        for _ in range(clients):
            self.call()

    def call(self) -> None:
        began = time.perf_counter_ns()
        client = socket.create_connection(self.place)
        client.send(self.openings[self.called % len(self.openings)])
        self.called += 1
        self.began[client.fileno()] = began
        self.watch(client, self.answered)

    def accept(self, sink: socket.socket) -> None:
        self.watch(sink.accept()[0], self.asked)

    def asked(self, server: socket.socket) -> None:
        if said_to_sink(server, len(self.SAID)):
            server.send(self.SAID)
            server.shutdown(socket.SHUT_WR)
        else:
            self.leave(server)

    def answered(self, client: socket.socket) -> None:
        if not client.recv(len(self.SAID)):
            self.done(self.began.pop(client.fileno()))
            self.leave(client)
            self.call()
