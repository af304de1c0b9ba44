"""Two MTAs that say anything, remotes that answer anything, a network that fails anywhere; and what must hold always.

The oaths: no fault of ours; orders only to who is there; one reply to each command, in order, and none from another
MTA's remote; 2xx for a message only where its remote said so behind its end; when all have hung up, nobody is left.
"""

from collections.abc import Callable, Iterator
from functools import partial

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from tools import edge
from tools.talk import EHLO, QUIT, opening, with_mta

from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.events import Event

MTAS = {1: "127.0.0.2", 3: "127.0.0.3"}
"""Each MTA, and the source address that tells its remotes from all others."""

MAIL, RCPT, DATA, RSET = b"MAIL FROM:<a>\r\n", b"RCPT TO:<b>\r\n", b"DATA\r\n", b"RSET\r\n"
COMMANDS = (
    *(MAIL, RCPT, DATA, DATA, RSET, MAIL + RCPT + DATA, MAIL + RCPT + RSET + b"NOOP\r\n" + QUIT, EHLO, b"HELO a\r\n"),
    *(QUIT, b"BDAT 5\r\n", b"NO\rOP\r\n", b"QUIT now\r\n", b"A" * 4096),
)
REPLIES = (
    *(b"250 @\r\n", b"250 @\r\n250 @\r\n250 @\r\n", b"354 @\r\n", b"250 @\r\n250 @\r\n354 @\r\n", b"421 @\r\n"),
    *(b"450 @\r\n", b"550 @\r\n", b"220 @\r\n", b"500 @\r\n", b"354 @\r\n250 @\r\n", b"250-@\r\n", b"nonsense\r\n"),
    *(b"250-@\r\n250 PIPELINING\r\n", b"250-@\r\n250-PIPELINING\r\n250 STARTTLS\r\n", b"999 @\r\n"),
)
AGREED = {"GREETING": b"220 @\r\n", "EHLO": b"250-@\r\n250-STARTTLS\r\n250 PIPELINING\r\n", "DATA": b"354 @\r\n"}
"""What a remote says that agrees to everything; 250 to all that is not here. `@` is its signature."""

WAITS_S = (1, 5, 60, 301, 601)


@define
class Link(edge.Link):
    """One connection as the edge has it, and the MTA for which it is there."""

    mta: int = 0
    body: bool = False
    lookalike: bool = False
    to: int = 0
    asked: list[str] = field(factory=list)  # of a remote: what it was asked and has not answered


@define
class Mta:
    """What an MTA may expect: which commands wait for their replies, and how far its dialogue has come."""

    smtp: bool = False
    quits: bool = False
    opened: int = 0
    owed: list[str] = field(factory=list)
    unread: bytes = b""
    reply: list[bytes] = field(factory=list)
    end_at: int = 0  # how many replies all remotes had said when the end of its message went out


