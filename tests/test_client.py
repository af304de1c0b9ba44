"""The MTA's side: the machine alone, against a small proxy, and over real sockets on asyncio and trio."""

import asyncio
import contextlib
import smtplib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256

import aiosmtplib
import pytest
import trio
import trustme
import uvloop
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from tools.every_split import every_split

from gaproxy.client import (
    AGENT,
    IDLE,
    OPENING,
    OVER,
    SMTP,
    Challenged,
    Client,
    Failed,
    Fault,
    GoneAway,
    OpenFailed,
    Ponged,
    ProxyGone,
    ProxyRefused,
    Ready,
    Replied,
    Welcomed,
)
from gaproxy.proto.asks import Tried
from gaproxy.proto.doors.credentials import PLAIN_BINDING, Keyring, certificate_binding, mta_proof, proxy_proof
from gaproxy.proto.doors.native_words import cut_line, parse_line, read_auth, read_hello, render
from gaproxy.proto.errors import LocalProtocolError, RemoteProtocolError
from gaproxy.proto.smtp.replies import Reply
from gaproxy.runtime_asyncio.client import connect as connect_asyncio
from gaproxy.runtime_trio.client import connect as connect_trio

SECRET = "a-secret-of-the-tests-and-of-no-other"
NONCE = "0a" * 32
CHALLENGE = b"CHALLENGE v=1 nonce=" + b"20" * 32 + b"\r\n"
TO = {"source": "192.0.2.1", "to": ["203.0.113.5:25/mx1.example.net"], "helo": "out1.example.com"}
READY = b"READY id=1 source=192.0.2.1:40112 remote=203.0.113.5:25 reused=no uses=1 age_ms=0 tls=none\r\n"
GREETING = b"220 mx1.example.net ESMTP\r\n"


def fresh(secret: str = SECRET) -> Client:
    return Client(secret, "mta-1", NONCE)


def challenged() -> tuple[Client, bytes]:
    """A client that has sent its proof, and the WELCOME that it is owed."""
    client = fresh()
    (event,) = client.receive(CHALLENGE)
    assert isinstance(event, Challenged)
    proof = proxy_proof(SECRET, client.hello(), CHALLENGE, event.answer)
    return client, render("WELCOME", proof=proof, session="ab" * 8, agent="gaproxy/1.0.0", caps=["x"], ping_ms=5000)


def welcomed() -> Client:
    client, welcome = challenged()
    client.receive(welcome)
    return client


def opening() -> Client:
    client = welcomed()
    client.open(**TO)
    return client


def in_session() -> Client:
    client = opening()
    client.receive(READY + GREETING)
    return client


def reply(code: int, text: bytes = b"ok") -> Replied:
    return Replied(Reply(code, (text,), b"%d %b\r\n" % (code, text)))


# The handshake.


def test_the_first_line_says_who_we_are():
    assert fresh().hello() == (
        b"GAPROXY/1 min=1 node=mta-1 role=smtp nonce=" + NONCE.encode() + b" agent=" + AGENT.encode() + b"\r\n"
    )
    assert read_hello(fresh().hello()[:-2]).agent == AGENT


def test_a_challenge_is_answered_by_our_proof():
    client = fresh()
    assert client.receive(CHALLENGE) == [
        Challenged(b"AUTH proof=" + mta_proof(SECRET, client.hello(), CHALLENGE).encode() + b"\r\n")
    ]


def test_the_proof_is_bound_to_the_certificate():
    binding = certificate_binding("ab" * 32)
    client = fresh()
    client.bind("ab" * 32)
    proof = mta_proof(SECRET, client.hello(), CHALLENGE, binding)
    auth = b"AUTH proof=" + proof.encode() + b"\r\n"
    assert client.receive(CHALLENGE) == [Challenged(auth)]
    with pytest.raises(LocalProtocolError, match="no certificate while PROVED"):
        client.bind("ab" * 32)
    ours = proxy_proof(SECRET, client.hello(), CHALLENGE, auth, binding)
    assert isinstance(client.receive(b"WELCOME proof=" + ours.encode() + b"\r\n")[0], Welcomed)


