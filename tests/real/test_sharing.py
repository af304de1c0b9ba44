"""Several MTAs and clients, one connection: the remote counts calls, handshakes and messages, and keeps what came.

Two MTAs of the native door, with our client, smtplib and aiosmtplib on their sockets; smtplib and swaks behind a PROXY
line. A remote that closes at rest, that says 421 at rest, that dies when it is taken, that takes few connections.
"""

import asyncio
import random
import re
import smtplib
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import aiosmtplib
import pytest
import trustme
from tools.mailbox import Mailbox, receiving, server_tls
from tools.real import PORT, SECRET, SOURCES, Mta, RealProxy, run_client
from tools.stock import ENVELOPE, HELO, Way, prefaced, swaks

from gaproxy.client import Ready
from gaproxy.runtime_asyncio.client import connect as connect_on_asyncio

DICE = random.Random(7)
TURNS = 25  # of each client


@pytest.fixture(scope="module")
def tls():
    return server_tls(trustme.CA())


@pytest.fixture(scope="module")
def proxy(runtime, folder) -> Iterator[RealProxy]:
    with RealProxy(runtime, folder, proxy_door="starttls proxy; level encrypt") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def plain(runtime, folder) -> Iterator[RealProxy]:
    """The client's own STARTTLS may pass; nobody says it."""
    with RealProxy(runtime, folder, proxy_door="starttls mta") as proxy:
        yield proxy


def wanted(to: str, tls: str = "encrypt", **more: object):
    """What an MTA of the native door asks for, so that it agrees with what clients of the other door get."""
    return {"source": SOURCES[0], "to": [to], "helo": HELO, "tls": tls, **more}


def a_message(number: int) -> bytes:
    """No two are alike; some lines begin with a dot."""
    lines = [b"Subject: %d\r\n\r\n" % number]
    lines += [b"." * DICE.randrange(3) + b"%x\r\n" % DICE.getrandbits(200) for _ in range(DICE.randrange(200))]
    return b"".join(lines)


@contextmanager
def lent(proxy: RealProxy, to: str, **more: object) -> Iterator[tuple[smtplib.SMTP, Ready]]:
    """smtplib on the socket of an MTA of the native door, and what READY said."""
    with Mta(proxy) as mta:
        mta.say(mta.client.open(**wanted(to, **more)))
        ready = mta.hear()
        assert isinstance(ready, Ready), ready
        smtp = smtplib.SMTP(local_hostname=HELO)
        smtp.sock = mta.sock
        assert mta.client.detach() == b""
        assert smtp.getreply()[0] == 220
        yield smtp, ready
        assert smtp.quit()[0] == 221


# One connection.


def our_client(proxy: RealProxy, to: str, message: bytes) -> Ready:
    """It has two sessions: nothing is sent in the first one."""

    async def talk(connection):
        async with connection.open(**wanted(to)):
            pass
        async with connection.open(**wanted(to)) as session:
            replies = await session.send_message(ENVELOPE[0], [ENVELOPE[1]], message)
            assert replies[-1].code == 250
            return session.ready

    return run_client(proxy.runtime, proxy, talk)


def aiosmtplib_on_a_socket(proxy: RealProxy, to: str, message: bytes) -> Ready:
    async def send():
        async with (
            connect_on_asyncio(*proxy.place, secret=SECRET, node="mta-2", tls=False) as connection,
            connection.open(**wanted(to)) as session,
            aiosmtplib.SMTP(sock=session.detach(), hostname=None, port=None, start_tls=False) as smtp,
        ):
            await smtp.sendmail(ENVELOPE[0], [ENVELOPE[1]], message)
            return session.ready

    return asyncio.run(send())


