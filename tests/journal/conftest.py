"""A dialogue that is recorded while it is held, and played again when it is over."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tools.talk import CONFIG, START_NS, Talk

from gaproxy.journal.recorder import Recorder, RecordingKeys
from gaproxy.journal.replayer import Difference, open_journal, replay
from gaproxy.proto.doors.credentials import Keyring
from gaproxy.proto.events import ConfigRead, Prepared, Signalled
from gaproxy.proto.proxy import Proxy


class Tape(Talk):
    """A talk with a machine that a recorder watches, with a capture into `directory` unless `config` says otherwise."""

    def __init__(self, directory: Path, config: str | None = None, run: int = 0, strict: bool = True) -> None:
        keys = RecordingKeys(Keyring())
        self.proxy = Recorder(Proxy("gaproxy.conf", keys, strict), keys)
        self.now = START_NS
        self.notes: list[str] = []
        self.filename = directory / f"gaproxy-{run:08x}.journal"
        self.hear(Signalled("START", run.to_bytes(4) + bytes(12)))
        self.hear(ConfigRead(CONFIG + capture(directory) if config is None else config))
        self.hear(Prepared())

    def reload(self, config: str) -> None:
        for fact in (Signalled("HUP"), ConfigRead(config), Prepared()):
            self.hear(fact)

    def replayed(self) -> Difference | None:
        """What comes of it when it is played again."""
        return replay(open_journal(str(self.filename)))

    def written(self) -> bytes:
        return self.filename.read_bytes()


def capture(directory: Path, max_size: str = "1m") -> str:
    """The lines of a configuration that ask for a capture."""
    return f'capture {{ directory "{directory}"; max_size {max_size} }}\n'


@pytest.fixture
def tape(tmp_path: Path) -> Iterator[Callable[..., Tape]]:
    """Begins tapes of captures into `tmp_path`; no file is left open in the end."""
    with ExitStack() as tapes:

        def begin(*args: Any, **named: Any) -> Tape:
            one = Tape(tmp_path, *args, **named)
            tapes.callback(one.proxy.close)
            return one

        yield begin


@pytest.fixture
def capturing() -> Callable[..., str]:
    return capture
