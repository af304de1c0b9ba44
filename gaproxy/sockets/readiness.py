"""One level-triggered epoll for all sockets: knows which descriptors are ready and whose they are.

Does not know what is read or written, nor who waits for it: to a runtime all of this is one descriptor.
"""

import select
from collections.abc import Iterator
from typing import Protocol

# A hang-up or an error wakes whatever is armed: reading or writing is what tells which of the two it was.
READS = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
WRITES = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR


class Row(Protocol):
    """Whatever owns a descriptor. `interest` belongs to `Readiness`; it is 0 while nobody watches the row."""

    fd: int
    interest: int

    def ready(self, reads: bool, writes: bool) -> None:
        """Read or write now, without blocking."""


class Watch(Protocol):
    """Whoever looks out for what rows wait for."""

    def watch(self, row: Row, reads: bool, writes: bool) -> None:
        """Watch a row for this from now on; for neither: not at all."""


class Readiness:
    """The rows that are watched, each by its descriptor."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.rows: dict[int, Row] = {}

    def watch(self, row: Row, reads: bool, writes: bool) -> None:
        """Watch a row for this from now on; for neither: not at all, as it must be before its descriptor is closed."""
        interest = (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if writes else 0)
        if interest == row.interest:
            return
        if not interest:
            self.epoll.unregister(row.fd)
            del self.rows[row.fd]
        elif not row.interest:
            self.epoll.register(row.fd, interest)
            self.rows[row.fd] = row
        else:
            self.epoll.modify(row.fd, interest)
        row.interest = interest

    def take(self, everything: bool) -> Iterator[tuple[Row, bool, bool]]:
        """What is ready now: rows, each with whether it may read and whether it may write.

        The whole batch is resolved to rows before the first is handed out, for a descriptor may be closed and given out
        again meanwhile; a row that is no longer watched is skipped. `everything`: not only as much as makes one turn.
        """
        most = max(len(self.rows), 1) if everything else -1
        batch = [(self.rows[fd], ready) for fd, ready in self.epoll.poll(0, most)]
        for row, ready in batch:
            reads = bool(ready & READS and row.interest & select.EPOLLIN)
            writes = bool(ready & WRITES and row.interest & select.EPOLLOUT)
            if reads or writes:
                yield row, reads, writes

    def close(self) -> None:
        """Close the epoll; whoever waits for its descriptor has been told before."""
        self.epoll.close()
