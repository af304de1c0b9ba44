"""Clients as they are in use, at a PROXY door: swaks, curl, Python's smtplib, and HAProxy in front of a plain one.

Knows how each is told where from and where to, and what it says in the end; does not know what it should say.
"""

import os
import signal
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from tools.programs import run
from tools.real import PORT, SOURCES, WAIT_S, fresh_address

Address = tuple[str, int]

HAPROXY_PORT, HAPROXY_LOG_PORT = 20860, 20861
HELO = "mta.example.com"
ENVELOPE = ("a@example.com", "b@example.net")
MESSAGE = "Subject: hello\n\nfrom a client that is in use\n"


@frozen
class Way:
    """What a header asks for: the address to leave from, and the remote."""

    remote: str
    source: str = SOURCES[0]
    port: int = PORT


@frozen
class Said:
    """How a client ended, and all that it showed, line by line."""

    ended: str
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


# swaks.


def swaks_header(version: int, way: Way) -> list[str]:
    if version == 1:
        return ["--proxy", f"TCP4 {way.source} {way.remote} 1 {way.port}"]
    options = {"version": "2", "family": "AF_INET", "protocol": "STREAM", "command": "PROXY"}
    options |= {"source": way.source, "source-port": "1", "dest": way.remote, "dest-port": str(way.port)}
    return [word for name, value in options.items() for word in (f"--proxy-{name}", value)]


def swaks(door: Address, version: int, way: Way, *more: str) -> Said:
    """One message of swaks, behind a header of this version."""
    words = ["--server", door[0], "--port", str(door[1]), *swaks_header(version, way)]
    done = run("swaks", *words, "--from", ENVELOPE[0], "--to", ENVELOPE[1], "--helo", HELO, *more)
    return Said(f"exit {done.returncode}", (done.stdout + done.stderr).splitlines())


def swaks_speaks_tls() -> bool:
    """Whether its Perl can."""
    return "TLS supported" in run("swaks", "--support").stdout


# curl.


def curl(place: Address, *more: str) -> Said:
    """One message of curl, to wherever it is connected with."""
    words = ["--silent", "--show-error", "--verbose", "--max-time", str(WAIT_S), *more]
    words += [f"smtp://{place[0]}:{place[1]}/{HELO}", "--mail-from", ENVELOPE[0], "--mail-rcpt", ENVELOPE[1]]
    done = run("curl", *words, "--upload-file", "-", said=MESSAGE)
    return Said(f"exit {done.returncode}", done.stderr.splitlines())


# Python.


def prefaced(door: Address, way: Way) -> smtplib.SMTP:
    """Python's own client, behind a header that it knows nothing of. Raises what it raises where it is not welcome."""

    class Client(smtplib.SMTP):
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            sock = super()._get_socket(host, port, timeout)
            sock.sendall(f"PROXY TCP4 {way.source} {way.remote} 0 {way.port}\r\n".encode())
            return sock

    return Client(*door, local_hostname=HELO, timeout=WAIT_S)


def python(door: Address, way: Way, tls: bool = False) -> Said:
    """One message of smtplib; it says the reply to its data, or what it raises."""
    try:
        with prefaced(door, way) as client:
            if tls:
                client.starttls(context=trusting())
            client.ehlo_or_helo_if_needed()
            client.mail(ENVELOPE[0])
            client.rcpt(ENVELOPE[1])
            code, words = client.data(MESSAGE)
            return Said("returns", [f"{code} {words.decode()}"])
    except smtplib.SMTPResponseException as error:
        return Said(type(error).__name__, [f"{error.smtp_code} {error.smtp_error.decode()}"])
    except (smtplib.SMTPException, OSError) as error:
        return Said(type(error).__name__, [str(error)])


def trusting() -> ssl.SSLContext:
    """Takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# HAProxy.

DEFAULTS = """defaults
  mode tcp
  log global
  option log-health-checks
  retries 0
  timeout connect 5s
  timeout client 20s
  timeout server 20s
  timeout check 5s
"""


@contextmanager
def haproxy(folder: Path, *body: str, bind: str = "", log: Address | None = None) -> Iterator[Address]:
    """An HAProxy with one listener: where it is. `body`: its lines, `bind`: options of the first one.

    Its log goes to a UDP socket, if anywhere.
    """
    place = (fresh_address(), HAPROXY_PORT)
    path = folder / f"haproxy-{place[0]}.cfg"
    logging = f"global\n  log {log[0]}:{log[1]} format raw local0\n" if log else ""
    lines = "".join(f"  {line}\n" for line in body)
    path.write_text(f"{logging}{DEFAULTS}listen front\n  bind {place[0]}:{place[1]} {bind}\n{lines}")
    pid = path.with_suffix(".pid")
    started = run("haproxy", "-D", "-f", str(path), "-p", str(pid))  # it returns when it listens
    assert started.returncode == 0, started.stderr
    try:
        yield place
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def server(door: Address, options: str) -> str:
    return f"server us {door[0]}:{door[1]} {options}"


def naming(way: Way) -> tuple[str, ...]:
    """Whoever comes is sent on under these addresses, instead of his own."""
    rules = {"src": f"ipv4({way.source})", "dst": f"ipv4({way.remote})", "dst-port": f"int({way.port})"}
    return tuple(f"tcp-request connection set-{name} {value}" for name, value in rules.items())


@contextmanager
def checking(folder: Path, door: Address, send: str, *more: str) -> Iterator[Callable[[str], Said]]:
    """An HAProxy whose health checks meet this door: ask for its next sentence about one in which a word stands."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        log = (fresh_address(), HAPROXY_LOG_PORT)
        ear.bind(log)
        ear.settimeout(WAIT_S)

        def hear(word: str) -> Said:
            while True:
                line = ear.recv(4096).decode().strip()
                if line.startswith("Health check") and word in line:
                    return Said(line.rpartition(" ")[2].rstrip("."), [line])

        options = f"{send} check check-send-proxy inter 100ms fall 1 rise 1"
        with haproxy(folder, *more, server(door, options), log=log):
            yield hear
