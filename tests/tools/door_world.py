"""The edge around MTAs that come to the PROXY door, two at a time, and the remotes that they share, as far as a machine
can tell: what may happen next, and what it may order then.

Knows what an order may not be; does not know what a test wants to see.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial

from attrs import define, field
from tools import edge
from tools.talk import CLIENT, ENTROPY, Talk

from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.events import Event

PLACE = "127.0.0.1:5000"
OPTIONS = ("starttls mta", "starttls proxy", "starttls proxy; level encrypt", "relay opaque")
LIMITS = ("", 'throttle "*" { max_connections 1 }')
HEADER = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
SAID = (
    *(b"EHLO a\r\n", b"EHLO a\r\n", b"HELO a\r\n", b"EHLO\r\n", b"QUIT\r\n", b"NOOP\r\n", b"STARTTLS\r\n", b"\x16\x03"),
    *(b"MAIL FROM:<a>\r\n", b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", b"STARTTLS\r\nNOOP\r\n", b"A" * 4096, b"x"),
)
MESSAGE, STARTTLS = b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n", b"STARTTLS\r\n"
SENSIBLE = (MESSAGE, MESSAGE, b"QUIT\r\n", b"EHLO a\r\n", MESSAGE, b"NOOP\r\n", b"QUIT\r\n", STARTTLS)
ANSWERED = (
    *(b"220 hi\r\n", b"220 hi\r\n", b"250 ok\r\n", b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n", b"354 go\r\n"),
    *(
        b"421 no\r\n",
        b"450 no\r\n",
        b"502 no\r\n",
        b"220 go\r\n250 evil\r\n",
        b"nonsense\r\n",
        b"\x16\x03",
        b"250 a\r\n" * 3,
    ),
)
WAITS_S = (1, 6, 26, 301, 601)
OFFER = b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
AGREED = {b"EHLO": OFFER, b"DATA": b"354 go\r\n", b"STARTTLS": b"220 go\r\n", b"QUIT": b"221 bye\r\n"}
"""What a remote says that agrees to everything; 250 to all that is not here."""
MTAS_MOST = 2  # at a time
FINAL = re.compile(rb"^[0-9]{3} ", re.MULTILINE)


@define
class Link(edge.Link):
    """One connection as the edge has it. `owes`: what a remote was asked and has not answered; `to`: where a passage of
    an MTA leads.
    """

    passage: str = ""
    heard: bytes = b""
    said: bytes = b""
    ends: int = 0
    opaque: bool = False
    owes: list[bytes] = field(factory=list)
    to: int = 0


def came_in(id: int) -> bool:
    """Whoever came in is odd, whom we called is even."""
    return id % 2 == 1


def config(options: str, limit: str = "") -> str:
    """A configuration with this door, and remotes that may be dialled."""
    return f'listen_proxy_protocol "{PLACE}" {{ {options} }}\nremote_allow 192.0.2.0/24\n{limit}\n'


@define
class World(edge.Edge[Link]):
    """The edge, MTAs (1, 3 …) and their remotes; every order is judged as it comes."""

    talk: Talk
    options: str
    links: dict[int, Link] = field(factory=dict)
    arrived: int = -1

    def __attrs_post_init__(self) -> None:
        self.arrive()

    def arrive(self) -> None:
        """One more MTA."""
        self.arrived += 2
        self.links[self.arrived] = Link(self.arrived)
        self.tell(events.Accepted(self.arrived, PLACE, CLIENT, ENTROPY))

    def mtas(self) -> list[Link]:
        """Those that are there."""
        return [link for id, link in self.links.items() if came_in(id)]

    def perform(self, order: Action) -> list[Event]:
        match order:
            case actions.Connect(id):
                self.links[id] = Link(id, dialling=True)
            case actions.Close(id):
                return self.close(self.links[id])
            case actions.Send(id, data):
                link = self.links[id]
                assert data and not (link.dialling or link.securing or link.closes)
                link.said += data
                self.judge(link, data)
                if not came_in(id):
                    link.owes += [line.split()[0] for line in data.splitlines() if line[:1].isalpha()]
            case actions.Secure(id):
                link = self.links[id]
                assert not came_in(id) and not (link.dialling or link.securing or link.closes)
                link.securing = True
            case actions.Relay(id, to, until):
                link = self.links[id]
                assert not (link.passage or link.closes) and to in self.links
                link.passage, link.to = until, to or 0
                link.opaque = link.opaque or until == "end"
                if link.ended:
                    return self.end_passage(link)
            case actions.End(id):
                link = self.links[id]
                link.ends += 1
                assert link.ends == 1 and not link.closes
            case actions.Hold(id) | actions.Hear(id):
                self.hold(self.links[id], isinstance(order, actions.Hold))
            case _:
                assert isinstance(order, actions.Prepare | actions.Exit)
        return []

    def judge(self, link: Link, data: bytes) -> None:
        """Of the envelope nothing goes out before the EHLO, or in the clear where that is forbidden."""
        opaque = link.opaque or "opaque" in self.options or any(one.to == link.id and one.opaque for one in self.mtas())
        if not came_in(link.id) and not opaque and b"MAIL" in data:
            assert b"EHLO" in link.said or b"HELO" in link.said
            assert "encrypt" not in self.options or b"STARTTLS" in link.said

    def close(self, link: Link) -> list[Event]:
        link.passage = ""
        return super().close(link)

    # What may happen next.

    def sensible(self) -> Iterator[Callable[[], None]]:
        """What brings mail forward."""
        if len(self.mtas()) < MTAS_MOST:
            yield self.arrive
        for link in self.links.values():
            if link.dialling:
                yield partial(self.connect, link)
            elif link.securing:
                yield partial(self.secure, link, True)
            elif link.closes:
                yield partial(self.end, link)
            elif link.ended or link.held:
                continue
            elif link.passage == "dot":
                yield partial(self.end_body, link, b"")
            elif link.passage:
                yield partial(self.tell, events.Relaying(link.id, 100_000, 0))
                yield partial(self.end, link)
            elif came_in(link.id):
                yield from (partial(self.say, link, word) for word in self.next_words(link))
            elif not link.heard:
                yield partial(self.say, link, b"220 hi\r\n")
            elif link.owes:
                yield partial(self.say, link, AGREED.get(link.owes[0], b"250 ok\r\n"))
            elif link.said.endswith(b"\x16\x03"):
                yield partial(self.say, link, b"\x16\x03")

    def next_words(self, mta: Link) -> tuple[bytes, ...]:
        """What an MTA says next that means well, once it has been answered."""
        if not mta.heard:
            return (HEADER,)
        if mta.heard.count(b"\n") > len(FINAL.findall(mta.said)):
            return ()
        if mta.said.endswith(AGREED[b"STARTTLS"]):
            return (b"\x16\x03",)
        return SENSIBLE if b"250 " in mta.said else (*SAID[:2], b"EHLO b\r\n") if mta.said else ()

    def choices(self) -> Iterator[Callable[[], None]]:
        for link in self.links.values():
            if link.dialling:
                yield partial(self.connect, link)
                yield partial(self.refuse, link)
                continue
            yield partial(self.end, link)
            yield partial(self.reset, link)
            if link.closes or link.ended or link.held:
                continue
            if link.securing:
                yield partial(self.secure, link, True)
                yield partial(self.secure, link, False)
            elif link.passage:
                yield partial(self.tell, events.Relaying(link.id, 100_000, 0))
                if link.passage == "dot":
                    yield partial(self.end_body, link, b"")
                    yield partial(self.end_body, link, b"QUIT\r\n")
            else:
                words = (
                    ANSWERED
                    if not came_in(link.id)
                    else (HEADER, *SAID)
                    if link.heard
                    else (HEADER, HEADER + b"EHLO a\r\n")
                )
                yield from (partial(self.say, link, word) for word in words)
        yield from (partial(self.wait, seconds) for seconds in WAITS_S)

    def listens(self, id: int) -> bool:
        """Whether what this peer says would reach the machine."""
        link = self.links.get(id)
        return link is not None and not (link.closes or link.ended or link.held or link.passage)

    def say(self, link: Link, data: bytes) -> None:
        link.heard += data
        if not came_in(link.id) and not data.startswith(b"220 hi"):
            del link.owes[: len(FINAL.findall(data))]
        self.tell(events.Received(link.id, data))

    def connect(self, link: Link) -> None:
        link.dialling = False
        self.tell(events.Connected(link.id, ("127.0.0.2", 40113)))

    def end_body(self, link: Link, rest: bytes) -> None:
        link.passage = ""
        link.heard += b".\r\n"
        if link.to in self.links:
            self.links[link.to].owes.append(b".")
        self.tell(events.Relayed(link.id, 100, rest, "dot"))

    def end_passage(self, link: Link) -> list[Event]:
        outcome = "cut" if link.passage == "dot" else "end"
        link.passage = ""
        return [events.Relayed(link.id, 10, b"", outcome)]

    def end(self, link: Link) -> None:
        """The peer's FIN: what is closing is gone then, and so is what was ended on both sides."""
        if link.closes:
            self.tell(self.gone(link, "closed")[0])
        elif not link.ended:
            link.ended = True
            facts = self.end_passage(link) if link.passage else []
            for fact in [*facts, events.Ended(link.id)]:
                if self.links.get(link.id) is link and not link.closes:
                    self.tell(fact)