@pytest.mark.parametrize("binding", [PLAIN_BINDING, certificate_binding("ef" * 32)])
def test_a_welcome_that_is_bound_to_another_channel_is_somebody_elses(binding):
    client = fresh()
    client.bind("ab" * 32)
    (challenged,) = client.receive(CHALLENGE)
    proof = proxy_proof(SECRET, client.hello(), CHALLENGE, challenged.answer, binding)
    with pytest.raises(RemoteProtocolError, match="does not know the secret"):
        client.receive(b"WELCOME proof=" + proof.encode() + b"\r\n")


def test_a_welcome_that_proves_the_secret_is_believed():
    client, welcome = challenged()
    assert client.receive(welcome) == [Welcomed("ab" * 8, "gaproxy/1.0.0", ("x",), 5000)]


@pytest.mark.parametrize(
    "welcome",
    [
        b"WELCOME session=0123456789abcdef",
        b"WELCOME proof=",
        b"WELCOME proof=" + b"0" * 64,
        b"WELCOME proof=%C3%A9",
        b"WELCOME proof=" + mta_proof(SECRET, fresh().hello(), CHALLENGE).encode(),  # ours, sent back
    ],
)
def test_a_welcome_by_somebody_else_ends_it(welcome):
    client, _ = challenged()
    with pytest.raises(RemoteProtocolError, match="does not know the secret"):
        client.receive(welcome + b"\r\n")
    with pytest.raises(LocalProtocolError):
        client.open(**TO)


def test_a_welcome_before_our_proof_ends_it():
    with pytest.raises(RemoteProtocolError, match="WELCOME while GREETED"):
        fresh().receive(challenged()[1])


@pytest.mark.parametrize("code", [b"auth_failed", b"version"])
@pytest.mark.parametrize("client", [fresh(), challenged()[0]])
def test_a_proxy_may_refuse_us_in_the_handshake(client, code):
    client = fresh()
    line = b"ERROR code=" + code + b" fatal=yes text=no%20way\r\n"
    assert client.receive(line + b"whatever comes behind") == [Fault(code.decode(), True, "no way", None, None)]
    assert client.state == OVER


NONSENSE = [
    (fresh, b"CHALLENGE nonce=00\r\n"),
    (fresh, b"CHALLENGE v=2 nonce=00\r\n"),
    (fresh, b"CHALLENGE v=0 nonce=00\r\n"),
    (fresh, b"220 mx ESMTP\r\n"),
    (fresh, b"GOAWAY reason=drain\r\n"),
    (fresh, b"\r\n"),
    (fresh, b"\x16\x03\x01"),
    (fresh, b"C" * 1023),
    (lambda: challenged()[0], CHALLENGE),
    (welcomed, READY),
    (welcomed, b"FAILED id=1 kind=refused retry_ms=0 tried= text=\r\n"),
    (welcomed, b"OPEN id=1\r\n"),
    (welcomed, b"PONG t=%\r\n"),
    (welcomed, b"P" * 16_383),
    (opening, READY.replace(b"id=1", b"id=2")),
    (opening, READY.replace(b"id=1 ", b"")),
    (opening, READY.replace(b"uses=1", b"uses=0")),
    (opening, READY.replace(b"uses=1", b"uses=x")),
    (opening, READY.replace(b"age_ms=0", b"age_ms=-1")),
    (opening, GREETING),
    (opening, b"FAILED id=2 kind=refused text=\r\n"),
    (opening, b"FAILED id=1 kind=refused retry_ms=1s text=\r\n"),
    (opening, b"FAILED id=1 kind=refused tried=203.0.113.5:25/refused text=\r\n"),
    (opening, b"FAILED id=1 kind=refused tried=203.0.113.5/refused/12 text=\r\n"),
    (opening, b"FAILED id=1 kind=refused tried=203.0.113.5:25/refused/x text=\r\n"),
    (in_session, GREETING),  # nobody asked
    (opening, READY + b"nonsense\r\n"),
    (opening, READY + b"999 nonsense\r\n"),
]


