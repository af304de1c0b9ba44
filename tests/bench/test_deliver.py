"""`bench deliver` in small: it runs, and everybody has a ratio; and what the remote hears, segment by segment.

How large the ratios are is nothing for a test.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from socket import socket

import pytest
from tools.house import ROOT

from bench.load import SINK, listen
from bench.mtas import Deliveries
from bench.sessions import ENVELOPE, Server
from bench.subjects import Native

SMALL = ("--rounds=1", "--seconds=0.1", "--runtimes=asyncio,trio")
OURS = {f"{door} {runtime}" for door in ("native", "smtp") for runtime in ("asyncio", "trio")}
PEERS = {"1": {"haproxy", "haproxy unlimited"}, "2": {"haproxy"}}
ENOUGH = 50
SECONDS_MOST = 400  # it takes less than half a minute where nothing else is done


class Listener(Server):
    """A remote that keeps what it hears, but for bodies."""

    def __init__(self, sock: socket, heard: list[bytes]) -> None:
        super().__init__(sock)
        self.heard = heard

    def next_answer(self) -> bytes | None:
        if self.unheard and not self.in_body:
            self.heard.append(self.unheard)
        return super().next_answer()


class Overheard(Deliveries):
    """MTAs at work, and what their remote hears."""

    def __init__(self, subject: Native, sink: socket) -> None:
        self.heard: list[bytes] = []
        super().__init__(subject, sink, SINK)

    def accept(self, sink: socket) -> None:
        server = Listener(sink.accept()[0], self.heard)
        self.watch(server.sock, lambda sock: None if server.hear() else self.leave(sock))


@pytest.mark.timeout(SECONDS_MOST)
def test_every_row_has_a_figure_of_everybody_who_is_measured(need: Callable[[str], str], tmp_path: Path):
    need("haproxy")
    command = [sys.executable, "-m", "bench", "deliver", *SMALL, f"--out={tmp_path}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MOST)
    assert ran.returncode == 0, ran.stderr
    document = json.loads((tmp_path / "deliver.json").read_text())
    measured: dict[str, set[str]] = {}
    for result in document["results"]:
        measured.setdefault(result["row"], set()).add(result["subject"])
        assert result["value"] > 0
    assert measured == {row: peers | OURS for row, peers in PEERS.items()}
    table = (tmp_path / "deliver.md").read_text()
    assert "| 1 |" in table and "| 2 |" in table


def test_a_connection_that_is_handed_on_hears_the_next_message_in_the_segment_of_its_reset(tmp_path: Path):
    with (
        Native("asyncio", tmp_path, connections=2) as subject,
        listen() as sink,
        closing(Overheard(subject, sink)) as load,
    ):
        while load.count < ENOUGH:
            load.turn()
    first, then = ENVELOPE, b"RSET\r\n" + ENVELOPE
    envelopes = [said for said in load.heard if b"MAIL" in said]
    assert len([said for said in load.heard if said.startswith(b"EHLO")]) == 2
    assert envelopes.count(first) == 2
    assert set(envelopes) == {first, then}
    assert b"RSET\r\n" not in load.heard
