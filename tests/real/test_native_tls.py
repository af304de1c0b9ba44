"""TLS between MTA and proxy, for real: on one port with plain text, with a certificate of its own or of a file.

And whoever sits in between with another certificate, gets nowhere.
"""

import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from attrs import define
from tools.real import DOOR_PORT, HELO, SECRET, SOURCES, WAIT_S, Mta, RealProxy, Remote, fresh_address, run_client

from gaproxy.client import ProxyGone, ProxyRefused

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


@define
class Certificate:
    """A chain and its key in one folder, which can be renewed."""

    folder: Path
    sha256: str = ""

    def renew(self) -> str:
        """Write another one. Returns its fingerprint."""
        issued = trustme.CA().issue_cert("proxy.test")
        self.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())
        leaf = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        self.sha256 = sha256(leaf).hexdigest()
        return self.sha256

    @property
    def chain(self) -> Path:
        return self.folder / "chain.pem"

    @property
    def key(self) -> Path:
        return self.folder / "own.key"

    def context(self) -> ssl.SSLContext:
        """The policy of a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    fresh = Certificate(tmp_path)
    fresh.renew()
    return fresh


def anybody() -> ssl.SSLContext:
    """The policy of a client that looks at no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shown(proxy: RealProxy) -> str:
    """Fingerprint of the certificate that this proxy shows."""
    with socket.create_connection(proxy.place, WAIT_S) as plain, anybody().wrap_socket(plain) as secured:
        return sha256(secured.getpeercert(binary_form=True)).hexdigest()


def take_message(remote: Remote) -> bytes:
    """One message, on the next call."""
    peer = remote.introduced()
    for command, reply in [(b"MAIL FROM:<a@src.test>", b"250 ok"), (b"RCPT TO:<b@dst.test>", b"250 ok")]:
        peer.answer(command, reply)
    peer.answer(b"DATA", b"354 go on")
    message = peer.until(b"\r\n.\r\n") + b"\r\n"
    peer.say(b"250 2.0.0 kept")
    peer.answer(b"RSET", b"250 ok")
    return message


# One port for both.


@pytest.mark.parametrize("ours", ["asyncio", "uvloop", "trio"])
def test_a_message_travels_under_tls_that_needs_no_configuration(proxy, remote, ours):
    async def talk(connection):
        async with connection.open(source=SOURCES[0], to=[remote.to], helo=HELO, tls="none") as session:
            return await session.send_message("a@src.test", ["b@dst.test"], MESSAGE)

    taken: list[bytes] = []
    server = threading.Thread(target=lambda: taken.append(take_message(remote)))
    server.start()
    assert [reply.code for reply in run_client(ours, proxy, talk)] == [250, 250, 354, 250]
    server.join(WAIT_S)
    assert taken == [MESSAGE]
    session, _, _ = proxy.wait_for(f" remote={remote.to} ").partition("/")
    assert " tls=TLSv1.3 " in proxy.wait_for(session.removeprefix("smtp: ") + "): authenticated ")


def test_plain_text_is_served_at_the_same_port_and_told(proxy, mta, remote):
    assert " tls=none " in proxy.wait_for(f"session({mta.session}): authenticated")
    assert mta.is_joined(remote).source == SOURCES[0]
    with Mta(proxy, tls=True) as another:
        assert " tls=TLSv1.3 " in proxy.wait_for(f"session({another.session}): authenticated")


@pytest.mark.parametrize("ours", ["asyncio", "trio"])
@pytest.mark.parametrize(("option", "tls"), [((), "TLSv1.3"), (("--plain",), "none")])
def test_send_speaks_tls_unless_it_is_told_not_to(proxy, remote, ours, option, tls):
    node = f"send-{ours}-{tls}"
    words = [f"--node={node}", f"--runtime={ours}", f"--proxy={proxy.place[0]}:{proxy.place[1]}", *option]
    words += [f"--source={SOURCES[0]}", f"--to={remote.to}", f"--helo={HELO}", "--mail-from=a@src.test"]
    told = subprocess.Popen(
        [sys.executable, "-m", "gaproxy", "send", *words, "--rcpt=b@dst.test"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "GAPROXY_SECRET": SECRET},
    )
    with told:
        told.stdin.write(MESSAGE)
        told.stdin.close()
        assert take_message(remote) == MESSAGE
        said = told.stdout.read()
    assert (told.returncode, said.count(b": 250 ")) == (0, 3)
    assert f" tls={tls} " in proxy.wait_for(f": authenticated node={node} ")