class World(edge.Edge[Link]):
    """The edge, both MTAs and all remotes; every order is judged as it comes."""

    def __init__(self) -> None:
        self.talk = with_mta(ids=MTAS)
        self.links = {id: Link(id, mta=id) for id in MTAS}
        self.mtas = {id: Mta() for id in MTAS}
        self.called_for: dict[int, int] = {}
        self.replies = 0

    # What the machine orders, and what it may order.

    def perform(self, order: Action) -> list[Event]:
        match order:
            case actions.Connect(id, source, _):
                self.called_for[id] = next(mta for mta, its in MTAS.items() if its == source)
                self.links[id] = Link(id, dialling=True, mta=self.called_for[id])
            case actions.Close(id):
                return self.close(self.links[id])
            case actions.Send(id, data):
                link = self.links[id]
                assert data and not (link.dialling or link.securing or link.closes)
                if id in self.mtas:
                    self.read(self.mtas[id], id, data)
                else:
                    link.asked += [line[:4].decode().strip() for line in data.split(b"\r\n")[:-1]]
            case actions.Secure(id):
                link = self.links[id]
                assert id not in self.mtas and not (link.dialling or link.securing or link.closes or link.ended)
                link.securing = True
            case actions.Relay(id, to):
                link = self.links[id]
                assert id in self.mtas and to is not None and self.links[to].mta == id
                assert not (link.body or link.closes or self.links[to].closes)
                link.body, link.lookalike, link.to = True, False, to
            case actions.Hold(id) | actions.Hear(id):
                self.hold(self.links[id], isinstance(order, actions.Hold))
            case _:
                assert isinstance(order, actions.Prepare | actions.Exit)
        return []

    # What an MTA hears.

    def read(self, mta: Mta, id: int, data: bytes) -> None:
        *lines, mta.unread = (mta.unread + data).split(b"\r\n")
        for line in lines:
            if mta.smtp:
                mta.reply.append(line)
                if line[3:4] != b"-":
                    self.hear_reply(mta, id, int(line[:3]), mta.reply)
                    mta.reply = []
            elif line.startswith(b"READY "):
                mta.smtp, mta.owed = True, ["greeting", *mta.owed]
            elif line.startswith(b"FAILED "):
                mta.owed.clear()

    def hear_reply(self, mta: Mta, id: int, code: int, lines: list[bytes]) -> None:
        command = mta.owed.pop(0)  # nothing is ever said unasked
        remote, number = self.signed_by(lines[0])
        assert remote is None or self.called_for[remote] == id, "a reply of another MTA's remote"
        if command == "QUIT":
            assert (code, remote) == (221, None)
            mta.smtp = mta.quits = False
        elif command == "END":
            assert code >= 400 or (remote is not None and number > mta.end_at), "250 that no remote said"
        elif command not in ("greeting", "EHLO", "HELO"):
            assert code >= 400 or remote is not None, "a promise that no remote made"

    def signed_by(self, line: bytes) -> tuple[int | None, int]:
        """Which remote said this line, and as the how manieth reply of all; None where we said it ourselves."""
        signature = line[4:].split(b".")
        return (int(signature[0]), int(signature[1])) if len(signature) == 2 and signature[0].isdigit() else (None, 0)

    # What may happen next.

    def sensible(self) -> Iterator[Callable[[], None]]:
        """What brings mail forward."""
        for link in self.links.values():
            mta = self.mtas.get(link.id)
            if link.dialling:
                yield partial(self.connect, link)
            elif link.closes or link.held:
                yield partial(self.end, link)
            elif link.securing:
                yield partial(self.secure, link, True)
            elif link.body:
                yield partial(self.end_body, link, b"")
            elif mta is not None and mta.smtp and not mta.owed:
                yield from (partial(self.command, link, mta, data) for data in (MAIL, MAIL + RCPT + DATA, DATA, QUIT))
            elif mta is not None and not (mta.smtp or mta.owed):
                yield partial(self.open, link, mta)
            elif mta is None and link.asked:
                yield partial(self.answer, link, AGREED.get(link.asked[0], b"250 @\r\n"))

    def choices(self) -> Iterator[Callable[[], None]]:
        for link in self.links.values():
            if link.dialling:
                yield partial(self.connect, link)
                yield partial(self.refuse, link)
            elif link.closes:
                yield partial(self.end, link)
            elif link.id in self.mtas:
                yield from self.mta_choices(link, self.mtas[link.id])
            else:
                yield from self.remote_choices(link)
        yield from (partial(self.wait, seconds) for seconds in WAITS_S)

    def mta_choices(self, link: Link, mta: Mta) -> Iterator[Callable[[], None]]:
        yield from (partial(self.reset, link), partial(self.end, link))
        if link.ended or link.held:
            return
        if link.body:
            yield from (partial(self.move, link), partial(self.find_lookalike, link))
            yield from (partial(self.end_body, link, rest) for rest in (b"", b"", QUIT, MAIL))
        elif mta.smtp and not mta.quits:
            yield from (partial(self.command, link, mta, data) for data in COMMANDS)
            yield partial(self.command, link, mta, QUIT, self.open_line(link, mta))
        elif not mta.smtp:
            yield from (partial(self.tell, events.Received(link.id, b"PING t=1\r\n")),)
            yield from 3 * (partial(self.open, link, mta),)

    def remote_choices(self, link: Link) -> Iterator[Callable[[], None]]:
        yield from (partial(self.reset, link), partial(self.end, link))
        if link.securing:
            yield from (partial(self.secure, link, True), partial(self.secure, link, False))
        elif not link.ended:
            yield from (partial(self.answer, link, reply) for reply in REPLIES)

    # What happens.

    def connect(self, link: Link) -> None:
        link.dialling, link.asked = False, ["GREETING"]
        self.tell(events.Connected(link.id, (MTAS[link.mta], 40113)))

    def end(self, link: Link) -> None:
        """The peer's FIN: what is closing is gone then."""
        if link.closes:
            self.tell(self.gone(link, "closed")[0])
        elif not link.ended:
            link.ended = True
            if link.body:
                link.body = False
                self.tell(events.Relayed(link.id, 10, b"", "cut"))
            self.tell_if_open(link, events.Ended(link.id))

    def tell_if_open(self, link: Link, fact: Event) -> None:
        """The edge drops what a peer says to a connection that we are closing."""
        if link.id in self.links and not link.closes:
            self.tell(fact)

    def answer(self, link: Link, template: bytes) -> None:
        del link.asked[: template.count(b"@")]
        while b"@" in template:
            self.replies += 1
            template = template.replace(b"@", b"%d.%d" % (link.id, self.replies), 1)
        self.tell(events.Received(link.id, template))

    def open_line(self, link: Link, mta: Mta) -> bytes:
        mta.opened += 1
        line = opening(mta.opened, "192.0.2.5:25,192.0.2.6:25", "may" if mta.opened % 2 else "none")
        return line.replace(b"127.0.0.2", MTAS[link.mta].encode())

    def open(self, link: Link, mta: Mta) -> None:
        mta.owed = ["EHLO"]
        self.tell(events.Received(link.id, self.open_line(link, mta) + EHLO))

    def command(self, link: Link, mta: Mta, data: bytes, behind: bytes = b"") -> None:
        self.owe(mta, data)
        self.tell(events.Received(link.id, data + behind))

    def owe(self, mta: Mta, data: bytes) -> None:
        for line in data.removesuffix(b"\r\n").split(b"\r\n"):
            mta.owed.append(line.split(b" ")[0].decode() if line != b"QUIT now" else "")
        mta.quits = mta.owed[-1] == "QUIT"

    def move(self, link: Link) -> None:
        self.tell(events.Relaying(link.id, 100_000, 0))

    def find_lookalike(self, link: Link) -> None:
        if not link.lookalike:
            link.lookalike = True
            self.mtas[link.id].owed.append("END")  # it may be told before its end has come
            self.tell(events.Relaying(link.id, 100, 0, at=50))

    def end_body(self, link: Link, rest: bytes) -> None:
        mta = self.mtas[link.id]
        link.body = False
        mta.owed += [] if link.lookalike else ["END"]
        mta.end_at = self.replies
        if rest:
            self.owe(mta, rest)
        outcome, at = ("smuggled", 50) if link.lookalike else ("dot", None)
        if outcome == "dot" and link.to in self.links:
            self.links[link.to].asked.append("END")
        self.tell(events.Relayed(link.id, 100, rest, outcome, at))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 999)), max_size=100))
def test_whatever_they_say_no_outcome_is_told_wrongly_and_nobody_is_left(steps):
    world = World()
    for wild, number in steps:
        world.go_on(wild, number)
    world.hang_up()