@pytest.mark.parametrize(("start", "said"), NONSENSE)
def test_what_no_proxy_may_say_ends_it(start: Callable[[], Client], said):
    client = start()
    with pytest.raises(RemoteProtocolError):
        client.receive(said)
    assert client.state == OVER
    assert client.receive(b"anything") == []


# OPEN.


def test_an_open_says_what_was_asked_and_no_more():
    assert welcomed().open(**TO) == (
        b"OPEN id=1 source=192.0.2.1 to=203.0.113.5:25/mx1.example.net helo=out1.example.com\r\n"
    )
    assert welcomed().open(
        source=["192.0.2.1", "2001:db8::1"], to=["a", "b,c"], helo="h", tls="verify", tls_names=["*.x"], wait_ms=7
    ) == (b"OPEN id=1 source=192.0.2.1,2001:db8::1 to=a,b%2Cc helo=h tls=verify tls_names=*.x wait_ms=7\r\n")


def test_ready_is_told_with_all_that_it_says():
    client = opening()
    assert client.receive(
        b"READY id=1 source=192.0.2.1:40112 remote=203.0.113.5:25 host=mx1.example.net reused=yes uses=17 age_ms=4210"
        b" tls=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 verified=no\r\n"
    ) == [
        Ready(
            "1",
            "192.0.2.1:40112",
            "203.0.113.5:25",
            "mx1.example.net",
            True,
            17,
            4210,
            "TLSv1.3",
            "TLS_AES_256_GCM_SHA384",
            False,
        )
    ]
    assert opening().receive(READY) == [
        Ready("1", "192.0.2.1:40112", "203.0.113.5:25", None, False, 1, 0, "none", None, None)
    ]


def test_failed_is_told_and_the_next_open_may_come():
    client = opening()
    assert client.receive(
        b"FAILED id=1 kind=refused retry_ms=5000 tried=203.0.113.5:25/timeout/30000,[2001:db8::5]:25/refused/12"
        b" reply=554%20no text=all%20refused\r\n"
    ) == [
        Failed(
            "1",
            "refused",
            5000,
            (Tried("203.0.113.5", 25, "timeout", 30_000), Tried("2001:db8::5", 25, "refused", 12)),
            "554 no",
            "all refused",
        )
    ]
    assert client.open(**TO).startswith(b"OPEN id=2 ")


def test_an_error_to_our_open_that_is_not_fatal_ends_the_open_alone():
    client = opening()
    assert client.receive(b"ERROR code=bad_line fatal=no verb=OPEN text=id\r\n") == [
        Fault("bad_line", False, "id", None, "OPEN")
    ]
    assert client.state == IDLE


def test_an_error_to_something_else_leaves_the_open_alone():
    client = opening()
    client.receive(b"ERROR code=unknown_verb fatal=no verb=X text=\r\n")
    assert client.state == OPENING
    client.receive(READY)
    assert client.state == SMTP


@pytest.mark.parametrize("start", [welcomed, opening])
def test_a_proxy_that_goes_away_is_heard(start):
    client = start()
    assert client.receive(b"GOAWAY reason=drain\r\n") == [GoneAway("drain")]
    assert client.state == OVER


def test_a_ping_is_answered():
    client = welcomed()
    assert client.ping(123) == b"PING t=123\r\n"
    assert client.receive(b"PONG t=123\r\n") == [Ponged("123")]


def test_nothing_behind_ready_is_read_by_a_client_that_reads_as_much_as_it_may():
    client = opening()
    come = bytearray(READY + GREETING)
    while client.state != SMTP:
        size = client.appetite
        client.receive(bytes(come[:size]))
        del come[:size]
    assert come == GREETING
    assert client.appetite > 1
    assert client.detach() == b""


# SMTP.


def test_a_session_is_replies_in_the_order_of_commands_until_quit():
    client = opening()
    assert client.receive(READY + GREETING)[1:] == [reply(220, b"mx1.example.net ESMTP")]
    assert client.say(b"NOOP") + client.say(b"quit") == b"NOOP\r\nquit\r\n"
    assert client.receive(b"250 ok\r\n221 ok\r\n") == [reply(250), reply(221)]
    assert client.state == IDLE


