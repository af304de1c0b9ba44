"""The RSET that stands between two sessions, where its reply is still to come when the second one has begun.

MTAs 1, 3 came in; 2, 4 … are called.
"""

import pytest
from tools.line import everybody_goes
from tools.sharing import OK, RSET, WAS_RESET, answer, calls, in_use, shown
from tools.talk import DATA, EHLO, GOODBYE, GREETING, MAIL, PIPELINING, QUIT, RCPT, Talk, connected, opening

from gaproxy.proto.actions import Close, Send
from gaproxy.proto.events import Received


def taken() -> Talk:
    """A talk in which MTA 3 has the remote 2 that MTA 1 had, and 2 has not answered the RSET between them."""
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    return talk


@pytest.mark.parametrize("command", [MAIL, RCPT, DATA, b"NOOP\r\n", RSET])
def test_whatever_is_said_first_its_reply_is_the_one_behind_that_to_rset(command):
    talk = taken()
    talk.tell(Received(3, command), Send(2, command))
    talk.tell(Received(2, WAS_RESET))
    talk.tell(Received(2, b"450 later\r\n"), Send(3, b"450 later\r\n"))
    everybody_goes(talk)


def test_a_remote_that_does_not_answer_it_within_five_seconds_is_replaced():
    talk = taken()
    talk.tell(Received(3, MAIL), Send(2, MAIL))
    talk.wait(4.9)
    talk.wait(0.1, Close(2), calls(4))
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, PIPELINING), Send(4, MAIL))
    talk.tell(Received(4, OK), Send(3, OK))
    everybody_goes(talk)


def test_who_says_quit_at_once_waits_for_it_no_longer_than_that():
    talk = taken()
    talk.tell(Received(3, QUIT))
    talk.wait(4.9)
    talk.wait(0.1, Close(2), Send(3, GOODBYE))
    talk.tell(Received(1, opening(8)), calls(4))
    answer(talk, 1, 4)
    everybody_goes(talk)
