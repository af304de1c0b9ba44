"""An MTA that does without a proxy: dials the remote itself, once for each message, and is gone behind it.

Knows what became of each message, as one with a proxy does. Does not know how the remote works inside.
"""

from collections import deque
from collections.abc import Iterable

from gaproxy.peers.mta import (
    DELIVERED,
    END_OF_DATA,
    LOST,
    QUIT,
    REFUSED,
    UNKNOWN,
    Letter,
    Outcome,
    Step,
    steps,
    take_together,
)
from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.events import Address
from gaproxy.proto.smtp.replies import Reply, cut_reply, words

STARTTLS = "STARTTLS"


def steps_under_tls(letter: Letter) -> list[Step]:
    """A session with one message: all that is said before TLS is forgotten behind it (RFC 3207 4.2)."""
    greeting, ehlo, *rest = steps(letter)
    return [greeting, ehlo, Step(STARTTLS, b"STARTTLS", 220), ehlo, *rest]


def double_dots(data: bytes) -> bytes:
    """A message as it goes out: dots doubled, the end behind it (RFC 5321 4.5.2)."""
    return (b"\r\n" + data).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


class Direct:
    """The machine. `outcomes`: one for each message that it is done with; `done`: with all of them."""

    next_deadline: int | None = None

    def __init__(self, remote: Address, letters: Iterable[Letter]) -> None:
        self.remote = remote
        self.queue = deque(letters)
        self.outcomes: list[Outcome] = []
        self.done = False
        self.calls = 0
        self.letter: Letter | None = None  # the one under way
        self.ahead: deque[Step] = deque()
        self.asked: deque[Step] = deque()  # whose replies are owed
        self.told: Outcome | None = None
        self.unheard = bytearray()

    def step(self, now: int, event: events.Event) -> list[Action]:
        """Hear a fact, give the orders that answer it."""
        match event:
            case events.Signalled(name="START"):
                return self.next_letter()
            case events.Secured():
                return self.go_on()
            case events.Received():
                self.unheard += event.data
                return self.listen()
            case events.SecureFailed() | events.Ended():
                return self.hang_up()
            case events.ConnectFailed():
                return self.settle(LOST, f"{event.kind}: {event.text}")
            case events.Closed():
                behind_dot = any(step.name == END_OF_DATA for step in self.asked)
                return self.settle(UNKNOWN if behind_dot else LOST, f"the remote is gone: {event.kind}")
        return []

    def next_letter(self) -> list[Action]:
        """Dial for the next letter, or be done."""
        if not self.queue:
            self.done = True
            return []
        letter = self.letter = self.queue.popleft()
        self.ahead = deque(steps_under_tls(letter))
        self.asked = take_together(self.ahead)
        self.calls += 2
        return [actions.Connect(self.calls, letter.source, self.remote)]

    def listen(self) -> list[Action]:
        """Hear every reply that is whole."""
        orders: list[Action] = []
        try:
            while self.asked and (cut := cut_reply(self.unheard)) is not None:
                reply, size = cut
                del self.unheard[:size]
                orders += self.replied(reply)
        except RemoteProtocolError:
            return [*orders, *self.hang_up()]
        return orders

    def replied(self, reply: Reply) -> list[Action]:
        """Go on with the session; behind a reply that does not let it go on, or the last one, it ends."""
        assert self.letter is not None
        asked = self.asked.popleft()
        if asked.name == QUIT:
            return self.hang_up()
        if reply.code // 100 != asked.code // 100:
            self.told = self.told or Outcome(self.letter.message_id, REFUSED, f"{asked.name}: {words(reply)}")
        elif not self.ahead:
            self.told = Outcome(self.letter.message_id, DELIVERED, words(reply))
        if self.asked:
            return []
        if asked.name == STARTTLS and self.told is None:
            return [actions.Secure(self.calls)]
        return self.go_on()

    def go_on(self) -> list[Action]:
        self.asked = take_together(self.ahead) if self.told is None else deque([Step(QUIT, b"QUIT", 221)])
        said = (double_dots(one.said) if one.name == END_OF_DATA else one.said + b"\r\n" for one in self.asked)
        return [actions.Send(self.calls, b"".join(said))]

    def hang_up(self) -> list[Action]:
        return [actions.Close(self.calls)]

    def settle(self, kind: str, text: str) -> list[Action]:
        """The connection is gone, and this letter is done with."""
        assert self.letter is not None
        self.outcomes.append(self.told or Outcome(self.letter.message_id, kind, text))
        self.letter = self.told = None
        self.unheard.clear()
        return self.next_letter()
