"""An MTA's side of the native protocol on asyncio: lends `gaproxy.client` a socket and a nonce. Knows no word."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

from gaproxy.client import Client, Connection, ProxyGone
from gaproxy.proto.wire.tls import proxy_context


@asynccontextmanager
async def connect(host: str, port: int, *, secret: str, node: str, tls: bool = True) -> AsyncIterator[Connection[Any]]:
    """A connection to a proxy, both sides authenticated, closed in the end.

    Over TLS unless told not to; where there is none it fails, and never goes on in plain text. `Session.detach` gives
    `(StreamReader, StreamWriter)` then, and in plain text a non-blocking `socket.socket`.

    Raises OSError, ProxyRefused, ProxyGone, RemoteProtocolError.
    """
    client = Client(secret, node, secrets.token_hex(32))
    socket = await _dial(host, port)
    link = await _secure(socket, client) if tls else SocketLink(socket)
    try:
        connection = Connection(client, link)
        await connection.greet()
        yield connection
    finally:
        link.close()


async def _dial(host: str, port: int) -> Any:
    """asyncio dials, and we keep a duplicate of its socket: a transport would read more than it is asked to."""
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    socket = transport.get_extra_info("socket").dup()
    transport.abort()
    return socket


async def _secure(socket: Any, client: Client) -> "TlsLink":
    """TLS on this socket, and the client's proofs bound to the certificate that it showed. Raises ProxyGone."""
    try:
        reader, writer = await asyncio.open_connection(sock=socket, ssl=proxy_context(), server_hostname="")
    except OSError as fault:
        raise ProxyGone(f"no TLS with the proxy: {str(fault) or 'it closed the connection'}") from fault
    client.bind(sha256(writer.get_extra_info("ssl_object").getpeercert(binary_form=True)).hexdigest())
    return TlsLink(reader, writer)


class SocketLink:
    """A `Link` over a non-blocking socket, in plain text."""

    def __init__(self, socket: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    async def receive(self, limit: int) -> bytes:
        return await self._loop.sock_recv(self._socket, limit)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def detach(self) -> Any:
        socket, self._socket = self._socket, None
        return socket


class TlsLink:
    """A `Link` over a pair of streams: what they have read too early they give to whoever reads next."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lent = True

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self, limit: int) -> bytes:
        return await self._reader.read(limit)

    def close(self) -> None:
        if self._lent:
            self._writer.transport.abort()

    def detach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._lent = False
        return self._reader, self._writer
