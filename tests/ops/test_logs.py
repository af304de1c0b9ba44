"""What stands in the log, whatever a peer says; and that mail never waits for whoever reads it."""

import json
import re
import socket

import pytest
from ops.daemon import Daemon
from ops.traffic import Load, Over, Sender
from tools.real import SECRET, WAIT_S, Remote

LONG = b"x" * 3000
HOSTILE = (
    b"\x1b[2J\x1b]0;mine\x07 \xe2\x80\xa8 \xc2\x85 \xff\xfe \x0b\x0c\x08 \xe2\x80\xaegaproxy: drained cut=0 \x7f" + LONG
)
SOME = HOSTILE[:400]
FORGED = b"\rgaproxy: drained cut=9 unknown=9"
CREDENTIALS, BODY = b"AGFubgBzZXNhbWU=", b"a line of the body"

# Every line begins with one of these; nobody else can make one that does.
BEGINNINGS = re.compile(
    r"gaproxy: (configuration |draining |drained )"
    r"|listener\([0-9.:]+\): |direct_remote_smtp: |native: session\([0-9a-f]{16}\): "
    r"|smtp: session\([0-9a-f]{16}/1\): (mta: |remote: |to mta: |to remote: |failed |end )"
)


def is_hostile_to(daemon: Daemon) -> None:
    """All that the log tells of a peer's words, with the worst of them."""
    for stranger in (b"GET / HTTP/1.1\r\n" + HOSTILE, b"GAPROXY/1 min=1 node=\x1b[2J" + HOSTILE + b"\r\n"):
        with socket.create_connection(daemon.place) as sock:
            sock.sendall(stranger)
    for greeting in ([b"554-5.7.1 " + SOME, b"554 5.7.1 no"], [b"220 " + FORGED], [b"220 " + HOSTILE]):
        with Remote() as remote, Sender(daemon.place) as mta:
            mta.ask_for(remote.to)
            remote.take().say(*greeting)
            with pytest.raises(Over):
                mta.hear()
    with Remote() as remote, Sender(daemon.place) as mta:
        mta.ask_for(remote.to)
        peer = remote.take()
        peer.say(b"220 mx.test " + SOME)
        peer.line()
        peer.say(b"250-mx.test " + SOME, b"250 AUTH PLAIN")
        mta.ready()
        assert mta.command(b"auth PLAIN " + CREDENTIALS).code == 502
        for command in (b"VRFY " + SOME, b"MAIL FROM:<\xe2\x80\xa8@src.test>", b"RCPT TO:<b@dst.test>", b"DATA"):
            mta.order(command)
            peer.line()
            peer.say(b"354 go on" if command == b"DATA" else b"250 2.0.0 " + SOME)
            mta.reply()
        mta.sends(BODY)
        peer.until(b"\r\n.\r\n")
        peer.say(b"250 2.0.0 kept " + SOME)
        mta.reply()
        mta.parts()


def heard(daemon: Daemon) -> list[bytes]:
    """The whole log, up to its end."""
    daemon.process.terminate()
    daemon.ends_with(0)
    lines = list(daemon.log.lines)
    told = b"\n".join(lines)
    assert BODY not in told and CREDENTIALS not in told and SECRET.encode() not in told and b"proof=" not in told
    return lines


@pytest.mark.parametrize("verbose", ["yes", "no"])
def test_in_text_nobody_writes_a_line_of_his_own_nor_a_mark_that_moves_one(runtime, tmp_path, verbose):
    with Daemon(runtime, tmp_path, f"log_verbose {verbose}") as daemon:
        is_hostile_to(daemon)
        lines = [line.decode() for line in heard(daemon)]
    for line in lines:
        assert BEGINNINGS.match(line), line
        assert line.isprintable() and len(line) < 6000
    assert sum("drained cut" in line and line.startswith("gaproxy") for line in lines) == 1
    said = [line for line in lines if re.search(r"\): (mta|remote|to mta|to remote): ", line)]
    assert bool(said) == (verbose == "yes")
    if said:
        assert any(line.endswith("mta: AUTH") for line in said)


def test_in_json_each_line_is_one_object(runtime, tmp_path):
    with Daemon(runtime, tmp_path, "log_format json; log_verbose yes") as daemon:
        is_hostile_to(daemon)
        lines = heard(daemon)
    notes = [json.loads(line) for line in lines]
    assert all(line.isascii() and line.decode().isprintable() for line in lines)
    events = {note["event"] for note in notes}
    assert events >= {"adopted", "native_authenticated", "native_refused", "smtp_failed", "smtp_end", "drained"}
    assert [note["cut"] for note in notes if note["event"] == "drained"] == [0]
    failed = [note for note in notes if note["event"] == "smtp_failed"]
    assert [note["kind"] for note in failed] == ["greeting"] * 3
    said = [note["line"] for note in notes if note["event"] == "smtp_said"]
    assert "MAIL FROM:<\u2028@src.test>" in said  # a machine reads what was said


def test_a_format_that_changes_holds_from_its_reload_on(daemon):
    with Sender(daemon.place):
        daemon.reload(daemon.path.read_text() + "log_format json\n", '"adopted"')
    daemon.reload(daemon.path.read_text().replace("json", "text"), "gaproxy: configuration adopted")


def test_a_log_that_nobody_reads_keeps_no_mail_waiting(runtime, tmp_path, sink):
    with Daemon(runtime, tmp_path, "log_verbose yes", pipe_bytes=8192) as daemon:
        daemon.log.heeded.clear()
        with Load(daemon.place, sink) as load:
            load.goes_on(20)
        sent = sum(load.sent)
        before = len(daemon.log.lines)
        daemon.log.heeded.set()
        daemon.log.wait_for("", before)  # there is room again
        with Sender(daemon.place):  # and something to tell
            dropped = daemon.log.wait_for("log dropped lines=")
        told = daemon.log.having(": mta: MAIL")
    lost = int(dropped.rpartition("=")[2])
    assert lost > 0 and len(told) < sent


def test_a_log_that_nobody_reads_does_not_keep_it_from_ending(runtime, tmp_path, sink):
    with Daemon(runtime, tmp_path, "log_verbose yes", pipe_bytes=4096) as daemon:
        daemon.log.heeded.clear()
        with Load(daemon.place, sink):
            pass
        daemon.process.terminate()
        assert daemon.process.wait(WAIT_S) == 0
