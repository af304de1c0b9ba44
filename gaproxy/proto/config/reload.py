"""What is in force and what is wanted: boot is a reload from nothing.

Knows no order and no file; the hall carries it out.
"""

from attrs import define

from gaproxy.proto.config.grammar import Fault
from gaproxy.proto.config.reading import ConfigFaults
from gaproxy.proto.config.settings import Settings, read_settings


@define
class Reload:
    """One reload at a time: `begin`, then `take_in` the text, then `adopt` or `refuse`.

    A signal meanwhile queues one more.
    """

    filename: str
    running: Settings | None = None
    wanted: Settings | None = None
    under_way: bool = False
    queued: bool = False

    def begin(self) -> bool:
        """Whether a reload may begin now; if not, one more follows the one under way."""
        if self.under_way:
            self.queued = True
            return False
        self.under_way = True
        return True

    def take_in(self, text: str) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
        """Read a configuration: its faults and its warnings. `wanted` is set only where there is no fault."""
        self.wanted = None
        try:
            self.wanted, warnings = read_settings(text)
        except ConfigFaults as bad:
            return bad.faults, ()
        return (), warnings

    def adopt(self) -> Settings:
        """What was wanted is in force."""
        assert self.wanted is not None
        self.running, self.wanted, self.under_way = self.wanted, None, False
        return self.running

    def refuse(self) -> None:
        """What was running stays in force."""
        self.wanted, self.under_way = None, False

    def take_queued(self) -> bool:
        """Whether a signal came meanwhile; it is forgotten with this answer."""
        queued, self.queued = self.queued, False
        return queued
