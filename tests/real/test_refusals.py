"""What an MTA is told where there is no remote: each kind of FAILED, and the remote's own words."""

import socket

import pytest
from tools.real import PORT, SOURCES, Mta, RealProxy, Remote, fresh_address

SHORT = "timeouts { connect 300ms; greeting 300ms }"


def kinds(failed):
    """What was tried, without how long it took."""
    return [(one.address, one.kind) for one in failed.tried]


@pytest.fixture
def nobody():
    """An address that is ours and at which nobody listens."""
    return fresh_address()


@pytest.fixture
def silent():
    """An address at which connections are never accepted: the backlog is full."""
    address = fresh_address()
    with socket.create_server((address, PORT), backlog=0), socket.create_connection((address, PORT)):
        yield address


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        ([b"421 4.3.2 too busy, come back"], "421 4.3.2 too busy, come back"),
        (
            [b"554-5.7.1 we do not like you", b"554 5.7.1 nor your friends"],
            "554 5.7.1 we do not like you 5.7.1 nor your friends",
        ),
    ],
)
def test_a_greeting_that_refuses_is_told_word_for_word(mta, remote, greeting, told):
    mta.ask_for(remote.to)
    peer = remote.take()
    peer.say(*greeting)
    failed = mta.fails()
    assert (failed.kind, failed.reply, failed.retry_ms) == ("greeting", told, 0)
    if not told.startswith("421"):  # who says 421 does not listen any more (RFC 5321 3.8)
        peer.answer(b"QUIT", b"221 2.0.0 bye")
    assert peer.rest() == b""


def test_a_remote_that_refuses_ehlo_and_helo_is_told_so(mta, remote):
    mta.ask_for(remote.to)
    peer = remote.take()
    peer.say(b"220 mx.test")
    peer.answer(b"EHLO out.example.com", b"502 5.5.1 what?")
    peer.answer(b"HELO out.example.com", b"550 5.7.1 not you")
    failed = mta.fails()
    assert (failed.kind, failed.reply) == ("ehlo", "550 5.7.1 not you")


def test_a_port_that_refuses_is_left_alone_for_a_while(mta, nobody):
    to = f"{nobody}:{PORT}"
    mta.ask_for(to)
    first = mta.fails()
    assert (first.kind, first.retry_ms, first.reply, kinds(first)) == ("refused", 0, None, [(nobody, "refused")])
    mta.ask_for(to)
    second = mta.fails()
    assert second.kind == "refused"
    assert 0 < second.retry_ms <= 5000


def test_who_never_answers_runs_into_the_time_out(runtime, folder, silent, remote):
    with RealProxy(runtime, folder, SHORT) as proxy, Mta(proxy) as mta:
        mta.ask_for(f"{silent}:{PORT}", remote.to)
        remote.take()  # and say nothing
        failed = mta.fails()
        assert failed.kind == "timeout"
        assert kinds(failed) == [(silent, "timeout"), (remote.address, "timeout")]
        assert all(300 <= one.after_ms < 5000 for one in failed.tried)
        proxy.wait_for("failed")


@pytest.mark.parametrize("to", ["10.0.0.1:20025", "[2001:db8::1]:20025", "169.254.169.254:20025", "224.0.0.1:20025"])
def test_a_destination_that_is_denied_is_not_dialled(mta, to):
    mta.ask_for(to, source="127.0.0.2" if "." in to else "::1")
    failed = mta.fails()
    assert failed.kind == "denied"
    assert [one.kind for one in failed.tried] == ["denied"]


def test_a_port_that_is_not_configured_is_denied(mta, remote):
    mta.ask_for(f"{remote.address}:25")
    failed = mta.fails()
    assert (failed.kind, failed.text) == ("denied", "destination port 25 is not in remote_ports")
    assert not remote.is_called()


def test_the_proxy_is_no_destination_of_itself(proxy, mta):
    address, port = proxy.place
    mta.ask_for(f"{address}:{port}")
    failed = mta.fails()
    assert (failed.kind, failed.text) == ("denied", f"destination {address} port {port} is a listener of this proxy")


