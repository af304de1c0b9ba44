"""Writes down what a machine hears and orders. Knows a machine and one bounded file; does not know what it all means.

A journal plays again only from a run's first fact on. So what comes before the first `Adopt` is kept in memory, and a
capture that a reload asks for later than that waits for the next start. A reload that moves it to another directory
takes along what was written so far.
"""

import errno
import os
from collections.abc import Sequence
from io import BytesIO, FileIO

from attrs import define

from gaproxy import __version__
from gaproxy.journal.page import FORMAT, Head, Page, write_line
from gaproxy.journal.veil import Veil, without_proof, without_proofs
from gaproxy.proto.actions import Action, Adopt
from gaproxy.proto.doors.credentials import PLAIN_BINDING, Keys, Verdict
from gaproxy.proto.events import Event, Prepared
from gaproxy.proto.proxy import Proxy
from gaproxy.proto.report.log import note
from gaproxy.proto.seating import cut_word

BOOT_BYTES_MOST = 8 << 20  # a configuration may have 1 MiB
COPIED_BYTES = 1 << 20


class RecordingKeys:
    """A keyring that remembers its verdicts until somebody takes them, for as long as it is `watched`."""

    def __init__(self, keys: Keys) -> None:
        self.watched = True
        self._keys = keys
        self._verdicts: list[Verdict] = []

    def keep(self, secrets: tuple[str, ...]) -> None:
        self._keys.keep(secrets)

    def judge(self, hello: bytes, challenge: bytes, auth: bytes, proof: str, binding: bytes = PLAIN_BINDING) -> Verdict:
        verdict = self._keys.judge(hello, challenge, auth, proof, binding)
        if self.watched:
            self._verdicts.append(verdict)
        return verdict

    def take(self) -> Sequence[Verdict]:
        """The verdicts since the last time."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts


class CannotWrite(Exception):
    """Why a journal ends here, in a few words."""


@define
class Book:
    """The bytes of one journal, in whole lines. `size_most`: it ends before it would be larger."""

    file: FileIO | BytesIO
    size_most: int
    filename: str = ""
    size: int = 0

    def write(self, line: bytes) -> None:
        """Write this behind all else, at once and whole, or not at all. Raises CannotWrite."""
        if self.size + len(line) > self.size_most:
            raise CannotWrite("max_size")
        try:
            if self.file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as fault:
            self.file.truncate(self.size)
            raise CannotWrite(fault.strerror) from fault
        self.size += len(line)

    def moved(self, filename: str, size_most: int) -> "Book":
        """A new file, which begins with all that is written here. Raises CannotWrite; then there is no new file."""
        try:
            file = FileIO(filename, "x+", opener=_open_for_us)
        except OSError as fault:
            raise CannotWrite(fault.strerror) from fault
        book = Book(file, size_most, filename)
        self.file.seek(0)
        try:
            while data := self.file.read(COPIED_BYTES):
                book.write(data)
        except CannotWrite:
            book.file.close()
            os.unlink(filename)
            raise
        self.file.close()
        return book


class Recorder:
    """Wears a machine's face. `keys` must be those that the machine was given.

    Each step is written in one piece before its orders are performed. Plain writes to a file can wait for the disk, and
    everybody waits with them: a capture is for a time, not for always.
    """

    def __init__(self, proxy: Proxy, keys: RecordingKeys) -> None:
        self.proxy = proxy
        self.keys = keys
        self.veil = Veil(proxy.seating.connections)
        self.book: Book | None = Book(BytesIO(), BOOT_BYTES_MOST)
        self.book.write(write_line(Head(FORMAT, __version__, proxy.caretaker.reload.filename)))
        self.capture: tuple[str, int] | None = None
        proxy.seating.cut = self.veil.cut

    @property
    def next_deadline(self) -> int | None:
        return self.proxy.next_deadline

    def step(self, now: int, event: Event) -> list[Action]:
        """Have the machine hear the fact, and write it down; our own notes for the log stand behind its orders."""
        if self.book is None:
            orders = self.proxy.step(now, event)
            return orders + self.obey(orders) if isinstance(event, Prepared) else orders
        self.veil.begin(event)
        try:
            orders = self.proxy.step(now, event)
        except Exception:
            self.write(self.book, now, event, [])  # so that a replay comes to the same end
            raise
        notes = self.write(self.book, now, event, orders)
        return orders + notes + (self.obey(orders) if isinstance(event, Prepared) else [])

    def close(self) -> None:
        """Nothing more is written; the machine goes on."""
        if self.book is not None:
            self.book.file.close()
            self.book = None
            self.keys.watched = False
            self.proxy.seating.cut = cut_word

    def write(self, book: Book, now: int, event: Event, orders: Sequence[Action]) -> list[Action]:
        """Write one page. Returns what the log is told."""
        verdicts = self.keys.take()
        hidden = tuple(map(without_proof, verdicts))
        told = without_proofs(self.veil.orders(orders), verdicts)
        page = Page(now, self.veil.fact(event), told, hidden, tuple(self.veil.reveals))
        try:
            book.write(write_line(page))
        except CannotWrite as fault:
            return self.end(book.filename, str(fault))
        if self.proxy.caretaker.exit_code is not None:
            self.close()
        return []

    def obey(self, orders: Sequence[Action]) -> list[Action]:
        """Capture as an `Adopt` says, where one is among these orders. Returns what the log is told."""
        return [line for order in orders if isinstance(order, Adopt) for line in self.turn_to(order.capture)]

    def turn_to(self, capture: tuple[str, int] | None) -> list[Action]:
        """Capture so from now on; None: no more."""
        former, self.capture = self.capture, capture
        if self.book is None:
            waits = capture is not None and capture != former
            return [note("capture_waits", {}, 0)] if waits else []
        if capture is None:
            return self.end(self.book.filename, "reload")
        directory, size_most = capture
        if former is not None and former[0] == directory:
            self.book.size_most = size_most
            return []
        return self.move(self.book, f"{directory}/gaproxy-{self.proxy.caretaker.run}.journal", size_most)

    def move(self, book: Book, filename: str, size_most: int) -> list[Action]:
        """Write on in this new file; the first one takes over what is in memory."""
        try:
            self.book = book.moved(filename, size_most)
        except CannotWrite as fault:
            return self.end(filename, str(fault))
        return [note("capture_begun", {"file": filename}, 0)]

    def end(self, filename: str, reason: str) -> list[Action]:
        """Write no more. Returns what the log is told: nothing, where there was no file yet."""
        self.close()
        return [note("capture_ended", {"file": filename, "reason": reason}, 0)] if filename else []


def _open_for_us(filename: str, flags: int) -> int:
    return os.open(filename, flags, 0o600)
