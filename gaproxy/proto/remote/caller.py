"""A called server's side between sessions: greeting, EHLO, STARTTLS, EHLO again; RSET and rest; and QUIT.

Knows what a remote must say before mail may go to it, or that of others; does not know who wants it, which address
comes next, or a body.
"""

from collections.abc import Mapping
from typing import ClassVar

from gaproxy.proto.asks import (
    CLEAN,
    MTA,
    OPAQUE,
    SENT,
    UNSENT,
    Address,
    Declined,
    Dial,
    Failed,
    Leave,
    Opened,
    Retire,
    Say,
    Secure,
    Security,
    Tell,
)
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.remote.names import acceptable_name
from gaproxy.proto.session import ANY, AT_ONCE, Cut, Session, State, Word
from gaproxy.proto.smtp.extensions import Offer, offer, shown
from gaproxy.proto.smtp.replies import Reply, cut_reply, words

DIALLING, GREETING, SECURING = "DIALLING", "GREETING", "SECURING"
GREETED, EHLO, HELO, STARTTLS = "GREETED", "EHLO", "HELO", "STARTTLS"
READY, FREED, RESETTING, RESTING, PROBING = "READY", "FREED", "RESETTING", "RESTING", "PROBING"
PARTING, GONE = "PARTING", "GONE"

IMPLICIT_TLS_PORT = 465  # RFC 8314 section 3.3
NOT_IMPLEMENTED = (500, 502, 504)
MUST = ("encrypt", "verify")
AT_REST: Mapping[Word, str] = {421: "closing", ANY: "unsolicited"}
WAS_RESET: Mapping[Word, str] = {250: "was_reset", 421: "closing", ANY: "not_reset"}
ASKED = (EHLO, HELO, STARTTLS)
BETWEEN = (RESETTING, RESTING, PROBING)


