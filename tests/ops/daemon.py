"""A proxy as its operator has it: a file to edit, signals to send, a log to read, and a process to look at.

Knows the process from outside; does not know what MTAs and remotes say to it.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.real import DOOR_PORT, PORT, SECRET, WAIT_S, fresh_address

Address = tuple[str, int]

NEVER = ("internal fault", "Traceback")  # what must not stand in any log
LISTENING = "0A"  # a state of /proc/net/tcp


def configuration(*places: Address, secret: str = SECRET, more: str = "") -> str:
    """A whole file: these listeners, this secret, and what else is said."""
    listeners = "".join(f'listen "{address}:{port}"\n' for address, port in places)
    return f'{listeners}auth_shared_secret "{secret}"\nremote_allow 127.0.0.0/8\nremote_ports {PORT}\n{more}\n'


class Log:
    """What a pipe brings, line by line, read by a thread; `heeded` may be cleared: then nobody reads on."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.lines: list[bytes] = []
        self.over = False
        self.heeded = threading.Event()
        self.heeded.set()
        self.news = threading.Condition()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        rest = b""
        while data := os.read(self.fd, 65_536):
            *whole, rest = (rest + data).split(b"\n")  # no other line end is one
            with self.news:
                self.lines += whole
                self.news.notify_all()
            self.heeded.wait()
        with self.news:
            self.lines += [rest] if rest else []
            self.over = True
            self.news.notify_all()

    def wait_for(self, words: str, since: int = 0) -> str:
        """The first line, of those from number `since` on, in which these words stand, now or later."""

        def found() -> str | None:
            return next((line.decode() for line in self.lines[since:] if words.encode() in line), None)

        with self.news:
            self.news.wait_for(lambda: self.over or found() is not None, WAIT_S)
            line = found()
            assert line is not None, (words, self.lines[since:][-20:])
            return line

    def having(self, words: str, until: str | None = None) -> list[str]:
        """All lines by now in which these words stand; `until`: once these words have come, wherever they stand.

        What a peer has seen of the proxy may be some time ahead of what was read of its log.
        """
        if until is not None:
            self.wait_for(until)
        return [line.decode() for line in list(self.lines) if words.encode() in line]

    def close(self) -> None:
        self.heeded.set()
        self.thread.join(WAIT_S)
        os.close(self.fd)


class Daemon:
    """A proxy that runs while its block lasts. A fault of its own, or a word on standard error, fails the test.

    `ulimit`: what the shell that starts it says of open files. `pipe_bytes`: how much of its log fits into the pipe.
    """

    def __init__(
        self, runtime: str, folder: Path, more: str = "", ulimit: str = "", pipe_bytes: int | None = None
    ) -> None:
        self.place = (fresh_address(), DOOR_PORT)
        self.path = folder / f"{runtime}-{self.place[0]}.conf"
        self.edit(configuration(self.place, more=more))
        reader, writer = os.pipe()
        if pipe_bytes is not None:
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, pipe_bytes)
        serve = [sys.executable, "-m", "gaproxy", "serve", f"--config-filename={self.path}", f"--runtime={runtime}"]
        command = ["sh", "-c", f'ulimit {ulimit}; exec "$@"', "sh", *serve] if ulimit else serve
        self.process = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.log = Log(reader)

    def __enter__(self) -> Self:
        try:
            self.log.wait_for("adopted")
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        said = self.end()
        if kind is None:
            assert said == b""
            assert not [line for words in NEVER for line in self.log.having(words)]

    def end(self) -> bytes:
        """At once. Returns what it said on standard error."""
        self.process.kill()
        _, said = self.process.communicate(timeout=WAIT_S)
        self.log.close()
        return said

    # What an operator does.

    def edit(self, text: str) -> None:
        """Another configuration, all at once: a proxy that reads meanwhile has the one or the other."""
        draft = self.path.with_suffix(".new")
        draft.write_text(text)
        draft.replace(self.path)

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def reload(self, text: str, outcome: str = "configuration adopted") -> str:
        """Edit, and have it read. Returns the line that tells the outcome."""
        before = len(self.log.lines)
        self.edit(text)
        self.hang_up()
        return self.log.wait_for(outcome, before)

    def stop(self) -> None:
        """Told to stop, and known to have heard it."""
        before = len(self.log.lines)
        self.process.terminate()
        self.log.wait_for("draining", before)

    def ends_with(self, code: int) -> str:
        """It ends by itself, with this exit code. Returns the last line of its log."""
        assert self.process.wait(WAIT_S) == code
        self.log.thread.join(WAIT_S)
        return self.log.lines[-1].decode()

    # What can be seen of it.

    def inode(self, place: Address) -> str:
        """The socket that listens at a place."""
        (found,) = (row[9] for row in self.rows() if row[1] == as_proc_has_it(place) and row[3] == LISTENING)
        assert f"socket:[{found}]" in set(self.files())
        return found

    def rows(self) -> Iterable[list[str]]:
        text = Path(f"/proc/{self.process.pid}/net/tcp").read_text()
        return [line.split() for line in text.splitlines()[1:]]

    def files(self) -> list[str]:
        """Every file that it has open, as /proc names it."""
        names = []
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed while we look
                names.append(os.readlink(fd))
        return names


def as_proc_has_it(place: Address) -> str:
    address, port = place
    number = int.from_bytes(bytes(map(int, address.split("."))), sys.byteorder)
    return f"{number:08X}:{port:04X}"