def test_what_is_no_handshake_is_closed_and_told(proxy):
    with socket.create_connection(proxy.place, WAIT_S) as stranger:
        client = f"{stranger.getsockname()[0]}:{stranger.getsockname()[1]}"
        stranger.sendall(b"\x16\x03\x01" + b"x" * 100)
        while stranger.recv(100):
            pass
        assert " reason=tls text=" in proxy.wait_for(f"refused client={client}")


def test_a_stranger_who_waits_has_to_wait_with_tls_too(runtime, folder):
    with RealProxy(runtime, folder, "unauthenticated { total 1; per_client 1 }") as proxy:
        first = Mta(proxy, tls=True)
        with socket.create_connection(proxy.place, WAIT_S) as second:
            handshake = anybody().wrap_socket(second, do_handshake_on_connect=False)
            handshake.setblocking(False)
            with pytest.raises(ssl.SSLWantReadError):
                handshake.do_handshake()
            first.say(first.client.hello())
            answer = first.hear().answer  # by now the second one would have been heard as well
            with pytest.raises(ssl.SSLWantReadError):
                handshake.do_handshake()
            first.say(answer)
            handshake.settimeout(WAIT_S)
            handshake.do_handshake()
            handshake.close()
        first.sock.close()


# Where TLS is required.


def test_plain_text_is_refused_in_silence_where_tls_is_required(runtime, folder):
    with RealProxy(runtime, folder, "native_tls required") as proxy:
        with socket.create_connection(proxy.place, WAIT_S) as stranger:
            stranger.sendall(b"GAPROXY/1 min=1 node=a role=smtp nonce=" + b"0" * 64 + b"\r\n")
            assert stranger.recv(100) == b""
        assert proxy.wait_for(": refused ").endswith(" reason=plain_text hint=the native protocol")
        with Mta(proxy, tls=True) as mta:
            mta.say(mta.client.ping(1))
            assert mta.hear().stamp == "1"


# A certificate of a file.


def test_a_renewed_certificate_is_taken_and_a_broken_one_refused(runtime, folder, certificate):
    config = f'tls_certificate "{certificate.chain}"\ntls_key "{certificate.key}"'
    with RealProxy(runtime, folder, config) as proxy, Mta(proxy, tls=True) as mta:
        former = certificate.sha256
        assert former in proxy.wait_for("configuration adopted")
        assert shown(proxy) == former

        certificate.key.write_bytes(b"broken")
        proxy.process.send_signal(signal.SIGHUP)
        told = proxy.wait_for("configuration refused")
        assert f"cannot use the certificate {certificate.chain}" in told
        proxy.log.remove(told)  # which no other line of this test may be
        assert shown(proxy) == former

        renewed = certificate.renew()
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_for(f"configuration adopted listeners={proxy.place[0]}:{DOOR_PORT} certificate_sha256={renewed}")
        assert shown(proxy) == renewed
        mta.say(mta.client.ping(1))  # who was there before stays
        assert mta.hear().stamp == "1"
        Mta(proxy, tls=True).__enter__().sock.close()


def test_a_proxy_whose_certificate_cannot_be_read_does_not_start(runtime, folder, certificate):
    told = serve_and_end(folder, f"tls_certificate {certificate.folder}/missing.pem", runtime)
    assert f"configuration refused text=cannot read {certificate.folder}/missing.pem: No such file" in told


# Without the extra.


def serve_and_end(folder: Path, config: str, runtime: str, before: str = "") -> str:
    """What a proxy says that ends by itself, with 1. `before`: what is done before it is loaded."""
    path = folder / "ends.conf"
    path.write_text(f'listen "{fresh_address()}:{DOOR_PORT}"\nauth_shared_secret "{SECRET}"\n{config}\n')
    words = ["serve", f"--config-filename={path}", f"--runtime={runtime}"]
    program = f"import sys; {before}\nfrom gaproxy.cli.main import main; sys.exit(main(sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == f"gaproxy: configuration refused text={ended.stderr}"
    return ended.stdout


