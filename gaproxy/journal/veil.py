"""What a journal may say: knows what of a fact was heard, what is secret, and that all else is nobody's business.

Does not know how a page is spelled, or where it goes.

What a remote says is written as it came. What came in is written only as far as a session heard it, or looked at it in
vain: the row in force then says what is secret in it. Bytes that nobody looked at, such as those of a body that came
too early, are zeros of the same length. They may still be heard in a later step, which then reveals them; or go past
the machine to a remote, unheard, and then they stay zeros.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from re import Pattern

from attrs import define, evolve

from gaproxy.journal.page import Reveal, Speech, spoken, with_spoken
from gaproxy.journal.veiled_config import without_secrets
from gaproxy.proto.actions import Action, Relay, Send
from gaproxy.proto.doors.credentials import Verdict
from gaproxy.proto.doors.looks import LOOK
from gaproxy.proto.events import Closed, ConfigRead, Event, SecureFailed
from gaproxy.proto.seating import Connection
from gaproxy.proto.session import Cut, Session, State

LOOKED_AT = re.compile(rb"\A" + LOOK + rb"?(.*)", re.DOTALL)
"""Of what came instead of TLS no more than shows what it is."""

FOREIGN = 0x80
VEILED = bytes(ord("0") if 0x20 <= byte < 0x7F else byte if byte in b"\0\r\n" else FOREIGN for byte in range(256))
"""Visible bytes become 0, line ends and NUL stay, what is no ASCII text becomes one such byte: grammars see no more."""


@define
class Piece:
    """The bytes of one fact that are not all heard yet: as they are written, and how many of them were heard."""

    step: int
    written: bytearray
    heard: int = 0


class Veil:
    """Watches one machine's connections, step by step: `begin`, then `cut` as often as a session listens."""

    def __init__(self, connections: Mapping[int, Connection]) -> None:
        self.connections = connections
        self.unheard: dict[int, deque[Piece]] = {}
        self.step = 0
        self.piece = Piece(0, bytearray())
        self.reveals: list[Reveal] = []

    def begin(self, fact: Event) -> None:
        """The machine is about to hear this fact."""
        self.step += 1
        self.reveals = []
        if isinstance(fact, Closed):
            self.unheard.pop(fact.id, None)
        elif isinstance(fact, Speech) and came_in(fact.id):
            self.piece = Piece(self.step, bytearray(b"0" * len(spoken(fact))))
            connection = self.connections.get(fact.id)
            if self.piece.written and connection is not None and not connection.leaving:
                self.unheard.setdefault(fact.id, deque()).append(self.piece)

    def cut(self, connection: Connection, session: Session) -> Cut | None:
        """Cut a word as the session does; whatever comes of it, what the session saw may be written."""
        row = session.row
        cut = None
        try:
            cut = session.cut(connection.unheard)
        finally:
            if came_in(connection.id):
                self.show(connection, row, 0 if cut is None else cut[2])
        return cut

    def show(self, connection: Connection, row: State, heard: int) -> None:
        """A session heard so many bytes; or none, and then it looked at the first line as far as that is there."""
        data = connection.unheard
        pieces = self.unheard.get(connection.id, deque())
        waiting = sum(len(piece.written) - piece.heard for piece in pieces)
        heard_before = len(data) - waiting  # a door gave them back to be heard once more
        looked_at = heard or (row.lines and data.find(b"\n") + 1) or len(data)
        seen = veiled(bytes(data[:looked_at]), row.secret)[heard_before:]
        for piece in pieces:
            if not seen:
                break
            part = seen[: len(piece.written) - piece.heard]
            seen = seen[len(part) :]
            self.write(piece, part)
            if heard:
                piece.heard += len(part)
        while pieces and pieces[0].heard == len(pieces[0].written):
            pieces.popleft()

    def write(self, piece: Piece, part: bytes) -> None:
        """These bytes stand in this piece, behind those that were heard."""
        place = slice(piece.heard, piece.heard + len(part))
        if piece.step != self.step and piece.written[place] != part:
            self.reveals.append(Reveal(piece.step, piece.heard, part))
        piece.written[place] = part

    def orders(self, orders: Sequence[Action]) -> Sequence[Action]:
        """The orders as they may be written: what goes on unheard, ahead of what passes the machine by, is hidden."""
        hidden = list(orders)
        for at, order in enumerate(orders):
            if isinstance(order, Relay) and came_in(order.id):
                pieces = self.unheard.pop(order.id, ())
                waiting = b"".join(bytes(piece.written[piece.heard :]) for piece in pieces)
                sent = orders[at - 1]
                if waiting and isinstance(sent, Send):
                    hidden[at - 1] = evolve(sent, data=sent.data[: -len(waiting)] + waiting)
        return hidden

    def fact(self, fact: Event) -> Event:
        """The fact that the machine heard just now, as it may be written."""
        if isinstance(fact, ConfigRead):
            return evolve(fact, text=without_secrets(fact.text))
        if isinstance(fact, SecureFailed) and came_in(fact.id):
            return evolve(fact, seen=veiled(fact.seen, LOOKED_AT))
        if isinstance(fact, Speech) and came_in(fact.id):
            return with_spoken(fact, bytes(self.piece.written))
        return fact


def came_in(id: int) -> bool:
    """Whoever came in is odd, whom we called is even."""
    return id % 2 == 1


def veiled(data: bytes, secret: Pattern[bytes] | None) -> bytes:
    """The same bytes, with zeros in place of what the pattern's group 1 finds."""
    found = secret.search(data) if secret else None
    if found is None:
        return data
    start, end = found.span(1)
    return data[:start] + data[start:end].translate(VEILED) + data[end:]


def without_proof(verdict: Verdict) -> Verdict:
    """The verdict with zeros for our proof."""
    return evolve(verdict, proof="0" * len(verdict.proof))


def without_proofs(orders: Iterable[Action], verdicts: Sequence[Verdict]) -> tuple[Action, ...]:
    """The orders with zeros for our proofs: the verdicts of the same step hold them."""
    return tuple(_without(order, verdicts) if verdicts and isinstance(order, Send) else order for order in orders)


def _without(order: Send, verdicts: Sequence[Verdict]) -> Send:
    data = order.data
    for verdict in verdicts:
        data = data.replace(verdict.proof.encode("ascii"), b"0" * len(verdict.proof))
    return evolve(order, data=data)
