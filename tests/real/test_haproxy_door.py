"""Clients that are in use, at the PROXY door: what the table of clients (tests/clients/) has no row for.

Other doors than those two, many messages of one session, a certificate that is verified, and what the log tells of it.
"""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tools.mailbox import receiving, server_tls
from tools.programs import miss
from tools.real import PORT, SOURCES, RealProxy
from tools.stock import ENVELOPE, MESSAGE, Way, checking, haproxy, prefaced, server, swaks, swaks_speaks_tls

SOURCE = SOURCES[0]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(authority):
    return server_tls(authority)


@pytest.fixture(scope="module")
def proxy(runtime: str, folder: Path) -> Iterator[RealProxy]:
    with RealProxy(runtime, folder, f"source_ips {', '.join(SOURCES)}", proxy_door="") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def encrypting(runtime: str, folder: Path) -> Iterator[RealProxy]:
    with RealProxy(runtime, folder, proxy_door="starttls proxy; level encrypt") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def opaque(runtime: str, folder: Path) -> Iterator[RealProxy]:
    with RealProxy(runtime, folder, proxy_door="relay opaque") as proxy:
        yield proxy


@pytest.fixture(params=[1, 2])
def version(request, need):
    """Of the header that swaks sends."""
    need("swaks")
    return request.param


@pytest.fixture
def version_under_tls(version):
    """The same, where Perl can speak TLS."""
    if not swaks_speaks_tls():
        miss("swaks cannot speak TLS: apt-get install libnet-ssleay-perl")
    return version


def test_level_encrypt_sends_nothing_to_a_remote_without_tls(encrypting, version):
    with receiving() as box:
        said = swaks(encrypting.proxy_place, version, Way(box.hostname))
        assert said.ended != "exit 0"
        assert "gaproxy: tls: " in said.text
        assert box.mails == []


def test_who_is_encrypted_for_is_not_offered_starttls(encrypting, version, tls):
    with receiving(tls) as box:
        said = swaks(encrypting.proxy_place, version, Way(box.hostname))
        assert "STARTTLS" not in said.text
        assert box.mails == [(SOURCE, True)]


def test_an_opaque_door_carries_it_as_well(opaque, version_under_tls, tls):
    with receiving(tls) as box:
        said = swaks(opaque.proxy_place, version_under_tls, Way(box.hostname), "--tls")
        assert said.ended == "exit 0", said.text
        assert box.mails == [(SOURCE, True)]
    assert " messages=- bytes=" in opaque.wait_for(f"remote={box.hostname}:{PORT} tls=opaque")


def test_smtplib_behind_a_line_of_its_own_sends_many(proxy):
    with receiving() as box:
        with prefaced(proxy.proxy_place, Way(box.hostname)) as client:
            for _ in range(3):
                client.sendmail(*ENVELOPE, MESSAGE)
        assert box.mails == [(SOURCE, False)] * 3
    assert " messages=3 " in proxy.wait_for(f"remote={box.hostname}:{PORT} tls=none")


def test_smtplib_verifies_the_remotes_own_certificate(proxy, tls, authority):
    context = ssl.create_default_context()
    context.check_hostname = False
    authority.configure_trust(context)
    with receiving(tls) as box:
        with prefaced(proxy.proxy_place, Way(box.hostname)) as client:
            client.starttls(context=context)
            client.sendmail(*ENVELOPE, MESSAGE)
        assert box.mails == [(SOURCE, True)]


# HAProxy in front.


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy_hands_on_what_it_was_told(proxy, need, folder, version, send):
    """In front of us it takes a header and makes one: the client's source and destination go on."""
    need("haproxy")
    with (
        receiving() as box,
        haproxy(folder, server(proxy.proxy_place, send), bind="accept-proxy") as front,
    ):
        said = swaks(front, version, Way(box.hostname))
        assert said.ended == "exit 0", said.text
        assert box.mails == [(SOURCE, False)]


@pytest.mark.parametrize(
    ("send", "check", "reason"),
    [
        ("send-proxy", (), "own_pair"),
        ("send-proxy-v2", (), "local"),
        ("send-proxy-v2", ("option smtpchk EHLO lb.example.com",), "local"),
    ],
)
def test_haproxys_health_checks_are_no_failures(runtime, need, folder, send, check, reason):
    need("haproxy")
    with RealProxy(runtime, folder, proxy_door="") as proxy, checking(folder, proxy.proxy_place, send, *check):
        assert proxy.wait_for(": health client=").endswith(f"reason={reason}")
    assert not [line for line in proxy.log if re.search(r": (failed|refused)", line)]
