"""Mail through a proxy to aiosmtpd, by our own client on each runtime, under every TLS policy."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme
from tools.mailbox import Host
from tools.real import HELO, PORT, SOURCES, RealProxy, fresh_address, run_client

from gaproxy.client import OpenFailed

MESSAGE = b"Subject: hello\r\n\r\n.a dot leads this line\r\n..\r\n\xe4 byte\r\n"
NAME = "mx.test"


class Kept:
    """What aiosmtpd took in: who sent what, from where, under which cipher."""

    def __init__(self) -> None:
        self.messages = []
        self.names = []

    async def handle_DATA(self, server, session, envelope):
        self.messages.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content))
        self.source, self.tls, self.helo = session.peer[0], session.ssl is not None, session.host_name
        return "250 2.0.0 kept"


class Authorities:
    """One that the proxy trusts, one that it does not, and a server that signed its own certificate."""

    def __init__(self) -> None:
        self.trusted, self.strange = trustme.CA(), trustme.CA()

    def context(self, by: str, name: str = NAME) -> ssl.SSLContext:
        """A server's side of TLS; `by`: who signed its certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if by == "itself":
            with self.strange.cert_pem.tempfile() as certificate, self.strange.private_key_pem.tempfile() as key:
                context.load_cert_chain(certificate, key)
        else:
            getattr(self, by).issue_cert(name).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authorities():
    return Authorities()


@pytest.fixture(params=["asyncio", "uvloop", "trio"], scope="module")
def runtime(request):
    return request.param


@pytest.fixture(scope="module")
def proxy(runtime, folder, authorities):
    roots = folder / "roots.pem"
    authorities.trusted.cert_pem.write_to_path(roots)
    with RealProxy(runtime, folder, environment={"SSL_CERT_FILE": str(roots)}) as proxy:
        yield proxy


@contextmanager
def serving(port: int = PORT, **options: object) -> Iterator[tuple[str, Kept]]:
    """An aiosmtpd in a thread: where it is, and what it keeps."""
    kept = Kept()
    controller = Host(kept, hostname=fresh_address(), port=port, **options)
    try:
        controller.start()
    except PermissionError:
        pytest.skip(f"only root may listen at port {port}")
    try:
        yield f"{controller.hostname}:{port}", kept
    finally:
        controller.stop()


def deliver(proxy, to, tls, **words):
    """Send one message: what READY said, and all replies."""

    async def talk(connection):
        async with connection.open(source=SOURCES[0], to=[to], helo=HELO, tls=tls, **words) as session:
            return session.ready, await session.send_message("a@src.test", ["b@dst.test", "c@dst.test"], MESSAGE)

    return run_client(proxy.runtime, proxy, talk)


def fails(proxy, to, tls, **words):
    """The OPEN comes to nothing: why."""
    with pytest.raises(OpenFailed) as failure:
        deliver(proxy, to, tls, **words)
    return failure.value.failed


def arrived(kept, replies, tls):
    """The one message is there, unchanged, from where and how it was asked."""
    assert [reply.code for reply in replies] == [250, 250, 250, 354, 250]
    assert replies[-1].wire == b"250 2.0.0 kept\r\n"
    assert kept.messages == [("a@src.test", ["b@dst.test", "c@dst.test"], MESSAGE)]
    assert (kept.source, kept.tls, kept.helo) == (SOURCES[0], tls, HELO)


@pytest.mark.parametrize("tls", ["none", "may"])
def test_a_remote_without_starttls_gets_plain_text(proxy, tls):
    with serving() as (to, kept):
        ready, replies = deliver(proxy, to, tls)
    arrived(kept, replies, tls=False)
    assert (ready.tls, ready.cipher, ready.verified, ready.remote) == ("none", None, None, to)
    assert ready.source.startswith(SOURCES[0] + ":")


@pytest.mark.parametrize("tls", ["encrypt", "verify"])
def test_a_remote_without_starttls_is_a_failure_where_tls_must_be(proxy, tls):
    with serving() as (to, kept):
        failed = fails(proxy, f"{to}/{NAME}", tls)
    assert (failed.kind, failed.text, kept.messages) == ("tls", "the remote offers no STARTTLS", [])


def test_none_is_none_even_where_starttls_is_offered(proxy, authorities):
    with serving(tls_context=authorities.context("trusted")) as (to, kept):
        ready, replies = deliver(proxy, to, "none")
    arrived(kept, replies, tls=False)
    assert ready.tls == "none"


