"""The PROXY door: a header says where from and where to, then both sides are joined, or are told in SMTP why not.

Knows what is said before there is a session, and who speaks TLS with the remote; does not know how a remote is found,
nor any SMTP behind the EHLO.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar

from gaproxy.proto.asks import (
    MTA,
    OPAQUE,
    CallOff,
    Declined,
    Destination,
    Failed,
    Introduce,
    Leave,
    Lend,
    Mention,
    Open,
    Opened,
    Part,
    Request,
    Say,
    Tunnel,
    spell_place,
)
from gaproxy.proto.doors.haproxy_words import Address, Header, cut_header
from gaproxy.proto.doors.looks import LOOK, SERVING, hints
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.session import ACCEPT, ANY, AT_ONCE, Cut, Session, State, Word
from gaproxy.proto.smtp.commands import Command, cut_command
from gaproxy.proto.smtp.extensions import mails_taken_off
from gaproxy.proto.smtp.replies import OUR_LINE_BYTES, reply

PRELUDE, HEALTH, DIALLING, GREETED = "PRELUDE", "HEALTH", "DIALLING", "GREETED"
SHOWN, INTRODUCING, ASKING, LENT, LEFT = "SHOWN", "INTRODUCING", "ASKING", "LENT", "LEFT"

DIRECTIVE = "listen_proxy_protocol"
IMPLICIT_TLS = {465: "port 465 is TLS from its first byte (RFC 8314), and this door relays SMTP"}

CODES: Mapping[str, str] = {
    **dict.fromkeys(("refused", "timeout", "unreachable"), "4.4.1"),
    **dict.fromkeys(("greeting", "ehlo"), "4.4.2"),
    "tls": "4.7.5",
    **dict.fromkeys(("denied", "source_denied"), "4.7.1"),
    "throttled": "4.7.0",
    **dict.fromkeys(("overload", "shutting_down"), "4.3.2"),
    **dict.fromkeys(("source_unavailable", "family"), "4.3.5"),
    "bad_request": "4.5.0",
    "internal": "4.3.0",
}
"""Every kind of failure, and its enhanced status code (RFC 3463). Ours are never 5xx: mail must not bounce."""

SMTP_ADVICE = f"; SMTP clients use {SERVING['SMTP']}" if "SMTP" in SERVING else ""
NOTHING_CAME = f"4.5.0 gaproxy: bad_request: no PROXY header came{SMTP_ADVICE}"
SHUTTING_DOWN = Failed("shutting_down", "the proxy is shutting down")
NAME = re.compile(rb"[!-~]{1,255}")
NO_HEADER = re.compile(
    rb"\A(?:PROXY [ -~]{0,100}(?:[^ -~].?)?|"
    rb"\r\n\r\n\x00\r\nQUIT\n(?:(?:\x20.|\x21[\x00\x11\x21])[\x00-\x04].{0,1025}|.{0,4})|"
    + LOOK
    + rb"|P(?:R(?:O(?:X(?:Y)?)?)?)?|\r(?:\n(?:\r(?:\n(?:\x00(?:\r(?:\n(?:Q(?:U(?:I(?:T)?)?)?)?)?)?)?)?)?)?)?(.*)",
    re.DOTALL,
)
NO_COMMAND = re.compile(rb"\A(?!(?:EHLO|HELO|NOOP|RSET|QUIT)[ \r])(.*)", re.DOTALL | re.IGNORECASE)
"""What a journal does not tell: all that is neither a header, nor shows which other protocol is spoken; no command."""

CHECKS: Mapping[Word, str] = {**dict.fromkeys(("EHLO", "HELO", "NOOP", "RSET"), "agree"), "QUIT": "quit", ANY: "refuse"}
FIRST: Mapping[Word, str] = {"EHLO": "greet", "HELO": "greet", "QUIT": "quit", ANY: "want_ehlo"}


class HaproxyDoor(Session):
    """One connection to `listen_proxy_protocol`. `listener`: its name and address; `entropy`: 8 bytes name the session.

    `tls`: who speaks TLS with the remote: `mta`; `may` or `encrypt`: we; `opaque`: whoever likes, we only carry bytes.
    """

    STATES: ClassVar[Mapping[str, State]] = {
        PRELUDE: State(
            (HEALTH, DIALLING, LEFT), {"PROXY": "header"}, "header", since=ACCEPT, secret=NO_HEADER, lines=False
        ),
        HEALTH: State((LEFT,), CHECKS, "health", secret=NO_COMMAND),
        DIALLING: State((SHOWN, GREETED, LENT, LEFT), {}, "total_greeting", end=AT_ONCE),
        SHOWN: State((SHOWN, ASKING, LEFT), FIRST, "idle", "RFC 5321 4.5.3.2.7", secret=NO_COMMAND),
        GREETED: State((GREETED, INTRODUCING, LEFT), FIRST, "idle", "RFC 5321 4.5.3.2.7", secret=NO_COMMAND),
        INTRODUCING: State((GREETED, ASKING, LENT, LEFT), end=AT_ONCE),
        ASKING: State((LENT, LEFT), end=AT_ONCE),  # for a remote once more, by the name that is known now
        LENT: State((LEFT,)),  # the relay's patience holds
        LEFT: State(),
    }

    def __init__(
        self,
        listener: tuple[str, Address],
        client: Address,
        entropy: bytes,
        tls: str,
        pool: str = "cluster",
        mails_per_turn: int | None = None,
    ) -> None:
        super().__init__(PRELUDE)
        self.pool, self.mails_per_turn = pool, mails_per_turn
        self.fallback = False
        self.listener, self.place = listener
        self.client_place, self.client = client, spell_place(*client)
        self.name = entropy[32:40].hex()
        self.tls = tls
        self.began = False  # whether anything came
        self.followed = False  # whether something came with the header
        self.draining = False
        self.source: Address = ("", 0)
        self.remote: Address = ("", 0)
        self.verb = ""  # by which the MTA greets
        self.helo = ""

    def cut(self, unheard: bytearray) -> Cut | None:
        if self.state != PRELUDE:
            cut = cut_command(unheard)
            return cut and (cut[0].verb, cut[0], cut[1])
        self.began = True
        try:
            header = cut_header(unheard)
        except RemoteProtocolError as fault:
            self.refuse_client("bad_header", text=str(fault), **dict(hints(unheard, DIRECTIVE)))
            self.leave()
            return None
        if header is None:
            return None
        self.followed = len(unheard) > header[1]
        return "PROXY", header[0], header[1]

    # The header.

    def header(self, header: Header) -> None:
        """Grammar was judged; source and destination are judged where dialling begins, in this order."""
        if self.draining:
            self.fail(SHUTTING_DOWN)
            return
        self.source, self.remote = header.source, header.destination
        if header.local:
            self.become(HEALTH)
            self.mention_health("local")
            self.ask(Say(b"220 gaproxy\r\n"))
        elif header.refusal is not None:
            self.fail(Failed(*header.refusal))
        elif self.names_itself():
            self.refuse_own_pair()
        else:
            self.become(DIALLING)
            self.ask(Open(self.request()))

    def refuse_own_pair(self) -> None:
        """A health check, where nothing came behind it; else somebody whose front hands on its own address."""
        self.fail(Failed("denied", "the destination is a listener of this proxy"), told=self.followed)
        if not self.followed:
            self.mention_health("own_pair")

    def names_itself(self) -> bool:
        """Whether the header tells this very connection, as a health check of HAProxy's in version 1 does."""
        if self.remote[1] != self.place[1] or self.source != self.client_place:
            return False
        place = ip_address(self.place[0])
        return place.is_unspecified or place == ip_address(self.remote[0])

    def request(self) -> Request:
        destination = Destination(*self.remote, host=None, group=0)
        refuses = {} if self.tls == OPAQUE else IMPLICIT_TLS
        return Request(
            self.name,
            (self.source[0],),
            (destination,),
            self.helo,
            self.verb,
            self.tls,
            pool=self.pool,
            member=self.client_place[0],
            reuse="new" if self.tls == OPAQUE or self.verb == "HELO" or self.fallback else "any",
            refuses=refuses,
            fallback=self.fallback,
        )

    # Health checks.

    def agree(self, command: Command) -> None:
        self.answer(250, "gaproxy")

    def refuse(self, command: Command) -> None:
        self.answer(502, "5.5.1 gaproxy: a health check sends no mail")

    # What is ours to answer, at a health check and before the EHLO.

    def answer(self, code: int, text: str) -> None:
        """A command that leads nowhere. An MTA has its time again for the next one; a health check has not."""
        if self.state in (GREETED, SHOWN):
            self.become(self.state)
        self.ask(Say(reply(code, text)))

    def quit(self, command: Command) -> None:
        if command.argument:
            self.answer(501, "5.5.4 gaproxy: QUIT takes no argument")
            return
        self.ask(Say(reply(221, "2.0.0 gaproxy: goodbye")))
        self.let_go("quit")
        self.leave()

    # Between the remote's greeting and the relay.

    def opened(self, outcome: Opened) -> None:
        self.source = outcome.source
        if self.state == DIALLING and self.tls != OPAQUE:
            self.become(SHOWN if outcome.shown else GREETED)
            self.ask(Say(outcome.offer.greeting))
            return
        self.become(LENT)
        if self.tls == OPAQUE:
            self.ask(Tunnel(self.fields(outcome)))
            return
        fields, mta = self.fields(outcome), self.tls == MTA
        lend = Lend(b"", self.name, outcome.offer, fields, True, mta, self.mails_per_turn)
        self.ask(Say(self.welcome(outcome)), lend)

    def welcome(self, outcome: Opened) -> bytes:
        """The answer to EHLO or HELO: the remote's own, to this MTA or to whoever was here before under its name."""
        if outcome.said:
            return mails_taken_off(outcome.said, outcome.carried)
        offer = outcome.offer
        return offer.ehlo_reply(carried=outcome.carried) if self.verb == "EHLO" else offer.helo_reply()

    def greet(self, command: Command) -> None:
        name = command.argument.strip(b" ")
        if not NAME.fullmatch(name):
            self.answer(501, f"5.5.4 gaproxy: {command.verb} needs a name")
            return
        self.verb, self.helo = command.verb, name.decode("ascii")
        if self.state == SHOWN:
            self.become(ASKING)
            self.ask(Open(self.request()))
        else:
            self.become(INTRODUCING)
            self.ask(Introduce(self.verb, self.helo))

    def want_ehlo(self, command: Command) -> None:
        """Nothing is forwarded: under `level encrypt` the envelope would go out in plain text."""
        self.answer(503, "5.5.1 gaproxy: EHLO first")

    def declined(self, outcome: Declined) -> None:
        """The remote's reply to the MTA's own name passes, whatever its code."""
        self.become(GREETED)
        self.ask(Say(outcome.wire))

    # Failures, in words.

    def failed(self, failed: Failed) -> None:
        if failed.again_plain:
            self.tls, self.fallback = "none", True
            self.become(ASKING)
            self.ask(Open(self.request()))
        else:
            self.fail(failed)

    def fail(self, failed: Failed, told: bool = True) -> None:
        """Say why there is no remote, and go. Whoever does not speak SMTP with us hears our end only.

        The remote's own words pass where the MTA waits for them: a greeting that the second dial met answers no EHLO.
        """
        if self.tls != OPAQUE:
            own = b"" if self.state == ASKING else failed.wire
            self.ask(Say(own or self.worded(failed)))
        if told:
            self.mention_failure(failed)
        self.leave()

    def worded(self, failed: Failed) -> bytes:
        """One line of ASCII, with the session's name at its end whatever must be cut off before it."""
        where = f"{spell_place(*self.remote)} from {self.source[0]}: " if self.remote[0] else ""
        text = failed.text if failed.reply is None else f"{failed.text}: {failed.reply}"
        retry = f", retry in {-(-failed.retry_ms // 1000)} s" if failed.retry_ms else ""
        beginning = f"{CODES[failed.kind]} gaproxy: {failed.kind}: {where}"
        ending = f"{retry} [{self.name}]"
        room = OUR_LINE_BYTES - len("421 \r\n") - len(beginning) - len(ending)
        visible = "".join(one if " " <= one <= "~" else "?" for one in text)
        return reply(421, f"{beginning}{visible[:room]}{ending}")

    def mention_failure(self, failed: Failed) -> None:
        told: dict[str, str] = {"session": self.name, "kind": failed.kind, "client": self.client}
        if self.remote[0]:
            told |= {"source": self.source[0], "remote": spell_place(*self.remote)}
        told |= {"reply": failed.reply or "", "text": failed.text}
        self.ask(Mention("smtp_failed", told))

    # The log.

    def fields(self, outcome: Opened) -> dict[str, str | int]:
        """What the log tells of this session, in its order."""
        return {
            "session": self.name,
            "client": self.client,
            "source": spell_place(*outcome.source),
            "remote": spell_place(*self.remote),
            "tls": outcome.security.version if outcome.security else "none",
            "reused": "yes" if outcome.reused else "no",
            "uses": outcome.uses,
        }

    def mention_health(self, reason: str) -> None:
        self.ask(Mention("health", {"listener": self.listener, "client": self.client, "reason": reason}))

    def refuse_client(self, reason: str, **more: str) -> None:
        fields = {"listener": self.listener, "client": self.client, "reason": reason, **more}
        self.ask(Mention("client_refused", fields))

    def mention_end(self, reason: str) -> None:
        """A session that ended before there was an EHLO."""
        told = {"session": self.name, "client": self.client, "source": spell_place(*self.source)}
        told |= {"remote": spell_place(*self.remote), "tls": "none"}
        self.ask(Mention("smtp_end", {**told, "messages": 0, "bytes": 0, "reason": reason}))

    # The end.

    def returned(self) -> None:
        """What comes behind the QUIT has no remote any more."""
        self.leave()

    def leave(self) -> None:
        self.become(LEFT)
        self.ask(Leave())

    def let_go(self, reason: str) -> None:
        """The MTA goes, or is sent, before it said EHLO."""
        self.part_from_remote()
        if self.state in (GREETED, SHOWN):
            self.mention_end(reason)

    def part_from_remote(self) -> None:
        """A remote that was called, and has greeted, hears QUIT; one that was only shown is nobody's."""
        if self.state == GREETED:
            self.ask(Part())

    def drain(self) -> None:
        """Who has not begun is told at once; a header that is still to come is heard, and told the same."""
        self.draining = True
        if self.state == HEALTH:
            self.leave()
        elif self.state in (GREETED, SHOWN):
            self.part_from_remote()
            self.fail(SHUTTING_DOWN)
        elif self.state in (DIALLING, INTRODUCING, ASKING):
            self.ask(CallOff())
            self.fail(SHUTTING_DOWN)

    def ended(self) -> None:
        self.lost("closed")
        self.ask(Leave())

    def lost(self, kind: str) -> None:
        if self.state == PRELUDE and not self.began:
            self.mention_health("connect")
        elif self.state == PRELUDE:
            self.refuse_client("bad_header", text="it ended within its header")
        elif self.state in (GREETED, SHOWN):
            self.let_go("mta_ended" if kind == "closed" else "mta_gone")
        elif self.state in (DIALLING, INTRODUCING, ASKING):
            self.mention_failure(Failed("mta_gone", "the MTA left before there was a remote"))
            self.ask(CallOff())
        self.become(LEFT)

    def elapsed(self) -> None:
        if self.state == DIALLING:
            self.ask(CallOff())
            self.fail(Failed("timeout", "no greeting of the remote in time"))
        elif self.state in (GREETED, SHOWN):
            self.let_go("mta_silent")
            self.leave()
        elif self.state == PRELUDE:
            self.refuse_client("header_timeout")
            if not self.began and self.tls != OPAQUE:
                self.ask(Say(reply(421, NOTHING_CAME)))
            self.leave()
        else:
            self.leave()

    def faulted(self, fault: RemoteProtocolError) -> None:
        """A command without an end; nothing else is at fault here."""
        self.ask(Say(reply(500, f"5.5.2 gaproxy: {fault}")))
        self.let_go("malformed_command")
        self.leave()
