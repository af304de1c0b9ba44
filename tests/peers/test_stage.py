"""The stage: each part hears what is its own, under the ids that it knows, and nothing else."""

import pytest

from gaproxy.peers.stage import Stage
from gaproxy.proto.actions import Adopt, Close, Connect, End, Exit, Listener, Note, Prepare, ReadConfig, Relay, Send
from gaproxy.proto.errors import LocalProtocolError
from gaproxy.proto.events import (
    Accepted,
    Closed,
    Connected,
    ConnectFailed,
    Elapsed,
    Ended,
    Prepared,
    Received,
    Signalled,
)

START = Signalled("START", bytes(16))
A, B = Listener("a", ("127.0.0.1", 1)), Listener("b", ("127.0.0.1", 2))
REMOTE = ("192.0.2.25", 25)
CLIENT = ("192.0.2.1", 40112)


class Part:
    """Gives the orders that it was told to give next, and keeps what it hears."""

    def __init__(self, *orders, deadline=None):
        self.orders = list(orders)
        self.heard = []
        self.next_deadline = deadline

    def step(self, now, event):
        self.heard.append(event)
        orders, self.orders = self.orders, []
        return orders


def test_all_hear_a_signal_and_their_calls_do_not_meet():
    one, two = Part(Connect(2, "127.0.0.1", REMOTE)), Part(Connect(2, "127.0.0.1", REMOTE), Connect(4, "::1", REMOTE))
    stage = Stage(one, two)
    assert stage.step(0, START) == [
        Connect(2, "127.0.0.1", REMOTE),
        Connect(4, "127.0.0.1", REMOTE),
        Connect(8, "::1", REMOTE),
    ]
    for fact in (Connected(4, CLIENT), Received(8, b"x"), ConnectFailed(2, "refused", "no"), Closed(8, "reset")):
        stage.step(0, fact)
    assert one.heard == [START, ConnectFailed(2, "refused", "no")]
    assert two.heard == [START, Connected(2, CLIENT), Received(4, b"x"), Closed(4, "reset")]


def test_an_order_reaches_the_connection_that_its_part_means():
    stage = Stage(Part(), Part(), Part(Send(4, b"x"), End(2), Send(3, b"y"), Close(3)))
    assert stage.step(0, Ended(6)) == [Send(12, b"x"), End(6), Send(3, b"y"), Close(3)]


def test_who_comes_in_belongs_to_whose_listener_it_was():
    one, two = Part(Prepare((A,))), Part(Prepare((B,)))
    stage = Stage(one, two)
    assert stage.step(0, START) == [Prepare((A,)), Prepare((A, B))]
    one.orders = two.orders = [Adopt()]
    assert stage.step(0, Prepared()) == [Adopt()]
    assert stage.step(0, Prepared(("no",))) == [Adopt()]
    for fact in (Accepted(1, "b", CLIENT, b""), Accepted(3, "a", CLIENT, b""), Ended(1), Closed(1, "closed")):
        stage.step(0, fact)
    assert one.heard == [START, Prepared(), Accepted(3, "a", CLIENT, b"")]
    assert two.heard == [START, Prepared(("no",)), Accepted(1, "b", CLIENT, b""), Ended(1), Closed(1, "closed")]
    assert stage.hosts == {3: 0}


def test_time_is_told_to_those_who_wait_for_it():
    one, two, three = Part(deadline=5), Part(), Part(Note("late", {}), Exit(0), deadline=7)
    stage = Stage(one, two, three)
    assert stage.next_deadline == 5
    assert stage.step(6, Elapsed()) == []
    one.next_deadline = None
    assert stage.next_deadline == 7
    assert stage.step(7, Elapsed()) == [Note("late", {}), Exit(0)]
    assert (len(one.heard), len(two.heard), len(three.heard)) == (1, 0, 1)
    assert Stage(two).next_deadline is None


@pytest.mark.parametrize("order", [ReadConfig("gaproxy.conf"), Relay(2, 4)])
def test_what_no_part_may_order_is_refused(order):
    with pytest.raises(LocalProtocolError):
        Stage(Part(order)).step(0, START)
