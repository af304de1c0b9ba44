"""Several machines on one edge: knows which connection is whose. Does not know what any of them does.

Each counts its own even ids as if it were alone: outside, the machine k of n has every n-th even one. Odd ids are the
edge's, and belong to whose listener it was.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from attrs import evolve

from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.errors import LocalProtocolError


class Machine(Protocol):
    """Whoever plays a part."""

    @property
    def next_deadline(self) -> int | None: ...

    def step(self, now: int, event: events.Event) -> list[Action]: ...


class Stage:
    """All parts as one machine. Their listeners differ in name; none of them relays, or reads a configuration."""

    def __init__(self, *parts: Machine) -> None:
        self.parts = parts
        self.listeners: dict[int, Sequence[actions.Listener]] = {}  # part → where it listens
        self.preparing: deque[int] = deque()  # the parts that are owed a `Prepared`
        self.hosts: dict[int, int] = {}  # who came in → the part that was called on

    @property
    def next_deadline(self) -> int | None:
        return min((part.next_deadline for part in self.parts if part.next_deadline is not None), default=None)

    def step(self, now: int, event: events.Event) -> list[Action]:
        """Hear a fact: whom it concerns answers it."""
        return [
            self.outward(part, order)
            for part, told in list(self.concerned(now, event))
            for order in self.parts[part].step(now, told)
        ]

    # Facts, on their way in.

    def concerned(self, now: int, event: events.Event) -> Iterator[tuple[int, events.Event]]:
        """Which parts are told, and what."""
        match event:
            case events.Signalled() | events.Exhausted():
                yield from ((part, event) for part in range(len(self.parts)))
            case events.Elapsed():
                deadlines = [part.next_deadline for part in self.parts]
                yield from ((part, event) for part, at in enumerate(deadlines) if at is not None and at <= now)
            case events.Prepared():
                yield self.preparing.popleft(), event
            case events.Accepted():
                self.hosts[event.id] = self.host(event.listener)
                yield self.hosts[event.id], event
            case _:
                yield self.inward(event)

    def inward(self, event: Any) -> tuple[int, events.Event]:
        """Whose connection it is, and the fact with the id that this part knows it by."""
        if event.id % 2:
            part = self.hosts.pop(event.id) if isinstance(event, events.Closed) else self.hosts[event.id]
            return part, event
        turn, part = divmod(event.id // 2 - 1, len(self.parts))
        return part, evolve(event, id=2 * turn + 2)

    def host(self, name: str) -> int:
        """Whose listener it is."""
        return next(part for part, ours in self.listeners.items() if any(one.name == name for one in ours))

    # Orders, on their way out.

    def outward(self, part: int, order: Action) -> Action:
        """The order as the edge is to have it."""
        match order:
            case actions.Prepare():
                return self.prepare(part, order)
            case actions.ReadConfig() | actions.Relay():
                raise LocalProtocolError(f"no part on a stage orders {order}")
            case actions.Adopt() | actions.Note() | actions.Exit():
                return order
        return order if order.id % 2 else evolve(order, id=2 * ((order.id // 2 - 1) * len(self.parts) + part) + 2)

    def prepare(self, part: int, order: actions.Prepare) -> Action:
        """A `Prepare` replaces all listeners: one part's must not close another's."""
        self.listeners[part] = order.listeners
        self.preparing.append(part)
        return actions.Prepare(tuple(one for ours in self.listeners.values() for one in ours), order.directories)
