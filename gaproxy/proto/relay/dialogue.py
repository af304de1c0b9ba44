"""MAIL to QUIT between an MTA and a remote: commands in order, replies in order, bodies that pass by.

Knows both sides of one SMTP session (two tables and one list of asks); does not know by which door the MTA came, how
the remote was found, or what happens to it afterwards.
"""

from collections import deque
from collections.abc import Mapping
from typing import ClassVar

from gaproxy.proto.asks import Ask, Drop, GiveBack, Leave, Mention, Pass, PassBody, Say, Tunnel
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.relay.owed import OWED_BYTES_MOST, OWED_MOST, RENEWING_BYTES, Owed, smuggling
from gaproxy.proto.relay.states import (
    AWAITING,
    BODY,
    CARRYING,
    DATA,
    DONE,
    DRAINED,
    EARLY,
    END,
    FAR,
    FULL,
    GONE,
    IDLE,
    INJECTED,
    LOOKALIKE,
    MAIL,
    NEAR,
    NOTHING,
    ORPHANED,
    OTHER,
    QUITTING,
    STARTTLS,
    SWALLOWING,
    TURNED_AWAY,
    UNASKED,
)
from gaproxy.proto.session import Cut, Session, State
from gaproxy.proto.smtp.commands import Command, cut_command
from gaproxy.proto.smtp.extensions import Offer
from gaproxy.proto.smtp.replies import Reply, cut_reply, reply


class Relay:
    """What both sides share: the replies that are owed, what the remote offers, and what has been counted.

    `name` stands in brackets behind each 421 of ours; `fields` begin the line that the log gets in the end. `stock`:
    the MTA was greeted by its door, and does not wait for an answer to hear that the remote is lost. `starttls`: its
    own STARTTLS may pass.
    """

    def __init__(
        self, offer: Offer, name: str, fields: Mapping[str, str | int], stock: bool = False, starttls: bool = False
    ) -> None:
        self.stock = stock
        self.starttls = starttls
        self.offer = offer
        self.name = name
        self.fields = fields
        self.owed: deque[Owed] = deque()
        self.owed_bytes = 0
        self.messages = 0
        self.bytes = 0
        self.reason = ""
        self.taint: str | None = None
        self.outcome_unknown = False
        self.lost = False
        self.away = b""
        self.words: bytes | None = None
        self.transaction: Owed | None = None
        self.draining = False
        self.asks: list[Ask] = []
        self.near = Near(self)
        self.far = Far(self)

    @property
    def in_transaction(self) -> bool:
        """Whether a MAIL was sent on that neither was refused nor has come to its end."""
        return self.transaction is not None

    def begin(self) -> None:
        """The remote's greeting is the greeting shown."""
        if not self.stock:
            self.near.ask(Say(self.offer.greeting))

    def drain(self) -> None:
        """The house is closing: let the transaction in flight end, begin no other."""
        self.draining = True
        self.settle()

    # Replies, in the order in which they are owed.

    def owe(self, owed: Owed) -> None:
        if owed.verb == MAIL:
            self.transaction = self.transaction or owed
        elif owed.verb == "RSET":
            self.transaction = None
        self.owed.append(owed)
        self.owed_bytes += owed.size
        self.settle()

    def refused(self, owed: Owed) -> None:
        """A MAIL that was refused opened no transaction; one that waits behind it still may."""
        if owed is self.transaction:
            self.transaction = next((one for one in self.owed if one.verb == MAIL and one is not owed), None)

    def owe_ours(self, code: int, text: str) -> None:
        self.owe(Owed("", reply=reply(code, text)))

    def oldest(self) -> Owed | None:
        """The oldest reply that only the remote can give: what we can give ourselves is told before (`settle`)."""
        return self.owed[0] if self.owed else None

    def awaits_outcome(self) -> bool:
        """Whether the end of a message went out and its reply has not come."""
        return any(owed.verb == END and owed.reply is None for owed in self.owed)

    def crowded(self) -> bool:
        """Whether the MTA must wait before it is heard again."""
        alone = not self.offer.has("PIPELINING") or self.owed[-1].verb in (DATA, END, STARTTLS)
        return alone or len(self.owed) >= OWED_MOST or self.owed_bytes >= OWED_BYTES_MOST

    def settle(self) -> None:
        """Tell what can be told, and turn both sides to what now holds."""
        while self.owed and (told := self.owed[0].reply) is not None:
            self.owed_bytes -= self.owed.popleft().size
            self.near.ask(Say(told))
        self.far.settle()
        self.near.settle()

    # The end.

    def lose(self, code: str, why: str, taint: str, words: bytes | None = None) -> None:
        """The remote is of no use any more: whatever is owed, ours too, and all that follows until QUIT, is 421.

        `code`: the enhanced status code (RFC 3463). `words`: the remote's own reply, told in place of our first one.
        """
        if self.lost:
            return
        self.outcome_unknown = words is None and self.awaits_outcome()
        unknown = " after the end of data, outcome unknown" if self.outcome_unknown else ""
        self.lost, self.reason, self.taint, self.words = True, taint, taint, words
        self.away = reply(421, f"{code} gaproxy: {why}{unknown} [{self.name}]")
        self.transaction = None
        self.near.ask(Drop())
        for owed in self.owed:
            owed.reply = self.turning_away()
        self.near.turn_from_remote()
        self.settle()

    def lose_remote(self, code: str, why: str, taint: str, words: bytes | None = None) -> None:
        """The same, and no fault of the MTA's: a stock one hears of it now, asked or not, and then our end."""
        answered = bool(self.owed)
        self.lose(code, why, taint, words)
        if self.stock and self.near.state in (TURNED_AWAY, DRAINED, SWALLOWING):
            if not answered:
                self.near.ask(Say(self.turning_away()))
            self.near.depart(taint)

    def turning_away(self) -> bytes:
        """The next 421: the remote's own words once, ours afterwards."""
        words, self.words = self.words, None
        return words or self.away

    def over(self) -> None:
        """The session is at its end: one line for the log, the remote to whoever takes it, the MTA to its door."""
        self.near.become(DONE)
        if self.far.state != GONE:
            self.far.become(GONE)
        told: dict[str, str | int] = {**self.fields, "messages": self.messages, "bytes": self.bytes}
        if self.outcome_unknown:
            told["outcome"] = "unknown"
        self.near.ask(Mention("smtp_end", {**told, "reason": self.reason}), GiveBack(self.taint))


