"""The edge as a runtime sees it: turned by hand, with a clock and an alarm that are lists of numbers."""

from gaproxy.proto.actions import Action, Exit
from gaproxy.proto.events import Elapsed, Event, Signalled
from gaproxy.sockets.edge import Edge, Lent


class Sleeper:
    """A machine that waits until a time, and then for nothing."""

    def __init__(self, *deadlines: int | None) -> None:
        self.deadlines = list(deadlines)
        self.next_deadline: int | None = None
        self.facts: list[Event] = []

    def step(self, now: int, event: Event) -> list[Action]:
        self.facts.append(event)
        self.next_deadline = self.deadlines.pop(0) if self.deadlines else None
        return []


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


def begin(machine: Sleeper) -> tuple[Edge, Clock, list[int]]:
    clock, alarms = Clock(), list[int]()
    edge = Edge(machine, Lent(clock, bytes, alarms.append))
    edge.signalled("START")
    return edge, clock, alarms


def test_an_alarm_that_rings_too_early_is_set_again_and_nothing_is_told():
    edge, clock, alarms = begin(Sleeper(10))
    clock.now = 9
    edge.rang()
    assert alarms == [10, 10]
    assert edge.machine.facts == [Signalled("START", bytes(16))]
    clock.now = 10
    edge.rang()
    assert edge.machine.facts[1:] == [Elapsed()]
    assert alarms == [10, 10]
    edge.close()


def test_an_alarm_is_moved_only_where_it_would_come_too_late():
    edge, _, alarms = begin(Sleeper(10, 20, 5, None, 7))
    for _ in range(4):
        edge.signalled("HUP")
    assert alarms == [10, 5]
    edge.close()


def test_an_alarm_without_a_deadline_says_nothing():
    edge, clock, alarms = begin(Sleeper(10, None))
    edge.signalled("HUP")
    clock.now = 10
    edge.rang()
    assert edge.machine.facts[1:] == [Signalled("HUP")]
    assert alarms == [10]
    edge.close()


def test_a_deadline_that_is_met_makes_room_for_the_next():
    edge, clock, alarms = begin(Sleeper(10, 30))
    clock.now = 12
    edge.rang()
    assert alarms == [10, 30]
    edge.close()


def test_behind_an_exit_no_deadline_fires():
    class Leaver(Sleeper):
        def step(self, now: int, event: Event) -> list[Action]:
            super().step(now, event)
            return [Exit(4)]

    edge, clock, _ = begin(Leaver(10))
    clock.now = 10
    edge.rang()
    assert edge.exit_code == 4
    assert len(edge.machine.facts) == 1
    edge.close()
