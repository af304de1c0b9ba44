"""An MTA's side of the native protocol: knows its lines, its proofs, and when the line is SMTP.

Does not know a socket, a clock or a runtime: whoever has one feeds the machine, or lends a `Link` to a `Connection`.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hmac import compare_digest
from typing import ClassVar, Generic, Protocol, Required, TypedDict, TypeVar, Unpack

from attrs import frozen

from gaproxy import __version__
from gaproxy.proto.asks import Tried
from gaproxy.proto.doors.credentials import PLAIN_BINDING, certificate_binding, mta_proof, proxy_proof
from gaproxy.proto.doors.native_words import ID_MAX, Line, cut_line, integer, parse_line, render
from gaproxy.proto.errors import LocalProtocolError, RemoteProtocolError
from gaproxy.proto.smtp.commands import spell_message
from gaproxy.proto.smtp.replies import Reply, cut_reply

VERSION = 1
AGENT = f"gaproxy-client/{__version__}"
LINE_BYTES_BEFORE, LINE_BYTES_AFTER = 1024, 16_384
READ_BYTES = 65_536

GREETED, PROVED, IDLE, OPENING, SMTP, OVER = "GREETED", "PROVED", "IDLE", "OPENING", "SMTP", "OVER"

_BETWEEN = {"PONG": "_ponged", "GOAWAY": "_gone_away", "ERROR": "_faulted"}


@frozen
class Challenged:
    """The proxy wants our proof: send `answer`."""

    answer: bytes


@frozen
class Welcomed:
    """Both have proved that they know the secret."""

    session: str
    agent: str
    caps: tuple[str, ...]
    ping_ms: int


@frozen
class Ready:
    """A remote is there, and the line is SMTP until the reply to QUIT. `cipher`, `verified`: None without TLS."""

    id: str
    source: str
    remote: str
    host: str | None
    reused: bool
    uses: int
    age_ms: int
    tls: str
    cipher: str | None
    verified: bool | None


@frozen
class Failed:
    """No remote: why (`kind`), what was tried, the remote's own words, and after how long to try again."""

    id: str
    kind: str
    retry_ms: int
    tried: tuple[Tried, ...]
    reply: str | None
    text: str


@frozen
class Replied:
    """One SMTP reply; the first behind `Ready` is the remote's greeting."""

    reply: Reply


@frozen
class Ponged:
    """The proxy answers a PING."""

    stamp: str


@frozen
class GoneAway:
    """The proxy closes this connection; an OPEN under way was not acted on."""

    reason: str


@frozen
class Fault:
    """The proxy refuses a line of ours; if `fatal` it closes. A `code` that is not known is a temporary failure."""

    code: str
    fatal: bool
    text: str
    id: str | None
    verb: str | None


class OpenWords(TypedDict, total=False):
    """What an OPEN says. `to`: `address:port[/host][/N]` each. What is left out has the protocol's own default."""

    source: Required[str | Sequence[str]]
    to: Required[Sequence[str]]
    helo: Required[str]
    tls: str
    tls_names: Sequence[str]
    throttle: str
    pool: str
    reuse: str
    wait_ms: int


Event = Challenged | Welcomed | Ready | Failed | Replied | Ponged | GoneAway | Fault


def refuse_bare_ends(data: bytes) -> None:
    """Raise LocalProtocolError unless every line of this message ends in CRLF (RFC 5321 2.3.8)."""
    ends = data.count(b"\r\n")
    if data.count(b"\r") != ends or data.count(b"\n") != ends:  # a tenth of the time that a pattern takes
        raise LocalProtocolError("a bare CR or LF in a message")