class Caller(Session):
    """The conversation with one remote, from the dial until it is lent; and whenever it is given back.

    `owes_reset`: what became of the RSET between former sessions and the next one. `taint`: what was odd about a reply,
    so that nobody shares it.
    """

    STATES: ClassVar[Mapping[str, State]] = {
        DIALLING: State((GREETING, SECURING, READY, GONE), {}, "connect", "RFC 5321 4.5.4.1", end=AT_ONCE),
        SECURING: State((GREETING, EHLO, GONE), {}, "starttls", "RFC 3207 4", end=AT_ONCE),
        GREETING: State(
            (GREETED, EHLO, HELO, PARTING, GONE), {220: "greeted", ANY: "refused"}, "greeting", "RFC 5321 4.5.3.2.1"
        ),
        GREETED: State((EHLO, HELO, PARTING, GONE), {421: "closed_session", ANY: "unasked"}),  # whoever asked says when
        EHLO: State((GREETED, HELO, STARTTLS, READY, PARTING, GONE), {ANY: "introduced"}, "ehlo", "RFC 5321 4.5.3.2"),
        HELO: State((GREETED, READY, PARTING, GONE), {ANY: "introduced"}, "ehlo", "RFC 5321 4.5.3.2"),
        STARTTLS: State((SECURING, READY, PARTING, GONE), {220: "go_ahead", ANY: "no_tls"}, "starttls", "RFC 3207 4"),
        READY: State((FREED, PARTING)),  # lent: what the remote says is heard by the relay
        FREED: State((READY, RESETTING, PARTING)),  # until all that came in the same segment has been heard
        RESETTING: State((READY, RESTING, PARTING, GONE), WAS_RESET, "reset"),
        RESTING: State((READY, PROBING, PARTING, GONE), AT_REST, "rest"),
        PROBING: State((READY, GONE), WAS_RESET, "reset"),
        PARTING: State((GONE,), {ANY: "parted"}, "quit", "RFC 5321 4.1.1.10"),
        GONE: State(),
    }

    PEER = "remote"

    def __init__(self, dial: Dial) -> None:
        super().__init__(DIALLING)
        self.called = dial.name
        self.destination = dial.destination
        self.helo = dial.helo
        self.verb = dial.verb  # by which the MTA itself greets, where it has chosen one
        self.by_mta = False  # whether it is the MTA that greets, and hears the answer
        self.pool = dial.pool
        self.fallback = dial.fallback
        self.outcome: Opened | None = None
        self.owes_reset = CLEAN
        self.taint: str | None = None
        self.followed = False  # whether there was something behind the reply that was heard last
        self.tls = dial.tls
        self.tls_names = dial.tls_names or ((dial.destination.host,) if dial.destination.host else ())
        self.implicit = dial.destination.port == IMPLICIT_TLS_PORT and dial.tls != OPAQUE
        self.source: Address | None = None
        self.greeting: Reply | None = None
        self.plain_offer: Offer | None = None
        self.security: Security | None = None

    @property
    def place(self) -> Address:
        """The address and port that are called."""
        return self.destination.address, self.destination.port

    def cut(self, unheard: bytearray) -> Cut | None:
        """One reply; from a remote at rest any byte is one too many, and is not waited for."""
        if self.row.hears is AT_REST:
            return 421 if unheard.startswith(b"421") else None, None, len(unheard)
        cut = cut_reply(unheard)
        if cut is None:
            return None
        reply, size = cut
        if self.followed and self.state in ASKED and reply.code != 421:
            raise RemoteProtocolError("a reply before anything was asked")
        self.followed = len(unheard) > size
        self.taint = self.taint or next(iter(reply.taints), None)
        return reply.code, reply, size

    # The dial.

    def connected(self, source: Address) -> None:
        self.source = source
        if self.tls == OPAQUE:
            self.ready(Offer(b"", b"", {}, extended=False))
        elif self.implicit:
            self.secure()
        else:
            self.become(GREETING)

    def connect_failed(self, kind: str, text: str) -> None:
        self.fail(kind, text)

    # TLS.

    def secure(self) -> None:
        self.become(SECURING)
        exact = [name for name in self.tls_names if not name.startswith("*.")]
        self.ask(Secure(self.tls == "verify", exact[0] if exact else None))

    def secured(self, version: str, cipher: str, names: tuple[str, ...], verified: bool) -> None:
        if self.tls == "verify" and not acceptable_name(self.tls_names, names):
            shown = ", ".join(names) or "no name"
            self.fail("tls", f"the certificate is for {shown}, not for {', '.join(self.tls_names)}")
            return
        self.security = Security(version, cipher, verified)
        if self.implicit:
            self.become(GREETING)
        else:
            self.introduce()

    def unsecured(self, kind: str, text: str, seen: bytes) -> None:
        self.fail("tls", text, again_plain=kind == "handshake" and self.may_go_plain())

    def may_go_plain(self) -> bool:
        """Whether a handshake that failed is no reason to give this remote up."""
        return self.state == SECURING and self.tls == "may" and not self.implicit

    # What the remote says.

    def greeted(self, reply: Reply) -> None:
        self.greeting = reply
        if self.helo:
            self.introduce(self.verb if self.tls == MTA else EHLO)
            return
        assert self.source is not None
        self.become(GREETED)
        self.ask(Tell(Opened(self.source, self.destination, Offer(reply.wire, b"", {}, extended=False), None)))

    def refused(self, reply: Reply) -> None:
        wire = reply.wire if refuses(reply) else b""
        self.fail("greeting", "the remote refused us in its greeting", reply, wire=wire)

    def closed_session(self, reply: Reply) -> None:
        self.fail("ehlo", "the remote closed the session", reply, wire=reply.wire)

    def unasked(self, reply: Reply) -> None:
        self.fail("ehlo", f"the remote said {reply.code} out of turn")

    def introduce_as(self, verb: str, name: str) -> None:
        """By the MTA's own verb where TLS is the MTA's, too; else by the one that may lead to STARTTLS."""
        self.verb, self.helo, self.by_mta = verb, name, True
        self.introduce(verb if self.tls == MTA else EHLO)

    def introduce(self, verb: str = EHLO) -> None:
        self.become(verb)
        self.ask(Say(f"{verb} {self.helo}\r\n".encode("ascii")))

    def introduced(self, reply: Reply) -> None:
        if reply.code != 250:
            self.not_introduced(reply)
            return
        assert self.greeting is not None
        found = offer(self.greeting, reply, extended=self.state == EHLO)
        if self.tls == MTA:
            self.ready(found, shown(reply) if self.state == EHLO else reply.wire)
        elif self.security is not None or self.tls == "none":
            self.ready(found)
        elif found.has("STARTTLS"):
            self.plain_offer = found
            self.become(STARTTLS)
            self.ask(Say(b"STARTTLS\r\n"))
        elif self.tls in MUST:
            self.fail("tls", "the remote offers no STARTTLS", reply)
        else:
            self.ready(found)

    def not_introduced(self, reply: Reply) -> None:
        """We say HELO where we chose EHLO; an MTA that chose it, or chose HELO, is told, and may choose again."""
        of_mta = self.by_mta and self.security is None
        chosen = self.verb == EHLO and of_mta
        if self.state == EHLO and reply.code in NOT_IMPLEMENTED and not chosen:
            self.introduce(HELO)
        elif of_mta and reply.code == 421:
            self.closed_session(reply)
        elif of_mta and refuses(reply):
            self.become(GREETED)
            self.ask(Tell(Declined(reply.wire)))
        else:
            self.fail("ehlo", f"the remote refused {self.state}", reply)

    def go_ahead(self, reply: Reply) -> None:
        self.secure()

    def no_tls(self, reply: Reply) -> None:
        if self.tls in MUST or reply.code == 421:
            self.fail("tls", "the remote refused STARTTLS", reply)
        else:
            assert self.plain_offer is not None
            self.ready(self.plain_offer)

    def ready(self, found: Offer, said: bytes = b"") -> None:
        assert self.source is not None
        self.become(READY)
        self.outcome = Opened(self.source, self.destination, found, self.security, said=said)
        self.ask(Tell(self.outcome))

    # Between two sessions.

    def free(self) -> None:
        """Given back, in good order. Whoever takes it before `rest` says the RSET himself."""
        self.become(FREED)
        self.owes_reset = UNSENT

    def rest(self) -> None:
        """Nobody waits for it: end what others began. From now on it may be taken, and is dropped at any other word."""
        self.become(RESETTING)
        self.owes_reset = SENT
        self.ask(Say(b"RSET\r\n"))

    def was_reset(self, reply: Reply) -> None:
        """The reply to the RSET before it rests, or to the one that asks whether it still stands."""
        if self.taint:
            self.retire(self.taint)
        elif self.state == PROBING:
            self.taken()
        else:
            self.become(RESTING)
            self.owes_reset = CLEAN

    def not_reset(self, reply: Reply) -> None:
        self.retire("rset_refused")

    def take(self, probe: bool) -> None:
        """For the next session; `probe`: only if it still answers."""
        if probe and self.state == RESTING:
            self.become(PROBING)
            self.ask(Say(b"RSET\r\n"))
        else:
            self.taken()

    def taken(self) -> None:
        assert self.outcome is not None
        self.become(READY)
        self.ask(Tell(self.outcome))

    def closing(self, reply: Reply | None) -> None:
        self.retire("remote_421")

    def unsolicited(self, nothing: None) -> None:
        self.retire("unsolicited")

    def drain(self) -> None:
        """The house is closing: nobody will take it any more."""
        if self.state in (RESETTING, RESTING):
            self.let_go("drain")

    def let_go(self, reason: str) -> None:
        """It rests no longer: with QUIT, for nothing is wrong."""
        self.ask(Retire(reason))
        self.part()

    def retire(self, reason: str) -> None:
        """It rests no longer, and is not trusted with another word."""
        self.ask(Retire(reason))
        if self.state == PROBING:
            self.ask(Tell(Failed(reason, "it no longer answers as it should")))
        self.go()

    # The end.

    def part(self) -> None:
        """Say QUIT: nobody wants this connection any more."""
        self.become(PARTING)
        self.ask(Say(b"QUIT\r\n"))

    def go(self) -> None:
        """Without another word, and without waiting for one."""
        self.become(GONE)
        self.ask(Leave())

    def parted(self, reply: Reply) -> None:
        self.go()

    def fail(
        self, kind: str, text: str, reply: Reply | None = None, again_plain: bool = False, wire: bytes = b""
    ) -> None:
        """Tell whoever asked, and go: with QUIT where the remote still listens, at once elsewhere."""
        said = words(reply) if reply else None
        self.ask(Tell(Failed(kind, text, reply=said, again_plain=again_plain, wire=wire)))
        if reply and reply.code != 421:
            self.part()
        else:
            self.go()

    def ended(self) -> None:
        self.lost("closed")

    def lost(self, kind: str) -> None:
        if self.state in BETWEEN:
            self.retire(f"remote_{kind}")
        else:
            self.break_off(f"the remote closed the connection while {self.state}", again_plain=self.may_go_plain())

    def elapsed(self) -> None:
        if self.state == RESTING:
            self.let_go("idle")
        elif self.state in BETWEEN:
            self.retire("rset_timeout")
        else:
            self.break_off(f"the remote was silent for too long while {self.state}", "timeout")

    def faulted(self, fault: RemoteProtocolError) -> None:
        if self.state in BETWEEN:
            self.retire("desync")
        else:
            self.break_off(str(fault))

    def break_off(self, text: str, kind: str | None = None, again_plain: bool = False) -> None:
        """Go without another word; behind QUIT nobody asks why."""
        if self.state == PARTING:
            self.go()
        else:
            self.fail(kind or FAILING[self.state], text, again_plain=again_plain)


def refuses(reply: Reply) -> bool:
    """Whether every MTA takes it for a refusal. Many read one digit, and some that of the first line: what is half a
    refusal would have them go on with a remote that we gave up."""
    return reply.code >= 400 and "mixed_codes" not in reply.taints


FAILING: Mapping[str, str] = {
    SECURING: "tls",
    GREETING: "greeting",
    GREETED: "ehlo",
    EHLO: "ehlo",
    HELO: "ehlo",
    STARTTLS: "tls",
}
"""The kind of a failure that comes in this state and has no other name."""