class Near(Session):
    """The MTA's side."""

    STATES: ClassVar[Mapping[str, State]] = NEAR
    PEER = "mta"

    def __init__(self, relay: Relay) -> None:
        super().__init__(IDLE, relay.asks)
        self.called = relay.name
        self.relay = relay
        self.moved = 0
        self.lookalike_at = 0
        self.farewell = b""

    def cut(self, unheard: bytearray) -> Cut | None:
        cut = cut_command(unheard)
        if cut is None:
            return None
        command, size = cut
        followed = command.verb == STARTTLS and len(unheard) > size
        return INJECTED if followed else command.verb, command, size

    # Commands.

    def forward(self, command: Command) -> None:
        self.ask(Pass(command.wire))
        self.relay.owe(Owed(command.verb, len(command.wire)))

    def data(self, command: Command) -> None:
        if command.argument:
            self.relay.owe_ours(501, "5.5.4 gaproxy: DATA takes no argument")
        else:
            self.forward(command)

    def greet(self, command: Command) -> None:
        """EHLO and HELO are answered from memory; in a transaction they also reset it (RFC 5321 4.1.4)."""
        relay = self.relay
        told = relay.offer.ehlo_reply(relay.starttls) if command.verb == "EHLO" else relay.offer.helo_reply()
        if not command.argument:
            relay.owe_ours(501, f"5.5.4 gaproxy: {command.verb} needs a name")
        elif relay.in_transaction:
            self.ask(Pass(b"RSET\r\n"))
            relay.owe(Owed("RSET", instead=told))
        else:
            relay.owe(Owed("", reply=told))

    def starttls(self, command: Command) -> None:
        """The MTA's own, where it may pass; what follows is not for us to read."""
        if self.relay.starttls and self.relay.offer.has(STARTTLS):
            self.forward(command)
        else:
            self.refuse(command)

    def inject(self, command: Command) -> None:
        """Whoever says STARTTLS waits for the reply (RFC 3207 4.2). Elsewhere it is refused like any other command."""
        if self.relay.starttls:
            self.relay.owe(Owed(STARTTLS))
            self.relay.lose("4.7.0", "bytes behind STARTTLS", "injection")
            self.depart("injection")
        else:
            self.refuse(command)

    def refuse(self, command: Command) -> None:
        self.relay.owe_ours(502, "5.5.1 gaproxy: not relayed")

    def malformed(self, command: Command) -> None:
        if command.fault is None:
            self.refuse(command)
            return
        self.relay.taint = "malformed_command"
        self.relay.owe_ours(500, f"5.5.2 gaproxy: {command.fault}")

    def quit(self, command: Command) -> None:
        if command.argument:
            self.relay.owe_ours(501, "5.5.4 gaproxy: QUIT takes no argument")
        else:
            self.farewell = reply(221, "2.0.0 gaproxy: goodbye")
            self.leave("quit")

    def turn_away(self, command: Command) -> None:
        self.become(self.state)
        self.ask(Say(self.relay.turning_away()))

    def ended(self) -> None:
        """FIN behind the last command is a QUIT without a word: an MTA may still wait for its replies."""
        self.leave("mta_ended")

    def leave(self, reason: str) -> None:
        """The MTA has said its last: go when nothing is owed any more."""
        self.relay.reason = self.relay.reason or reason
        if self.relay.owed:
            self.become(QUITTING)
        else:
            self.bid_farewell()

    def drain(self) -> None:
        self.relay.drain()

    def bid_farewell(self) -> None:
        if self.farewell:
            self.ask(Say(self.farewell))
        self.relay.over()

    # Turning.

    def settle(self) -> None:
        """Turn to what the replies that are owed allow."""
        relay = self.relay
        if self.state in (QUITTING, ORPHANED):
            if not relay.owed:
                self.bid_farewell()
        elif self.state in (IDLE, AWAITING, FULL):
            state = IDLE if not relay.owed else FULL if relay.crowded() else AWAITING
            if state != self.state or state == IDLE:  # what we answered ourselves was a command too
                self.become(state)
            if state == IDLE and relay.draining and not relay.in_transaction:
                relay.lose("4.3.2", "shutting down", "draining")  # a 421 behind a 250 would be read as QUIT's reply
        elif self.state == TURNED_AWAY and relay.draining:
            self.become(DRAINED)

    def turn_from_remote(self) -> None:
        """The remote is lost: a body under way is read to its end and thrown away; QUIT stays QUIT."""
        if self.state == BODY:
            self.become(SWALLOWING)
        elif self.state in (IDLE, AWAITING, FULL):
            self.become(TURNED_AWAY)

    # The body.

    def carry(self) -> None:
        """What the MTA sends now passes by the machine."""
        self.moved = 0
        self.become(BODY)
        self.ask(PassBody())

    def relaying(self, size: int, at: int | None) -> None:
        """A body moves; a look-alike of its end (at an offset) takes the remote away before it sees one."""
        if at is not None and self.state == BODY:
            self.become(LOOKALIKE)
            self.lookalike_at = at
            self.relay.lose("4.5.2", "a smuggled end of data", "smuggled")
        elif self.state != LOOKALIKE and size - self.moved >= RENEWING_BYTES:
            self.moved = size
            self.become(self.state)

    def relayed(self, outcome: str, size: int, at: int | None) -> None:
        relay = self.relay
        relay.bytes += size
        if outcome == "cut":
            relay.lose("4.4.2", "the MTA ended in the middle of a body", "mta_gone")
            relay.over()
        elif outcome == "smuggled" or relay.lost:
            self.become(TURNED_AWAY)
            self.ask(Say(smuggling(at) if at is not None else relay.turning_away()))
            self.settle()
        else:
            self.become(FULL)
            relay.owe(Owed(END))

    def early(self) -> None:
        """Body bytes came before the 354 that asks for them."""
        self.relay.lose("4.5.2", "bytes before 354", "early_body")
        self.depart("early_body")

    # What else may befall it.

    def lost(self, kind: str) -> None:
        """The MTA is gone. What it sent the end of is still awaited, so that the log can tell the outcome."""
        relay = self.relay
        relay.reason = relay.reason or "mta_gone"
        if relay.awaits_outcome():
            relay.taint = "mta_gone"
            self.become(ORPHANED)
            return
        if relay.owed or self.state == BODY:
            relay.lose("4.4.2", "the MTA is gone", "mta_gone")
        if self.state != DONE:
            relay.over()

    def elapsed(self) -> None:
        """An MTA that outlasts RFC 5321's patience is closed without a word; one that smuggled is told so.

        A stock one that had nothing to say while the house closes is told why.
        """
        if self.state == LOOKALIKE:
            self.ask(Say(smuggling(self.lookalike_at)))
        if self.state == BODY:
            self.relay.lose("4.4.2", "the MTA was silent", "mta_silent")
        if self.state == DRAINED and self.relay.stock:
            self.ask(Say(self.relay.turning_away()))
        self.depart("mta_silent")

    def faulted(self, fault: RemoteProtocolError) -> None:
        self.relay.lose("4.5.2", str(fault), "malformed_command")
        self.ask(Say(reply(500, f"5.5.2 gaproxy: {fault}")))
        self.depart("malformed_command")

    def depart(self, reason: str) -> None:
        """The MTA's connection is closed by us."""
        self.relay.reason = self.relay.reason or reason
        self.ask(Leave())
        self.relay.over()


