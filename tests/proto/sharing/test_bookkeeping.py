"""No place is lost, had twice, or free and nobody told: what the crowd of test_bookkeeping_model.py has shown.

MTAs 1, 3, 5 came in; 2, 4 … are called.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tools.line import AT_FIVE, ONE, TO_TWO, everybody_goes, throttled, waiting
from tools.sharing import SHARING, at_rest, calls, in_use, reused, with_mtas
from tools.talk import GOODBYE, QUIT, Talk, connected, failed, opening

from gaproxy.proto.actions import Close, Send
from gaproxy.proto.events import Closed, ConnectFailed, Received, Relayed, Secured
from gaproxy.proto.remote.caller import FREED, READY, Caller
from gaproxy.proto.session import Session

BUSY = b"450 busy\r\n"


def refused_by_the_first(config: str) -> Talk:
    """A talk in which MTA 1 has called 2 at its first address, and is about to be refused there."""
    talk = with_mtas(config)
    talk.tell(Received(1, opening(7, to=TO_TWO)), calls(2))
    talk.tell(connected(2))
    return talk


def test_who_goes_on_with_a_place_closes_the_connection_that_had_it_behind_its_quit():
    talk = refused_by_the_first(ONE)
    talk.tell(Received(2, BUSY), Send(2, b"QUIT\r\n"), Close(2), calls(4, "192.0.2.6"))
    talk.tell(Received(3, opening(9)), Send(3, throttled()))
    everybody_goes(talk)


def test_who_gives_up_leaves_no_connection_behind_that_has_a_place_no_more():
    talk = with_mtas(ONE)
    talk.tell(Received(1, opening(7)), calls(2))
    talk.tell(connected(2))
    told = failed("greeting", "192.0.2.5:25/greeting/0", "the remote refused us in its greeting", reply="450 busy")
    talk.tell(Received(2, BUSY), Send(2, b"QUIT\r\n"), Close(2), Send(1, told))
    talk.tell(Received(3, opening(9)), calls(4))
    everybody_goes(talk)


def test_without_a_limit_the_reply_to_quit_is_waited_for():
    talk = refused_by_the_first(SHARING)
    talk.tell(Received(2, BUSY), Send(2, b"QUIT\r\n"), calls(4, "192.0.2.6"))
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))
    everybody_goes(talk)


def test_who_goes_on_to_another_address_leaves_its_place_at_the_first_one_to_who_waits_for_it():
    talk = refused_by_the_first(SHARING + AT_FIVE)
    talk.tell(Received(3, waiting(9)))
    talk.tell(Received(2, BUSY), Send(2, b"QUIT\r\n"), Close(2), calls(4, "192.0.2.6"), calls(6))
    everybody_goes(talk)


# Faults of our own: they cost one session, and nobody else.


def outliving(talk: Talk) -> Talk:
    """The same talk, from now on with a house that outlives its own faults."""
    talk.proxy.seating.strict = False
    return talk


@contextmanager
def breaking(role: type[Session], before: str, after: str) -> Iterator[None]:
    """For as long as this lasts it is a fault of ours to turn so."""

    def look_on(*turn: object) -> None:
        if turn == (role, before, after):
            raise ArithmeticError("no turns today")

    Session.onlookers.append(look_on)
    try:
        yield
    finally:
        Session.onlookers.remove(look_on)


def test_a_fault_in_one_that_rests_costs_only_that_one():
    talk = outliving(at_rest(ONE))
    talk.tell(Secured(2, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "00" * 32, (), False), Close(2))
    talk.tell(Received(3, opening(9)), calls(4))
    everybody_goes(talk)


def test_a_fault_in_one_that_was_just_given_back_leaves_its_place_to_others():
    talk = outliving(in_use(ONE))
    talk.tell(Received(3, waiting(9)))
    with breaking(Caller, FREED, READY):
        told = failed("internal", "192.0.2.5:25/throttled/0", "a fault of the proxy", id=9)
        talk.tell(Received(1, QUIT), Send(1, GOODBYE), Close(2), Send(3, told))
    talk.tell(Received(3, opening(10)), calls(4))
    everybody_goes(talk)


def test_nobody_takes_one_in_which_there_was_a_fault_in_the_same_segment():
    talk = outliving(in_use())
    with breaking(Caller, FREED, READY):
        talk.tell(Received(1, QUIT + opening(9)), Send(1, GOODBYE), Close(2), calls(4))
    everybody_goes(talk)


def test_a_fault_in_a_relay_whose_remote_is_dialled_anew_calls_that_dial_off():
    talk = outliving(reused())
    talk.tell(Closed(2, "reset"), calls(4))
    talk.tell(Relayed(3, 10, b"", "dot"), Close(3), Close(4))
    talk.tell(ConnectFailed(4, "called_off", "called off"))
    everybody_goes(talk)
