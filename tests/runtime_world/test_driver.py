"""What a machine is promised holds in the world too: promises of `tests/contract`, on a network that is not there."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from gaproxy.proto import actions, events
from gaproxy.proto.actions import Close, Connect, End, Hear, Hold, Relay, Send
from gaproxy.proto.events import Closed, Connected, ConnectFailed, Elapsed, Ended, Received, Relayed, Relaying
from gaproxy.runtime_world.driver import World
from gaproxy.runtime_world.network import Line
from gaproxy.runtime_world.oaths import Sworn

PLACE = ("192.0.2.5", 25)
BODY = b"Subject: a dot is doubled\r\n\r\n..\r\n.leading\r\nlast line\r\n.\r\n"


class Script:
    """A machine that does as its test says; it opens a door by itself."""

    def __init__(self) -> None:
        self.facts: list[events.Event] = []
        self.answers: dict[type, Callable[[Any], list[actions.Action]]] = {
            events.Signalled: lambda fact: [actions.Prepare((actions.Listener("door", ("127.0.0.1", 0)),))],
            events.Prepared: lambda fact: [actions.Adopt()],
        }
        self.next_deadline: int | None = None

    def step(self, now: int, event: events.Event) -> list[actions.Action]:
        if isinstance(event, Elapsed):
            self.next_deadline = None
        self.facts.append(event)
        return self.answers.get(type(event), lambda fact: [])(event)


class Somebody:
    """A peer that keeps what it hears."""

    def __init__(self, line: Line | None = None) -> None:
        self.heard = b""
        self.is_ended = self.is_lost = False

    def joined(self, line: Line) -> None:
        self.line = line

    def hear(self, data: bytes) -> None:
        self.heard += data

    def ended(self) -> None:
        self.is_ended = True

    def lost(self) -> None:
        self.is_lost = True

    def refused(self) -> None:
        self.is_lost = True


class Scene:
    """A world with a script in it; facts are asked for when nothing more can happen, adjacent pieces put together."""

    def __init__(self, dice: Random) -> None:
        self.script = Script()
        self.world = World(Sworn(self.script), dice)
        self.mx = Somebody()
        self.world.places[PLACE] = lambda source: self.mx
        self.world.signal("START")
        self.facts()

    def order(self, *orders: actions.Action) -> None:
        """Have the machine give these orders now."""
        self.script.answers[Elapsed] = lambda fact: list(orders)
        self.script.next_deadline = self.world.now
        self.world.ring()
        self.script.facts.remove(Elapsed())

    def facts(self) -> list[events.Event]:
        """What was told since this was asked for the last time, once nothing more can happen; but for mere progress."""
        while self.world.network.carriers:
            self.world.turn()
        told: list[events.Event] = []
        for fact in self.script.facts:
            if isinstance(fact, Relaying) and fact.at is None:
                continue
            if isinstance(fact, Received) and told and isinstance(told[-1], Received) and told[-1].id == fact.id:
                told[-1] = Received(fact.id, told[-1].data + fact.data)
            else:
                told.append(fact)
        self.script.facts.clear()
        return told

    def knock(self) -> Somebody:
        mta = Somebody()
        self.world.knock("door", ("127.0.0.9", 40_000), mta)
        self.facts()
        return mta

    def call(self, id: int = 2) -> Somebody:
        self.order(Connect(id, "127.0.0.2", PLACE))
        assert [type(fact) for fact in self.facts()] == [Connected]
        return self.mx


@pytest.fixture(params=range(20))
def scene(request: pytest.FixtureRequest) -> Scene:
    """The same play under other dice."""
    return Scene(Random(request.param))


def test_bytes_and_then_the_end(scene: Scene):
    mta = scene.knock()
    mta.line.say(b"QUIT\r\n")
    mta.line.end()
    assert scene.facts() == [Received(1, b"QUIT\r\n"), Ended(1)]
    scene.order(Send(1, b"221 bye\r\n"), End(1))
    assert scene.facts() == [Closed(1, "closed")]
    assert (mta.heard, mta.is_ended) == (b"221 bye\r\n", True)


def test_data_then_a_reset(scene: Scene):
    mta = scene.knock()
    mta.line.say(b"last words")
    assert scene.facts() == [Received(1, b"last words")]
    mta.line.reset()
    assert scene.facts() == [Closed(1, "reset")]


def test_nobody_there_is_refused(scene: Scene):
    scene.order(Connect(2, "127.0.0.2", ("192.0.2.9", 25)))
    assert scene.facts() == [ConnectFailed(2, "refused", "Connection refused")]


def test_a_close_while_it_is_dialled_is_answered_once(scene: Scene):
    scene.order(Connect(2, "127.0.0.2", PLACE), Close(2), Close(2))
    assert [fact.kind for fact in scene.facts()] == ["called_off"]


def test_a_connect_is_answered_with_its_source(scene: Scene):
    scene.order(Connect(2, "127.0.0.7", PLACE))
    assert [fact.source[0] for fact in scene.facts()] == ["127.0.0.7"]


def test_orders_to_an_id_that_is_gone_are_ignored(scene: Scene):
    mta = scene.knock()
    mta.line.reset()
    scene.facts()
    scene.order(Send(1, b"x"), Relay(1, None), Hold(1), Hear(1), End(1), Close(1))
    assert scene.facts() == []


def test_a_farewell_with_unread_input_is_not_lost(scene: Scene):
    mta = scene.knock()
    scene.order(Hold(1))
    mta.line.say(bytes(100_000))
    scene.facts()
    scene.order(Send(1, b"421 shutting down\r\n"), Close(1))
    assert scene.facts() == []
    assert (mta.heard, mta.is_ended) == (b"421 shutting down\r\n", True)
    mta.line.end()
    assert scene.facts() == [Closed(1, "closed")]


def test_a_second_close_abandons_at_once(scene: Scene):
    mta = scene.knock()
    scene.order(Send(1, bytes(3_000_000)), Close(1), Close(1))
    assert scene.facts() == [Closed(1, "closed")]
    assert len(mta.heard) < 3_000_000


def test_who_is_held_is_not_read_until_he_is_heard_again(scene: Scene):
    mta = scene.knock()
    scene.order(Hold(1))
    mta.line.say(b"patience")
    mta.line.end()
    assert scene.facts() == []
    scene.order(Hear(1))
    assert scene.facts() == [Received(1, b"patience"), Ended(1)]


def test_a_body_goes_over_without_the_machine(scene: Scene):
    mta, mx = scene.knock(), scene.call()
    scene.order(Relay(1, 2))
    mta.line.say(BODY + b"QUIT\r\n")
    told = scene.facts()
    assert isinstance(told[0], Relayed)
    after = b"".join(fact.data for fact in told[1:])
    assert (told[0].size, told[0].outcome, told[0].rest + after) == (len(BODY), "dot", b"QUIT\r\n")
    assert mx.heard == BODY


def test_a_large_body_arrives_whole(scene: Scene):
    mta, mx = scene.knock(), scene.call()
    large = bytes(range(14, 256)) * 4_000 + b"\r\n.\r\n"
    scene.order(Relay(1, 2))
    mta.line.say(large)
    assert scene.facts() == [Relayed(1, len(large), b"", "dot")]
    assert mx.heard == large


def test_a_lookalike_is_told_at_once_and_never_arrives(scene: Scene):
    mta, mx = scene.knock(), scene.call()
    scene.order(Relay(1, 2))
    mta.line.say(b"half\n.\r\nRSET\r\n.\r\n")
    told = scene.facts()
    assert [type(fact) for fact in told] == [Relaying, Relayed]
    assert (told[0].at, told[1].at, told[1].outcome, mx.heard) == (4, 4, "smuggled", b"half")


def test_when_the_remote_goes_bytes_are_dropped_and_the_scan_goes_on(scene: Scene):
    mta, mx = scene.knock(), scene.call()
    scene.order(Relay(1, 2))
    mta.line.say(b"half of ")
    scene.facts()
    mx.line.reset()
    assert scene.facts() == [Closed(2, "reset")]
    mta.line.say(b"it\r\n.\r\n")
    assert scene.facts() == [Relayed(1, 15, b"", "dot")]


def test_a_remote_that_is_fed_and_says_421_is_heard(scene: Scene):
    mta, mx = scene.knock(), scene.call()
    scene.order(Relay(1, 2))
    mta.line.say(bytes(500_000))
    mx.line.say(b"421 enough\r\n")
    assert scene.facts() == [Received(2, b"421 enough\r\n")]


def test_what_came_in_time_is_heard_before_the_alarm(scene: Scene):
    mta = scene.knock()
    scene.script.next_deadline = scene.world.now + 10**12
    mta.line.say(b"in time")
    scene.world.pace_ns = 0
    assert scene.facts() == [Received(1, b"in time")]
    assert scene.world.turn()
    assert scene.facts() == [Elapsed()]
    assert not scene.world.turn()


def test_the_same_dice_play_the_same_world():
    def play(seed: int) -> list[events.Event]:
        scene = Scene(Random(seed))
        mta = scene.knock()
        scene.call()
        scene.order(Relay(1, 2))
        mta.line.say(BODY * 3)
        while scene.world.network.carriers:
            scene.world.turn()
        return scene.script.facts

    assert play(1) == play(1)
    assert len({repr(play(seed)) for seed in range(20)}) > 1