class Far(Session):
    """The remote's side."""

    STATES: ClassVar[Mapping[str, State]] = FAR
    PEER = "remote"

    def __init__(self, relay: Relay) -> None:
        super().__init__(NOTHING, relay.asks)
        self.called = relay.name
        self.relay = relay
        self.waiting_for: Owed | None = None
        self.began_early = False
        self.followed = False  # whether there is something behind the reply that is heard

    def cut(self, unheard: bytearray) -> Cut | None:
        """A reply counts from its first byte: the rest of one that began too early is no answer to what came since."""
        self.began_early = bool(unheard) and (self.began_early or self.row.hears is UNASKED)
        cut = cut_reply(unheard)
        if cut is None:
            return None
        early, self.began_early = self.began_early, False
        said, size = cut
        self.followed = len(unheard) > size
        return EARLY if early and said.code != 421 else said.code, said, size

    def settle(self) -> None:
        """Wait for the oldest thing that is owed; patience begins anew only when that changes."""
        relay, oldest = self.relay, self.relay.oldest()
        if relay.lost:
            if self.state != GONE:
                self.become(GONE)
        elif oldest is not self.waiting_for:
            self.waiting_for = oldest
            self.become(NOTHING if oldest is None else oldest.verb if oldest.verb in FAR else OTHER)

    def answered(self, said: Reply) -> None:
        """The reply to the oldest command.

        A code that its verb cannot have means that we no longer know who is where.
        """
        relay, owed = self.relay, self.relay.oldest()
        assert owed is not None
        if said.code // 100 == 3 or (owed.verb == DATA and said.code < 400):
            self.unasked(said)
            return
        if owed.verb == STARTTLS and said.code == 220:
            self.leave_them_alone(said)
            return
        self.look_at(said)
        if owed.instead is not None and said.code != 250:
            relay.lose_remote("4.4.2", "the remote refused RSET", "rset_refused")
            return
        if owed.verb == END:
            relay.transaction = None
            relay.messages += said.code < 300
        elif said.code >= 400:
            relay.refused(owed)
        owed.reply = said.wire if owed.instead is None else owed.instead
        relay.settle()

    def leave_them_alone(self, said: Reply) -> None:
        """220 to the MTA's STARTTLS: from now on they speak TLS end to end. What already follows is no TLS."""
        relay = self.relay
        if self.followed:
            relay.lose_remote("4.7.0", "bytes behind the reply to STARTTLS", "injection")
            return
        if relay.draining:
            relay.lose_remote("4.3.2", "shutting down", "draining")
            return
        relay.near.become(DONE)
        self.become(GONE)
        self.ask(Say(said.wire), Tunnel(relay.fields, hello=True))

    def go_ahead(self, said: Reply) -> None:
        """354: the body may come. It is told at once, for nothing else can be owed before it."""
        self.look_at(said)
        owed = self.relay.owed.pop()
        self.relay.owed_bytes -= owed.size
        self.waiting_for = None
        self.become(CARRYING)
        self.ask(Say(said.wire))
        self.relay.near.carry()

    def look_at(self, said: Reply) -> None:
        """A reply that is odd is told as it came, and the connection is nobody's afterwards."""
        self.relay.taint = self.relay.taint or (said.taints[0] if said.taints else None)

    def closing(self, said: Reply) -> None:
        self.relay.lose_remote("4.4.2", "the remote closed the session", "remote_421", said.wire)

    def unasked(self, said: Reply) -> None:
        self.relay.lose_remote("4.4.2", f"the remote said {said.code} out of turn", "desync")

    def ended(self) -> None:
        self.lost("closed")

    def lost(self, kind: str) -> None:
        self.relay.lose_remote("4.4.2", "the remote closed the connection", f"remote_{kind}")

    def elapsed(self) -> None:
        self.relay.lose_remote("4.4.2", "the remote was silent for too long", "remote_timeout")

    def faulted(self, fault: RemoteProtocolError) -> None:
        self.relay.lose_remote("4.4.2", f"the remote broke the protocol: {fault}", "desync")
