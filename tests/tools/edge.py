"""The edge around a machine, as far as it can be told by hand: connections that are dialled, secured, ended and closed.

Knows what the edge owes the machine for each of these, and how time passes. Does not know what anybody says.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from attrs import define
from tools.talk import Talk

from gaproxy.proto import events
from gaproxy.proto.actions import Action
from gaproxy.proto.events import Event
from gaproxy.proto.patience import SECOND


@define
class Link:
    """One connection as the edge has it. `closes`: how often it was ordered to close."""

    id: int
    dialling: bool = False
    securing: bool = False
    ended: bool = False
    held: bool = False
    closes: int = 0


L = TypeVar("L", bound=Link)


class Edge(Generic[L]):
    """What every world has in common. A world says what may happen next, what an order does, and what a FIN ends."""

    talk: Talk
    links: dict[int, L]

    def perform(self, order: Action) -> list[Event]:
        """Do what is ordered; the facts that come of it."""
        raise NotImplementedError

    def sensible(self) -> Iterator[Callable[[], None]]:
        """What brings mail forward."""
        raise NotImplementedError

    def choices(self) -> Iterator[Callable[[], None]]:
        """Whatever may happen."""
        raise NotImplementedError

    def end(self, link: L) -> None:
        """The peer's FIN: what is closing is gone then."""
        raise NotImplementedError

    # What the machine hears, and what becomes of what it orders.

    def tell(self, event: Event) -> None:
        facts = [event]
        while facts:
            for order in self.talk.hear(facts.pop(0)):
                facts += self.perform(order)

    def close(self, link: L) -> list[Event]:
        link.closes += 1
        assert link.closes <= 2
        if link.dialling:
            del self.links[link.id]
            return [events.ConnectFailed(link.id, "called_off", "called off")]
        return self.gone(link, "closed") if link.ended or link.closes == 2 else []

    def hold(self, link: L, held: bool) -> None:
        assert link.held != held and not link.closes
        link.held = held

    def gone(self, link: L, kind: str) -> list[Event]:
        del self.links[link.id]
        return [events.Closed(link.id, kind)]

    # What may happen to any connection.

    def go_on(self, wild: bool, number: int) -> None:
        """One of the things that may happen; or, unless it is to be wild, that bring mail forward."""
        choices = [] if wild else list(self.sensible())
        choices = choices or list(self.choices())
        choices[number % len(choices)]()

    def refuse(self, link: L) -> None:
        del self.links[link.id]
        self.tell(events.ConnectFailed(link.id, "refused", "Connection refused"))

    def secure(self, link: L, well: bool) -> None:
        link.securing = False
        if well:
            self.tell(events.Secured(link.id, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "00" * 32, (), False))
        else:
            self.tell(events.SecureFailed(link.id, "handshake", "no", b""))

    def reset(self, link: L) -> None:
        [fact] = self.gone(link, "reset")
        self.tell(fact)

    def wait(self, seconds: float) -> None:
        """Let time pass, one deadline after the other; however many are met, they come to an end."""
        until = self.talk.now + int(seconds * SECOND)
        for _ in range(1000):
            deadline = self.talk.proxy.next_deadline
            if deadline is None or deadline > until:
                break
            self.talk.now = max(self.talk.now, deadline)
            self.tell(events.Elapsed())
        else:
            raise AssertionError("time stands still")
        self.talk.now = until

    def hang_up(self) -> None:
        """Everybody ends, and time passes: nobody may be left."""
        for _ in range(10):
            for link in list(self.links.values()):
                if self.links.get(link.id) is link:
                    (self.refuse if link.dialling else self.reset if link.securing else self.end)(link)
            self.wait(701)
        seating = self.talk.proxy.seating
        assert (self.links, seating.connections, seating.seats) == ({}, {}, {})
