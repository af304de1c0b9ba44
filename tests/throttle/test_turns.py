"""Whose turn it is at one limiter, who is over its share, and who is remembered."""

from gaproxy.throttle.places import Flow, Place
from gaproxy.throttle.slots import Slots
from gaproxy.throttle.turns import Turns


class Line:
    """One limiter: its turns, and a flow parked for each member that came."""

    def __init__(self, cap: int | None) -> None:
        self.turns = Turns(Slots(cap))
        self.count = 0

    def come(self, member: str) -> Flow:
        self.count += 1
        flow = Flow(member, ("l",))
        flow.places[Place(member, (("l", 1),), 0, self.count)] = None
        self.turns.come(member)
        self.turns.park(flow)
        return flow

    def serve(self) -> str:
        """Serve the head; its flow stands here no more."""
        flow = self.turns.head()
        assert flow is not None
        self.turns.unpark(flow)
        self.turns.serve(flow.member)
        self.turns.go(flow.member)
        return flow.member

    def release(self, member: str) -> None:
        self.turns.lend(member)
        self.turns.forget(member)


def test_nobody_is_the_head_of_an_empty_line():
    assert Turns(Slots(1)).head() is None


def test_who_held_a_slot_for_long_and_wants_another_has_saved_up_no_turns():
    line = Line(None)
    line.come("a")
    line.serve()
    for _ in range(3):
        line.turns.serve("b")
    c = line.come("c")
    for _ in range(3):
        line.turns.serve("b")
    line.come("a")
    assert line.turns.head() is c


def test_those_who_are_level_go_in_the_order_in_which_they_were_served():
    line = Line(9)
    for member in "abab":
        line.come(member)
    assert [line.serve() for _ in range(4)] == ["a", "b", "a", "b"]


def test_who_went_over_its_share_goes_behind_the_others_and_who_holds_most_goes_last():
    line = Line(4)
    for member in "aaabb":
        line.come(member)
        line.serve()
    for member in "abc":
        line.come(member)
    assert [line.serve() for _ in range(3)] == ["c", "b", "a"]


def test_a_share_grows_when_others_go_and_whoever_was_over_it_is_in_turn_again():
    line = Line(4)
    for member in "aaab":
        line.come(member)
        line.serve()
    a = line.come("a")
    b = line.come("b")
    assert line.turns.precedes(b, a)
    line.turns.unpark(b)
    line.turns.go("b")
    assert line.turns.head() is a
    line.release("b")
    c = line.come("c")
    assert line.turns.head() is c
    line.turns.slots.cap = None
    assert line.turns.precedes(c, a)
    assert [line.serve(), line.serve()] == ["c", "a"]


def test_who_is_over_its_share_no_more_stands_where_its_turns_say():
    line = Line(4)
    for member in "aabcc":
        line.come(member)
        line.serve()
    line.release("c")
    line.release("c")
    a, c = line.come("a"), line.come("c")
    assert line.turns.head() is c
    line.release("b")
    assert line.turns.head() is a


def test_all_who_are_over_their_share_no_more_are_looked_at():
    line = Line(6)
    for member in "bbbaa":
        line.come(member)
        line.serve()
    a, b = line.come("a"), line.come("b")
    line.turns.come("c")
    line.turns.come("d")
    assert line.turns.head() is a
    line.turns.go("c")
    line.turns.go("d")
    assert line.turns.head() is b


def test_who_is_over_its_share_since_others_came_is_passed_by():
    line = Line(4)
    for member in "aab":
        line.come(member)
        line.serve()
    a = line.come("a")
    b = line.come("b")
    assert line.turns.head() is a
    line.turns.come("c")
    assert line.turns.head() is b


def test_without_a_cap_nobody_is_over_its_share():
    line = Line(None)
    for member in "aab":
        line.come(member)
        line.serve()
    first, second = line.come("a"), line.come("b")
    assert line.turns.precedes(first, second)
    line.turns.slots.cap = 3
    assert line.turns.precedes(second, first)


def test_a_tentative_return_can_be_undone():
    line = Line(1)
    line.come("a")
    line.serve()
    line.come("b")
    before = (line.turns.active, line.turns.members["a"].held)
    line.turns.lend("a")
    assert (line.turns.active, line.turns.members["a"].held) == (1, 0)
    line.turns.reclaim("a")
    assert (line.turns.active, line.turns.members["a"].held) == before


def test_who_left_behind_the_virtual_time_is_forgotten_at_once():
    line = Line(2)
    line.come("a")
    line.turns.unpark(line.turns.members["a"].flows[0])
    line.turns.go("a")
    assert not line.turns.members


def test_who_left_ahead_of_it_is_remembered_until_it_has_caught_up():
    line = Line(2)
    for member in "abb":
        line.come(member)
    line.serve()
    line.release("a")
    assert [*line.turns.members] == ["a", "b"]
    line.serve()
    assert [*line.turns.members] == ["a", "b"]
    line.serve()
    assert [*line.turns.members] == ["b"]


def test_who_comes_and_goes_is_remembered_once_and_not_forgotten_while_it_is_here():
    line = Line(2)
    for member in "abb":
        line.come(member)
    line.serve()
    line.release("a")
    for _ in range(3):
        flow = line.come("a")
        line.turns.unpark(flow)
        line.turns.go("a")
    line.come("a")
    line.serve()
    line.serve()
    assert [*line.turns.members] == ["a", "b"]


def test_others_wait_when_anybody_else_does():
    line = Line(1)
    line.come("a")
    line.come("a")
    assert not line.turns.others_wait("a")
    assert line.turns.others_wait("b")
    line.come("b")
    assert line.turns.others_wait("a")
