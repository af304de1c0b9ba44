"""Where one session ends and the next begins: what may share a segment, and how a proxy that is told to stop ends."""

import signal

import pytest
from tools.real import HELO, SOURCES, WAIT_S, Mta, RealProxy, Remote

from gaproxy.client import GoneAway, Ready

BODY = b"Subject: x\r\n\r\nhello\r\n"
ENVELOPE = [(b"MAIL FROM:<a@b.test>", b"250 ok"), (b"RCPT TO:<b@b.test>", b"250 ok"), (b"DATA", b"354 go on")]


def opening(mta: Mta, remote: Remote) -> bytes:
    return mta.client.open(source=SOURCES[0], to=[remote.to], helo=HELO, tls="none")


def begin_message(mta, peer) -> None:
    """A transaction whose body comes next."""
    for command, reply in ENVELOPE:
        mta.order(command)
        peer.answer(command, reply)
        assert mta.reply().wire == reply + b"\r\n"


def test_quit_and_the_next_open_may_come_in_one_segment(mta, remote):
    with Remote() as second:
        first_peer = mta.is_joined(remote)
        mta.say(mta.client.say(b"QUIT") + opening(mta, second))
        assert mta.reply().code == 221
        second_peer = second.introduced()
        assert (mta.ready().id, mta.session) == ("2", mta.session)
        first_peer.answer(b"RSET", b"250 ok")
        begin_message(mta, second_peer)


def test_dot_and_quit_and_the_next_open_may_come_in_one_segment(mta, remote):
    with Remote() as second:
        peer = mta.is_joined(remote)
        begin_message(mta, peer)
        mta.say(mta.client.say_body(BODY) + mta.client.say(b"QUIT") + opening(mta, second))
        assert peer.until(b"\r\n.\r\n") + b"\r\n" == BODY
        assert not second.is_called()
        peer.say(b"250 2.0.0 kept")
        assert mta.reply().wire == b"250 2.0.0 kept\r\n"
        assert mta.reply().code == 221
        second.introduced()
        assert mta.ready().remote == second.to


def test_an_ehlo_may_come_with_open_and_is_answered_behind_the_greeting(mta, remote):
    mta.say(opening(mta, remote) + b"EHLO me\r\n")
    remote.introduced(b"SIZE 1000", b"STARTTLS")
    assert isinstance(mta.hear(), Ready)
    mta.client.say(b"EHLO me")  # its reply is owed; it went out before
    assert mta.reply().code == 220
    assert mta.reply().wire == b"250-mx.test\r\n250 SIZE 1000\r\n"


def test_an_ehlo_behind_an_open_that_fails_is_passed_over(mta, remote):
    mta.say(opening(mta, remote) + b"EHLO me\r\n")
    remote.take().say(b"421 4.3.2 busy")
    assert mta.fails().kind == "greeting"
    mta.say(mta.client.ping(7))
    assert mta.hear().stamp == "7"


def test_an_envelope_that_is_open_at_quit_ends_with_its_session(mta, remote):
    peer = mta.is_joined(remote)
    mta.order(b"MAIL FROM:<a@b.test>")
    peer.answer(b"MAIL FROM:<a@b.test>", b"250 ok")
    mta.reply()
    assert mta.command(b"QUIT").code == 221
    peer.answer(b"RSET", b"250 ok")
    mta.say(opening(mta, remote))
    assert mta.ready().reused
    begin_message(mta, peer)


# Stopping.


@pytest.fixture
def stopping(runtime, folder):
    """A proxy of its own, for it will not live through the test."""
    with RealProxy(runtime, folder, "timeouts { quit 200ms }") as proxy:
        yield proxy


def stop(proxy: RealProxy) -> None:
    proxy.process.send_signal(signal.SIGTERM)
    proxy.wait_for("draining")


def test_a_message_in_flight_ends_before_the_proxy_does(stopping, remote):
    with Mta(stopping) as mta, Mta(stopping) as idle:
        peer = mta.is_joined(remote)
        begin_message(mta, peer)
        stop(stopping)
        assert idle.hear() == GoneAway("drain")
        idle.sock.close()
        mta.say(mta.client.say_body(BODY))
        assert peer.until(b"\r\n.\r\n") + b"\r\n" == BODY
        peer.say(b"250 2.0.0 kept")
        assert mta.reply().wire == b"250 2.0.0 kept\r\n"
        assert mta.command(b"MAIL FROM:<c@b.test>").code == 421
        assert mta.command(b"QUIT").code == 221
        assert mta.hear() == GoneAway("drain")
        peer.rest()
        peer.close()
    assert stopping.process.wait(WAIT_S) == 0
    assert "cut=0 unknown=0" in stopping.wait_for("drained")


def test_the_second_signal_ends_it_at_once_and_the_log_tells_what_was_cut(stopping, remote):
    with Mta(stopping) as mta:
        peer = mta.is_joined(remote)
        begin_message(mta, peer)
        mta.say(mta.client.say_body(BODY))
        peer.until(b"\r\n.\r\n")
        stop(stopping)
        stopping.process.send_signal(signal.SIGTERM)
        assert stopping.process.wait(WAIT_S) == 1
    assert "cut=1 unknown=1" in stopping.wait_for("drained")