def test_a_source_that_is_not_configured_is_denied_and_nothing_is_tried(runtime, folder, remote):
    with RealProxy(runtime, folder, "source_ips 127.0.0.2") as proxy, Mta(proxy) as mta:
        mta.ask_for(remote.to, source="127.0.0.3")
        failed = mta.fails()
        assert (failed.kind, failed.tried) == ("source_denied", ())
        assert failed.text == "source 127.0.0.3 is not in source_ips"
        assert not remote.is_called()
        mta.ask_for(remote.to, source="127.0.0.2")
        assert remote.introduced().source == "127.0.0.2"
        mta.ready()


def test_a_source_that_is_not_ours_is_not_replaced_by_another(mta, remote):
    mta.ask_for(remote.to, source="192.0.2.1")
    failed = mta.fails()
    assert (failed.kind, kinds(failed)) == ("source_unavailable", [(remote.address, "source_unavailable")])
    assert "192.0.2.1" in failed.text
    assert not remote.is_called()


@pytest.mark.parametrize(("source", "to"), [("127.0.0.2", "[::1]:20025"), ("::1", "127.0.0.2:20025")])
def test_no_source_of_the_destinations_family(mta, source, to):
    mta.ask_for(to, source=source)
    failed = mta.fails()
    assert (failed.kind, [one.kind for one in failed.tried]) == ("family", ["family"])


def test_ipv6_is_dialled_from_ipv6(mta):
    with Remote("::1") as remote:
        mta.ask_for(remote.to, source="::1")
        assert remote.introduced().source == "::1"
        ready = mta.ready()
        assert (ready.source.rpartition(":")[0], ready.remote) == ("[::1]", remote.to)


def test_the_family_of_the_destination_chooses_the_source(mta, remote, nobody):
    with Remote("::1") as sixth:
        mta.say(
            mta.client.open(
                source=[SOURCES[1], "::1"], to=[f"{nobody}:{PORT}", sixth.to], helo="out.example.com", tls="none"
            )
        )
        assert sixth.introduced().source == "::1"
        assert mta.ready().remote == sixth.to


def test_destinations_are_tried_in_order_and_each_says_why_not(mta, nobody):
    with Remote() as busy, Remote() as closed, Remote() as last:
        mta.ask_for(f"{nobody}:{PORT}", f"10.0.0.1:{PORT}", busy.to, closed.to, last.to)
        busy.take().say(b"450 4.3.2 busy")
        closed.take().close()
        last.take().say(b"554 5.7.1 no")
        failed = mta.fails()
        assert (failed.kind, failed.reply) == ("greeting", "554 5.7.1 no")
        assert kinds(failed) == [
            (nobody, "refused"), ("10.0.0.1", "denied"), (busy.address, "greeting"),
            (closed.address, "greeting"), (last.address, "greeting"),
        ]  # fmt: skip


@pytest.mark.parametrize(("config", "called"), [("", False), ("greeting_5xx next", True)])
def test_a_greeting_5xx_speaks_for_all_addresses_unless_configured_otherwise(runtime, folder, config, called):
    with RealProxy(runtime, folder, config) as proxy, Mta(proxy) as mta, Remote() as first, Remote() as second:
        mta.ask_for(first.to, second.to)
        first.take().say(b"554 5.7.1 no")
        if called:
            second.introduced()
            mta.ready()
        else:
            assert mta.fails().reply == "554 5.7.1 no"
            assert not second.is_called()


def test_behind_a_failure_the_connection_is_good_for_the_next_remote(mta, remote, nobody):
    mta.ask_for(f"{nobody}:{PORT}")
    mta.fails()
    peer = mta.is_joined(remote)
    mta.order(b"NOOP")
    peer.answer(b"NOOP", b"250 2.0.0 still here")
    assert mta.reply().lines == (b"2.0.0 still here",)
