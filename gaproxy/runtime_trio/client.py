"""An MTA's side of the native protocol on trio: lends `gaproxy.client` a stream and a nonce. Knows no word."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import trio

from gaproxy.client import Client, Connection, ProxyGone
from gaproxy.proto.wire.tls import proxy_context

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@asynccontextmanager
async def connect(
    host: str, port: int, *, secret: str, node: str, tls: bool = True
) -> AsyncIterator[Connection[Stream]]:
    """A connection to a proxy, both sides authenticated, closed in the end.

    Over TLS unless told not to; where there is none it fails, and never goes on in plain text. `Session.detach` gives
    a `trio.SSLStream` then, and in plain text a `trio.SocketStream`.

    Raises OSError, ProxyRefused, ProxyGone, RemoteProtocolError.
    """
    client = Client(secret, node, secrets.token_hex(32))
    dialled = await trio.open_tcp_stream(host, port)
    link = StreamLink(dialled, dialled)
    try:
        if tls:
            link = StreamLink(await _secure(dialled, client), dialled)
        connection = Connection(client, link)
        await connection.greet()
        yield connection
    finally:
        link.close()


async def _secure(dialled: trio.SocketStream, client: Client) -> trio.SSLStream[trio.SocketStream]:
    """TLS on this stream, and the client's proofs bound to the certificate that it showed. Raises ProxyGone."""
    # An end without close_notify is an end too: no line or reply means anything before its own end.
    secured = trio.SSLStream(dialled, proxy_context(), https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as broken:
        raise ProxyGone(f"no TLS with the proxy: {broken.__cause__ or 'it closed the connection'}") from broken
    client.bind(sha256(secured.getpeercert(binary_form=True)).hexdigest())
    return secured


class StreamLink:
    """A `Link` over a trio stream, which stands on the one that was dialled. A broken one raises OSError."""

    def __init__(self, stream: Stream, dialled: trio.SocketStream) -> None:
        self._stream = stream
        self._dialled = dialled
        self._lent = True

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as broken:
            raise BrokenPipeError(str(broken)) from broken

    async def receive(self, limit: int) -> bytes:
        try:
            return bytes(await self._stream.receive_some(limit))
        except trio.BrokenResourceError as broken:
            raise ConnectionResetError(str(broken)) from broken

    def close(self) -> None:
        if self._lent:
            self._dialled.socket.close()

    def detach(self) -> Stream:
        self._lent = False
        return self._stream
