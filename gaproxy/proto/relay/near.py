"""The MTA's side of a session: what it may say, and what each command means. Does not know what the remote owes."""

from collections.abc import Mapping
from typing import ClassVar

from gaproxy.proto.asks import Leave, PassBody, Say
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.relay.dialogue import Relay
from gaproxy.proto.relay.owed import RENEWING_BYTES, RSET, Owed, smuggling
from gaproxy.proto.relay.states import (
    AWAITING,
    BODY,
    DONE,
    DRAINED,
    DUE,
    END,
    FULL,
    IDLE,
    INJECTED,
    LISTENING,
    LOOKALIKE,
    NEAR,
    ORPHANED,
    QUITTING,
    STARTTLS,
    SWALLOWING,
    TURNED_AWAY,
    UNBEGUN,
)
from gaproxy.proto.session import Cut, Session, State
from gaproxy.proto.smtp.commands import Command, cut_command
from gaproxy.proto.smtp.replies import reply


class Near(Session):
    """The MTA's side."""

    STATES: ClassVar[Mapping[str, State]] = NEAR
    PEER = "mta"

    def __init__(self, relay: Relay) -> None:
        super().__init__(IDLE, relay.asks)
        self.called = relay.name
        self.relay = relay
        relay.near = self
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
        self.relay.forward(Owed(command.verb, command.wire))

    def mail(self, command: Command) -> None:
        """Whoever has had a turn while others wait begins no other."""
        if self.relay.has_had_turn():
            self.relay.end_turn()
            self.relay.owe(Owed("", reply=self.relay.away))
        else:
            self.forward(command)

    def data(self, command: Command) -> None:
        if command.argument:
            self.relay.owe_ours(501, "5.5.4 gaproxy: DATA takes no argument")
        else:
            self.forward(command)

    def greet(self, command: Command) -> None:
        """EHLO and HELO are answered from memory; in a transaction they also reset it (RFC 5321 4.1.4)."""
        relay = self.relay
        offer, extended = relay.offer, command.verb == "EHLO"
        told = offer.ehlo_reply(relay.starttls, relay.carried) if extended else offer.helo_reply()
        if not command.argument:
            relay.owe_ours(501, f"5.5.4 gaproxy: {command.verb} needs a name")
        elif relay.in_transaction:
            relay.forward(Owed("RSET", RSET, instead=told))
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
        elif self.state in LISTENING:
            state = self.listens()
            if state != self.state or state == IDLE:  # what we answered ourselves was a command too
                self.become(state)
            if not relay.owed and relay.draining and not relay.in_transaction:
                relay.lose("4.3.2", "shutting down", "draining")  # a 421 behind a 250 would be read as QUIT's reply
        elif self.state == TURNED_AWAY and relay.draining:
            self.become(DRAINED)

    def listens(self) -> str:
        """Which of the rows that hear commands, or let them wait."""
        relay = self.relay
        if relay.pauses():
            return FULL
        if relay.owed:
            return FULL if relay.crowded() else AWAITING
        if not relay.contended or relay.mails_per_turn is None or relay.in_transaction:
            return IDLE
        return DUE if relay.has_had_turn() else UNBEGUN

    def turn_from_remote(self) -> None:
        """The remote is lost: a body under way is read to its end and thrown away; QUIT stays QUIT."""
        if self.state == BODY:
            self.become(SWALLOWING)
        elif self.state in LISTENING:
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

    def relayed(self, outcome: str, size: int, at: int | None, bare: bool) -> None:
        relay = self.relay
        relay.bytes += size
        if bare:
            relay.taint = relay.taint or "bare_eol"
        if outcome == "cut":
            relay.lose("4.4.2", "the MTA ended in the middle of a body", "mta_gone")
            relay.over()
        elif outcome == "smuggled" or relay.lost:
            self.become(TURNED_AWAY)
            self.ask(Say(smuggling(at) if at is not None else relay.turning_away()))
            self.settle()
        else:
            relay.ends += 1
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
        if self.state in (DUE, UNBEGUN):
            self.relay.end_turn()
            self.relay.settle()
            return
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
