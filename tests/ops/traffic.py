"""Mail under way while an operator works: MTAs that send one message after the other, and remotes that count them.

Knows what became of each message; does not know what the operator does meanwhile.
"""

import os
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import closing, suppress
from types import TracebackType
from typing import Any, NoReturn, Self

from ops.daemon import Address
from tools.real import SECRET, WAIT_S, Mta, Peer, Remote

from gaproxy.client import Client, Event, Failed, Fault, GoneAway

END = b"\r\n.\r\n"


class Over(Exception):
    """The proxy serves this MTA no more, and nothing of a message is lost by it."""


class Sender(Mta):
    """An MTA that calls at any place, with any secret, from any address.

    `in_flight`: a transaction has begun, and must come to its end. Methods raise Over where the proxy ends it before.
    """

    def __init__(self, place: Address, secret: str = SECRET, client: str | None = None) -> None:
        self.client = Client(secret, "mta", os.urandom(32).hex())
        self.heard: deque[Event] = deque()
        self.session = ""
        self.in_flight = False
        try:
            self.sock = socket.create_connection(place, WAIT_S, source_address=(client, 0) if client else None)
        except ConnectionError as error:
            raise Over(str(error)) from None

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException:
            self.sock.close()
            raise

    def say(self, data: bytes) -> None:
        try:
            super().say(data)
        except ConnectionError as error:
            self.over(error)

    def hear(self) -> Any:
        while not self.heard:
            try:
                data = self.sock.recv(self.client.appetite)
            except ConnectionError as error:
                self.over(error)
            if not data:
                self.over("closed")
            self.heard += self.client.receive(data)
        event = self.heard.popleft()
        if isinstance(event, GoneAway | Failed | Fault):
            self.over(event)
        return event

    def over(self, why: object) -> NoReturn:
        assert not self.in_flight, why
        raise Over(str(why))

    def opens(self, to: str) -> None:
        """Get a remote."""
        self.ask_for(to)
        self.ready()

    def begins(self) -> None:
        """An envelope: its body comes next."""
        reply = self.command(b"MAIL FROM:<a@src.test>")
        if b"shutting down" in reply.wire:
            self.over(reply)
        self.in_flight = True
        assert reply.code == 250
        assert self.command(b"RCPT TO:<b@dst.test>").code == 250
        assert self.command(b"DATA").code == 354

    def sends(self, message: bytes) -> None:
        """The body, up to its dot."""
        self.say(self.client.say_body(message))

    def is_granted(self) -> None:
        """The message is the remote's."""
        assert self.reply().code == 250
        self.in_flight = False

    def delivers(self, to: str, message: bytes) -> None:
        """One message that is granted; the session goes on."""
        self.opens(to)
        self.begins()
        self.sends(message)
        self.is_granted()

    def parts(self) -> None:
        """The end of a session."""
        assert self.command(b"QUIT").code == 221

    def leaves(self) -> None:
        """End the connection; the proxy has heard of it."""
        self.sock.shutdown(socket.SHUT_WR)
        assert self.at_end()


class Sink:
    """A remote that takes whatever it is sent, any number of calls at a time. `kept`: how often it has each message.

    `waits`: they are granted only while this event is set; `arrived` counts those that are here.
    """

    def __init__(self) -> None:
        self.remote = Remote()
        self.to = self.remote.to
        self.kept: Counter[bytes] = Counter()
        self.waits = threading.Event()
        self.waits.set()
        self.arrived = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self._welcome)]

    def __enter__(self) -> Self:
        self.threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.waits.set()
        self.remote.listener.shutdown(socket.SHUT_RDWR)
        self.threads[0].join(WAIT_S)
        for peer in self.remote.peers:
            with suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(WAIT_S)
        self.remote.__exit__()

    def arrives(self) -> None:
        """One more message is here, dot and all."""
        assert self.arrived.acquire(timeout=WAIT_S)

    def _welcome(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                peer = self.remote.take()
                self.threads.append(threading.Thread(target=self._serve, args=(peer,)))
                self.threads[-1].start()

    def _serve(self, peer: Peer) -> None:
        with suppress(OSError), closing(peer):  # whoever called may go without a word
            peer.introduce()
            while (command := peer.line()) != b"QUIT":
                if command == b"DATA":
                    peer.say(b"354 go on")
                    self._keep(peer.until(END))
                peer.say(b"250 ok")
            peer.say(b"221 bye")

    def _keep(self, message: bytes) -> None:
        self.kept[message] += 1
        self.arrived.release()
        self.waits.wait(WAIT_S)


class Load:
    """MTAs that send while the block lasts, each message in a session of its own. `granted`: those that got 250.

    Every other MTA connects anew for each. `after_each` is called when one was granted. No message may be cut, and
    nobody refused: unless the proxy is `leaving`, or is so short of something that MTAs must be `patient`.
    """

    def __init__(
        self,
        place: Address,
        sink: Sink,
        after_each: Callable[[], None] = lambda: None,
        leaving: bool = False,
        patient: bool = False,
    ) -> None:
        self.place, self.sink, self.after_each = place, sink, after_each
        self.leaving, self.patient = leaving, patient
        self.granted: list[bytes] = []
        self.faults: list[BaseException] = []
        self.sent = [0] * 4
        self.enough = False
        self.news = threading.Condition()
        self.threads = [threading.Thread(target=self._guarded, args=(number,)) for number in range(len(self.sent))]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if kind is None and not self.leaving:
            self.goes_on()
        self.enough = True
        for thread in self.threads:
            thread.join(WAIT_S)
        if kind is None:
            assert self.faults == []
            assert Counter(self.granted) == self.sink.kept
            assert set(self.sink.kept.values()) == {1}

    def goes_on(self, messages: int = 1) -> None:
        """Return when each has sent so many more."""
        before = list(self.sent)

        def gone_on() -> bool:
            return all(now - then >= messages for now, then in zip(self.sent, before, strict=True))

        with self.news:
            assert self.news.wait_for(lambda: self.faults or gone_on(), 3 * WAIT_S)

    def _guarded(self, number: int) -> None:
        try:
            self._send(number)
        except BaseException as fault:
            with self.news:
                self.faults.append(fault)
                self.news.notify_all()

    def _send(self, number: int) -> None:
        while not self.enough:
            try:
                with Sender(self.place) as mta:
                    self._send_on(mta, number)
            except Over:
                if self.leaving:
                    return
                if not self.patient:
                    raise

    def _send_on(self, mta: Sender, number: int) -> None:
        """The odd ones send one message, the even ones all of theirs on the same connection."""
        while not self.enough:
            message = b"message %d of %d" % (self.sent[number], number)
            mta.delivers(self.sink.to, message)
            with self.news:
                self.granted.append(message)
                self.sent[number] += 1
                self.news.notify_all()
            self.after_each()
            mta.parts()
            if number % 2:
                return
