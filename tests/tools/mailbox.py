"""A remote that keeps mail, aiosmtpd in a thread, and says in its 250 from where it has it, and whether under TLS.

Knows what came, and on how many connections; does not know who sent it on.
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from tools.real import PORT, WAIT_S, fresh_address


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """What a remote shows whose certificate this authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.test").configure_cert(context)
    return context


class Guest(SMTP):
    """One connection of aiosmtpd, which tells its host when it comes, when TLS stands, and when it has gone."""

    def __init__(self, host: "Host") -> None:
        super().__init__(host.handler, **host.SMTP_kwargs)
        self.host = host
        self.leaving = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.host.met(self, transport)
        if self.leaving:
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.host.missed(self)

    def leave(self) -> None:
        """Close, once a handshake that is under way is over: aiosmtpd never hears of the end of one that is cut."""
        self.leaving = True
        in_handshake = self._tls_protocol is not None and self.session.ssl is None
        if self.transport is not None and not in_handshake:
            self.transport.close()


class Host(Controller):
    """aiosmtpd in a thread. It ends when everybody is gone, and closes whoever is still there.

    `calls`: how many connections there were; `secured`: how many of them under TLS.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.calls = self.secured = 0
        self.present: set[Guest] = set()
        self.change = threading.Condition()

    def factory(self) -> Guest:
        return Guest(self)

    def start(self) -> None:
        super().start()  # which calls itself once
        with self.change:
            assert self.change.wait_for(lambda: self.calls and not self.present, WAIT_S)
            self.calls = 0

    def met(self, guest: Guest, transport: Any) -> None:
        """It is there; or there again, now under TLS."""
        with self.change:
            known = guest in self.present
            self.calls, self.secured = self.calls + (not known), self.secured + known
            self.present.add(guest)

    def missed(self, guest: Guest) -> None:
        with self.change:
            self.present.discard(guest)
            self.change.notify_all()

    def hang_up(self) -> None:
        """Close whatever is connected, at rest or not."""
        with self.change:
            for guest in self.present:
                self.loop.call_soon_threadsafe(guest.leave)
            assert self.change.wait_for(lambda: not self.present, WAIT_S)

    def stop(self, no_assert: bool = False) -> None:
        self.hang_up()
        super().stop(no_assert)


class Mailbox(Host):
    """`mails`: from which address each message came, and whether under TLS; `bodies`: what it said.

    `limit`: so many connections at a time, and `turned_away` counts those beyond, who hear 421.
    `holding`: it has the message and owes its reply until `grant` is called; `arrived` counts those that are here.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, holding: bool = False, limit: int = 1000) -> None:
        super().__init__(self, hostname=fresh_address(), port=PORT, tls_context=tls)
        self.mails: list[tuple[str, bool]] = []
        self.bodies: list[bytes] = []
        self.limit, self.turned_away = limit, 0
        self.arrived = threading.Semaphore(0)
        self.granted = asyncio.Event()
        if not holding:
            self.granted.set()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        source, secured = session.peer[0], session.ssl is not None
        self.mails.append((source, secured))
        self.bodies.append(envelope.original_content)
        self.arrived.release()
        await self.granted.wait()
        return f"250 2.0.0 kept from {source}{' under TLS' if secured else ''}"

    def arrives(self) -> None:
        """One more message is here, dot and all."""
        assert self.arrived.acquire(timeout=WAIT_S)

    def grant(self) -> None:
        """Say 250, from now on."""
        self.loop.call_soon_threadsafe(self.granted.set)

    def met(self, guest: Guest, transport: Any) -> None:
        super().met(guest, transport)
        if len(self.present) > self.limit:
            self.turned_away += 1
            transport.write(b"421 4.7.0 too many connections\r\n")
            transport.close()


@contextmanager
def receiving(tls: ssl.SSLContext | None = None, holding: bool = False, limit: int = 1000) -> Iterator[Mailbox]:
    """A mailbox at an address of its own, as long as the block lasts."""
    box = Mailbox(tls, holding, limit)
    try:
        box.start()
        yield box
    finally:
        box.stop()
