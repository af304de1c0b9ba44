"""What every socket of one edge stands on: where facts go, who watches descriptors, what time it is.

Does not know which sockets there are.
"""

from typing import Protocol

from gaproxy.proto.events import Event
from gaproxy.sockets.readiness import Watch


class Ground(Protocol):
    """An edge, as far as a socket knows it."""

    @property
    def readiness(self) -> Watch:
        """Who watches descriptors."""

    def clock(self) -> int:
        """The time, in ns."""

    def tell(self, event: Event) -> None:
        """Put a fact behind those that wait."""
