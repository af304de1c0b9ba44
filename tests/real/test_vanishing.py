"""One side goes away in the middle: what the other one hears, and that no outcome is told that is not known."""

import socket
import threading

import pytest
from tools.real import WAIT_S, Mta, Peer, RealProxy, Remote

ENVELOPE = [b"MAIL FROM:<a@src.test>", b"RCPT TO:<b@dst.test>", b"DATA"]
OK = {b"MAIL": b"250 2.1.0 ok", b"RCPT": b"250 2.1.5 ok", b"DATA": b"354 go on"}
BODY = b"Subject: x\r\n\r\nhello\r\n"
GOING = {"close": Peer.close, "reset": Peer.reset}


def walk(mta: Mta, peer: Peer, to: str) -> None:
    """Go through a transaction until the remote has heard this command and owes the reply; `body`: until its 354."""
    for command in ENVELOPE:
        verb = command[:4]
        mta.order(command)
        assert peer.line() == command
        if verb.decode() == to:
            return
        peer.say(OK[verb])
        assert mta.reply().wire == OK[verb] + b"\r\n"


def end(proxy: RealProxy, mta: Mta) -> str:
    """What the log says of the first session of this MTA: its reason."""
    return proxy.wait_for(f"session({mta.session}/1): end").partition(" reason=")[2]


def goes_on(mta: Mta) -> None:
    """The session ends in order, and the next one works."""
    assert mta.command(b"NOOP").code == 421
    assert mta.command(b"QUIT").code == 221
    with Remote() as another:
        peer = mta.is_joined(another)
        mta.order(b"NOOP")
        peer.answer(b"NOOP", b"250 2.0.0 ok")
        assert mta.reply().code == 250


def told_lost(mta: Mta, unknown: bool = False) -> None:
    reply = mta.reply()
    assert reply.code == 421
    assert reply.lines[0].startswith(b"4.4.2 gaproxy: the remote closed the connection")
    assert (b"outcome unknown" in reply.lines[0]) is unknown
    assert f"[{mta.session}/1]".encode() in reply.lines[0]


@pytest.mark.parametrize("going", GOING)
@pytest.mark.parametrize(("step", "kind"), [("connected", "greeting"), ("greeted", "ehlo"), ("STARTTLS", "tls")])
def test_a_remote_that_vanishes_before_it_is_ready_is_no_remote(mta, remote, step, kind, going):
    mta.ask_for(remote.to, tls="encrypt")
    peer = remote.take()
    if step == "greeted":
        peer.say(b"220 mx.test")
        assert peer.line() == b"EHLO out.example.com"
    elif step == "STARTTLS":
        peer.introduce(b"STARTTLS")
        assert peer.line() == b"STARTTLS"
    GOING[going](peer)
    failed = mta.fails()
    assert (failed.kind, failed.reply, [one.kind for one in failed.tried]) == (kind, None, [kind])


@pytest.mark.parametrize("going", GOING)
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_a_remote_that_vanishes_owing_a_reply_is_421(proxy, mta, remote, step, going):
    peer = mta.is_joined(remote)
    walk(mta, peer, step)
    GOING[going](peer)
    told_lost(mta)
    goes_on(mta)
    assert end(proxy, mta).startswith("remote_")


@pytest.mark.parametrize("going", GOING)
def test_a_remote_that_vanishes_between_two_commands_is_421_to_the_next_one(proxy, mta, remote, going):
    peer = mta.is_joined(remote)
    GOING[going](peer)
    mta.order(b"MAIL FROM:<a@src.test>")
    told_lost(mta)
    goes_on(mta)


@pytest.mark.parametrize("going", GOING)
def test_a_remote_that_vanishes_within_a_body_is_421_behind_the_dot(proxy, mta, remote, going):
    peer = mta.is_joined(remote)
    walk(mta, peer, "body")
    mta.say(b"Subject: x\r\n")
    assert peer.until(b"Subject: x") == b""  # its CRLF may begin an end of data, so it waits
    GOING[going](peer)
    mta.say(mta.client.say_body(BODY))
    told_lost(mta)
    goes_on(mta)


@pytest.mark.parametrize("going", GOING)
def test_a_remote_that_vanishes_behind_the_dot_leaves_the_outcome_unknown(proxy, mta, remote, going):
    peer = mta.is_joined(remote)
    walk(mta, peer, "body")
    mta.say(mta.client.say_body(BODY))
    assert peer.until(b"\r\n.\r\n") + b"\r\n" == BODY
    GOING[going](peer)
    told_lost(mta, unknown=True)
    goes_on(mta)
    assert not remote.is_called()  # the message is never sent a second time


@pytest.mark.parametrize("going", GOING)
def test_pipelined_commands_each_hear_of_the_loss(mta, remote, going):
    peer = mta.is_joined(remote, b"PIPELINING")
    for command in ENVELOPE[:2]:
        mta.order(command)
    assert peer.line() == ENVELOPE[0]
    assert peer.line() == ENVELOPE[1]
    GOING[going](peer)
    told_lost(mta)
    told_lost(mta)
    goes_on(mta)