def test_the_next_open_may_follow_quit_at_once():
    client = in_session()
    assert client.say(b"QUIT") + client.open(**TO) == (
        b"QUIT\r\nOPEN id=2 source=192.0.2.1 to=203.0.113.5:25/mx1.example.net helo=out1.example.com\r\n"
    )
    assert client.appetite == 1
    told = client.receive(b"221 ok\r\n" + READY.replace(b"id=1", b"id=2") + GREETING)
    assert [type(event) for event in told] == [Replied, Ready, Replied]


def test_another_answer_to_quit_than_221_ends_it():
    client = in_session()
    client.say(b"QUIT")
    with pytest.raises(RemoteProtocolError, match="421 to QUIT"):
        client.receive(b"421 no\r\n")


@pytest.mark.parametrize(
    ("data", "wire"),
    [
        (b"Subject: x\r\n\r\ny\r\n", b"Subject: x\r\n\r\ny\r\n.\r\n"),
        (b"y", b"y\r\n.\r\n"),
        (b"", b".\r\n"),
        (b".\r\n..\r\n.a\r\nb.\r\n", b"..\r\n...\r\n..a\r\nb.\r\n.\r\n"),
    ],
)
def test_a_message_gets_its_dots_doubled_and_its_end(data, wire):
    assert in_session().say_body(data) == wire


@given(st.lists(st.sampled_from([b"", b".", b"..", b"a", b".a", b"a."]), max_size=5))
def test_of_every_line_that_begins_with_a_dot_the_dot_is_doubled(lines):
    stuffed = [b"." + line if line.startswith(b".") else line for line in lines]
    assert in_session().say_body(b"".join(line + b"\r\n" for line in lines)) == b"\r\n".join([*stuffed, b".\r\n"])


@given(st.text("ab.\r\n", max_size=9))
def test_a_message_without_any_other_line_end_is_sent(text):
    data, lines = text.encode(), text.encode().split(b"\r\n")
    if any(b"\r" in line or b"\n" in line for line in lines):
        with pytest.raises(LocalProtocolError):
            in_session().say_body(data)
    else:
        assert in_session().say_body(data).endswith(b".\r\n")


@pytest.mark.parametrize("data", [b"a\nb\r\n", b"a\rb\r\n", b"\n.\r\n", b"a\r", b"\n", b"\r\r\n"])
def test_a_message_with_another_line_end_is_not_sent(data):
    with pytest.raises(LocalProtocolError):
        in_session().say_body(data)


@pytest.mark.parametrize("command", [b"NOOP\r\nQUIT", b"NOOP\n", b"\r"])
def test_a_command_is_one_line(command):
    with pytest.raises(LocalProtocolError):
        in_session().say(command)


def quitting() -> Client:
    client = in_session()
    client.say(b"QUIT")
    return client


@pytest.mark.parametrize(
    ("start", "deed"),
    [
        (fresh, lambda client: client.open(**TO)),
        (opening, lambda client: client.open(**TO)),
        (in_session, lambda client: client.open(**TO)),
        (fresh, lambda client: client.ping(1)),
        (in_session, lambda client: client.ping(1)),
        (welcomed, lambda client: client.say(b"NOOP")),
        (opening, lambda client: client.say_body(b"")),
        (quitting, lambda client: client.say(b"NOOP")),
        (quitting, lambda client: client.say_body(b"")),
        (welcomed, lambda client: client.detach()),
    ],
)
def test_our_own_words_out_of_turn_are_our_own_fault(start, deed):
    with pytest.raises(LocalProtocolError):
        deed(start())


def test_only_one_open_follows_a_quit():
    client = quitting()
    client.open(**TO)
    with pytest.raises(LocalProtocolError):
        client.open(**TO)


def test_who_detaches_gets_what_was_read_too_far():
    client = opening()
    client.receive(READY)
    client.receive(b"220 mx")
    assert client.detach() == b"220 mx"
    assert client.state == OVER


