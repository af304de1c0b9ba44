"""An MTA with a queue: sends one message after the other through one connection to a proxy's native door.

Knows what became of each message. Does not know how its proxy, or any remote, works inside.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import field, frozen

from gaproxy import client
from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.events import Address
from gaproxy.proto.smtp.replies import words

PROXY = 2  # the id of our one connection: whom we called is even

DELIVERED, REFUSED, FAILED, LOST, UNKNOWN, UNSENT = "delivered", "refused", "failed", "lost", "unknown", "unsent"
END_OF_DATA, QUIT = "end of data", "QUIT"


@frozen
class Letter:
    """A message and its way: from which address of the proxy, to which remotes (`address:port` each), under which TLS.

    `data`: the message, every line of it ended by CRLF, no dot doubled. `wait_ms`: how long it waits for a free
    connection.
    """

    message_id: str
    source: str
    to: tuple[str, ...]
    helo: str
    tls: str
    sender: bytes
    recipients: tuple[bytes, ...]
    data: bytes = field(repr=False)
    wait_ms: int = 0


@frozen
class Outcome:
    """What became of a message, and in whose words.

    Kinds: `delivered`, `refused` (by the remote), `failed` (no remote), `lost` (the connection, before the final dot),
    `unknown` (the same, behind it), `unsent`.
    """

    message_id: str
    kind: str
    text: str


@frozen
class Step:
    """One thing to say in a session, and the code of the reply that lets it go on (or one of its hundred).

    `with_next`: what comes next is said without waiting for that reply (RFC 2920).
    """

    name: str
    said: bytes
    code: int
    with_next: bool = False


def steps(letter: Letter) -> list[Step]:
    """A session with one message, but for its QUIT."""
    return [
        Step("greeting", b"", 220),
        Step("EHLO", b"EHLO " + letter.helo.encode("ascii"), 250),
        *envelope(letter),
        Step("DATA", b"DATA", 354),
        Step(END_OF_DATA, letter.data, 250),
    ]


def envelope(letter: Letter) -> list[Step]:
    """From whom and to whom, all in one piece."""
    *before, last = letter.recipients
    return [
        Step("MAIL", b"MAIL FROM:<%b>" % letter.sender, 250, with_next=True),
        *(Step("RCPT", b"RCPT TO:<%b>" % one, 250, with_next=True) for one in before),
        Step("RCPT", b"RCPT TO:<%b>" % last, 250),
    ]


def take_together(ahead: deque[Step]) -> deque[Step]:
    """The next things to say, as many as go without waiting for a reply."""
    taken = deque([ahead.popleft()])
    while taken[-1].with_next:
        taken.append(ahead.popleft())
    return taken


class Mta:
    """The machine. `outcomes`: one for each message that it is done with; `done`: with all of them."""

    next_deadline: int | None = None  # whoever lets it play says when it is enough

    def __init__(
        self, native: client.Client, proxy: Address, source: str, letters: Iterable[Letter], tls: bool = True
    ) -> None:
        """`proxy`: where its native door is; `source`: the address of our own that we call it from; `tls`: with it."""
        self.native = native
        self.proxy = proxy
        self.source = source
        self.tls = tls
        self.queue = deque(letters)
        self.outcomes: list[Outcome] = []
        self.done = False
        self.letter: Letter | None = None  # the one under way
        self.ahead: deque[Step] = deque()
        self.asked: deque[Step] = deque()  # whose replies are owed
        self.told: Outcome | None = None  # known before its session has ended
        self.hears: Mapping[type, Callable[[Any], list[Action]]] = {
            client.Challenged: lambda event: self.say(event.answer),
            client.Welcomed: lambda event: self.next_letter(),
            client.Ready: self.ready,
            client.Failed: lambda event: self.settle(FAILED, f"{event.kind}: {event.text}"),
            client.Replied: self.replied,
            client.Ponged: lambda event: [],
            client.GoneAway: lambda event: self.leave(f"the proxy goes away: {event.reason}"),
            client.Fault: lambda event: self.leave(f"the proxy refuses: {event.code}: {event.text}"),
        }

    def step(self, now: int, event: events.Event) -> list[Action]:
        """Hear a fact, give the orders that answer it."""
        if self.done:
            return []
        match event:
            case events.Signalled(name="START"):
                return [actions.Connect(PROXY, self.source, self.proxy)]
            case events.Connected():
                return [actions.Secure(PROXY)] if self.tls else self.say(self.native.hello())
            case events.Secured():
                self.native.bind(event.certificate_sha256)
                return self.say(self.native.hello())
            case events.SecureFailed():
                return self.leave(f"no TLS with the proxy: {event.text}")
            case events.Received():
                return self.received(event.data)
            case events.ConnectFailed():
                self.give_up(f"no proxy: {event.kind}: {event.text}")
            case events.Closed():
                self.give_up(f"the connection to the proxy is gone: {event.kind}")
            case events.Ended():
                return self.leave("the proxy ended the connection")
        return []

    def received(self, data: bytes) -> list[Action]:
        try:
            heard = self.native.receive(data)
        except RemoteProtocolError as fault:
            return self.leave(f"this is no proxy: {fault}")
        return [order for event in heard if not self.done for order in self.hears[type(event)](event)]

    def say(self, data: bytes) -> list[Action]:
        return [actions.Send(PROXY, data)]

    # One letter after the other.

    def next_letter(self) -> list[Action]:
        """Ask for a remote for the next letter, or leave."""
        if not self.queue:
            return self.leave("nothing is left to send")
        letter = self.letter = self.queue.popleft()
        asked: client.OpenWords = {"source": letter.source, "to": letter.to, "helo": letter.helo, "tls": letter.tls}
        if letter.wait_ms:
            asked["wait_ms"] = letter.wait_ms
        return self.say(self.native.open(**asked))

    def ready(self, event: client.Ready) -> list[Action]:
        """A remote is there: its greeting comes first."""
        assert self.letter is not None
        self.ahead = deque(steps(self.letter))
        self.asked = take_together(self.ahead)
        return []

    def replied(self, event: client.Replied) -> list[Action]:
        """Go on with the session; behind a reply that does not let it go on, or the last one, it ends."""
        asked, reply = self.asked.popleft(), event.reply
        assert self.letter is not None
        if asked.name == QUIT:
            assert self.told is not None
            return self.settle(self.told.kind, self.told.text)
        if reply.code // 100 != asked.code // 100:
            self.told = self.told or Outcome(self.letter.message_id, REFUSED, f"{asked.name}: {words(reply)}")
        elif not self.ahead:
            self.told = Outcome(self.letter.message_id, DELIVERED, words(reply))
        if self.asked:
            return []
        self.asked = take_together(self.ahead) if self.told is None else deque([Step(QUIT, b"QUIT", 221)])
        return self.say(b"".join(map(self.spell, self.asked)))

    def spell(self, step: Step) -> bytes:
        return self.native.say_body(step.said) if step.name == END_OF_DATA else self.native.say(step.said)

    def settle(self, kind: str, text: str) -> list[Action]:
        """This letter is done with."""
        assert self.letter is not None
        self.outcomes.append(Outcome(self.letter.message_id, kind, text))
        self.letter = self.told = None
        return self.next_letter()

    # The end.

    def leave(self, why: str) -> list[Action]:
        self.give_up(why)
        return [actions.Close(PROXY)]

    def give_up(self, why: str) -> None:
        """Nothing more is sent: say of each letter that is left what we know."""
        if self.told is not None:
            self.outcomes.append(self.told)
        elif self.letter is not None:
            behind_dot = any(step.name == END_OF_DATA for step in self.asked)
            self.outcomes.append(Outcome(self.letter.message_id, UNKNOWN if behind_dot else LOST, why))
        self.outcomes += [Outcome(letter.message_id, UNSENT, why) for letter in self.queue]
        self.letter = None
        self.queue.clear()
        self.done = True