def test_a_remote_that_says_421_is_told_word_for_word(proxy, mta, remote):
    peer = mta.is_joined(remote)
    walk(mta, peer, "RCPT")
    peer.say(b"421 4.3.2 mx.test shutting down")
    peer.close()
    assert mta.reply().wire == b"421 4.3.2 mx.test shutting down\r\n"
    goes_on(mta)


def test_an_mta_that_sends_dot_and_quit_and_fin_still_reads_its_250(proxy, mta, remote):
    peer = mta.is_joined(remote)
    walk(mta, peer, "body")
    mta.say(mta.client.say_body(BODY) + mta.client.say(b"QUIT"))
    mta.sock.shutdown(socket.SHUT_WR)  # Exim's way
    assert peer.until(b"\r\n.\r\n") + b"\r\n" == BODY
    peer.say(b"250 2.0.0 queued as 4711")
    assert mta.reply().wire == b"250 2.0.0 queued as 4711\r\n"
    assert mta.reply().code == 221
    assert mta.at_end()
    peer.answer(b"RSET", b"250 2.0.0 ok")  # its end is not passed on to a remote that is shared
    assert end(proxy, mta) == "quit"


def test_an_mta_that_ends_behind_its_dot_still_reads_its_250(proxy, mta, remote):
    peer = mta.is_joined(remote)
    walk(mta, peer, "body")
    mta.say(mta.client.say_body(BODY))
    mta.sock.shutdown(socket.SHUT_WR)
    peer.until(b"\r\n.\r\n")
    peer.say(b"250 2.0.0 queued as 4711")
    assert mta.reply().wire == b"250 2.0.0 queued as 4711\r\n"
    assert mta.at_end()
    peer.answer(b"RSET", b"250 2.0.0 ok")
    assert end(proxy, mta) == "mta_ended"


@pytest.mark.parametrize("going", ["close", "reset"])
def test_an_mta_that_vanishes_within_a_body_leaves_no_message_behind(proxy, mta, remote, going):
    peer = mta.is_joined(remote)
    walk(mta, peer, "body")
    mta.say(b"Subject: x\r\n")
    assert peer.until(b"Subject: x") == b""  # its CRLF may begin an end of data, so it waits
    GOING[going](Peer(mta.sock, ""))
    assert b"\r\n.\r\n" not in b"\r\n" + peer.rest()
    assert end(proxy, mta) == "mta_gone"


def test_an_mta_that_vanishes_behind_its_dot_leaves_the_outcome_in_the_log(proxy, mta, remote):
    peer = mta.is_joined(remote)
    walk(mta, peer, "body")
    mta.say(mta.client.say_body(BODY))
    peer.until(b"\r\n.\r\n")
    Peer(mta.sock, "").reset()
    peer.say(b"250 2.0.0 queued as 4711")
    assert " messages=1 " in proxy.wait_for(f"session({mta.session}/1): end")


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "end"])
def test_a_remote_that_is_silent_for_too_long_is_421(runtime, folder, remote, step):
    with RealProxy(runtime, folder, f"timeouts {{ {step.lower()} 300ms }}") as proxy, Mta(proxy) as mta:
        peer = mta.is_joined(remote)
        walk(mta, peer, step)
        if step == "end":
            mta.say(mta.client.say_body(BODY))
        reply = mta.reply()
        assert reply.code == 421
        assert reply.lines[0].startswith(b"4.4.2 gaproxy: the remote was silent for too long")
        assert (b"outcome unknown" in reply.lines[0]) is (step == "end")
        goes_on(mta)
        assert end(proxy, mta) == "remote_timeout"


@pytest.mark.parametrize(("step", "patience"), [("idle", "300ms"), ("body", "2s")])  # some of the body comes in time
def test_an_mta_that_is_silent_for_too_long_is_closed(runtime, folder, remote, step, patience):
    with RealProxy(runtime, folder, f"timeouts {{ {step} {patience} }}") as proxy, Mta(proxy) as mta:
        peer = mta.is_joined(remote)
        if step == "body":
            walk(mta, peer, "body")
            mta.say(b"Subject: x")
        assert mta.at_end()
        said = peer.rest() if step == "body" else peer.line()
        assert said == {"body": b"Subject: x", "idle": b"RSET"}[step]
        assert end(proxy, mta) == "mta_silent"


GONE = b"4.4.2 gaproxy: the remote closed the connection ["
LAST_WORDS = [
    (Peer.close, GONE),
    (Peer.reset, GONE),
    (lambda peer: peer.say(b"552 5.3.4 too big"), b"4.4.2 gaproxy: the remote said 552 out of turn ["),
    (lambda peer: peer.say(b"421 4.3.2 going down"), b"4.3.2 going down"),
]


@pytest.mark.parametrize(("going", "told"), LAST_WORDS)
def test_a_large_body_is_read_to_its_end_though_nobody_wants_it(mta, remote, going, told):
    peer = mta.is_joined(remote)
    walk(mta, peer, "body")
    sending = threading.Thread(target=mta.say, args=(mta.client.say_body(b"hello\r\n" * 3_000_000),))
    sending.start()
    peer.until(b"hello\r\n" * 1000)
    going(peer)
    reply = mta.reply()
    sending.join(WAIT_S)
    assert (reply.code, reply.lines[0][: len(told)]) == (421, told)
    goes_on(mta)