def asked() -> Client:
    client = in_session()
    client.say(b"NOOP")
    client.say(b"QUIT")
    client.open(**TO)
    return client


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (fresh, CHALLENGE + challenged()[1]),
        (opening, READY + GREETING),
        (asked, b"250-a\r\n250 b\r\n221 ok\r\nFAILED id=2 kind=tls retry_ms=0 tried= text=\r\n"),
    ],
)
def test_what_a_proxy_says_means_the_same_however_it_is_cut(start, said):
    whole = start().receive(said)
    assert len(whole) in (2, 3)
    for pieces in every_split(said):
        client = start()
        assert [event for piece in pieces for event in client.receive(piece)] == whole


# A small proxy, with a remote behind it that takes what it is told.


@define
class SmallProxy:
    """A proxy made of the words alone: it is READY for port 25 and fails for any other; `bob` is no recipient."""

    messages: list[bytes] = field(factory=list)
    over: bool = False
    resets: bool = False
    full: bool = False
    binding: bytes = PLAIN_BINDING
    lines: bytes = b""
    _heard: bytearray = field(factory=bytearray)
    _hears: Callable[[], bytes | None] | None = None

    def receive(self, data: bytes) -> bytes:
        """Everything that is answered to these bytes."""
        self._heard += data
        answers = b""
        hears = self._hears or self.hear_hello
        while not self.over and (answer := hears()) is not None:
            answers += answer
            hears = self._hears or self.hear_hello
        return answers

    def line(self) -> bytes | None:
        cut = cut_line(self._heard, 16_384)
        if cut is not None:
            del self._heard[: cut[1]]
        return cut and cut[0]

    def hear_hello(self) -> bytes | None:
        line = self.line()
        if line is None:
            return None
        self.over = read_hello(line).node == "ends"
        self.lines = line + b"\r\n"
        self._hears = self.hear_auth
        return b"" if self.over else CHALLENGE

    def hear_auth(self) -> bytes | None:
        line = self.line()
        if line is None:
            return None
        verdict = Keyring((SECRET,)).judge(self.lines, CHALLENGE, line + b"\r\n", read_auth(line), self.binding)
        if not verdict.ok:
            self.over = True
            return render("ERROR", code="auth_failed", fatal="yes", text="authentication failed")
        self._hears = self.hear_open
        return render("WELCOME", proof=verdict.proof, session="ab" * 8, agent="small/1", caps=[], ping_ms=5000)

    def hear_open(self) -> bytes | None:
        line = self.line()
        if line is None:
            return None
        words = parse_line(line)
        id, to = words.values["id"], words.values["to"]
        if to.endswith(":666"):
            self.over = True
            return render("GOAWAY", reason="drain")
        if to.endswith(":667"):
            self.over = self.resets = True
            return b""
        if not to.endswith(":25"):
            return render("FAILED", id=id, kind="refused", retry_ms=0, tried=[f"{to}/refused/1"], text="refused")
        self._hears = self.hear_command
        return render("READY", id=id, source="192.0.2.1:40112", remote=to, reused="no", tls="none") + GREETING

    def hear_command(self) -> bytes | None:
        line = self.line()
        if line is None:
            return None
        verb = line.upper()
        if verb == b"QUIT":
            self._hears = self.hear_open
            return b"221 bye\r\n"
        self.full = self.full or b"FULL" in verb
        if verb == b"DATA" and self.full:
            return b"452 full\r\n"
        if verb == b"DATA":
            self._hears = self.hear_body
            return b"354 go on\r\n"
        return b"550 no\r\n" if b"BOB" in verb else b"250 ok\r\n"

    def hear_body(self) -> bytes | None:
        body, end, rest = (b"\r\n" + self._heard).partition(b"\r\n.\r\n")
        if not end:
            return None
        self._heard = bytearray(rest)
        self.messages.append((body + b"\r\n").replace(b"\r\n..", b"\r\n.")[2:])
        self._hears = self.hear_command
        return b"250 taken\r\n"


@define
class Pair:
    """A client and a small proxy, and bytes on their way in pieces of these sizes."""

    sizes: Iterator[int]
    proxy: SmallProxy = field(factory=SmallProxy)
    client: Client = field(factory=fresh)
    events: list[object] = field(factory=list)

    def send(self, data: bytes) -> list[object]:
        """The client sends this; what it hears until nobody says anything more."""
        heard: list[object] = []
        for piece in self.pieces(data):
            for answer in self.pieces(self.proxy.receive(piece)):
                heard += self.client.receive(answer)
        return heard

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = next(self.sizes)
            yield data[:size]
            data = data[size:]


