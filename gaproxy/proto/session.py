"""What every conversation is made of: a table of states, the words each one hears, and a list of asks.

Knows how a session moves from row to row; does not know any language, any id, or what time it is.
"""

from collections.abc import Callable, Mapping
from re import Pattern
from typing import Any, ClassVar

from attrs import field, frozen

from gaproxy.proto.asks import Ask, Declined, Failed, Leave, Opened
from gaproxy.proto.errors import LocalProtocolError, RemoteProtocolError

TURN = "turn"  # patience begins when the state turns
ACCEPT = "accept"  # patience counts from when the peer came in
FORMER = "former"  # the deadline of the state before goes on

IN_TURN = "in_turn"  # the peer's end is heard behind its last word, and not while the state hears nothing
AT_ONCE = "at_once"  # the peer's end is heard at once, whatever waits unheard

Word = str | int | None
ANY: Word = None

Cut = tuple[Word, Any, int]
"""A word, what the row's method is told, and how many bytes it took."""


@frozen
class State:
    """One row of a table: what is heard, how long we wait and why, what the peer's end does, what may come next.

    `hears` maps a word (`ANY`: every other one) to the name of a method; a row that hears nothing lets bytes wait, one
    that hears words refuses all others. `patience` names a row of the time-outs (None: somebody else's patience holds).
    `secret`: what stands in group 1 of this pattern is never written into a journal. `lines`: what it hears are lines,
    so of what it looked at in vain a journal tells no more than the first of them.
    """

    becomes: tuple[str, ...] = ()
    hears: Mapping[Word, str] = field(factory=dict)
    patience: str | None = None
    section: str = ""
    since: str = TURN
    end: str = IN_TURN
    secret: Pattern[bytes] | None = None
    lines: bool = True


class Session:
    """One side of one conversation. It is told answers, and asks; the hall does the rest.

    `state` is the name of the row in force; `turns` counts the changes, so that patience is renewed when a state turns.
    `onlookers` are told of each turn, before it is made: who, from which row, to which row.
    """

    STATES: ClassVar[Mapping[str, State]]
    PEER: ClassVar[str] = ""  # who it hears, in the words of the log; none where the log does not repeat it
    onlookers: ClassVar[list[Callable[[type["Session"], str, str], None]]] = []

    def __init__(self, state: str, asks: list[Ask] | None = None) -> None:
        self.state = state
        self.row = self.STATES[state]
        self.turns = 0
        self.asks: list[Ask] = [] if asks is None else asks
        self.end_heard = False
        self.called = ""  # by which name the log knows this conversation

    def become(self, state: str) -> None:
        """Turn to another row; only to one that this row names."""
        if state not in self.row.becomes:
            raise LocalProtocolError(f"{type(self).__name__} cannot turn from {self.state} to {state}")
        for onlooker in self.onlookers:
            onlooker(type(self), self.state, state)
        self.state = state
        self.row = self.STATES[state]
        self.turns += 1

    def ask(self, *asks: Ask) -> None:
        self.asks.extend(asks)

    def cut(self, unheard: bytearray) -> Cut | None:
        """Cut one word off the front of what is unheard; None while it is not whole."""
        raise LocalProtocolError(f"{type(self).__name__} hears no bytes")

    def hear(self, word: Word, item: Any) -> None:
        """One word was said. A word that the row does not know is the peer's fault."""
        hears = self.row.hears
        name = hears.get(word) or hears.get(ANY)
        if name is None:
            raise RemoteProtocolError(f"{word} is not heard while {self.state}")
        told: Callable[[Any], None] = getattr(self, name)
        told(item)

    # The answers to its asks. A session that does not ask is never told; if it is, that is our own fault.

    def opened(self, outcome: Opened) -> None:
        raise LocalProtocolError(f"{type(self).__name__} opened nothing")

    def failed(self, outcome: Failed) -> None:
        raise LocalProtocolError(f"{type(self).__name__} opened nothing")

    def granted(self) -> None:
        raise LocalProtocolError(f"{type(self).__name__} stands in no line")

    def clearing(self) -> None:
        raise LocalProtocolError(f"{type(self).__name__} stands in no line")

    def declined(self, outcome: Declined) -> None:
        raise LocalProtocolError(f"{type(self).__name__} introduced nobody")

    def introduce_as(self, verb: str, name: str) -> None:
        raise LocalProtocolError(f"{type(self).__name__} is nobody's remote")

    def unsecured(self, kind: str, text: str, seen: bytes) -> None:
        raise LocalProtocolError(f"{type(self).__name__} asked for no TLS")

    def returned(self) -> None:
        raise LocalProtocolError(f"{type(self).__name__} lent nothing")

    def part(self) -> None:
        raise LocalProtocolError(f"{type(self).__name__} called nobody")

    def early(self) -> None:
        raise LocalProtocolError(f"{type(self).__name__} relays no body")

    def relayed(self, outcome: str, size: int, at: int | None, bare: bool) -> None:
        raise LocalProtocolError(f"{type(self).__name__} relays no body")

    def carried(self, size: int) -> None:
        raise LocalProtocolError(f"{type(self).__name__} carries nothing")

    def admitted(self) -> None:
        """My peer, a stranger, is read from now on."""

    def drain(self) -> None:
        """The house is closing: begin nothing new."""

    # What every session may be told, and what it does unless it says otherwise.

    def ended(self) -> None:
        """My peer will say nothing more."""
        self.ask(Leave())

    def lost(self, kind: str) -> None:
        """My peer is gone."""

    def elapsed(self) -> None:
        """My patience is over."""
        self.ask(Leave())

    def faulted(self, fault: RemoteProtocolError) -> None:
        """My peer did what its protocol does not allow."""
        self.ask(Leave())


class Departure(Session):
    """Who is left on a connection that was told to close: waits for the peer's own end, then abandons it."""

    STATES: ClassVar[Mapping[str, State]] = {"CLOSING": State((), {}, "farewell", end=AT_ONCE)}

    def __init__(self) -> None:
        super().__init__("CLOSING")

    def ended(self) -> None:
        """That is what it waits for; `Closed` follows."""

    def elapsed(self) -> None:
        self.ask(Leave(at_once=True))