@pytest.mark.parametrize("by", ["trusted", "strange", "itself"])
@pytest.mark.parametrize("tls", ["may", "encrypt"])
def test_any_certificate_is_better_than_plain_text(proxy, authorities, by, tls):
    with serving(tls_context=authorities.context(by), require_starttls=True) as (to, kept):
        ready, replies = deliver(proxy, to, tls)
    arrived(kept, replies, tls=True)
    assert (ready.tls, ready.verified) == ("TLSv1.3", False)
    assert ready.cipher.startswith("TLS_")


@pytest.mark.parametrize(
    ("shown", "host", "words"),
    [
        (NAME, f"/{NAME}", {}),
        (NAME, "", {"tls_names": [NAME]}),
        (NAME, "/elsewhere.test", {"tls_names": ["other.test", NAME]}),
        ("mx.pool.test", "", {"tls_names": ["*.pool.test"]}),
        ("*.pool.test", "/mx.pool.test", {}),
    ],
)
def test_verify_takes_a_good_certificate_for_the_name(proxy, authorities, shown, host, words):
    with serving(tls_context=authorities.context("trusted", shown), require_starttls=True) as (to, kept):
        ready, replies = deliver(proxy, to + host, "verify", **words)
    arrived(kept, replies, tls=True)
    assert (ready.tls, ready.verified) == ("TLSv1.3", True)


@pytest.mark.parametrize("by", ["strange", "itself"])
def test_verify_refuses_a_certificate_of_somebody_unknown(proxy, authorities, by):
    with serving(tls_context=authorities.context(by)) as (to, kept):
        failed = fails(proxy, f"{to}/{NAME}", "verify")
    assert (failed.kind, [one.kind for one in failed.tried], kept.messages) == ("tls", ["tls"], [])
    assert "self-signed" in failed.text or "issuer" in failed.text


def test_verify_refuses_a_good_certificate_for_another_name(proxy, authorities):
    with serving(tls_context=authorities.context("trusted")) as (to, kept):
        failed = fails(proxy, f"{to}/other.test", "verify")
    assert (failed.kind, kept.messages) == ("tls", [])
    assert failed.text == "the certificate is for mx.test, not for other.test"


def test_the_host_is_told_in_sni(proxy, authorities):
    context, names = authorities.context("trusted"), []
    context.sni_callback = lambda sock, name, context: names.append(name)
    with serving(tls_context=context) as (to, _):
        deliver(proxy, f"{to}/{NAME}", "may")
        deliver(proxy, to, "may")
    assert names == [NAME, None]


def test_an_older_tls_is_told_as_it_is(proxy, authorities):
    context = authorities.context("trusted")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(tls_context=context) as (to, kept):
        ready, replies = deliver(proxy, f"{to}/{NAME}", "verify")
    arrived(kept, replies, tls=True)
    assert (ready.tls, ready.verified) == ("TLSv1.2", True)


@pytest.mark.parametrize(("tls", "verified"), [("may", False), ("encrypt", False), ("verify", True)])
def test_at_port_465_tls_is_there_from_the_first_byte(proxy, authorities, tls, verified):
    with serving(465, ssl_context=authorities.context("trusted")) as (to, kept):
        ready, replies = deliver(proxy, f"{to}/{NAME}", tls)
    assert [reply.code for reply in replies] == [250, 250, 250, 354, 250]
    assert [content for _, _, content in kept.messages] == [MESSAGE]
    assert (ready.tls, ready.verified) == ("TLSv1.3", verified)


def test_at_port_465_there_is_no_falling_back(proxy):
    with serving(465) as (to, kept):  # plain text where TLS belongs
        failed = fails(proxy, to, "may")
    assert (failed.kind, kept.messages) == ("tls", [])


def test_two_sessions_go_through_one_connection_one_after_the_other(proxy, authorities):
    async def talk(connection):
        outcomes = []
        for source, to, tls in [(SOURCES[0], first, "encrypt"), (SOURCES[1], second, "none")]:
            async with connection.open(source=source, to=[to], helo=HELO, tls=tls) as session:
                await session.send_message("a@src.test", ["b@dst.test"], MESSAGE)
                replies = await session.send_message("a@src.test", ["c@dst.test"], MESSAGE)
                outcomes.append((session.ready.id, session.ready.tls, [reply.code for reply in replies]))
        return outcomes

    with (
        serving(tls_context=authorities.context("strange"), require_starttls=True) as (first, one),
        serving() as (second, two),
    ):
        codes = [250, 250, 354, 250]
        assert run_client(proxy.runtime, proxy, talk) == [("1", "TLSv1.3", codes), ("2", "none", codes)]
    assert [(len(kept.messages), kept.source) for kept in (one, two)] == [(2, SOURCES[0]), (2, SOURCES[1])]