class Client:
    """One connection to a proxy, without the connection. Bytes that methods return are to be sent, in that order.

    `nonce`: 64 fresh random lower-case hex digits. Every method raises LocalProtocolError where the protocol does not
    allow it now.
    """

    HEARS: ClassVar[Mapping[str, Mapping[str, str]]] = {
        GREETED: {"CHALLENGE": "_challenged", "ERROR": "_faulted"},
        PROVED: {"WELCOME": "_welcomed", "ERROR": "_faulted"},
        IDLE: _BETWEEN,
        OPENING: {"READY": "_ready", "FAILED": "_failed", **_BETWEEN},
    }

    def __init__(self, secret: str, node: str, nonce: str, *, agent: str = AGENT) -> None:
        self.state = GREETED
        self._secret = secret
        self._binding = PLAIN_BINDING
        self._hello = render(f"GAPROXY/{VERSION}", min=VERSION, node=node, role="smtp", nonce=nonce, agent=agent)
        self._wanted = ""  # the proof that the proxy owes us
        self._buffer = bytearray()
        self._ids = 0
        self._opening: str | None = None
        self._owed: deque[bool] = deque()  # one a reply; whether it is the one to QUIT

    # What we say.

    def bind(self, certificate_sha256: str) -> None:
        """TLS stands: both proofs are for the certificate that was shown (hex SHA-256 of its DER), and no other."""
        if self.state != GREETED:
            raise LocalProtocolError(f"no certificate while {self.state}")
        self._binding = certificate_binding(certificate_sha256)

    def hello(self) -> bytes:
        """The first line; the proxy is silent until it has it."""
        return self._hello

    def open(self, **words: Unpack[OpenWords]) -> bytes:
        """Ask for a remote. Answered by `Ready` or `Failed`. May follow QUIT at once, before its reply is here."""
        if self._opening is not None or not (self.state == IDLE or (self.state == SMTP and self._quitting())):
            raise LocalProtocolError(f"no OPEN while {self.state}")
        self._ids += 1
        self._opening = str(self._ids)
        if self.state == IDLE:
            self.state = OPENING
        return render("OPEN", id=self._opening, **words)

    def ping(self, stamp: int) -> bytes:
        """Ask for a sign of life between two sessions. Answered by `Ponged`."""
        if self.state != IDLE:
            raise LocalProtocolError(f"no PING while {self.state}")
        return render("PING", t=stamp)

    def say(self, command: bytes) -> bytes:
        """One SMTP command, without CRLF. Answered by `Replied`."""
        self._may_speak()
        if b"\r" in command or b"\n" in command:
            raise LocalProtocolError("a line end within a command")
        self._owed.append(command.upper() == b"QUIT")
        return command + b"\r\n"

    def say_body(self, data: bytes) -> bytes:
        """A message, dots doubled and its end added (RFC 5321 4.5.2): its lines end in CRLF. Answered by `Replied`."""
        self._may_speak()
        refuse_bare_ends(data)
        self._owed.append(False)
        return spell_message(data)

    def detach(self) -> bytes:
        """The line is somebody else's from now on, who closes it. What was read of it already is returned."""
        if self.state != SMTP:
            raise LocalProtocolError(f"no SMTP while {self.state}")
        self.state = OVER
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _may_speak(self) -> None:
        if self.state != SMTP or self._quitting():
            raise LocalProtocolError(f"no SMTP while {'QUIT is under way' if self.state == SMTP else self.state}")

    def _quitting(self) -> bool:
        return bool(self._owed) and self._owed[-1]

    # What we hear.

    @property
    def appetite(self) -> int:
        """How many bytes to read at most, so that none behind READY is: those are for whoever speaks SMTP."""
        return READ_BYTES if self._opening is None else 1

    def receive(self, data: bytes) -> list[Event]:
        """Bytes came: what they mean. Raises RemoteProtocolError for what no proxy may say; all is over then."""
        self._buffer += data
        events: list[Event] = []
        try:
            while (event := self._next()) is not None:
                events.append(event)
        except ValueError as fault:
            self.state = OVER
            raise RemoteProtocolError(f"a line that cannot be read: {fault}") from None
        except RemoteProtocolError:
            self.state = OVER
            raise
        return events

    def _next(self) -> Event | None:
        if self.state == SMTP:
            return self._replied()
        if self.state == OVER:
            return None
        before = self.state in (GREETED, PROVED)
        cut = cut_line(self._buffer, LINE_BYTES_BEFORE if before else LINE_BYTES_AFTER)
        if cut is None:
            return None
        wire, size = cut
        del self._buffer[:size]
        line = parse_line(wire)
        name = self.HEARS[self.state].get(line.verb)
        if name is None:
            raise RemoteProtocolError(f"{line.verb} while {self.state}")
        heard: Callable[[Line], Event] = getattr(self, name)
        return heard(line)

    def _challenged(self, line: Line) -> Event:
        integer(line.values.get("v", ""), VERSION, VERSION)
        challenge = line.wire + b"\r\n"
        auth = render("AUTH", proof=mta_proof(self._secret, self._hello, challenge, self._binding))
        self._wanted = proxy_proof(self._secret, self._hello, challenge, auth, self._binding)
        self.state = PROVED
        return Challenged(auth)

    def _welcomed(self, line: Line) -> Event:
        proof = line.values.get("proof", "")
        if not compare_digest(self._wanted.encode("ascii"), proof.encode("utf-8")):
            raise RemoteProtocolError("a WELCOME by somebody who does not know the secret")
        self.state = IDLE
        ping_ms = integer(line.values.get("ping_ms", "0"), 0, 3_600_000)
        return Welcomed(line.values.get("session", ""), line.values.get("agent", ""), line.items("caps"), ping_ms)

    def _ready(self, line: Line) -> Event:
        values = line.values
        tls = values.get("tls", "none")
        ready = Ready(
            id=self._answered(line),
            source=values.get("source", ""),
            remote=values.get("remote", ""),
            host=values.get("host"),
            reused=values.get("reused") == "yes",
            uses=integer(values.get("uses", "1"), 1, ID_MAX),
            age_ms=integer(values.get("age_ms", "0"), 0, ID_MAX),
            tls=tls,
            cipher=values.get("cipher"),
            verified=None if tls == "none" else values.get("verified") == "yes",
        )
        self.state = SMTP
        self._owed.append(False)  # the greeting
        return ready

    def _failed(self, line: Line) -> Event:
        said = line.values.get
        id = self._answered(line)
        self.state = IDLE
        tried = tuple(_tried(item) for item in line.items("tried"))
        retry_ms = integer(said("retry_ms", "0"), 0, 3_600_000)
        return Failed(id, said("kind", "internal"), retry_ms, tried, said("reply"), said("text", ""))

    def _answered(self, line: Line) -> str:
        id, self._opening = self._opening, None
        if id is None or line.values.get("id") != id:
            raise RemoteProtocolError(f"{line.verb} for an OPEN that was never sent")
        return id

    def _ponged(self, line: Line) -> Event:
        return Ponged(line.values.get("t", ""))

    def _gone_away(self, line: Line) -> Event:
        self.state = OVER
        return GoneAway(line.values.get("reason", ""))

    def _faulted(self, line: Line) -> Event:
        said = line.values.get
        fault = Fault(said("code", ""), said("fatal") != "no", said("text", ""), said("id"), said("verb"))
        if fault.fatal:
            self.state = OVER
        elif self.state == OPENING and fault.verb == "OPEN":
            self._opening = None
            self.state = IDLE
        return fault

    def _replied(self) -> Event | None:
        if not self._buffer:
            return None
        if not self._owed:
            raise RemoteProtocolError("a reply that is not owed")
        cut = cut_reply(self._buffer)
        if cut is None:
            return None
        reply, size = cut
        del self._buffer[:size]
        if self._owed.popleft():
            if reply.code != 221:
                raise RemoteProtocolError(f"{reply.code} to QUIT")
            self.state = IDLE if self._opening is None else OPENING
        return Replied(reply)


