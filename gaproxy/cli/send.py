"""`gaproxy send`: one message through a proxy's native door. Knows how it is handed in; does not know how it travels.

The smallest real client, and a health probe: exit 0 means that the remote took the message.
"""

import os
import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaproxy.client import Connection
    from gaproxy.proto.smtp.replies import Reply

SECRET_VARIABLE = "GAPROXY_SECRET"
PATIENCE_S = 600.0


class NotSent(Exception):
    """Why nothing was sent, in one sentence."""


def add(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "send",
        help="send one message through a proxy",
        description="Send one message through a proxy's native door; it is read from FILE, or from standard input.",
        epilog="example: gaproxy send --secret-file secret --proxy 10.0.0.9:807 --source 192.0.2.1 "
        "--to 203.0.113.5:25/mx1.example.net --helo out1.example.com --mail-from a@example.com "
        "--rcpt b@example.net message.eml",
    )
    parser.add_argument("--proxy", metavar="IP:PORT", required=True, help="where the proxy listens")
    parser.add_argument("--secret-file", metavar="FILE", help=f"holds the secret; else {SECRET_VARIABLE} does")
    parser.add_argument("--node", default="gaproxy-send", help="how the proxy calls us in its log")
    parser.add_argument("--source", metavar="IP", required=True, action="append", help="leave from this address")
    parser.add_argument("--to", metavar="IP:PORT[/HOST]", required=True, action="append", help="tried in this order")
    parser.add_argument("--helo", metavar="NAME", required=True)
    parser.add_argument(
        "--tls", choices=("none", "may", "encrypt", "verify"), default="may", help="with the remote; default: may"
    )
    parser.add_argument("--plain", action="store_true", help="speak plain text with the proxy, and not TLS")
    parser.add_argument("--mail-from", metavar="ADDRESS", required=True)
    parser.add_argument("--rcpt", metavar="ADDRESS", required=True, action="append")
    parser.add_argument("--patience", metavar="SECONDS", type=float, default=PATIENCE_S, help="default: 600")
    parser.add_argument("--runtime", choices=tuple(RUNTIMES), default="asyncio", help="default: asyncio")
    parser.add_argument("message", metavar="FILE", nargs="?", help="default: standard input")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Send it, and say what became of it. Returns 0 where the remote took it for all recipients, else 1."""
    from gaproxy.client import OpenFailed, ProxyGone, ProxyRefused
    from gaproxy.proto.errors import RemoteProtocolError

    try:
        secret = read_secret(arguments.secret_file)
        message = read_message(arguments.message)
        return RUNTIMES[arguments.runtime](arguments, secret, message)
    except TimeoutError:
        print(f"gaproxy send: not done within {arguments.patience:g} seconds", file=sys.stderr)
    except OpenFailed as failure:
        tried = ", ".join(f"{one.address}:{one.port} {one.kind}" for one in failure.failed.tried)
        said = f"; the remote said: {failure.failed.reply}" if failure.failed.reply else ""
        print(f"gaproxy send: no remote: {failure}{said} (tried: {tried or 'none'})", file=sys.stderr)
    except (NotSent, ProxyGone, ProxyRefused, RemoteProtocolError, OSError) as failure:
        print(f"gaproxy send: {failure}", file=sys.stderr)
    return 1


def read_secret(filename: str | None) -> str:
    """The shared secret, of which a file is the better place: other users may see an environment."""
    if filename is not None:
        return Path(filename).read_text(encoding="ascii").strip()
    secret = os.environ.get(SECRET_VARIABLE)
    if secret is None:
        raise NotSent(f"no secret: give --secret-file, or set {SECRET_VARIABLE}")
    return secret


def read_message(filename: str | None) -> bytes:
    """The message with CRLF at the end of each line, as SMTP wants it (RFC 5321 2.3.8)."""
    data = Path(filename).read_bytes() if filename is not None else sys.stdin.buffer.read()
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def tell(arguments: Namespace, replies: "list[Reply]") -> int:
    """Each reply of the remote, one a line; and whether all of them said yes."""
    commands = ["MAIL FROM", *[f"RCPT TO {rcpt}" for rcpt in arguments.rcpt], "DATA", "end of data"]
    for command, reply in zip(commands, replies, strict=False):
        print(f"{command}: {words(reply)}")
    return 0 if len(replies) == len(commands) and all(reply.code < 400 for reply in replies) else 1


def words(reply: "Reply") -> str:
    return " ".join([str(reply.code), *(line.decode("ascii", "replace") for line in reply.lines)])


async def deliver(connection: "Connection[object]", arguments: Namespace, message: bytes) -> int:
    """One session: open, send, QUIT; the same on every runtime."""
    asked = {name: getattr(arguments, name) for name in ("source", "to", "helo", "tls")}
    async with connection.open(**asked) as session:
        ready = session.ready
        print(f"open: from {ready.source} to {ready.remote}, tls {ready.tls} {ready.cipher or ''}".rstrip())
        return tell(arguments, await session.send_message(arguments.mail_from, arguments.rcpt, message))


def door(arguments: Namespace) -> tuple[str, int]:
    """Where the proxy listens."""
    host, _, port = arguments.proxy.rpartition(":")
    if not host or not port.isdecimal():
        raise NotSent(f"--proxy {arguments.proxy} is not of the form IP:PORT")
    return host.strip("[]"), int(port)


def send_on_asyncio(arguments: Namespace, secret: str, message: bytes) -> int:
    import asyncio

    from gaproxy.runtime_asyncio.client import connect

    async def send() -> int:
        async with (
            asyncio.timeout(arguments.patience),
            connect(*door(arguments), secret=secret, node=arguments.node, tls=not arguments.plain) as connection,
        ):
            return await deliver(connection, arguments, message)

    return asyncio.run(send())


def send_on_trio(arguments: Namespace, secret: str, message: bytes) -> int:
    import trio

    from gaproxy.runtime_trio.client import connect

    async def send() -> int:
        try:
            with trio.fail_after(arguments.patience):
                plain, node = arguments.plain, arguments.node
                async with connect(*door(arguments), secret=secret, node=node, tls=not plain) as connection:
                    return await deliver(connection, arguments, message)
        except trio.TooSlowError:
            raise TimeoutError from None

    return trio.run(send)


RUNTIMES = {"asyncio": send_on_asyncio, "trio": send_on_trio}
