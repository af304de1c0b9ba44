"""Connections to remotes that stand: each under which limits, and who has it now. It is a part of the hall.

Knows who must hear that others wait for his; does not know who they are, nor what a limit is for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from gaproxy.proto.session import Session
from gaproxy.throttle.governor import Governor
from gaproxy.throttle.places import Place

Compete = Callable[[bool], None]


class Tenants:
    """`users`: callers that are lent, to whom, and how he is told that others wait. `contended`: who was told so.

    `stirred`: limits where somebody came or went since all were told.
    """

    def __init__(self) -> None:
        self.limits: dict[Session, tuple[str, ...]] = {}
        self.under: dict[str, dict[Session, None]] = {}
        self.users: dict[Session, tuple[Session, Compete]] = {}
        self.contended: set[Session] = set()
        self.stirred: dict[str, None] = {}

    def stand(self, caller: Session, names: tuple[str, ...]) -> None:
        """From now on under these limits."""
        self.fall(caller)
        self.limits[caller] = names
        for name in names:
            self.under.setdefault(name, {})[caller] = None
        self.stir(names)

    def fall(self, caller: Session) -> None:
        """Under none any more."""
        names = self.limits.pop(caller, ())
        self.stir(names)
        for name in names:
            del self.under[name][caller]
            if not self.under[name]:
                del self.under[name]

    def use(self, caller: Session, user: Session, compete: Compete) -> None:
        """`user` has it; `compete` tells him that others wait, or do so no longer."""
        self.users[caller] = user, compete
        self.stir(self.limits[caller])

    def free(self, caller: Session) -> None:
        """Nobody has it."""
        self.users.pop(caller, None)
        self.contended.discard(caller)

    def stir(self, names: Iterable[str]) -> None:
        self.stirred.update(dict.fromkeys(names))

    def news(self, line: Governor, places: Mapping[Session, Place]) -> Iterator[tuple[Session, Compete, bool]]:
        """Whom to tell that others wait for his connection, or do so no longer."""
        stirred, self.stirred = self.stirred, {}
        callers = dict.fromkeys(caller for name in stirred for caller in self.under.get(name, ()))
        for caller in callers:
            waited_for = caller in self.users and line.waited_for(places[caller])
            if waited_for != (caller in self.contended):
                (self.contended.add if waited_for else self.contended.discard)(caller)
                yield *self.users[caller], waited_for
