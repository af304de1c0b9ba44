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


class Mailbox(Controller):
    """`mails`: from which address each message came, and whether under TLS; `bodies`: what it said; `calls`: how many
    connections there were, `secured`: how many of them under TLS. All are closed when it ends.

    `limit`: so many connections at a time, and `turned_away` counts those beyond, who hear 421.
    `holding`: it has the message and owes its reply until `grant` is called; `arrived` counts those that are here.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, holding: bool = False, limit: int = 1000) -> None:
        super().__init__(self, hostname=fresh_address(), port=PORT, tls_context=tls)
        self.mails: list[tuple[str, bool]] = []
        self.bodies: list[bytes] = []
        self.calls = self.secured = self.turned_away = 0
        self.limit = limit
        self.arrived = threading.Semaphore(0)
        self.granted = asyncio.Event()
        self.present: set[SMTP] = set()
        self.change = threading.Condition()
        if not holding:
            self.granted.set()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        source, secured = session.peer[0], session.ssl is not None
        self.mails.append((source, secured))
        self.bodies.append(envelope.original_content)
        self.arrived.release()
        await self.granted.wait()
        return f"250 2.0.0 kept from {source}{' under TLS' if secured else ''}"

    def start(self) -> None:
        super().start()  # which calls itself once
        with self.change:
            assert self.change.wait_for(lambda: self.calls and not self.present, WAIT_S)
            self.calls = 0

    def arrives(self) -> None:
        """One more message is here, dot and all."""
        assert self.arrived.acquire(timeout=WAIT_S)

    def grant(self) -> None:
        """Say 250, from now on."""
        self.loop.call_soon_threadsafe(self.granted.set)

    def factory(self) -> SMTP:
        box = self

        class Guest(SMTP):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                with box.change:
                    known = self in box.present  # it is made again when TLS begins
                    box.calls, box.secured = box.calls + (not known), box.secured + known
                    box.present.add(self)
                    if len(box.present) > box.limit:
                        box.turned_away += 1
                        transport.write(b"421 4.7.0 too many connections\r\n")
                        transport.close()

            def connection_lost(self, error: Exception | None) -> None:
                super().connection_lost(error)
                with box.change:
                    box.present.discard(self)
                    box.change.notify_all()

        return Guest(self.handler, **self.SMTP_kwargs)

    def hang_up(self) -> None:
        """Close whatever is connected, at rest or not."""
        with self.change:
            for guest in self.present:
                self.loop.call_soon_threadsafe(guest.transport.close)
            assert self.change.wait_for(lambda: not self.present, WAIT_S)

    def stop(self, no_assert: bool = False) -> None:
        self.hang_up()
        super().stop(no_assert)


@contextmanager
def receiving(tls: ssl.SSLContext | None = None, holding: bool = False, limit: int = 1000) -> Iterator[Mailbox]:
    """A mailbox at an address of its own, as long as the block lasts."""
    box = Mailbox(tls, holding, limit)
    try:
        box.start()
        yield box
    finally:
        box.stop()
