"""A called server's side of the beginning and the end: greeting, EHLO, STARTTLS, EHLO again; and QUIT.

Knows what a remote must say before mail may go to it; does not know who wants it, which address comes next, or a body.
"""

from collections.abc import Mapping
from typing import ClassVar

from gaproxy.proto.asks import Address, Declined, Dial, Failed, Leave, Opened, Say, Secure, Security, Tell
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.remote.names import acceptable_name
from gaproxy.proto.session import ANY, AT_ONCE, Cut, Session, State
from gaproxy.proto.smtp.extensions import Offer, offer, shown
from gaproxy.proto.smtp.replies import Reply, cut_reply, words

DIALLING, GREETING, SECURING = "DIALLING", "GREETING", "SECURING"
GREETED, EHLO, HELO, STARTTLS = "GREETED", "EHLO", "HELO", "STARTTLS"
READY, PARTING, GONE = "READY", "PARTING", "GONE"

IMPLICIT_TLS_PORT = 465  # RFC 8314 section 3.3
NOT_IMPLEMENTED = (500, 502, 504)
MUST = ("encrypt", "verify")
MTA, OPAQUE = "mta", "opaque"  # it is the MTA that speaks TLS, or whatever it likes


class Caller(Session):
    """The conversation with one remote, from the dial until it is lent; and again from when it is given back."""

    STATES: ClassVar[Mapping[str, State]] = {
        DIALLING: State((GREETING, SECURING, READY, GONE), {}, "connect", "RFC 5321 4.5.4.1", end=AT_ONCE),
        SECURING: State((GREETING, EHLO, GONE), {}, "starttls", "RFC 3207 4", end=AT_ONCE),
        GREETING: State(
            (GREETED, EHLO, PARTING, GONE), {220: "greeted", ANY: "refused"}, "greeting", "RFC 5321 4.5.3.2.1"
        ),
        GREETED: State((EHLO, HELO, PARTING, GONE), {421: "closing", ANY: "unasked"}),  # whoever asked says when
        EHLO: State((GREETED, HELO, STARTTLS, READY, PARTING, GONE), {ANY: "introduced"}, "ehlo", "RFC 5321 4.5.3.2"),
        HELO: State((GREETED, READY, PARTING, GONE), {ANY: "introduced"}, "ehlo", "RFC 5321 4.5.3.2"),
        STARTTLS: State((SECURING, READY, PARTING, GONE), {220: "go_ahead", ANY: "no_tls"}, "starttls", "RFC 3207 4"),
        READY: State((PARTING,)),  # lent: what the remote says is heard by the relay
        PARTING: State((GONE,), {ANY: "parted"}, "quit", "RFC 5321 4.1.1.10"),
        GONE: State(),
    }

    PEER = "remote"

    def __init__(self, dial: Dial) -> None:
        super().__init__(DIALLING)
        self.called = dial.name
        self.destination = dial.destination
        self.helo = dial.helo
        self.verb = ""  # by which the MTA itself greets, where it does so after the remote's greeting
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
        cut = cut_reply(unheard)
        return cut and (cut[0].code, cut[0], cut[1])

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
            self.introduce()
            return
        assert self.source is not None
        self.become(GREETED)
        self.ask(Tell(Opened(self.source, self.destination, Offer(reply.wire, b"", {}, extended=False), None)))

    def refused(self, reply: Reply) -> None:
        wire = reply.wire if refuses(reply) else b""
        self.fail("greeting", "the remote refused us in its greeting", reply, wire=wire)

    def closing(self, reply: Reply) -> None:
        self.fail("ehlo", "the remote closed the session", reply, wire=reply.wire)

    def unasked(self, reply: Reply) -> None:
        self.fail("ehlo", f"the remote said {reply.code} out of turn")

    def introduce_as(self, verb: str, name: str) -> None:
        """By the MTA's own verb where TLS is the MTA's, too; else by the one that may lead to STARTTLS."""
        self.verb, self.helo = verb, name
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
        of_mta = self.verb != "" and self.security is None
        chosen = self.verb == EHLO and of_mta
        if self.state == EHLO and reply.code in NOT_IMPLEMENTED and not chosen:
            self.introduce(HELO)
        elif of_mta and reply.code == 421:
            self.closing(reply)
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
        self.ask(Tell(Opened(self.source, self.destination, found, self.security, said=said)))

    # The end.

    def part(self) -> None:
        """Say QUIT: nobody wants this connection any more."""
        self.become(PARTING)
        self.ask(Say(b"QUIT\r\n"))

    def parted(self, reply: Reply) -> None:
        self.become(GONE)
        self.ask(Leave())

    def fail(
        self, kind: str, text: str, reply: Reply | None = None, again_plain: bool = False, wire: bytes = b""
    ) -> None:
        """Tell whoever asked, and go: with QUIT where the remote still listens, at once elsewhere."""
        said = words(reply) if reply else None
        self.ask(Tell(Failed(kind, text, reply=said, again_plain=again_plain, wire=wire)))
        if reply and reply.code != 421:
            self.part()
        else:
            self.become(GONE)
            self.ask(Leave())

    def ended(self) -> None:
        self.lost("closed")

    def lost(self, kind: str) -> None:
        self.break_off(f"the remote closed the connection while {self.state}", again_plain=self.may_go_plain())

    def elapsed(self) -> None:
        self.break_off(f"the remote was silent for too long while {self.state}", "timeout")

    def faulted(self, fault: RemoteProtocolError) -> None:
        self.break_off(str(fault))

    def break_off(self, text: str, kind: str | None = None, again_plain: bool = False) -> None:
        """Go without another word; behind QUIT nobody asks why."""
        if self.state == PARTING:
            self.become(GONE)
            self.ask(Leave())
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
