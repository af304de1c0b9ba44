"""How many may be under one limit at a time, and how many are. Does not know who they are, nor who waits."""

from attrs import define

ENDLESS = 1 << 62


@define
class Slots:
    """The slots of one limiter. `cap` None: no limit. After the cap was lowered more may be used than there are."""

    cap: int | None
    used: int = 0

    @property
    def full(self) -> bool:
        """Whether nobody can be granted one now."""
        return self.room <= 0

    @property
    def room(self) -> int:
        """How many can be granted now; 0 or less where it is full."""
        return ENDLESS if self.cap is None else self.cap - self.used
