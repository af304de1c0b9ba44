"""One SMTP session between an MTA and a remote, MAIL to QUIT: what its two sides share.

Knows what is owed, whose turn ends when, and when a remote that is lost may be replaced by another one; does not know
by which door the MTA came, how the remote was found, or what happens to it afterwards.
"""

from collections import deque
from collections.abc import Mapping
from typing import Protocol

from attrs import frozen

from gaproxy.proto.asks import (
    CLEAN,
    SENT,
    UNSENT,
    Ask,
    CallOff,
    Drop,
    GiveBack,
    HandOn,
    Join,
    Mention,
    Opened,
    Part,
    Pass,
    Replace,
    Say,
    Security,
    spell_place,
)
from gaproxy.proto.relay.owed import OWED_BYTES_MOST, OWED_MOST, RSET, Owed
from gaproxy.proto.relay.states import (
    DATA,
    DONE,
    DRAINED,
    END,
    GONE,
    MAIL,
    NOTHING,
    ORPHANED,
    QUITTING,
    REPLACING,
    RESET,
    STARTTLS,
    SWALLOWING,
    TURNED_AWAY,
)
from gaproxy.proto.smtp.extensions import Offer
from gaproxy.proto.smtp.replies import reply


class Side(Protocol):
    """One side, as far as both are alike."""

    state: str

    def become(self, state: str) -> None:
        """Turn to another row."""

    def settle(self) -> None:
        """Turn to what the replies that are owed allow."""


class NearSide(Side, Protocol):
    """The MTA's side, as far as the relay knows it."""

    def ask(self, *asks: Ask) -> None:
        """Want this of the hall."""

    def turn_from_remote(self) -> None:
        """The remote is lost."""

    def carry(self) -> None:
        """What the MTA sends now passes by the machine."""

    def depart(self, reason: str) -> None:
        """The MTA's connection is closed by us."""


@frozen
class Terms:
    """How a session begins, and what holds in it.

    `stock`: the MTA was greeted by its door, and does not wait for an answer to hear that the remote is lost.
    `starttls`: its own STARTTLS may pass. `reused`: the remote has carried others before, whose `carried` MAILs are
    taken off what it takes. `reset`: what became of the RSET between them and us. `mails_per_turn`: so many MAILs and
    the connection is handed on while others wait; None: never. `security`: of TLS that is ours.
    """

    stock: bool = False
    starttls: bool = False
    reused: bool = False
    carried: int = 0
    reset: str = CLEAN
    mails_per_turn: int | None = None
    security: Security | None = None


