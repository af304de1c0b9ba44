"""An MTA that does without a proxy: dials the remote itself, once for each message, and is gone behind it.

Knows what became of each message, as one with a proxy does. Does not know how the remote works inside.
"""

from collections import deque
from collections.abc import Iterable

from gaproxy.peers.errand import END_OF_DATA, QUIT, Errand, Letter, Outcome, Step, steps
from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.events import Address
from gaproxy.proto.smtp.commands import spell_message
from gaproxy.proto.smtp.replies import Reply, cut_reply

STARTTLS = "STARTTLS"


def steps_under_tls(letter: Letter) -> list[Step]:
    """A session with one message: all that is said before TLS is forgotten behind it (RFC 3207 4.2)."""
    greeting, ehlo, *rest = steps(letter)
    return [greeting, ehlo, Step(STARTTLS, b"STARTTLS", 220), ehlo, *rest]


class Direct:
    """The machine. `outcomes`: one for each message that it is done with; `done`: with all of them."""

    next_deadline: int | None = None
    errand: Errand  # the one under way, or the last one

    def __init__(self, remote: Address, letters: Iterable[Letter]) -> None:
        self.remote = remote
        self.queue = deque(letters)
        self.outcomes: list[Outcome] = []
        self.done = False
        self.calls = 0
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
                return self.settle(f"{event.kind}: {event.text}")
            case events.Closed():
                return self.settle(f"the remote is gone: {event.kind}")
        return []

    def next_letter(self) -> list[Action]:
        """Dial for the next letter, or be done."""
        if not self.queue:
            self.done = True
            return []
        letter = self.queue.popleft()
        self.errand = Errand(letter, steps_under_tls(letter))
        self.calls += 2
        return [actions.Connect(self.calls, letter.source, self.remote)]

    def listen(self) -> list[Action]:
        """Hear every reply that is whole."""
        orders: list[Action] = []
        try:
            while self.errand.asked and (cut := cut_reply(self.unheard)) is not None:
                reply, size = cut
                del self.unheard[:size]
                orders += self.replied(reply)
        except RemoteProtocolError:
            return [*orders, *self.hang_up()]
        return orders

    def replied(self, reply: Reply) -> list[Action]:
        """Go on with the session, and hang up behind its QUIT."""
        errand = self.errand
        asked = errand.hear(reply)
        if asked.name == QUIT:
            return self.hang_up()
        if errand.asked:
            return []
        if asked.name == STARTTLS and errand.told is None:
            return [actions.Secure(self.calls)]
        return self.go_on()

    def go_on(self) -> list[Action]:
        said = self.errand.go_on()
        spelt = (spell_message(one.said) if one.name == END_OF_DATA else one.said + b"\r\n" for one in said)
        return [actions.Send(self.calls, b"".join(spelt))]

    def hang_up(self) -> list[Action]:
        return [actions.Close(self.calls)]

    def settle(self, why: str) -> list[Action]:
        """The connection is gone, and this letter is done with."""
        self.outcomes.append(self.errand.break_off(why))
        self.unheard.clear()
        return self.next_letter()
