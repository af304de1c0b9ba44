"""Who sits where, and the one gate through which any session is told anything.

Knows connections, seats, patience and whose fault a fault is; does not know what a session is for, what a fact means,
or which ask means what: whoever owns the seating performs the asks. It is a part of the hall.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from traceback import format_exception
from typing import Any

from attrs import define, field

from gaproxy.proto.actions import Action, Close, Hear, Hold, Send
from gaproxy.proto.asks import Failed
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.patience import HOUSE_S, SECOND, Patience
from gaproxy.proto.report.log import note
from gaproxy.proto.report.repeats import Repeats
from gaproxy.proto.session import ACCEPT, AT_ONCE, FORMER, Cut, Departure, Session
from gaproxy.throttle.places import Place

UNHEARD_BYTES_MOST = 64 * 1024
UNHEARD_BYTES_MOST_OF_A_STRANGER = 4096


@define(eq=False)
class Connection:
    """A connection, and who hears it. What nobody has heard yet passes from one session to the next.

    `client`: of those who came in. `fruitless`: who listened last in vain, in which turn, to how many bytes.
    `guest`: an MTA that was let in. `waiting`: it is not read until it is admitted.
    """

    id: int
    born: int
    session: Session
    listener: str = ""
    client: IPv4Address | IPv6Address | None = None
    source: str = ""
    unheard: bytearray = field(factory=bytearray)
    unheard_most: int = UNHEARD_BYTES_MOST
    fruitless: tuple[Session, int, int] | None = None
    connected: bool = True
    guest: bool = False
    waiting: bool = False
    held: bool = False
    ended: bool = False
    leaving: bool = False

    def has_news(self) -> bool:
        """Whether listening may bear fruit: another session or turn than the last time, or other bytes."""
        return self.fruitless is None or self.fruitless != (self.session, self.session.turns, len(self.unheard))


@define(eq=False)
class Seat:
    """Where a session sits: whose bytes it hears, who gets what it says or passes, who asked it, whom it asked.

    Of a relay's side also: the other side (`beside`), the door that lent the MTA, and the caller that was lent.
    """

    since: int
    hears: Connection | None = None
    says: Connection | None = None
    passes: Connection | None = None
    asker: Session | None = None
    asked: Session | None = None
    lender: Session | None = None
    lent: Session | None = None
    beside: Session | None = None
    turns: int = -1


Performs = dict[type, Callable[[Session, Seat, Any], None]]
Told = Callable[..., None]
Cutting = Callable[[Connection, Session], Cut | None]


class Seating:
    """All sessions and connections of one run. `performs`: every ask, and who does it; `strict` raises our own faults.

    `cut`: how a session cuts a word off what waits for it; whoever watches what is heard puts its own there.
    """

    def __init__(self, performs: Performs, strict: bool) -> None:
        self.performs = performs
        self.strict = strict
        self.cut: Cutting = cut_word
        self.now = 0
        self.waits_ns: Mapping[str, int] = {}
        self.orders: list[Action] = []
        self.agenda: deque[tuple[Session, Told, tuple[Any, ...]]] = deque()
        self.connections: dict[int, Connection] = {}
        self.seats: dict[Session, Seat] = {}
        self.risen: list[Session] = []  # who has left a seat since somebody looked
        self.patience: Patience[Session | Place | str] = Patience()
        self.internal_faults = 0
        self.verbose = False
        self.repeats = Repeats()
        self.counted: Counter[tuple[str, str | int]] = Counter()

    def keep_times(self, timeouts: Mapping[str, float]) -> None:
        """How long whoever turns to a row waits from now on, in seconds."""
        self.waits_ns = {name: int(seconds * SECOND) for name, seconds in {**timeouts, **HOUSE_S}.items()}

    def order(self, *orders: Action) -> None:
        self.orders.extend(orders)

    def send(self, connection: Connection, data: bytes) -> None:
        """What goes to one peer in one step goes in one piece, while nothing else stands between.

        Who is gone is told nothing: a relay ends the sentence that it began, even where the MTA hung up.
        """
        if not self.stands(connection):
            return
        last = self.orders[-1] if self.orders else None
        if isinstance(last, Send) and last.id == connection.id:
            last.data += data
        else:
            self.orders.append(Send(connection.id, data))

    def mention(self, topic: str, fields: Mapping[str, str | int], lasted: int = 0) -> None:
        """One line for the log; `lasted` in nanoseconds. Refusals are counted, and the same one told once a minute."""
        reason = fields.get("reason") or fields.get("kind")
        if reason is not None:
            self.counted[topic, reason] += 1
        if not self.repeats.told_before(topic, fields):
            self.orders.append(note(topic, fields, lasted))

    def overhear(self, session: Session, who: str, said: bytes | bytearray) -> None:
        """Where the operator wants it, what is said in SMTP goes into the log as well, but for credentials."""
        if self.verbose and session.PEER:
            for line in said.splitlines():
                shown = "AUTH" if line[:5].upper() == b"AUTH " else line.decode("utf-8", "backslashreplace")
                self.orders.append(note("smtp_said", {"session": session.called, "who": who, "line": shown}, 0))

    # The gate: here, and only here, a session is told anything, and a fault finds its owner.

    def tell(self, session: Session, told: Told, *args: Any) -> None:
        """`session` is told this, once those who were to be told before it have been."""
        self.agenda.append((session, told, args))

    def drain_agenda(self) -> None:
        while self.agenda:
            self.gate(*self.agenda.popleft())

    def gate(self, session: Session, told: Told, args: tuple[Any, ...]) -> None:
        """Tell one session something, and do what it asks. What it asked before its peer's fault still stands."""
        seat = self.seats.get(session)
        if seat is None:
            return
        try:
            told(*args)
        except RemoteProtocolError as fault:
            self.agenda.appendleft((session, session.faulted, (fault,)))
        except Exception as bug:
            if self.strict:
                raise
            self.outlive(session, seat, bug)
            return
        while session.asks:
            ask = session.asks.pop(0)
            self.performs[type(ask)](session, seat, ask)
        self.settle(session)
        if seat.beside is not None:
            self.settle(seat.beside)

    def settle(self, session: Session) -> None:
        """A session may have turned: its patience, and what waits to be heard by it."""
        seat = self.seats.get(session)
        if seat is None:
            return
        if session.turns != seat.turns:
            self.be_patient(session, seat)
        if seat.hears is not None and seat.hears.session is session:
            self.attend(seat.hears)

    def attend(self, connection: Connection) -> None:
        """Let the session hear what waits for it, then its peer's end; read on only while it keeps up."""
        session, row = connection.session, connection.session.row
        if connection.leaving:
            return
        if connection.unheard and row.hears and connection.has_news():
            self.tell(session, self.listen, connection, session)
            return  # once that was heard, it is attended to anew
        if connection.ended and not session.end_heard and (row.hears or row.end == AT_ONCE):
            session.end_heard = True
            self.tell(session, session.ended)
        crowded = connection.waiting or len(connection.unheard) > connection.unheard_most
        if crowded != connection.held:
            connection.held = crowded
            self.order(Hold(connection.id) if crowded else Hear(connection.id))

    def listen(self, connection: Connection, session: Session) -> None:
        """Cut one word after the other off what waits, for as long as the session's row hears any."""
        unheard = connection.unheard
        while unheard and session.row.hears and connection.session is session:
            cut = self.cut(connection, session)
            if cut is None:
                connection.fruitless = (session, session.turns, len(unheard))
                return
            word, item, size = cut
            if self.verbose:
                self.overhear(session, session.PEER, unheard[:size])
            del unheard[:size]
            session.hear(word, item)

    def be_patient(self, session: Session, seat: Seat) -> None:
        """The patience of the row that a session turned to."""
        seat.turns = session.turns
        name, since = session.row.patience, session.row.since
        if name is None:
            self.patience.suspend(session)
        elif since != FORMER or session not in self.patience:
            start = seat.hears.born if since == ACCEPT and seat.hears else self.now
            self.patience.wait(session, max(self.now, start + self.waits_ns[name]))

    def outlive(self, session: Session, seat: Seat, bug: Exception) -> None:
        """A fault of ours costs the session in which it happened, and no other."""
        self.internal_faults += 1
        trace = "".join(format_exception(bug)).replace("\n", " | ")
        self.mention("internal", {"session": type(session).__name__, "text": trace})
        wanted = [self.seats[one].asked for one in (session, seat.beside) if one in self.seats]
        for one in (session, seat.beside, seat.lender, seat.lent):
            self.unseat(one)
        for connection in (seat.hears, seat.says, seat.passes):
            if connection is not None:
                self.depart(connection)
        for asked in wanted:
            self.dismiss(asked)
        if seat.asker is not None:
            self.tell(seat.asker, seat.asker.failed, Failed("internal", "a fault of the proxy"))

    # Sitting down and getting up.

    def sit(self, session: Session, seat: Seat) -> None:
        """A session takes its seat, and hears the connection from now on."""
        self.seats[session] = seat
        if seat.hears is not None:
            seat.hears.session = session
        self.be_patient(session, seat)

    def unseat(self, session: Session | None) -> None:
        """A session is told nothing more."""
        if session is not None:
            self.patience.forget(session)
            if self.seats.pop(session, None) is not None:
                self.risen.append(session)

    def dismiss(self, session: Session | None) -> None:
        """Whatever this session was doing for another one is no longer wanted; and so on down the line."""
        seat = self.seats.get(session) if session is not None else None
        if seat is not None:
            self.unseat(session)
            self.dismiss(seat.asked)
            if seat.hears is not None:
                self.depart(seat.hears)

    def depart(self, connection: Connection, at_once: bool = False) -> None:
        """Close a connection: a farewell takes the seat of whoever heard it.

        `at_once`: do not wait for the peer's end.
        """
        if self.connections.get(connection.id) is not connection:
            return
        if at_once or not connection.leaving:
            self.order(Close(connection.id))
        if not connection.leaving:
            connection.leaving = True
            departure = Departure()
            self.sit(departure, Seat(self.now, hears=connection, says=connection))
            if at_once:
                self.order(Close(connection.id))

    def stands(self, connection: Connection) -> bool:
        """Whether somebody may still say something there."""
        return not connection.leaving and connection.id in self.connections


def cut_word(connection: Connection, session: Session) -> Cut | None:
    """One word off the front of what waits, as the session cuts it."""
    return session.cut(connection.unheard)
