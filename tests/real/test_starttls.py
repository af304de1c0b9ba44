"""Remotes whose STARTTLS is odd: injected plain text, a handshake that breaks, a promise that is not kept."""

import socket

import pytest

CLIENT_HELLO = b"\x16\x03\x01"  # a handshake record, of the version that every one begins with


@pytest.mark.parametrize("tls", ["may", "encrypt"])
def test_plain_text_behind_the_220_of_starttls_ends_it(mta, remote, tls):
    mta.ask_for(remote.to, tls=tls)
    peer = remote.introduced(b"STARTTLS")
    peer.answer(b"STARTTLS", b"220 2.0.0 go ahead", b"250 2.0.0 injected")
    failed = mta.fails()
    assert (failed.kind, failed.text) == ("tls", "plain text came behind the reply to STARTTLS")
    assert peer.rest() == b""  # not even a ClientHello
    assert not remote.is_called()  # nor is it tried again in plain text


def breaks_the_handshake(mta, remote, tls):
    """A remote that promises TLS and then speaks something else."""
    mta.ask_for(remote.to, tls=tls)
    peer = remote.introduced(b"STARTTLS")
    peer.answer(b"STARTTLS", b"220 2.0.0 go ahead")
    assert peer.until(CLIENT_HELLO) == b""
    peer.say(b"454 4.7.0 TLS is not available, sorry")
    peer.close()


def test_may_falls_back_to_a_fresh_plain_connection(mta, remote):
    breaks_the_handshake(mta, remote, "may")
    second = remote.introduced(b"STARTTLS", b"SIZE 1000")
    ready = mta.ready()
    assert (ready.tls, ready.cipher, ready.verified) == ("none", None, None)
    assert mta.command(b"EHLO me").lines[-1] == b"SIZE 1000"
    mta.order(b"NOOP")
    second.answer(b"NOOP", b"250 2.0.0 ok")
    assert mta.reply().code == 250
    assert not remote.is_called()


def test_may_falls_back_once(mta, remote):
    breaks_the_handshake(mta, remote, "may")
    remote.take().say(b"450 4.3.2 not now")
    failed = mta.fails()
    assert (failed.kind, failed.reply) == ("greeting", "450 4.3.2 not now")
    assert [(one.address, one.kind) for one in failed.tried] == [(remote.address, "tls"), (remote.address, "greeting")]
    assert not remote.is_called()


@pytest.mark.parametrize("tls", ["encrypt"])
def test_a_broken_handshake_is_a_failure_where_tls_must_be(mta, remote, tls):
    breaks_the_handshake(mta, remote, tls)
    failed = mta.fails()
    assert (failed.kind, [one.kind for one in failed.tried]) == ("tls", ["tls"])
    assert not remote.is_called()


@pytest.mark.parametrize("going", ["close", "reset"])
def test_a_remote_that_vanishes_in_the_handshake_is_called_in_plain_text(mta, remote, going):
    mta.ask_for(remote.to, tls="may")
    peer = remote.introduced(b"STARTTLS")
    peer.answer(b"STARTTLS", b"220 2.0.0 go ahead")
    assert peer.until(CLIENT_HELLO) == b""
    getattr(peer, going)()
    remote.introduced()
    assert mta.ready().tls == "none"


def test_starttls_refused_under_may_goes_on_in_plain_text(mta, remote):
    mta.ask_for(remote.to, tls="may")
    peer = remote.introduced(b"STARTTLS")
    peer.answer(b"STARTTLS", b"454 4.7.0 no certificate today")
    assert mta.ready().tls == "none"
    mta.order(b"NOOP")
    peer.answer(b"NOOP", b"250 2.0.0 ok")
    assert mta.reply().code == 250


def test_starttls_refused_under_encrypt_is_told_word_for_word(mta, remote):
    mta.ask_for(remote.to, tls="encrypt")
    peer = remote.introduced(b"STARTTLS")
    peer.answer(b"STARTTLS", b"454 4.7.0 no certificate today")
    failed = mta.fails()
    assert (failed.kind, failed.reply) == ("tls", "454 4.7.0 no certificate today")
    peer.answer(b"QUIT", b"221 bye")


def test_the_mta_is_not_shown_starttls_and_may_not_say_it(mta, remote):
    peer = mta.is_joined(remote, b"STARTTLS", b"PIPELINING", b"CHUNKING", b"AUTH PLAIN")
    assert mta.command(b"EHLO me").lines == (b"mx.test", b"PIPELINING")
    assert mta.command(b"STARTTLS").code == 502
    mta.order(b"NOOP")
    peer.answer(b"NOOP", b"250 2.0.0 the next thing that it hears")
    assert mta.reply().code == 250


# Once TLS stands.


@pytest.fixture
def under_tls(mta, remote):
    """A remote that is joined under TLS, and the bare socket that carries it."""
    mta.ask_for(remote.to, tls="encrypt")
    peer = remote.introduced(b"STARTTLS")
    with peer.sock.dup() as bare:
        peer.secure()
        assert mta.ready().tls == "TLSv1.3"
        yield peer, bare


def told_lost(proxy, mta, reason):
    assert mta.reply().lines[0].startswith(b"4.4.2 gaproxy: the remote closed the connection")
    assert mta.command(b"QUIT").code == 221
    assert proxy.wait_for(f"session({mta.session}/1): end").endswith(f" reason={reason}")


def test_commands_and_replies_travel_under_tls(mta, under_tls):
    peer, _ = under_tls
    mta.order(b"NOOP")
    peer.answer(b"NOOP", b"250 2.0.0 ok")
    assert mta.reply().code == 250
    assert mta.command(b"QUIT").code == 221
    peer.answer(b"RSET", b"250 2.0.0 ok")


def test_one_that_ends_its_tls_while_it_rests_is_heard_out(proxy, mta, under_tls):
    peer, _ = under_tls
    assert mta.command(b"QUIT").code == 221
    peer.answer(b"RSET", b"250 2.0.0 ok")
    peer.sock = peer.sock.unwrap()
    assert peer.rest() == b""
    proxy.wait_for("uses=1 messages=0 reason=remote_closed")


def test_a_remote_that_ends_its_tls_is_lost(proxy, mta, under_tls):
    peer, _ = under_tls
    mta.order(b"NOOP")
    assert peer.line() == b"NOOP"
    peer.sock = peer.sock.unwrap()  # it says that it ends, and hears the same
    assert peer.rest() == b""
    told_lost(proxy, mta, "remote_closed")


def test_a_remote_that_cuts_its_tls_off_is_lost(proxy, mta, under_tls):
    peer, bare = under_tls
    mta.order(b"NOOP")
    assert peer.line() == b"NOOP"
    peer.sock.detach()
    bare.shutdown(socket.SHUT_RDWR)
    told_lost(proxy, mta, "remote_closed")


def test_plain_text_in_the_midst_of_tls_is_no_reply(proxy, mta, under_tls):
    peer, bare = under_tls
    mta.order(b"NOOP")
    assert peer.line() == b"NOOP"
    bare.sendall(b"250 2.0.0 injected\r\n")
    told_lost(proxy, mta, "remote_tls")
