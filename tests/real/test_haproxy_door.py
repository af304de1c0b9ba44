"""Clients that are in use, at the PROXY door: swaks, curl, Python's smtplib, and HAProxy in front of us.

Each message arrives once, from the address that the header asks for; and where there is no remote, the client is told
why in words that it shows.
"""

import os
import signal
import smtplib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from tools.real import PORT, SOURCES, WAIT_S, RealProxy, fresh_address

SOURCE = SOURCES[0]
HAPROXY_PORT = 20860
MESSAGE = "Subject: hello\n\nfrom a client that is in use\n"


class Kept:
    """What a remote took in: from where, and whether under TLS."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, bool]] = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((session.peer[0], session.ssl is not None))
        return "250 2.0.0 kept"


class Host(Controller):
    """aiosmtpd in a thread, whose connections are all closed when it ends."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.present = 0
        self.change = threading.Condition()

    def factory(self):
        host = self

        class Guest(SMTP):
            def connection_made(self, transport):
                super().connection_made(transport)
                if not hasattr(self, "counted"):
                    self.counted = True
                    with host.change:
                        host.present += 1

            def connection_lost(self, error):
                super().connection_lost(error)
                with host.change:
                    host.present -= 1
                    host.change.notify_all()

        return Guest(self.handler, **self.SMTP_kwargs)

    def stop(self, no_assert: bool = False) -> None:
        with self.change:
            assert self.change.wait_for(lambda: not self.present, WAIT_S)
        super().stop(no_assert)


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, Kept]]:
    kept = Kept()
    host = Host(kept, hostname=fresh_address(), port=PORT, tls_context=tls)
    try:
        host.start()
        yield host.hostname, kept
    finally:
        host.stop()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.test").configure_cert(context)
    return context


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


def run(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, input=said, capture_output=True, text=True, timeout=60, check=False)


class Swaks:
    """swaks with a PROXY header of one version."""

    def __init__(self, program: str, version: int) -> None:
        self.program, self.version = program, version

    def header(self, source: str, remote: str, port: int) -> list[str]:
        if self.version == 1:
            return ["--proxy", f"TCP4 {source} {remote} 1 {port}"]
        options = {"version": "2", "family": "AF_INET", "protocol": "STREAM", "command": "PROXY"}
        options |= {"source": source, "source-port": "1", "dest": remote, "dest-port": str(port)}
        return [word for name, value in options.items() for word in (f"--proxy-{name}", value)]

    def send(
        self, place: tuple[str, int], remote: str, *more: str, source: str = SOURCE, port: int = PORT
    ) -> subprocess.CompletedProcess[str]:
        words = [self.program, "--server", place[0], "--port", str(place[1]), *self.header(source, remote, port)]
        return run(*words, "--from", "a@example.com", "--to", "b@example.net", "--helo", "mta.example.com", *more)


@pytest.fixture(params=[1, 2])
def swaks(request, need):
    return Swaks(need("swaks"), request.param)


