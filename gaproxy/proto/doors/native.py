"""The native door: an MTA proves itself, asks for a remote, and gets a line that simply is SMTP until its QUIT.

Knows the order of the native protocol's words (docs/native-protocol.md); does not know SMTP, nor how a remote is found.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from gaproxy import __version__
from gaproxy.proto.asks import CallOff, Distrust, Failed, Leave, Lend, Mention, Open, Opened, Say, Trust, spell_place
from gaproxy.proto.doors.credentials import PLAIN_BINDING, Keys, certificate_binding
from gaproxy.proto.doors.looks import LOOK, hints
from gaproxy.proto.doors.native_words import (
    Hello,
    OpenFault,
    WordFault,
    cut_line,
    parse_line,
    read_auth,
    read_hello,
    read_open,
    refuses_prefix,
    render,
    render_failed,
    render_ready,
)
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.session import ACCEPT, ANY, AT_ONCE, FORMER, Cut, Session, State

WAITING, STRANGER, CHALLENGED, DOOMED = "WAITING", "STRANGER", "CHALLENGED", "DOOMED"
IDLE, OPENING, LENT, LEFT = "IDLE", "OPENING", "LENT", "LEFT"

VERSION = OLDEST_VERSION = 1
AGENT = f"gaproxy/{__version__}"
LINE_BYTES_BEFORE, LINE_BYTES_AFTER = 1024, 16_384
PING_MS = 5000
# What a journal does not tell: how a stranger goes on who does not greet, but for what shows what it speaks; all behind
# AUTH; a proof that is given once more; a line that is none of ours, for it may be one of a message.
GREETS_NOT = rb"\A(?!GAPROXY/)(?:" + LOOK + rb"|G(?:A(?:P(?:R(?:O(?:X(?:Y)?)?)?)?)?)?)?(.*)"
NO_GREETING = re.compile(GREETS_NOT, re.DOTALL)
PROOF = re.compile(rb"\A(?:AUTH(?: |(?=\r)))?(.*)", re.DOTALL | re.IGNORECASE)
NO_WORD = re.compile(rb"((?<=\AAUTH proof=)[0-9a-f]+|\A(?!(?:[A-Z]+|(?i:EHLO))[ \r]).*)", re.DOTALL)
NO_EHLO = re.compile(rb"\A(?!EHLO[ \r])(.*)", re.DOTALL | re.IGNORECASE)


class NativeDoor(Session):
    """One MTA's connection to `listen`. `entropy`: 48 bytes, of which 32 are our nonce and 8 the session's name."""

    STATES: ClassVar[Mapping[str, State]] = {
        WAITING: State((STRANGER, LEFT)),  # unread: too many strangers are being heard
        STRANGER: State((CHALLENGED, DOOMED, LEFT), {"GAPROXY": "hello"}, "handshake", secret=NO_GREETING),
        CHALLENGED: State(
            (IDLE, DOOMED, LEFT), {"AUTH": "auth", ANY: "no_auth"}, "handshake", since=FORMER, secret=PROOF
        ),
        DOOMED: State((LEFT,), {}, "failure", since=ACCEPT),
        IDLE: State(
            (IDLE, OPENING, LEFT),
            {"OPEN": "open", "PING": "ping", "PONG": "pong", ANY: "unknown"},
            "native_idle",
            secret=NO_WORD,
        ),
        OPENING: State((IDLE, LENT, LEFT), {"EHLO": "keep", ANY: "bad_state"}, end=AT_ONCE, secret=NO_EHLO),
        LENT: State((IDLE,)),  # the relay's patience holds
        LEFT: State(),
    }

    def __init__(self, keys: Keys, client: tuple[str, int], entropy: bytes, mails_per_turn: int | None = None) -> None:
        super().__init__(WAITING)
        self.mails_per_turn = mails_per_turn
        self.keys = keys
        self.client = spell_place(*client)
        self.nonce = entropy[:32].hex()
        self.name = entropy[32:40].hex()
        self.tls = "none"
        self.binding = PLAIN_BINDING
        self.transcript: tuple[bytes, bytes] = (b"", b"")
        self.node = ""
        self.role = ""
        self.id = ""
        self.kept = b""
        self.may_pass_ehlo = False
        self.goes_for = ""  # why it is sent away as soon as it is idle

    # How bytes are cut.

    def cut(self, unheard: bytearray) -> Cut | None:
        if self.state == STRANGER and refuses_prefix(unheard):
            self.mention_refusal("other_protocol", **dict(hints(unheard, "listen")))
            self.become(LEFT)
            self.ask(Leave())
            return None
        before = self.state in (STRANGER, CHALLENGED)
        cut = cut_line(unheard, LINE_BYTES_BEFORE if before else LINE_BYTES_AFTER)
        if cut is None:
            return None
        # An SMTP library may spell its EHLO as it likes; our own verbs in small letters are refused when they are read.
        word = "GAPROXY" if self.state == STRANGER else cut[0].split(b" ", 1)[0].decode("ascii").upper()
        return word, cut[0], cut[1]

    def hear(self, word: str | int | None, item: Any) -> None:
        """A fault that is not fatal is told, and the next line heard. An EHLO behind a failed OPEN is passed over."""
        passed_over, self.may_pass_ehlo = self.may_pass_ehlo and word == "EHLO", False
        if passed_over:
            return
        try:
            super().hear(word, item)
        except OpenFault as fault:
            self.id = fault.id or ""
            self.refuse_open(Failed(fault.kind, str(fault)))
        except WordFault as fault:
            if fault.fatal:
                raise
            self.tell_fault(fault)

    # The handshake.

    def admitted(self) -> None:
        """We begin to read."""
        self.become(STRANGER)

    def secured(self, version: str, certificate_sha256: str) -> None:
        """TLS stands, before any word. `certificate_sha256`: of the certificate that we showed."""
        self.tls = version
        self.binding = certificate_binding(certificate_sha256)

    def unsecured(self, kind: str, text: str, seen: bytes) -> None:
        """There is no TLS, and nobody to tell: the peer has not greeted yet."""
        if kind == "plain_text":
            self.mention_refusal("plain_text", **dict(hints(seen, "listen")))
        else:
            self.mention_refusal("tls", text=text)
        self.become(LEFT)
        self.ask(Leave())

    def hello(self, line: bytes) -> None:
        hello = read_hello(line)
        refusal = refuses_version(hello)
        if refusal is not None:
            self.refuse_version(refusal)
        else:
            self.challenge(hello, line)

    def challenge(self, hello: Hello, line: bytes) -> None:
        self.node, self.role = hello.node, hello.role
        challenge = render("CHALLENGE", v=min(hello.version, VERSION), nonce=self.nonce)
        self.transcript = (line + b"\r\n", challenge)
        self.become(CHALLENGED)
        self.ask(Say(challenge))

    def auth(self, line: bytes) -> None:
        verdict = self.keys.judge(*self.transcript, line + b"\r\n", read_auth(line), self.binding)
        if not verdict.ok:
            self.doom("wrong_proof")
            return
        self.become(IDLE)
        self.ask(Trust())
        welcome = render("WELCOME", proof=verdict.proof, session=self.name, agent=AGENT, caps="", ping_ms=PING_MS)
        self.ask(Say(welcome))
        fields = {"session": self.name, "node": self.node, "client": self.client, "tls": self.tls}
        fields["secret"] = "current" if verdict.which == 0 else "previous"
        self.ask(Mention("native_authenticated", fields))
        if self.role != "smtp":
            raise WordFault("bad_state", f"role={self.role} is not served by this version", fatal=True)
        self.be_idle()

    def no_auth(self, line: bytes) -> None:
        self.keys.judge(*self.transcript, line + b"\r\n", "", self.binding)
        self.doom("no_proof")

    def refuse_version(self, text: str) -> None:
        self.become(LEFT)
        self.ask(Say(render("ERROR", code="version", fatal="yes", text=text)), Leave())
        self.mention_refusal("version")

    def doom(self, reason: str) -> None:
        """Every failure is told alike, one second after accept."""
        self.become(DOOMED)
        self.ask(Distrust())
        self.mention_refusal(reason)

    def mention_refusal(self, reason: str, **more: str) -> None:
        fields = {"session": self.name, "client": self.client, "reason": reason, **more}
        self.ask(Mention("native_refused", fields))

    # Between two sessions.

    def open(self, line: bytes) -> None:
        self.id, request = read_open(parse_line(line), self.name, self.node)
        self.become(OPENING)
        self.ask(Open(request))

    def ping(self, line: bytes) -> None:
        stamp = parse_line(line).values.get("t", "")
        if not re.fullmatch(r"[0-9]{1,20}", stamp):
            raise WordFault("bad_line", "PING needs t, 1 to 20 digits", verb="PING")
        self.become(IDLE)
        self.ask(Say(render("PONG", t=stamp)))

    def pong(self, line: bytes) -> None:
        """One that nobody asked for is ignored."""

    def unknown(self, line: bytes) -> None:
        raise WordFault("unknown_verb", "not a verb of this protocol", verb=parse_line(line).verb)

    # While a remote is looked for.

    def keep(self, line: bytes) -> None:
        """One EHLO may come before READY; it is handed over with the connection."""
        if self.kept:
            self.bad_state(line)
        self.kept = line + b"\r\n"

    def bad_state(self, line: bytes) -> None:
        raise WordFault("bad_state", "nothing but one EHLO may come before READY or FAILED", id=self.id, fatal=True)

    def opened(self, outcome: Opened) -> None:
        self.become(LENT)
        kept, self.kept = self.kept, b""
        self.ask(
            Say(render_ready(self.id, outcome)),
            Lend(
                kept,
                f"{self.name}/{self.id}",
                outcome.offer,
                self.fields(outcome),
                mails_per_turn=self.mails_per_turn,
            ),
        )

    def fields(self, outcome: Opened) -> dict[str, str | int]:
        """What the log tells of this session, in its order."""
        return {
            "session": f"{self.name}/{self.id}",
            "node": self.node,
            "client": self.client,
            "source": spell_place(*outcome.source),
            "remote": spell_place(outcome.destination.address, outcome.destination.port),
            "host": outcome.destination.host or "",
            "tls": outcome.security.version if outcome.security else "none",
            "reused": "yes" if outcome.reused else "no",
            "uses": outcome.uses,
        }

    def failed(self, failed: Failed) -> None:
        self.become(IDLE)
        self.refuse_open(failed)
        self.be_idle()

    def refuse_open(self, failed: Failed) -> None:
        """The EHLO that was pipelined behind this OPEN is passed over, whenever it comes."""
        self.may_pass_ehlo = not self.kept
        self.kept = b""
        self.ask(Say(render_failed(self.id, failed)))
        self.mention_failure(failed)

    def mention_failure(self, failed: Failed) -> None:
        tried = ",".join(f"{spell_place(one.address, one.port)}/{one.kind}/{one.after_ms}" for one in failed.tried)
        told = {"session": f"{self.name}/{self.id}", "kind": failed.kind, "client": self.client, "tried": tried}
        told |= {"reply": failed.reply or "", "text": failed.text}
        self.ask(Mention("smtp_failed", told))

    # The end.

    def returned(self) -> None:
        """The relay is over, and the next line is ours again."""
        self.become(IDLE)
        self.be_idle()

    def be_idle(self) -> None:
        if self.goes_for:
            self.go_away(self.goes_for)

    def send_away(self, reason: str) -> None:
        """As soon as it is idle; what was begun before comes to its end."""
        self.goes_for = reason
        if self.state == IDLE:
            self.go_away(reason)

    def drain(self) -> None:
        """The house is closing: a dial under way is called off, for no mail has begun on it."""
        self.send_away("drain")
        if self.state == OPENING:
            self.call_off()
            self.failed(Failed("shutting_down", "the proxy is shutting down", retry_ms=1000))

    def go_away(self, reason: str) -> None:
        self.become(LEFT)
        self.ask(Say(render("GOAWAY", reason=reason)), Leave())

    def elapsed(self) -> None:
        if self.state == IDLE:
            self.go_away("idle")
            return
        if self.state == DOOMED:
            text = "authentication failed"
            self.ask(Say(render("ERROR", code="auth_failed", fatal="yes", text=text)))
        else:
            self.mention_refusal("handshake_timeout")
        self.become(LEFT)
        self.ask(Leave())

    def ended(self) -> None:
        self.lost("closed")
        self.ask(Leave())

    def lost(self, kind: str) -> None:
        if self.state == OPENING:
            self.mention_failure(Failed("mta_gone", "the MTA left before there was a remote"))
        self.call_off()
        self.become(LEFT)

    def call_off(self) -> None:
        if self.state == OPENING:
            self.ask(CallOff())

    def tell_fault(self, fault: WordFault) -> None:
        told: dict[str, str | None] = {
            "code": fault.code,
            "fatal": "yes" if fault.fatal else "no",
            "id": fault.id,
            "verb": fault.verb,
        }
        self.ask(Say(render("ERROR", **told, text=str(fault))))

    def faulted(self, fault: RemoteProtocolError) -> None:
        """A fatal fault of a line."""
        assert isinstance(fault, WordFault)
        if self.state in (STRANGER, CHALLENGED):
            self.doom("bad_handshake")
            return
        self.call_off()
        self.tell_fault(fault)
        self.mention_refusal(fault.code)
        self.become(LEFT)
        self.ask(Leave())


def refuses_version(hello: Hello, oldest: int = OLDEST_VERSION, newest: int = VERSION) -> str | None:
    """Why a proxy that speaks `oldest` to `newest` cannot talk to this MTA, and who has to move; None if it can."""
    if hello.minimum > newest:
        return f"this proxy speaks version {newest} at the newest: upgrade the proxy"
    if hello.version < oldest:
        return f"this proxy speaks version {oldest} at the oldest: upgrade the MTA"
    return None
