"""Each oath can be broken: what must never happen is seen when it does, and is said in a sentence."""

import pytest

from gaproxy.proto import actions, events
from gaproxy.runtime_world.oaths import BrokenOath, Letters, Sworn

IN = events.Accepted(1, "door", ("127.0.0.9", 40_000), bytes(48))
CALL = actions.Connect(2, "127.0.0.2", ("192.0.2.5", 25))
THERE = events.Connected(2, ("127.0.0.2", 20_000))


class Prompted:
    """A machine that gives these orders at once, whatever it hears."""

    next_deadline = None

    def __init__(self) -> None:
        self.orders: list[actions.Action] = []

    def step(self, now: int, event: events.Event) -> list[actions.Action]:
        orders, self.orders = self.orders, []
        return orders


def live(*story: events.Event | actions.Action) -> Sworn:
    """Facts and orders, one after the other."""
    machine = Prompted()
    sworn = Sworn(machine)
    for told in story:
        if isinstance(told, events.Event):
            sworn.step(0, told)
        else:
            machine.orders = [told]
            sworn.step(0, events.Elapsed())
    return sworn


FINE = [
    (IN, CALL, THERE, actions.Relay(1, 2), events.Relaying(1, 5, 0), events.Relayed(1, 5, b"", "dot")),
    (IN, events.Closed(1, "reset"), actions.Send(1, b"x"), actions.Close(1), actions.Relay(1, None)),
    (IN, actions.Hold(1), actions.Hear(1), actions.End(1), events.Ended(1), actions.Close(1), actions.Close(1)),
    (CALL, actions.Close(2), events.ConnectFailed(2, "called_off", "")),
    (IN, actions.Relay(1, None), actions.Close(1), events.Closed(1, "closed")),
]


@pytest.mark.parametrize("story", FINE)
def test_what_is_promised_and_allowed_breaks_no_oath(story):
    live(*story)


BROKEN = [
    ("2 came in", events.Accepted(2, "door", ("127.0.0.9", 1), b"")),
    ("1 came in behind 1", IN, IN),
    ("not under way", THERE),
    ("not under way", CALL, THERE, THERE),
    ("not under way", CALL, THERE, events.ConnectFailed(2, "refused", "")),
    ("does not stand", events.Received(1, b"x")),
    ("nothing was received", IN, events.Received(1, b"")),
    ("while they were relayed", IN, actions.Relay(1, None), events.Received(1, b"x")),
    ("behind its Close", IN, actions.Close(1), events.Received(1, b"x")),
    ("has ended", IN, events.Ended(1), events.Received(1, b"x")),
    ("has ended", IN, events.Ended(1), events.Ended(1)),
    ("did not stand", IN, events.Closed(1, "reset"), events.Closed(1, "reset")),
    ("not relayed", IN, events.Relaying(1, 1, 0)),
    ("not relayed", IN, events.Relayed(1, 1, b"", "dot")),
    ("never was", actions.Send(3, b"x")),
    ("is being dialled", CALL, actions.Send(2, b"x")),
    ("was called behind", CALL, CALL),
    ("nothing is to be sent", IN, actions.Send(1, b"")),
    ("behind its end", IN, actions.Close(1), actions.Send(1, b"x")),
    ("behind its end", IN, actions.End(1), actions.Send(1, b"x")),
    ("relayed already", IN, actions.Relay(1, None), actions.Relay(1, None)),
    ("held already", IN, actions.Hold(1), actions.Hold(1)),
    ("heard already", IN, actions.Hear(1)),
    ("ended twice", IN, actions.End(1), actions.End(1)),
    ("a third time", IN, actions.Close(1), actions.Close(1), actions.Close(1)),
    (
        "fed already",
        *(IN, CALL, THERE, events.Accepted(3, "door", ("127.0.0.9", 2), b"")),
        *(actions.Relay(1, 2), actions.Relay(3, 2)),
    ),
]


@pytest.mark.parametrize(("sentence", "story"), [(sentence, story) for sentence, *story in BROKEN])
def test_what_is_not_breaks_one(sentence, story):
    with pytest.raises(BrokenOath, match=sentence):
        live(*story)


def test_who_is_left_in_the_end_is_named():
    sworn = live(IN, CALL)
    with pytest.raises(BrokenOath, match=r"\[1, 2\]"):
        sworn.nobody_is_left()
    live(IN, events.Closed(1, "closed")).nobody_is_left()


def sent(body: bytes = b"hi\r\n.\r\n", finished: bool = True) -> Letters:
    letters = Letters()
    letters.write("a", body)
    if finished:
        letters.finish("a")
    return letters


def test_a_message_that_was_taken_once_and_told_so_is_fine():
    letters = sent()
    letters.take("a", b"hi\r\n.\r\n")
    letters.tell("a", 250, "a", unknown=False)
    letters.judge()


def test_a_message_is_taken_only_as_it_was_sent():
    with pytest.raises(BrokenOath, match="nobody sent"):
        Letters().take("a", b"")
    with pytest.raises(BrokenOath, match="two letters"):
        sent().write("a", b"")
    with pytest.raises(BrokenOath, match="before its MTA had ended it"):
        sent(finished=False).take("a", b"hi\r\n.\r\n")
    with pytest.raises(BrokenOath, match="changed on its way"):
        sent().take("a", b"ho\r\n.\r\n")
    letters = sent()
    letters.take("a", b"hi\r\n.\r\n")
    with pytest.raises(BrokenOath, match="taken 2 times"):
        letters.take("a", b"hi\r\n.\r\n")


def test_an_outcome_is_told_once_and_as_the_remote_said_it():
    with pytest.raises(BrokenOath, match="which no remote said"):
        sent().tell("a", 250, None, unknown=False)
    with pytest.raises(BrokenOath, match="not taken"):
        sent().tell("a", 250, "a", unknown=False)
    letters = sent()
    letters.tell("a", 451, "a", unknown=False)
    with pytest.raises(BrokenOath, match="told twice"):
        letters.tell("a", 451, "a", unknown=False)


def test_who_was_told_no_may_send_it_again_so_nobody_has_it():
    letters = sent()
    letters.take("a", b"hi\r\n.\r\n")
    letters.tell("a", 421, None, unknown=False)
    with pytest.raises(BrokenOath, match="was taken, and its MTA was told 421"):
        letters.judge()


def test_who_was_told_that_nobody_knows_cannot_complain():
    letters = sent()
    letters.take("a", b"hi\r\n.\r\n")
    letters.tell("a", 421, None, unknown=True)
    letters.judge()
