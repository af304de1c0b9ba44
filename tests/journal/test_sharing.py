"""One remote, several MTAs: what passes between them replays, and of what one of them said the journal tells no more
than the house has heard of it, whoever has the connection by then.
"""

import pytest
from tools.talk import (
    DATA,
    EHLO,
    GREETING,
    MAIL,
    PIPELINING,
    QUIT,
    RCPT,
    accepted,
    auth,
    connected,
    hello,
    opening,
)

from gaproxy.proto.events import Closed, Elapsed, Ended, Received, Relayed

CONTENT = b"the-content-of-a-message"
OK, RESET = b"250 ok\r\n", b"250 reset\r\n"


@pytest.fixture
def shared(tape, capturing, tmp_path):
    """A tape of two MTAs, 1 and 3; the remote 2 is the first one's, and has carried a message. `more`: settings."""

    def begin(more=""):
        door = 'listen "127.0.0.1:807"\nauth_shared_secret "a-secret-of-the-tests-and-of-no-other"\n'
        one = tape(f"{door}allow_from 127.0.0.0/8\nremote_allow 192.0.2.0/24\n{more}\n{capturing(tmp_path)}")
        for id, node in ((1, "mta-1"), (3, "mta-2")):
            for fact in (accepted(id), Received(id, hello(node=node)), Received(id, auth(node=node))):
                one.hear(fact)
        for fact in (Received(1, opening()), connected(), Received(2, GREETING), Received(2, PIPELINING)):
            one.hear(fact)
        one.hear(Received(1, EHLO))
        sends(one, 1)
        return one

    return begin


def sends(one, mta, remote=2):
    one.hear(Received(mta, MAIL + RCPT + DATA))
    one.hear(Received(remote, OK + OK + b"354 go\r\n"))
    one.hear(Relayed(mta, 100, b"", "dot"))
    one.hear(Received(remote, OK))


def replays_and_hides(one):
    assert MAIL.strip() in one.written()
    assert CONTENT not in one.written()
    assert one.replayed() is None


def test_a_connection_that_rests_is_taken_and_serves_two(shared):
    one = shared()
    for fact in (Received(1, QUIT), Received(2, RESET), Received(3, opening(id=8)), Received(3, EHLO)):
        one.hear(fact)
    sends(one, 3)
    for fact in (Received(3, QUIT), Received(2, RESET), Ended(2), Closed(2, "closed")):
        one.hear(fact)
    assert sum("reused=yes uses=2 messages=1" in line for line in one.notes) == 1
    replays_and_hides(one)


def test_what_comes_behind_quit_is_nothing_of_whoever_takes_the_remote(shared):
    one = shared()
    one.hear(Received(1, QUIT + CONTENT))
    one.hear(Received(3, opening(id=8)))
    one.hear(Received(1, CONTENT))
    sends(one, 3)
    replays_and_hides(one)


def test_what_comes_before_its_remote_answers_is_not_told(shared):
    one = shared()
    one.hear(Received(1, QUIT))
    one.hear(Received(3, opening(id=8) + MAIL + DATA + CONTENT))
    one.hear(Received(2, RESET + OK + b"354 go\r\n"))
    replays_and_hides(one)


def test_who_has_had_his_turn_goes_on_talking_and_is_not_told(shared):
    one = shared('throttle "*" { max_connections 1 }')
    one.hear(Received(3, opening(id=8, more=" wait_ms=20000")))
    one.hear(Received(1, MAIL + RCPT + DATA + CONTENT + b"\r\n" + CONTENT))
    sends(one, 3)
    one.hear(Received(1, b"\r\n.\r\n" + QUIT))
    assert any(line.endswith("reason=turn_over") for line in one.notes)
    replays_and_hides(one)


def test_one_that_waits_too_long_replays(shared):
    one = shared('throttle "*" { max_connections 1 }')
    one.hear(Received(3, opening(id=8, more=" wait_ms=500")))
    one.now += 600_000_000
    one.hear(Elapsed())
    assert any("kind=throttled" in line for line in one.notes)
    replays_and_hides(one)


def test_one_that_is_replaced_hears_again_only_what_was_heard(shared):
    one = shared()
    one.hear(Received(1, QUIT))
    one.hear(Received(3, opening(id=8)))
    one.hear(Received(3, MAIL + RCPT))
    one.hear(Closed(2, "reset"))
    one.hear(Received(3, CONTENT))
    for fact in (connected(4), Received(4, GREETING), Received(4, PIPELINING), Received(4, OK + OK)):
        one.hear(fact)
    assert one.written().count(MAIL.strip()) > 2
    replays_and_hides(one)


def test_a_probe_that_fails_and_one_that_speaks_out_of_turn_replay(shared):
    one = shared()
    one.hear(Received(1, QUIT))
    one.hear(Received(2, RESET))
    one.now += 3_000_000_000
    for fact in (Received(3, opening(id=8)), Received(2, b"421 bye\r\n"), connected(4), Received(4, GREETING)):
        one.hear(fact)
    for fact in (Received(4, PIPELINING), Received(3, QUIT), Received(4, RESET), Received(4, b"250 what else?\r\n")):
        one.hear(fact)
    assert any(line.endswith("reason=unsolicited") for line in one.notes)
    replays_and_hides(one)
