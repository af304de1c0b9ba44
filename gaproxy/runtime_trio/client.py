"""An MTA's side of the native protocol on trio: lends `gaproxy.client` a stream and a nonce. Knows no word."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from gaproxy.client import Client, Connection


@asynccontextmanager
async def connect(host: str, port: int, *, secret: str, node: str) -> AsyncIterator[Connection[trio.SocketStream]]:
    """A connection to a proxy in plain text, both sides authenticated, closed in the end.

    Raises OSError, ProxyRefused, ProxyGone, RemoteProtocolError. `Session.detach` gives the `trio.SocketStream`.
    """
    link = StreamLink(await trio.open_tcp_stream(host, port))
    try:
        connection = Connection(Client(secret, node, secrets.token_hex(32)), link)
        await connection.greet()
        yield connection
    finally:
        link.close()


class StreamLink:
    """A `Link` over a trio stream. A broken one raises as a socket does: OSError."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._lent = True

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as broken:
            raise BrokenPipeError(str(broken)) from broken

    async def receive(self, limit: int) -> bytes:
        try:
            return await self._stream.receive_some(limit)
        except trio.BrokenResourceError as broken:
            raise ConnectionResetError(str(broken)) from broken

    def close(self) -> None:
        if self._lent:
            self._stream.socket.close()

    def detach(self) -> trio.SocketStream:
        self._lent = False
        return self._stream
