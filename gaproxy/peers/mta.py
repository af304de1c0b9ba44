"""An MTA with a queue: sends one message after the other through one connection to a proxy's native door.

Knows what became of each message. Does not know how its proxy, or any remote, works inside.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gaproxy import client
from gaproxy.peers.errand import END_OF_DATA, FAILED, QUIT, UNSENT, Errand, Letter, Outcome, Step, steps
from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.events import Address

PROXY = 2  # the id of our one connection: whom we called is even


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
        self.errand: Errand | None = None  # the one under way
        self.hears: Mapping[type, Callable[[Any], list[Action]]] = {
            client.Challenged: lambda event: self.say(event.answer),
            client.Welcomed: lambda event: self.next_letter(),
            client.Ready: lambda event: [],  # the remote's greeting comes first
            client.Failed: lambda event: self.settle(self.on_errand.outcome(FAILED, f"{event.kind}: {event.text}")),
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
        letter = self.queue.popleft()
        self.errand = Errand(letter, steps(letter))
        asked: client.OpenWords = {"source": letter.source, "to": letter.to, "helo": letter.helo, "tls": letter.tls}
        if letter.wait_ms:
            asked["wait_ms"] = letter.wait_ms
        return self.say(self.native.open(**asked))

    @property
    def on_errand(self) -> Errand:
        """The one under way; whoever hears of it knows that there is one."""
        assert self.errand is not None
        return self.errand

    def replied(self, event: client.Replied) -> list[Action]:
        """Go on with the session; behind its QUIT comes the next letter."""
        errand = self.on_errand
        if errand.hear(event.reply).name == QUIT:
            assert errand.told is not None
            return self.settle(errand.told)
        return [] if errand.asked else self.say(b"".join(map(self.spell, errand.go_on())))

    def spell(self, step: Step) -> bytes:
        return self.native.say_body(step.said) if step.name == END_OF_DATA else self.native.say(step.said)

    def settle(self, outcome: Outcome) -> list[Action]:
        """This letter is done with."""
        self.outcomes.append(outcome)
        self.errand = None
        return self.next_letter()

    # The end.

    def leave(self, why: str) -> list[Action]:
        self.give_up(why)
        return [actions.Close(PROXY)]

    def give_up(self, why: str) -> None:
        """Nothing more is sent: say of each letter that is left what we know."""
        if self.errand is not None:
            self.outcomes.append(self.errand.break_off(why))
        self.outcomes += [Outcome(letter.message_id, UNSENT, why) for letter in self.queue]
        self.errand = None
        self.queue.clear()
        self.done = True
