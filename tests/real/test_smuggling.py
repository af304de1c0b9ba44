"""Look-alikes of the end of data, over real sockets: the remote never sees one, and the MTA hears 550."""

import pytest
from tools.real import Mta, Peer, Remote

LOOKALIKES = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\n.\r\r\n"]
BEFORE = b"Subject: innocent\r\n\r\nhello"
SMUGGLED = b"MAIL FROM:<ceo@victim.test>\r\nRCPT TO:<b@dst.test>\r\nDATA\r\nFrom: boss\r\n\r\npay\r\n.\r\n"


def reaches_data(mta: Mta, remote: Remote) -> Peer:
    """A transaction whose body comes next."""
    peer = mta.is_joined(remote)
    for command, reply in [
        (b"MAIL FROM:<a@src.test>", b"250 ok"),
        (b"RCPT TO:<b@dst.test>", b"250 ok"),
        (b"DATA", b"354 go on"),
    ]:
        mta.order(command)
        peer.answer(command, reply)
        assert mta.reply().wire == reply + b"\r\n"
    mta.client.say_body(b"")  # its reply is owed from here on; the bytes are sent by hand
    return peer


def is_told_and_goes_on(mta: Mta, offset: int) -> None:
    """550 with the offset, 421 until QUIT, and then the next remote."""
    reply = mta.reply()
    assert reply.code == 550
    assert reply.lines[0] == b"5.5.2 gaproxy: a lone dot with a bare CR or LF beside it at offset %d" % offset
    assert mta.command(b"MAIL FROM:<c@src.test>").code == 421
    assert mta.command(b"QUIT").code == 221
    with Remote() as another:
        mta.is_joined(another)


@pytest.mark.parametrize("lookalike", LOOKALIKES, ids=repr)
@pytest.mark.parametrize("bytes_at_a_time", [1, 1000])
def test_a_look_alike_never_reaches_the_remote(proxy, mta, remote, lookalike, bytes_at_a_time):
    peer = reaches_data(mta, remote)
    body = BEFORE + lookalike + SMUGGLED
    for start in range(0, len(body), bytes_at_a_time):
        mta.say(body[start : start + bytes_at_a_time])
    is_told_and_goes_on(mta, len(BEFORE))
    assert BEFORE.startswith(peer.rest())  # not one byte of the look-alike, and no end
    assert "reason=smuggled" in proxy.wait_for(f"session({mta.session}/1): end")


def test_a_look_alike_may_hold_the_true_end_of_data(mta, remote):
    peer = reaches_data(mta, remote)
    innocent = BEFORE + b"\r"
    mta.say(innocent + b"\r\n.\r\n")
    is_told_and_goes_on(mta, len(innocent))
    assert innocent.startswith(peer.rest())


def test_a_lone_dot_in_the_first_line_may_be_one(mta, remote):
    peer = reaches_data(mta, remote)
    mta.say(b".\n" + SMUGGLED)
    is_told_and_goes_on(mta, 0)
    assert peer.rest() == b""


@pytest.mark.parametrize("bare", [b"one\ntwo", b"one\rtwo", b"one\n..two"], ids=repr)
def test_another_bare_cr_or_lf_passes_unchanged(mta, remote, bare):
    peer = reaches_data(mta, remote)
    mta.say(bare + b"\r\n.\r\n")
    assert peer.until(b"\r\n.\r\n") == bare
    peer.say(b"250 2.0.0 kept")
    assert mta.reply().wire == b"250 2.0.0 kept\r\n"


@pytest.mark.parametrize("command", [b"NOOP\nMAIL FROM:<x@y.test>", b"NOOP\rx", b"NO\0OP"], ids=repr)
def test_a_bare_cr_or_lf_in_a_command_is_refused_and_not_forwarded(mta, remote, command):
    peer = mta.is_joined(remote)
    mta.client.say(b"NOOP")  # a reply is owed
    mta.say(command + b"\r\n")
    assert mta.reply().code == 500
    assert mta.command(b"QUIT").code == 221
    peer.answer(b"QUIT", b"221 bye")
    assert peer.rest() == b""