def cycle(sizes: list[int]) -> Iterator[int]:
    while True:
        yield from sizes


BODIES = st.lists(st.sampled_from([b".", b"..", b"a", b"", b".a", b"QUIT"]), min_size=1).map(b"\r\n".join)


@given(st.lists(st.integers(1, 60), min_size=1), st.lists(st.none() | st.lists(BODIES, max_size=3), max_size=4))
def test_a_client_and_a_proxy_understand_each_other_however_their_bytes_are_cut(sizes, sessions):
    """Each session is None (no remote to be had) or the messages that it carries."""
    pair = Pair(cycle(sizes))
    (challenge,) = pair.send(pair.client.hello())
    (welcome,) = pair.send(challenge.answer)
    assert isinstance(welcome, Welcomed)
    for bodies in sessions:
        port = 26 if bodies is None else 25
        outcome, *rest = pair.send(pair.client.open(source="192.0.2.1", to=[f"203.0.113.5:{port}"], helo="h"))
        if bodies is None:
            assert isinstance(outcome, Failed)
            continue
        assert (type(outcome), rest) == (Ready, [reply(220, b"mx1.example.net ESMTP")])
        for body in bodies:
            assert pair.send(pair.client.say(b"MAIL FROM:<>") + pair.client.say(b"RCPT TO:<a>")) == [reply(250)] * 2
            assert pair.send(pair.client.say(b"DATA")) == [reply(354, b"go on")]
            assert pair.send(pair.client.say_body(body)) == [reply(250, b"taken")]
        assert pair.send(pair.client.say(b"QUIT")) == [reply(221, b"bye")]
    carried = [body for bodies in sessions if bodies for body in bodies]
    assert pair.proxy.messages == [body if body.endswith(b"\r\n") or not body else body + b"\r\n" for body in carried]


# Over real sockets.


@define
class Served:
    """A small proxy on loopback: where it listens, and what was sent through it."""

    port: int
    messages: list[bytes]


def answer(peer: socket.socket, proxy: SmallProxy) -> bytes:
    """Until one of both has enough; what came last."""
    data = b""
    while not proxy.over and (data := peer.recv(4096)) not in (b"", b"STOP"):
        peer.sendall(proxy.receive(data))
    if proxy.resets:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return data


@pytest.fixture
def served() -> Iterator[Served]:
    """One connection after the other is answered, by TLS if it begins so; each ends where the client's does."""
    messages: list[bytes] = []
    certificate = trustme.CA().issue_cert("proxy.example.net")
    shown = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                peer, _ = listener.accept()
                proxy = SmallProxy(messages)
                with contextlib.suppress(OSError):
                    if peer.recv(1, socket.MSG_PEEK) == b"\x16":
                        peer = context.wrap_socket(peer, server_side=True)
                        proxy.binding = certificate_binding(sha256(shown).hexdigest())
                    if answer(peer, proxy) == b"STOP":
                        peer.close()
                        return
                peer.close()

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield Served(listener.getsockname()[1], messages)
        finally:
            with socket.create_connection(listener.getsockname()) as last:
                last.sendall(b"STOP")
            server.join()


RUNTIMES = {
    "asyncio": lambda story: asyncio.run(story(connect_asyncio)),
    "uvloop": lambda story: uvloop.run(story(connect_asyncio)),
    "trio": lambda story: trio.run(story, connect_trio),
}
PLAIN = {"source": "192.0.2.1", "to": ["203.0.113.5:25"], "helo": "out1.example.com"}
MESSAGE = b"Subject: x\r\n\r\n.y\r\n"


@pytest.fixture(params=[(runtime, tls) for runtime in RUNTIMES for tls in (True, False)], ids=str)
def on(request, served):
    """Runs `story(proxy)` with a connection to the small proxy, on each runtime, over TLS and in plain text."""
    runtime, tls = request.param

    def run(story, secret: str = SECRET, node: str = "mta-1"):
        async def connected(connect):
            async with connect("127.0.0.1", served.port, secret=secret, node=node, tls=tls) as proxy:
                return await story(proxy)

        return RUNTIMES[runtime](connected)

    return run