def test_two_mtas_and_two_clients_share_one_connection_and_one_handshake(proxy, need, tls):
    need("swaks")
    messages = [a_message(number) for number in range(5)]
    with receiving(tls) as box:
        to, way = f"{box.hostname}:{PORT}", Way(box.hostname)
        assert our_client(proxy, to, messages[0]).uses == 2
        with lent(proxy, to) as (smtp, ready):
            assert (ready.reused, ready.uses, ready.tls) == (True, 3, "TLSv1.3")
            smtp.sendmail(*ENVELOPE, messages[1])
        assert aiosmtplib_on_a_socket(proxy, to, messages[2]).uses == 4
        with prefaced(proxy.proxy_place, way) as client:
            for message in messages[3:]:
                client.sendmail(*ENVELOPE, message)
        said = swaks(proxy.proxy_place, 1, way)
        assert said.ended == "exit 0", said.text
        with lent(proxy, to) as (_, ready):
            assert (ready.uses, ready.age_ms > 0) == (7, True)
        assert (box.calls, box.secured, box.mails) == (1, 1, [(SOURCES[0], True)] * 6)
        assert box.bodies[:5] == messages
    ends = [line for line in proxy.log if f"remote={box.hostname}:{PORT} " in line and ": end " in line]
    told = [re.search(r"tls=(\S+) reused=(\w+) uses=(\d+) messages=(\d+)", line).groups() for line in ends]
    assert told == [("TLSv1.3", "yes" if uses > 1 else "no", str(uses), messages) for uses, messages in USES]


USES = [(1, "0"), (2, "1"), (3, "1"), (4, "1"), (5, "2"), (6, "1"), (7, "0")]


def test_smtp_sink_too_serves_both_doors_on_one_connection(runtime, folder, sink):
    options = "starttls proxy; level may"
    with sink() as to, RealProxy(runtime, folder, proxy_door=options) as proxy:
        way = Way(to.partition(":")[0])
        for turn in range(1, 11):
            with lent(proxy, to, tls="may") as (smtp, ready):
                assert ready.uses == 2 * turn - 1
                smtp.sendmail(*ENVELOPE, a_message(turn))
            with prefaced(proxy.proxy_place, way) as client:
                client.sendmail(*ENVELOPE, a_message(turn))
            proxy.wait_for(f"reused=yes uses={2 * turn} messages=1 ")


def test_a_client_that_may_say_starttls_and_does_not_shares_in_plain_text(plain, tls):
    with receiving(tls) as box:
        for _ in range(3):
            with prefaced(plain.proxy_place, Way(box.hostname)) as client:
                client.ehlo()
                assert client.has_extn("starttls")
                client.sendmail(*ENVELOPE, a_message(1))
        assert (box.calls, box.secured, len(box.mails)) == (1, 0, 3)


def test_one_that_does_say_it_takes_the_connection_along(plain, tls):
    with receiving(tls) as box:
        for secured in (False, True, False):
            with prefaced(plain.proxy_place, Way(box.hostname)) as client:
                if secured:
                    client.starttls()
                client.sendmail(*ENVELOPE, a_message(1))
        assert (box.calls, box.secured) == (2, 1)
        assert box.mails == [(SOURCES[0], False), (SOURCES[0], True), (SOURCES[0], False)]
    line = plain.wait_for(f"remote={box.hostname}:{PORT} tls=opaque")
    assert "reused=yes uses=2" in line


# Many at once.


def native(proxy: RealProxy, box: Mailbox, message: bytes, **more: object) -> None:
    with lent(proxy, f"{box.hostname}:{PORT}", **more) as (smtp, _):
        smtp.sendmail(*ENVELOPE, message)


def stock(proxy: RealProxy, box: Mailbox, message: bytes) -> None:
    with prefaced(proxy.proxy_place, Way(box.hostname)) as client:
        client.sendmail(*ENVELOPE, message)


