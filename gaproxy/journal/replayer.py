"""Plays a journal again: knows how a machine is told what another one heard. Does not know why it was said."""

from collections import deque
from collections.abc import Iterator, Mapping

from attrs import frozen

from gaproxy.journal.page import Damaged, Head, Page, Reveal, Speech, read_head, read_page, spoken, with_spoken
from gaproxy.proto.actions import Action
from gaproxy.proto.doors.credentials import PLAIN_BINDING, REFUSED, Verdict
from gaproxy.proto.events import Event
from gaproxy.proto.proxy import Proxy

LINE_OF_FIRST_PAGE = 2


class ReplayingKeys:
    """A keyring that repeats verdicts which were given before. When there are none left it refuses."""

    def __init__(self) -> None:
        self.verdicts: deque[Verdict] = deque()

    def keep(self, secrets: tuple[str, ...]) -> None:
        """Those of a journal are none."""

    def judge(self, hello: bytes, challenge: bytes, auth: bytes, proof: str, binding: bytes = PLAIN_BINDING) -> Verdict:
        return self.verdicts.popleft() if self.verdicts else REFUSED


@frozen
class Journal:
    """A file that was read once and is whole. `reveals`: step → what later steps heard of its fact."""

    filename: str
    head: Head
    steps: int
    reveals: Mapping[int, tuple[Reveal, ...]]

    def pages(self) -> Iterator[Page]:
        """Every step, with all that was ever heard of its fact."""
        for step, page in enumerate(_read_pages(self.filename), 1):
            yield Page(page.now, revealed(page.fact, self.reveals.get(step, ())), page.orders, page.verdicts)


@frozen
class Difference:
    """The first step (from 1) at which this machine orders what that one did not."""

    step: int
    now: int
    fact: Event
    expected: tuple[Action, ...]
    found: tuple[Action, ...]


def open_journal(filename: str) -> Journal:
    """Read a journal through. Raises OSError and Damaged."""
    with open(filename, "rb") as file:
        head = read_head(file.readline())
    reveals: dict[int, list[Reveal]] = {}
    sizes: list[int] = []
    for page in _read_pages(filename):
        for reveal in page.reveals:
            if not (0 < reveal.step <= len(sizes) and 0 <= reveal.offset <= sizes[reveal.step - 1] - len(reveal.data)):
                raise Damaged(f"line {len(sizes) + LINE_OF_FIRST_PAGE}: it reveals what was never said")
            reveals.setdefault(reveal.step, []).append(reveal)
        sizes.append(len(spoken(page.fact)) if isinstance(page.fact, Speech) else 0)
    return Journal(filename, head, len(sizes), {step: tuple(each) for step, each in reveals.items()})


def replay(journal: Journal) -> Difference | None:
    """Have a fresh machine hear all facts of a journal; None: it gave the same orders.

    What the machine itself raises comes out, as it did then; the last page tells at which fact.
    """
    keys = ReplayingKeys()
    proxy = Proxy(journal.head.filename, keys)
    for step, page in enumerate(journal.pages(), 1):
        keys.verdicts = deque(page.verdicts)
        try:
            found = tuple(proxy.step(page.now, page.fact))
        except Exception as fault:
            fault.add_note(f"in step {step} of {journal.filename}: {page.fact}")
            raise
        if found != page.orders:
            return Difference(step, page.now, page.fact, page.orders, found)
    return None


def revealed(fact: Event, reveals: tuple[Reveal, ...]) -> Event:
    """The fact, with all that was heard of it later."""
    if not (reveals and isinstance(fact, Speech)):
        return fact
    data = bytearray(spoken(fact))
    for reveal in reveals:
        data[reveal.offset : reveal.offset + len(reveal.data)] = reveal.data
    return with_spoken(fact, bytes(data))


def _read_pages(filename: str) -> Iterator[Page]:
    with open(filename, "rb") as file:
        file.readline()
        for number, line in enumerate(file, LINE_OF_FIRST_PAGE):
            yield read_page(line, number)
