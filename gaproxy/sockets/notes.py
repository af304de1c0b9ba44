"""The log's descriptor: knows how to write one line without ever waiting. Does not know what a line says."""

import os
import select

# As much as a pipe that polls as writable takes without blocking (pipe(7): PIPE_BUF).
PIECE_BYTES = 4096


class Notes:
    """Lines that go to one descriptor, or, where it is full, nowhere: `dropped` counts those.

    The descriptor is shared with whoever started us, so it is not made non-blocking (nor then is a shell's terminal):
    poll is asked before each piece.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.dropped = 0
        self.told = 0
        self.torn = False
        self.room = select.poll()
        self.room.register(fd, select.POLLOUT)

    def take_dropped(self) -> int:
        """How many lines were dropped since the start, if that is news and there is room to tell it; otherwise 0.

        The line that tells it may be dropped as well: then the count has grown, and is news once more.
        """
        if self.dropped == self.told or not self.room.poll(0):
            return 0
        self.told = self.dropped
        return self.dropped

    def write(self, line: str) -> None:
        """Write one line, or drop it. A line that was cut by a full pipe is ended by the next that finds room."""
        text = ("\n" if self.torn else "") + line + "\n"
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        rest = data
        while rest and self.room.poll(0):
            try:
                rest = rest[os.write(self.fd, rest[:PIECE_BYTES]) :]
            except OSError:  # the reader is gone
                break
        if rest:
            self.dropped += 1
        self.torn = bool(rest) and (self.torn or len(rest) < len(data))