def test_several_sessions_go_over_one_connection(on, served):
    async def story(proxy):
        told = []
        for _ in range(2):
            async with proxy.open(**PLAIN) as smtp:
                told += await smtp.send_message("a@example.com", ["b@example.net", "bob@example.net"], MESSAGE)
                assert smtp.greeting.code == 220
                assert smtp.ready.remote == "203.0.113.5:25"
        return [one.code for one in told]

    assert on(story) == [250, 250, 550, 354, 250] * 2
    assert served.messages == [MESSAGE] * 2


def test_a_session_without_a_word_ends_with_quit(on):
    async def story(proxy):
        async with proxy.open(**PLAIN):
            pass
        async with proxy.open(**PLAIN) as smtp:
            await smtp.quit()
            return (await smtp.quit()) is None

    assert on(story)


def test_who_refuses_the_sender_is_told_no_recipient(on):
    async def story(proxy):
        async with proxy.open(**PLAIN) as smtp:
            return [one.code for one in await smtp.send_message("bob@example.com", ["b@example.net"], MESSAGE)]

    assert on(story) == [550]


def test_without_a_recipient_the_message_is_reset_and_the_next_one_goes(on, served):
    async def story(proxy):
        async with proxy.open(**PLAIN) as smtp:
            none = await smtp.send_message("a@example.com", ["bob@example.net"], MESSAGE)
            some = await smtp.send_message("a@example.com", ["b@example.net"], MESSAGE)
            return [one.code for one in none], [one.code for one in some]

    assert on(story) == ([250, 550], [250, 250, 354, 250])
    assert served.messages == [MESSAGE]


def test_without_room_the_message_is_not_sent(on, served):
    async def story(proxy):
        async with proxy.open(**PLAIN) as smtp:
            return [one.code for one in await smtp.send_message("a@example.com", ["full@example.net"], MESSAGE)]

    assert on(story) == [250, 250, 452]
    assert served.messages == []


def test_a_message_with_a_bare_line_end_is_refused_before_a_word_is_said(on, served):
    async def story(proxy):
        async with proxy.open(**PLAIN) as smtp:
            with pytest.raises(LocalProtocolError):
                await smtp.send_message("a@example.com", ["b@example.net"], b"a\nb\r\n")
            return smtp.greeting

    assert on(story) is None


def test_no_remote_is_an_error_that_leaves_the_connection_good(on):
    async def story(proxy):
        with pytest.raises(OpenFailed, match="refused: refused") as caught:
            async with proxy.open(source="192.0.2.1", to=["203.0.113.5:26"], helo="h"):
                pass
        async with proxy.open(**PLAIN):
            return caught.value.failed.tried

    assert on(story) == (Tried("203.0.113.5", 26, "refused", 1),)


def test_a_block_that_raises_ends_the_connection(on):
    async def story(proxy):
        with pytest.raises(KeyError):
            async with proxy.open(**PLAIN):
                raise KeyError
        with pytest.raises(LocalProtocolError):
            async with proxy.open(**PLAIN):
                pass

    on(story)


def test_a_wrong_secret_is_refused(on):
    with pytest.raises(ProxyRefused, match="auth_failed: authentication failed") as caught:
        on(None, secret="another-secret-of-the-tests-and-of-no-other")
    assert caught.value.fault.fatal


def test_a_proxy_that_goes_away_is_no_failed_open(on):
    async def story(proxy):
        with pytest.raises(ProxyGone, match="drain"):
            async with proxy.open(source="192.0.2.1", to=["203.0.113.5:666"], helo="h"):
                pass

    on(story)


def test_a_proxy_that_closes_is_gone(on):
    with pytest.raises(ProxyGone, match="closed"):
        on(None, node="ends")