def _tried(item: str) -> Tried:
    place, kind, after_ms = item.split("/")
    address, _, port = place.rpartition(":")
    return Tried(address.strip("[]"), integer(port, 1, 65_535), kind, integer(after_ms, 0, ID_MAX))


# A conversation over a link that somebody lends: what is the same on every runtime.

Heard = TypeVar("Heard", bound=Event)
Whole = TypeVar("Whole", covariant=True)


class Link(Protocol[Whole]):
    """A connected stream of bytes, as a runtime lends it. `detach` gives out the stream itself."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self, limit: int) -> bytes:
        """At most `limit` bytes; none at the end."""
        ...

    def close(self) -> None: ...

    def detach(self) -> Whole: ...


class ProxyGone(ConnectionError):
    """The proxy ended the connection, or says that it will."""


class ProxyRefused(Exception):
    """The proxy answered with ERROR (`fault`)."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.code}: {fault.text}")
        self.fault = fault


class OpenFailed(Exception):
    """There is no remote (`failed`); the connection to the proxy is good for the next `open`."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(f"{failed.kind}: {failed.text}")
        self.failed = failed


class Connection(Generic[Whole]):
    """A connection to a proxy: one SMTP session after the other. Waits as long as it takes; time-outs are the caller's.

    Where it raises anything but OpenFailed it is good for nothing but `close`.
    """

    def __init__(self, client: Client, link: Link[Whole]) -> None:
        self.client = client
        self.link = link
        self._events: deque[Event] = deque()

    async def greet(self) -> Welcomed:
        """The handshake. Raises ProxyRefused, ProxyGone, RemoteProtocolError."""
        await self.link.send(self.client.hello())
        challenged = await self._expect(Challenged)
        await self.link.send(challenged.answer)
        return await self._expect(Welcomed)

    @asynccontextmanager
    async def open(self, **words: Unpack[OpenWords]) -> AsyncIterator["Session[Whole]"]:
        """One SMTP session. It ends with QUIT, or, where the block raises, with the connection.

        Raises OpenFailed, ProxyRefused, ProxyGone, RemoteProtocolError.
        """
        order = self.client.open(**words)
        session = Session(self, await self._opened(order))
        try:
            yield session
            await session.quit()
        except BaseException:
            self.close()
            raise

    async def _opened(self, order: bytes) -> Ready:
        await self.link.send(order)
        outcome = await self._hear()
        if isinstance(outcome, Failed):
            raise OpenFailed(outcome)
        return self._being(Ready, outcome)

    def close(self) -> None:
        """At once. A remote that a session has is not shared then."""
        self.link.close()

    async def ask(self, words: bytes) -> Reply:
        """Send these bytes, if any, and wait for one SMTP reply."""
        if words:
            await self.link.send(words)
        return (await self._expect(Replied)).reply

    async def _expect(self, kind: type[Heard]) -> Heard:
        return self._being(kind, await self._hear())

    def _being(self, kind: type[Heard], event: Event) -> Heard:
        if isinstance(event, kind):
            return event
        if isinstance(event, Fault):
            raise ProxyRefused(event)
        raise ProxyGone(f"the proxy goes away: {event}")

    async def _hear(self) -> Event:
        while not self._events:
            data = await self.link.receive(self.client.appetite)
            if not data:
                raise ProxyGone("the proxy closed the connection")
            self._events += self.client.receive(data)
        return self._events.popleft()


class Session(Generic[Whole]):
    """SMTP with one remote, which `ready` describes. The remote's greeting is read before the first command."""

    def __init__(self, connection: Connection[Whole], ready: Ready) -> None:
        self.ready = ready
        self.greeting: Reply | None = None
        self._connection = connection

    async def command(self, command: bytes) -> Reply:
        """One command, without CRLF, and its reply."""
        if self.greeting is None:
            self.greeting = await self._connection.ask(b"")
        return await self._connection.ask(self._connection.client.say(command))

    async def send_message(self, mail_from: str, rcpt_tos: Sequence[str], data: bytes) -> list[Reply]:
        """One message, every line of which ends in CRLF: the replies to MAIL, each RCPT, DATA and the end of data.

        The list ends early where MAIL or DATA is refused, or every RCPT; the session is good for the next message then.
        """
        refuse_bare_ends(data)
        replies = [await self.command(b"MAIL FROM:<%b>" % mail_from.encode("ascii"))]
        if replies[0].code != 250:
            return replies
        replies += [await self.command(b"RCPT TO:<%b>" % rcpt.encode("ascii")) for rcpt in rcpt_tos]
        if not any(200 <= reply.code < 300 for reply in replies[1:]):
            await self.command(b"RSET")
            return replies
        replies.append(await self.command(b"DATA"))
        if replies[-1].code == 354:
            replies.append(await self._connection.ask(self._connection.client.say_body(data)))
        return replies

    async def quit(self) -> None:
        """End the session; the remote may serve the next one. Nothing happens where it has ended, or was detached."""
        if self._connection.client.state == SMTP:
            await self.command(b"QUIT")

    def detach(self) -> Whole:
        """The stream itself, for another SMTP library, which closes it; this connection to the proxy ends with it.

        Before the first command: the remote's greeting is still to be read then, as every library wants it.
        """
        self._connection.client.detach()
        return self._connection.link.detach()
