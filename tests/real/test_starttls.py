"""Remotes whose STARTTLS is odd: injected plain text, a handshake that breaks, a promise that is not kept."""

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