def test_a_proxy_that_resets_is_gone_in_both_directions(on):
    async def story(proxy):
        with pytest.raises(ConnectionError):
            async with proxy.open(source="192.0.2.1", to=["203.0.113.5:667"], helo="h"):
                pass
        with pytest.raises(ConnectionError):
            await proxy.link.send(b"anybody there?")

    on(story)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nobody_listening_is_an_error_of_the_system(runtime):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def story(connect):
        async with connect("127.0.0.1", port, secret=SECRET, node="mta-1"):
            pass

    with pytest.raises(OSError):
        RUNTIMES[runtime](story)


# Without the TLS that is due.


@pytest.fixture
def stubborn() -> Iterator[int]:
    """A port at which one caller is told something that is no TLS, or nothing, and hung up on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"220 this is no proxy\r\n")

        server = threading.Thread(target=serve)
        server.start()
        yield listener.getsockname()[1]
        server.join()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_where_there_is_no_tls_it_fails_and_does_not_go_on_in_plain_text(stubborn, runtime):
    async def story(connect):
        async with connect("127.0.0.1", stubborn, secret=SECRET, node="mta-1"):
            pass

    with pytest.raises(ProxyGone, match=r"^no TLS with the proxy: .*wrong version number"):
        RUNTIMES[runtime](story)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_proxy_that_ends_in_the_handshake_is_told_as_such(runtime):
    async def story(connect):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = threading.Thread(target=hang_up, args=[listener])
            server.start()
            async with connect(*listener.getsockname(), secret=SECRET, node="mta-1"):
                pass

    with pytest.raises(ProxyGone, match=r"^no TLS with the proxy: \S+"):
        RUNTIMES[runtime](story)


def hang_up(listener: socket.socket) -> None:
    """Read what one caller says, and end."""
    peer, _ = listener.accept()
    with peer:
        peer.recv(4096)


# Other libraries on the line.


def test_smtplib_speaks_on_a_socket_that_is_ready(served):
    client = fresh()
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        line.sendall(client.hello())
        while client.state != SMTP:
            for event in client.receive(line.recv(client.appetite)):
                if isinstance(event, Challenged):
                    line.sendall(event.answer)
                elif isinstance(event, Welcomed):
                    line.sendall(client.open(**PLAIN))
        smtp = smtplib.SMTP()
        smtp.sock = line
        assert smtp.getreply()[0] == 220
        assert smtp.sendmail("a@example.com", ["b@example.net"], MESSAGE) == {}
        smtp.quit()
    assert served.messages == [MESSAGE]


def test_aiosmtplib_speaks_on_a_detached_socket(served):
    async def story():
        async with (
            connect_asyncio("127.0.0.1", served.port, secret=SECRET, node="mta-1", tls=False) as proxy,
            proxy.open(**PLAIN) as smtp,
            aiosmtplib.SMTP(sock=smtp.detach()) as other,
        ):
            return await other.sendmail("a@example.com", ["b@example.net"], MESSAGE)

    refused, _ = asyncio.run(story())
    assert refused == {}
    assert served.messages == [MESSAGE]


@pytest.mark.parametrize("tls", [True, False])
def test_a_detached_trio_stream_has_lost_nothing(served, tls):
    async def story():
        async with (
            connect_trio("127.0.0.1", served.port, secret=SECRET, node="mta-1", tls=tls) as proxy,
            proxy.open(**PLAIN) as smtp,
        ):
            stream = smtp.detach()
        async with stream:
            heard = b""
            while not heard.endswith(b"\n"):
                heard += await stream.receive_some()
            return heard

    assert trio.run(story) == GREETING


@pytest.mark.parametrize("runtime", ["asyncio", "uvloop"])
def test_detached_asyncio_streams_have_lost_nothing(served, runtime):
    async def story(connect):
        async with (
            connect("127.0.0.1", served.port, secret=SECRET, node="mta-1") as proxy,
            proxy.open(**PLAIN) as smtp,
        ):
            reader, writer = smtp.detach()
        heard = [await reader.readline()]
        writer.write(b"EHLO a\r\n")
        heard.append(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return heard

    greeting, ehlo = RUNTIMES[runtime](story)
    assert greeting == GREETING
    assert ehlo.startswith(b"250")
