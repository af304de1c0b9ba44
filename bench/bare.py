"""An opaque relay behind a PROXY header, as a machine: what our edge costs by itself, with no door and no SMTP.

Knows header, dial, bytes both ways, end. Checks nothing: it stands between a bench and its own sink.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.events import Address


class Bare:
    """The machine. The header is expected in one piece, which on loopback it is."""

    next_deadline: int | None = None

    def __init__(self, address: Address) -> None:
        self.listener = actions.Listener("bare", address)
        self.called = 0
        self.beside: dict[int, int] = {}  # each end of a pair → the other end
        self.early: dict[int, bytes] = {}  # who is being called → what came behind the header
        self.hears: Mapping[type, Callable[[Any], list[Action]]] = {
            events.Signalled: self.signalled,
            events.Prepared: lambda event: [actions.Exit(1)] if event.problems else [actions.Adopt()],
            events.Accepted: lambda event: [],
            events.Received: self.received,
            events.Connected: self.connected,
            events.ConnectFailed: lambda event: self.gone(event.id),
            events.Relaying: lambda event: [],
            events.Relayed: lambda event: [actions.End(self.beside[event.id])],
            events.Ended: lambda event: [] if event.id in self.beside else [actions.Close(event.id)],
            events.Closed: lambda event: self.gone(event.id),
            events.Exhausted: lambda event: [actions.Exit(1)],
        }

    def step(self, now: int, event: events.Event) -> list[Action]:
        """Hear a fact, give the orders that answer it."""
        return self.hears[type(event)](event)

    def signalled(self, event: events.Signalled) -> list[Action]:
        return [actions.Prepare((self.listener,))] if event.name == "START" else [actions.Exit(0)]

    def received(self, event: events.Received) -> list[Action]:
        """`PROXY TCP4 source destination port port`, and whatever the client said behind it."""
        if event.id in self.beside:
            self.early[self.beside[event.id]] += event.data
            return []
        header, _, rest = event.data.partition(b"\r\n")
        _, _, source, destination, _, port = header.decode("ascii").split()
        self.called += 2
        self.beside[event.id], self.beside[self.called] = self.called, event.id
        self.early[self.called] = rest
        return [actions.Connect(self.called, source, (destination, int(port)))]

    def connected(self, event: events.Connected) -> list[Action]:
        client = self.beside[event.id]
        orders: list[Action] = [actions.Relay(client, event.id, "end"), actions.Relay(event.id, client, "end")]
        early = self.early.pop(event.id)
        return [actions.Send(event.id, early), *orders] if early else orders

    def gone(self, id: int) -> list[Action]:
        other = self.beside.pop(id, None)
        self.early.pop(id, None)
        return [] if other is None or other not in self.beside else [actions.Close(other)]