class Relay:
    """What both sides share: the replies that are owed, what the remote offers, and what has been counted.

    `name` stands in brackets behind each 421 of ours; `fields` begin the line that the log gets in the end.
    """

    near: NearSide
    far: Side

    def __init__(self, offer: Offer, name: str, fields: Mapping[str, str | int], terms: Terms) -> None:
        self.offer = offer
        self.name = name
        self.fields = fields
        self.stock = terms.stock
        self.starttls = terms.starttls
        self.carried = terms.carried
        self.reset = terms.reset
        self.mails_per_turn = terms.mails_per_turn
        self.security = terms.security
        self.replaceable = terms.reused  # while the remote has answered nothing of this session
        self.owed: deque[Owed] = deque()
        self.owed_bytes = 0
        self.mails = 0
        self.ends = 0
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
        self.contended = False
        self.turn_is_over = False
        self.asks: list[Ask] = []

    @property
    def in_transaction(self) -> bool:
        """Whether a MAIL was sent on that neither was refused nor has come to its end."""
        return self.transaction is not None

    def begin(self) -> None:
        """The remote's greeting is the greeting shown. A RSET that is still to be said goes ahead where it must."""
        if self.reset == SENT:
            self.await_reset()
        elif self.reset == UNSENT and not self.offer.has("PIPELINING"):
            self.say_reset()
        if not self.stock:
            self.near.ask(Say(self.offer.greeting))
        self.settle()

    def drain(self) -> None:
        """The house is closing: let the transaction in flight end, begin no other."""
        self.draining, self.replaceable = True, False
        if self.far.state == REPLACING:
            self.lose_remote("4.3.2", "shutting down", "draining")
        self.settle()

    # Commands that go on, and replies in the order in which they are owed.

    def say_reset(self) -> None:
        """The RSET that ends what others began."""
        self.near.ask(Pass(RSET))
        self.reset = SENT
        self.await_reset()

    def await_reset(self) -> None:
        self.owed.append(Owed(RESET, swallowed=True))

    def forward(self, owed: Owed) -> None:
        """Send a command on, behind the RSET if that was not said yet; its reply is owed."""
        if self.reset == UNSENT:
            self.say_reset()
        self.near.ask(Pass(owed.wire))
        self.owe(owed)

    def owe(self, owed: Owed) -> None:
        if owed.verb == MAIL:
            self.mails += 1
            self.transaction = self.transaction or owed
        elif owed.verb == "RSET":
            self.transaction = None
        self.owed.append(owed)
        self.owed_bytes += len(owed.wire)
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

    def pauses(self) -> bool:
        """Whether the MTA must wait, whatever is owed: its turn ends, or there is no remote at this moment."""
        return self.turn_is_over or self.far.state == REPLACING

    def crowded(self) -> bool:
        """Whether the MTA must wait for some of what is owed before it is heard again."""
        alone = not self.offer.has("PIPELINING") or self.owed[-1].verb in (DATA, END, STARTTLS)
        return alone or len(self.owed) >= OWED_MOST or self.owed_bytes >= OWED_BYTES_MOST

    def settle(self) -> None:
        """Tell what can be told, and turn both sides to what now holds."""
        while self.owed and (owed := self.owed[at := self.next_to_tell()]).reply is not None:
            del self.owed[at]
            self.owed_bytes -= len(owed.wire)
            if owed.reply:
                self.near.ask(Say(owed.reply))
        if self.turn_is_over and not self.owed and not self.lost:
            self.hand_on()
        self.far.settle()
        self.near.settle()

    def next_to_tell(self) -> int:
        """Which of what is owed is told next: a reply that is for us alone holds up none of ours behind it."""
        first = self.owed[0]
        return 1 if first.swallowed and first.reply is None and len(self.owed) > 1 else 0

    # Turns.

    def compete(self, contended: bool) -> None:
        """Others wait for this connection, or do so no longer."""
        self.contended = contended
        self.near.settle()

    def has_had_turn(self) -> bool:
        """Whether others come next."""
        return self.contended and self.mails_per_turn is not None and self.mails >= self.mails_per_turn

    def end_turn(self) -> None:
        """Every command until QUIT is 421. The remote goes to others once it has said what it owes (`settle`)."""
        self.turn_is_over = True
        self.away = reply(421, f"4.3.2 gaproxy: turn over, others wait [{self.name}]")

    def hand_on(self) -> None:
        """The remote goes, in good order; the MTA stays until its QUIT."""
        self.lost, self.reason = True, "turn_over"
        self.near.ask(HandOn(self.taint, self.ends, self.mails))
        self.near.turn_from_remote()

    # The remote is lost.

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
        self.call_off()
        self.near.ask(Drop())
        for owed in self.owed:
            owed.reply = b"" if owed.swallowed else self.turning_away()
        self.near.turn_from_remote()
        self.settle()

    def lose_remote(self, code: str, why: str, taint: str, words: bytes | None = None) -> None:
        """The same, and no fault of the MTA's: a stock one hears of it now, asked or not, and then our end.

        Of one that has carried others, and answered nothing of this session, nobody hears: another one takes its place.
        """
        if self.replaceable and not self.lost and self.near.state not in (QUITTING, ORPHANED):
            self.replace()
            return
        answered = any(not owed.swallowed for owed in self.owed)
        self.lose(code, why, taint, words)
        if self.stock and self.near.state in (TURNED_AWAY, DRAINED, SWALLOWING):
            if not answered:
                self.near.ask(Say(self.turning_away()))
            self.near.depart(taint)

    def turning_away(self) -> bytes:
        """The next 421: the remote's own words once, ours afterwards."""
        words, self.words = self.words, None
        return words or self.away

    # Another one in its place, once.

    def replace(self) -> None:
        self.replaceable = self.contended = False
        self.reset = CLEAN
        self.owed = deque(owed for owed in self.owed if not owed.swallowed)
        self.far.become(REPLACING)
        self.near.ask(Drop(), Replace())
        self.near.settle()

    def replaced(self, outcome: Opened) -> None:
        """It hears again what was said, provided that it offers all that the MTA was told."""
        if not self.is_covered_by(outcome):
            self.near.ask(Part())
            why = "the remote closed the connection, and offered less when it was dialled again"
            self.lose_remote("4.4.2", why, "lacks")
            return
        self.offer, self.carried, self.security = outcome.offer, 0, outcome.security
        self.fields = {**self.fields, "source": spell_place(*outcome.source), "reused": "no", "uses": 1}
        if outcome.security is not None:
            self.fields = {**self.fields, "tls": outcome.security.version}
        self.near.ask(Join(), *(Pass(owed.wire) for owed in self.owed if owed.wire))
        self.far.become(NOTHING)
        self.settle()

    def is_covered_by(self, outcome: Opened) -> bool:
        """Whether nobody could tell, by what he was told, that it is another remote."""
        secured = self.security is None or self.security.is_covered_by(outcome.security)
        return secured and self.offer.is_covered_by(outcome.offer, self.starttls)

    def call_off(self) -> None:
        """Nobody waits for another one any more."""
        if self.far.state == REPLACING:
            self.near.ask(CallOff())

    def not_replaced(self, why: str) -> None:
        self.lose_remote("4.4.2", f"the remote closed the connection: {why}", "not_replaced")

    # The end.

    def over(self) -> None:
        """The session is at its end: one line for the log, the remote to whoever takes it, the MTA to its door."""
        self.call_off()
        self.near.become(DONE)
        if self.far.state != GONE:
            self.far.become(GONE)
        told: dict[str, str | int] = {**self.fields, "messages": self.messages, "bytes": self.bytes}
        if self.outcome_unknown:
            told["outcome"] = "unknown"
        self.near.ask(Mention("smtp_end", {**told, "reason": self.reason}), GiveBack(self.taint, self.ends, self.mails))
