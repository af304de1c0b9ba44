"""An MTA's side of the native protocol on asyncio: lends `gaproxy.client` a socket and a nonce. Knows no word."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gaproxy.client import Client, Connection


@asynccontextmanager
async def connect(host: str, port: int, *, secret: str, node: str) -> AsyncIterator[Connection[Any]]:
    """A connection to a proxy in plain text, both sides authenticated, closed in the end.

    Raises OSError, ProxyRefused, ProxyGone, RemoteProtocolError. `Session.detach` gives a non-blocking `socket.socket`.
    """
    link = await _dial(host, port)
    try:
        connection = Connection(Client(secret, node, secrets.token_hex(32)), link)
        await connection.greet()
        yield connection
    finally:
        link.close()


async def _dial(host: str, port: int) -> "SocketLink":
    """asyncio dials, and we keep a duplicate of its socket: a transport would read more than it is asked to."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
    socket = transport.get_extra_info("socket").dup()
    transport.abort()
    return SocketLink(loop, socket)


class SocketLink:
    """A `Link` over a non-blocking socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Any) -> None:
        self._loop = loop
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