WITHOUT = "sys.modules['cryptography'] = None"


@pytest.mark.parametrize("config", ["native_tls required", "tls_certificate auto"])
def test_what_needs_the_extra_is_refused_without_it_and_says_what_to_install(runtime, folder, config):
    told = serve_and_end(folder, config, runtime, WITHOUT)
    (problem,) = [line for line in told.splitlines() if "configuration refused" in line]
    assert problem.startswith("gaproxy: configuration refused text=cannot make a certificate for TLS: ")
    assert problem.endswith(": pip install 'gaproxy[tls]'")


def test_without_the_extra_it_serves_plain_text_and_warns(runtime, folder, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"import sys; {WITHOUT}\n")
    with RealProxy(runtime, folder, environment={"PYTHONPATH": str(tmp_path)}) as proxy:
        told = proxy.wait_for("configuration warning")
        assert "there is no TLS on `listen`" in told
        proxy.log.remove(told)
        with Mta(proxy) as mta:
            assert " tls=none " in proxy.wait_for(f"session({mta.session}): authenticated")
        with pytest.raises(ProxyGone, match="no TLS with the proxy"):
            run_client("asyncio", proxy, None)


# Somebody in between.


def carry(near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
    """Carry what each says to the other, until either ends."""
    other = {near: far, far: near}
    for one in other:
        one.setblocking(False)
    while True:
        for one in select.select(list(other), [], [])[0]:
            with suppress(ssl.SSLWantReadError):
                data = one.recv(65_536)
                if not data:
                    return
                other[one].sendall(data)


@contextmanager
def terminator(certificate: Certificate, proxy: RealProxy) -> Iterator[tuple[str, int]]:
    """Somebody who ends one TLS and begins another, and carries every byte: where he listens, for one caller."""
    with socket.create_server((fresh_address(), DOOR_PORT)) as listener:

        def sit_in_between() -> None:
            caller, _ = listener.accept()
            called = socket.create_connection(proxy.place, WAIT_S)
            with (
                certificate.context().wrap_socket(caller, server_side=True) as near,
                anybody().wrap_socket(called) as far,
                suppress(ConnectionError),
            ):
                carry(near, far)

        thread = threading.Thread(target=sit_in_between)
        thread.start()
        yield listener.getsockname()
        thread.join(WAIT_S)


@pytest.mark.parametrize("ours", ["asyncio", "trio"])
def test_nobody_can_sit_in_between(runtime, folder, certificate, ours):
    with RealProxy(runtime, folder) as proxy:
        with terminator(certificate, proxy) as place, pytest.raises(ProxyRefused, match="auth_failed"):
            run_client(ours, proxy, None, place=place)
        assert proxy.wait_for(": refused ").endswith(" reason=wrong_proof")


def test_who_sits_in_between_and_hears_our_proof_has_none_for_the_proxy(proxy, certificate):
    """The MTA proves first: what it says to a stranger is a proof for his certificate, good for no other."""
    heard = []

    def listen(listener: socket.socket, challenge: Callable[[bytes], bytes]) -> None:
        caller, _ = listener.accept()
        with certificate.context().wrap_socket(caller, server_side=True) as near:
            near.sendall(challenge(near.recv(4096)))
            heard.append(near.recv(4096))

    with (
        socket.create_connection(proxy.place, WAIT_S) as called,
        anybody().wrap_socket(called) as far,
        socket.create_server((fresh_address(), DOOR_PORT)) as listener,
    ):

        def challenge(hello: bytes) -> bytes:
            far.sendall(hello)
            return far.recv(4096)

        thread = threading.Thread(target=listen, args=[listener, challenge])
        thread.start()
        with pytest.raises(ProxyGone):
            run_client("asyncio", proxy, None, place=listener.getsockname())
        thread.join(WAIT_S)
        assert heard[0].startswith(b"AUTH proof=")
        far.sendall(heard[0])
        assert far.recv(4096).startswith(b"ERROR code=auth_failed ")