def test_eight_clients_of_both_doors_send_at_once_over_no_more_connections_than_they_are(proxy, tls):
    messages = [a_message(number) for number in range(8 * TURNS)]
    with receiving(tls) as box, ThreadPoolExecutor(8) as clients:

        def send_all(client: int) -> None:
            send = (native, stock)[client % 2]
            for number in range(client, len(messages), 8):
                send(proxy, box, messages[number])

        list(clients.map(send_all, range(8)))
        assert Counter(box.bodies) == Counter(messages)
        assert box.calls == box.secured <= 8


# Remotes that do not like it.


def test_one_that_closes_at_rest_is_called_again(proxy, tls):
    with receiving(tls) as box:
        native(proxy, box, a_message(1))
        box.hang_up()
        proxy.wait_for(f"remote({box.hostname}:{PORT}): let go source={SOURCES[0]} uses=1 messages=1 reason=remote_")
        stock(proxy, box, a_message(2))
        assert (box.calls, len(box.mails)) == (2, 2)


def test_one_that_says_421_at_rest_is_called_again(mta, proxy, remote):
    mta.is_joined(remote)
    mta.command(b"QUIT")
    [peer] = remote.peers
    peer.answer(b"RSET", b"250 ok")
    peer.say(b"421 4.4.2 idle for too long")
    assert peer.rest() == b""
    proxy.wait_for(f"remote({remote.to}): let go source={SOURCES[0]} uses=1 messages=0 reason=remote_421")
    mta.is_joined(remote)


@pytest.mark.parametrize("words", [(), (b"421 4.3.2 going down",)])
def test_one_that_goes_as_it_is_taken_is_replaced_and_nobody_hears_of_it(mta, proxy, remote, words):
    mta.is_joined(remote, b"PIPELINING")
    mta.command(b"QUIT")
    [peer] = remote.peers
    peer.answer(b"RSET", b"250 ok")
    mta.ask_for(remote.to)
    assert mta.ready().reused
    mta.order(b"MAIL FROM:<a@src.test>")
    assert peer.line() == b"MAIL FROM:<a@src.test>"
    peer.say(*words)
    peer.close()
    fresh = remote.introduced(b"PIPELINING")
    fresh.answer(b"MAIL FROM:<a@src.test>", b"250 2.1.0 ok")
    assert mta.reply().wire == b"250 2.1.0 ok\r\n"
    assert mta.command(b"QUIT").code == 221
    assert " reused=no uses=1 " in proxy.wait_for(f"session({mta.session}/2): end")


def test_one_that_takes_two_connections_serves_eight_mtas_who_wait_their_turn(runtime, folder, tls):
    limit = 'throttle "*" { max_connections 2 }\nreuse_connections { messages 1000 }'
    messages = [a_message(number) for number in range(8 * TURNS)]
    with (
        RealProxy(runtime, folder, limit) as proxy,
        receiving(tls, limit=2) as box,
        ThreadPoolExecutor(8) as mtas,
    ):

        def send_all(first: int) -> None:
            for message in messages[first::8]:
                native(proxy, box, message, wait_ms=20_000)

        list(mtas.map(send_all, range(8)))
        assert Counter(box.bodies) == Counter(messages)
        assert (box.turned_away, box.calls) == (0, 2)


def test_who_does_not_wait_is_told_that_the_limit_is_reached(runtime, folder, remote):
    limit = 'throttle "*" { max_connections 1 }'
    with RealProxy(runtime, folder, limit, proxy_door="") as proxy, Mta(proxy) as mta, Mta(proxy) as other:
        peer = mta.is_joined(remote)
        other.ask_for(remote.to)
        assert other.fails().kind == "throttled"
        with pytest.raises(smtplib.SMTPConnectError, match=r"4\.7\.0 gaproxy: throttled: "):
            prefaced(proxy.proxy_place, Way(remote.address))
        waiting = threading.Thread(target=mta.command, args=(b"QUIT",))
        waiting.start()
        peer.answer(b"RSET", b"250 ok")
        waiting.join()
        other.ask_for(remote.to)
        assert other.ready().reused