@pytest.fixture
def swaks_tls(swaks):
    """The same, where Perl can speak TLS."""
    if "TLS supported" not in run(swaks.program, "--support").stdout:
        sentence = "swaks cannot speak TLS: apt-get install libnet-ssleay-perl"
        if os.environ.get("GAPROXY_CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return swaks


def test_swaks_delivers_once_and_from_the_asked_address(proxy, swaks):
    with serving() as (remote, kept):
        sent = swaks.send(proxy.proxy_place, remote)
        assert sent.returncode == 0, sent.stdout
        assert "250 2.0.0 kept" in sent.stdout
        assert kept.mails == [(SOURCE, False)]
    assert " messages=1 " in proxy.wait_for(f"remote={remote}:{PORT} tls=none")


def test_swaks_speaks_tls_with_the_remote_end_to_end(proxy, swaks_tls, tls):
    with serving(tls) as (remote, kept):
        sent = swaks_tls.send(proxy.proxy_place, remote, "--tls")
        assert sent.returncode == 0, sent.stdout
        assert "/CN=" in sent.stdout or "peer" in sent.stdout  # it shows the remote's certificate, not one of ours
        assert kept.mails == [(SOURCE, True)]
    assert " messages=- bytes=" in proxy.wait_for(f"remote={remote}:{PORT} tls=opaque")


def test_the_proxy_speaks_tls_and_swaks_does_not_know(encrypting, swaks, tls):
    with serving(tls) as (remote, kept):
        sent = swaks.send(encrypting.proxy_place, remote)
        assert sent.returncode == 0, sent.stdout
        assert "STARTTLS" not in sent.stdout
        assert kept.mails == [(SOURCE, True)]
    assert " messages=1 " in encrypting.wait_for(f"remote={remote}:{PORT} tls=TLSv1")


def test_level_encrypt_sends_nothing_to_a_remote_without_tls(encrypting, swaks):
    with serving() as (remote, kept):
        sent = swaks.send(encrypting.proxy_place, remote)
        assert sent.returncode != 0
        assert "gaproxy: tls: " in sent.stdout
        assert kept.mails == []


def test_an_opaque_door_carries_it_as_well(opaque, swaks_tls, tls):
    with serving(tls) as (remote, kept):
        sent = swaks_tls.send(opaque.proxy_place, remote, "--tls")
        assert sent.returncode == 0, sent.stdout
        assert kept.mails == [(SOURCE, True)]
    assert " messages=- bytes=" in opaque.wait_for(f"remote={remote}:{PORT} tls=opaque")


def test_swaks_is_told_word_for_word_why_there_is_no_remote(proxy, swaks):
    refusing = fresh_address()
    sent = swaks.send(proxy.proxy_place, refusing)
    assert f"421 4.4.1 gaproxy: refused: {refusing}:{PORT} from {SOURCE}: Connection refused [" in sent.stdout
    sent = swaks.send(proxy.proxy_place, refusing, source="127.0.0.77")
    assert "421 4.7.1 gaproxy: source_denied: " in sent.stdout
    assert "source 127.0.0.77 is not in source_ips" in sent.stdout
    sent = swaks.send(proxy.proxy_place, "10.0.0.1", port=22)
    assert "421 4.7.1 gaproxy: denied: 10.0.0.1:22 from " in sent.stdout


@pytest.mark.parametrize("greeting", [b"421 4.3.2 too busy", b"554 5.7.1 we do not want you"])
def test_swaks_is_told_the_remotes_own_words(proxy, swaks, remote, greeting):
    def play() -> None:
        peer = remote.take()
        peer.say(greeting)
        peer.rest()

    thread = threading.Thread(target=play)
    thread.start()
    sent = swaks.send(proxy.proxy_place, remote.address)
    thread.join(WAIT_S)
    assert greeting.decode() in sent.stdout
    assert "gaproxy" not in sent.stdout.split("Trying", 1)[1]


def test_swaks_is_told_that_a_remote_is_silent(runtime, folder, swaks, remote):
    with RealProxy(runtime, folder, "timeouts { total 1s }", proxy_door="") as impatient:
        sent = swaks.send(impatient.proxy_place, remote.address)
    assert "421 4.4.1 gaproxy: timeout: " in sent.stdout


def test_curl_with_its_own_pair_does_not_loop(proxy, need):
    place = f"{proxy.proxy_place[0]}:{proxy.proxy_place[1]}"
    words = ("--haproxy-protocol", f"smtp://{place}", "--mail-from", "a@example.com", "--mail-rcpt", "b@example.net")
    sent = run(need("curl"), "--silent", "--verbose", "--max-time", "20", *words, "--upload-file", "-", said=MESSAGE)
    assert sent.returncode != 0
    assert "421 4.7.1 gaproxy: denied: " in sent.stderr
    assert "is a listener of this proxy" in sent.stderr


class Prefaced(smtplib.SMTP):
    """Python's own client, behind a header that it knows nothing of."""

    header = b""

    def _get_socket(self, host, port, timeout):
        sock = super()._get_socket(host, port, timeout)
        sock.sendall(self.header)
        return sock


def prefaced(place: tuple[str, int], remote: str) -> smtplib.SMTP:
    class Client(Prefaced):
        header = f"PROXY TCP4 {SOURCE} {remote} 0 {PORT}\r\n".encode()

    return Client(*place, local_hostname="mta.example.com", timeout=WAIT_S)


def test_smtplib_behind_a_line_of_its_own_sends_many(proxy):
    with serving() as (remote, kept):
        with prefaced(proxy.proxy_place, remote) as client:
            for _ in range(3):
                client.sendmail("a@example.com", ["b@example.net"], MESSAGE)
        assert kept.mails == [(SOURCE, False)] * 3


def test_smtplib_verifies_the_remotes_own_certificate(proxy, tls, authority):
    context = ssl.create_default_context()
    context.check_hostname = False
    authority.configure_trust(context)
    with serving(tls) as (remote, kept):
        with prefaced(proxy.proxy_place, remote) as client:
            client.starttls(context=context)
            client.sendmail("a@example.com", ["b@example.net"], MESSAGE)
        assert kept.mails == [(SOURCE, True)]


def test_smtplib_shows_what_it_is_told(proxy):
    with pytest.raises(smtplib.SMTPConnectError) as told:
        prefaced(proxy.proxy_place, fresh_address())
    assert told.value.smtp_code == 421
    assert told.value.smtp_error.startswith(b"4.4.1 gaproxy: refused: ")


# HAProxy in front.


@contextmanager
def haproxy(program: str, folder: Path, body: str) -> Iterator[tuple[str, int]]:
    """An HAProxy with one listener: where it is."""
    place = (fresh_address(), HAPROXY_PORT)
    path = folder / f"haproxy-{place[0]}.cfg"
    path.write_text(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n  timeout check 5s\n"
        f"listen front\n  bind {place[0]}:{place[1]}{body}\n"
    )
    pid = path.with_suffix(".pid")
    started = run(program, "-D", "-f", str(path), "-p", str(pid))  # it returns when it listens
    assert started.returncode == 0, started.stderr
    try:
        yield place
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy_hands_on_what_it_was_told(proxy, need, folder, swaks, send):
    """In front of us it takes a header and makes one: the client's source and destination go on."""
    server = f"{proxy.proxy_place[0]}:{proxy.proxy_place[1]} {send}"
    with (
        serving() as (remote, kept),
        haproxy(need("haproxy"), folder, f" accept-proxy\n  server us {server}") as front,
    ):
        sent = swaks.send(front, remote)
        assert sent.returncode == 0, sent.stdout
        assert kept.mails == [(SOURCE, False)]


@pytest.mark.parametrize(
    ("send", "check", "reason"),
    [
        ("send-proxy", "", "own_pair"),
        ("send-proxy-v2", "", "local"),
        ("send-proxy-v2", "\n  option smtpchk EHLO lb.example.com", "local"),
    ],
)
def test_haproxys_health_checks_are_no_failures(runtime, need, folder, send, check, reason):
    with RealProxy(runtime, folder, proxy_door="") as proxy:
        server = f"{proxy.proxy_place[0]}:{proxy.proxy_place[1]} {send} check check-send-proxy inter 200ms"
        body = f"{check}\n  server us {server}"
        with haproxy(need("haproxy"), folder, body) as front:
            line = proxy.wait_for(": health client=")
            assert line.endswith(f"reason={reason}")
            assert front
    assert not [line for line in proxy.log if ": failed" in line or ": refused" in line]
