"""A recorder wears a machine's face: the same orders, one file, bounded, and never in anybody's way."""

import re
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tools.talk import CONFIG, Talk, accepted, auth, hello, opening, welcome

from gaproxy.journal.recorder import Recorder, RecordingKeys
from gaproxy.journal.replayer import open_journal
from gaproxy.proto.actions import Adopt, Exit, Note, Send
from gaproxy.proto.doors.credentials import Keyring
from gaproxy.proto.events import Accepted, ConfigRead, Elapsed, Prepared, Received, Signalled
from gaproxy.proto.proxy import Proxy
from gaproxy.proto.seating import cut_word

DIALOGUE = (accepted(), Received(1, hello()), Received(1, auth()), Received(1, opening()), Received(1, b"PING t=1\r\n"))


def test_a_machine_that_is_watched_gives_the_same_orders_at_the_same_time(tape):
    watched, alone = tape(), Talk()
    for fact in DIALOGUE:
        assert watched.hear(fact) == alone.hear(fact)
        assert watched.proxy.next_deadline == alone.proxy.next_deadline
    watched.proxy.close()
    assert watched.hear(Received(1, b"PING t=2\r\n")) == alone.hear(Received(1, b"PING t=2\r\n"))


def test_a_capture_begins_with_the_run_and_plays_again(tape):
    one = tape(run=0x1A2B3C4D)
    assert one.last_note("gaproxy: capture") == f"gaproxy: capture begun file={one.filename}"
    assert one.filename.name == "gaproxy-1a2b3c4d.journal"
    for fact in DIALOGUE:
        one.hear(fact)
    for _ in range(3):
        one.now = one.proxy.next_deadline
        one.hear(Elapsed())
    assert open_journal(str(one.filename)).steps > 8
    assert one.replayed() is None


def test_the_file_is_for_its_owner_alone(tape):
    assert stat.S_IMODE(tape().filename.stat().st_mode) == 0o600


def test_a_step_is_in_the_file_before_its_orders_are_performed(tape):
    one = tape()
    one.hear(accepted())
    assert b'["Accepted",' in one.written()


def test_nothing_is_written_unless_it_is_asked_for(tape, tmp_path):
    one = tape(CONFIG)
    for fact in DIALOGUE:
        one.hear(fact)
    assert list(tmp_path.iterdir()) == []
    assert not [line for line in one.notes if "capture" in line]


def watched() -> Recorder:
    keys = RecordingKeys(Keyring())
    return Recorder(Proxy("gaproxy.conf", keys), keys)


def test_a_boot_that_is_refused_writes_nothing(tmp_path, capturing):
    machine = watched()
    machine.step(0, Signalled("START", bytes(16)))
    assert Exit(1) in machine.step(0, ConfigRead(capturing(tmp_path)))
    assert machine.book is None
    assert list(tmp_path.iterdir()) == []


def test_a_journal_stops_at_its_size_with_one_line_and_the_machine_goes_on(tape, tmp_path, capturing):
    one = tape(CONFIG + capturing(tmp_path, "2k"))
    one.hear(accepted())
    for byte in hello():
        one.hear(Received(1, bytes([byte])))
    assert one.hear(Received(1, auth()))[0].data == welcome()
    assert [line for line in one.notes if "capture" in line] == [
        f"gaproxy: capture begun file={one.filename}",
        f"gaproxy: capture ended file={one.filename} reason=max_size",
    ]
    assert len(one.written()) <= 2048
    assert one.replayed() is None


def test_a_size_that_is_too_small_for_a_boot_ends_it_at_once(tape, tmp_path, capturing):
    one = tape(CONFIG + capturing(tmp_path, "1k") + "# " + "x" * 1000)
    assert list(tmp_path.iterdir()) == []
    assert one.last_note("gaproxy: capture") == f"gaproxy: capture ended file={one.filename} reason=max_size"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk does, done by the kernel: a write is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_disk_that_is_full_ends_the_capture_at_a_whole_line_and_not_the_machine(tape, room):
    one = tape()
    one.hear(accepted())
    whole = one.written()
    with files_of_at_most(len(whole) + room):
        one.hear(Received(1, hello()))
    assert one.hear(Received(1, auth()))[0].data == welcome()
    assert re.search("capture ended file=.* reason=(No space left|File too large)", one.notes[-2])
    assert one.written() == whole
    assert one.replayed() is None


def test_a_file_that_stands_there_already_is_left_alone(tape, tmp_path):
    (tmp_path / "gaproxy-00000007.journal").write_text("somebody's")
    one = tape(run=7)
    assert one.last_note("gaproxy: capture").endswith("reason=File exists")
    assert one.written() == b"somebody's"


def test_a_reload_that_changes_nothing_of_it_changes_nothing(tape, tmp_path, capturing):
    one = tape()
    one.reload(CONFIG + capturing(tmp_path))
    assert len([line for line in one.notes if "capture" in line]) == 1
    one.hear(accepted())
    assert one.replayed() is None


def test_a_reload_that_moves_it_begins_a_new_file_that_plays_on_its_own(tape, tmp_path, capturing):
    one = tape()
    one.hear(accepted())
    (tmp_path / "elsewhere").mkdir()
    before = one.written()
    one.reload(CONFIG + capturing(tmp_path / "elsewhere"))
    old = one.written()
    one.hear(Received(1, hello()))
    assert one.written() == old and old.startswith(before)
    one.filename = tmp_path / "elsewhere" / one.filename.name
    assert one.last_note("gaproxy: capture") == f"gaproxy: capture begun file={one.filename}"
    assert one.written().startswith(old) and b"CHALLENGE" in one.written()
    assert one.replayed() is None


def test_a_reload_may_give_it_another_size(tape, tmp_path, capturing):
    one = tape()
    one.reload(CONFIG + capturing(tmp_path, "1k"))
    one.hear(accepted())
    assert one.last_note("gaproxy: capture").endswith("reason=max_size")


def test_a_reload_may_end_it(tape, tmp_path, capturing):
    one = tape()
    one.reload(CONFIG)
    assert one.last_note("gaproxy: capture") == f"gaproxy: capture ended file={one.filename} reason=reload"
    assert one.proxy.proxy.seating.cut is cut_word
    one.reload(CONFIG + capturing(tmp_path))
    assert one.last_note("gaproxy: capture") == "gaproxy: capture waits for the next start"


def test_a_capture_that_a_reload_asks_for_waits_for_the_next_start_and_says_so_once(tape, tmp_path, capturing):
    one = tape(CONFIG)
    one.reload(CONFIG + capturing(tmp_path))
    one.reload(CONFIG + capturing(tmp_path))
    assert [line for line in one.notes if "capture" in line] == ["gaproxy: capture waits for the next start"]
    assert list(tmp_path.iterdir()) == []


def test_a_boot_is_kept_within_a_bound(tmp_path, capturing):
    machine = watched()
    machine.step(0, Signalled("START", bytes(16)))
    text = CONFIG + capturing(tmp_path)
    machine.step(0, ConfigRead(text))
    for _ in range(40):  # a file that is as large as a configuration may be, again and again
        machine.step(0, ConfigRead(text + "#" + "x" * (1 << 20)))
        machine.step(0, ConfigRead(text))
    notes = [order.line for order in machine.step(0, Prepared()) if isinstance(order, Note)]
    assert "gaproxy: capture waits for the next start" in notes
    assert list(tmp_path.iterdir()) == []


def test_a_drain_is_written_to_its_end(tape):
    one = tape()
    one.hear(Signalled("TERM"))
    assert one.hear(Prepared())[0] == Adopt((str(one.filename.parent), 1 << 20))
    assert one.proxy.book is None
    assert b'["Exit",' in one.written()
    assert one.replayed() is None


def test_what_ends_the_process_is_the_last_page(tape):
    one = tape()
    with pytest.raises(KeyError):
        one.hear(Received(99, b"who am I?"))
    with pytest.raises(KeyError) as fault:
        one.replayed()
    assert fault.value.__notes__ == [f"in step 4 of {one.filename}: Received(id=99, data=b'000000000')"]


def test_our_own_proof_goes_out_and_stays_out_of_the_file(tape):
    one = tape()
    for fact in DIALOGUE[:2]:
        one.hear(fact)
    said = one.hear(DIALOGUE[2])
    assert said == [Send(1, welcome())]
    assert b"WELCOME proof=" + b"0" * 64 in one.written()


def test_verdicts_are_written_and_wait_for_nobody():
    keys = RecordingKeys(Keyring())
    assert not keys.judge(b"", b"", b"", "").ok
    assert len(keys.take()) == 1
    assert keys.take() == []


def test_entropy_and_addresses_are_told(tape):
    """They are what a replay needs, and what the documentation owns up to."""
    one = tape()
    one.hear(Accepted(1, "127.0.0.1:807", ("127.0.0.9", 40112), bytes(48)))
    assert b"127.0.0.9" in one.written()


def test_a_reload_that_is_refused_changes_nothing(tape, tmp_path, capturing):
    one = tape()
    for fact in (Signalled("HUP"), ConfigRead(CONFIG), Prepared(("no",))):
        one.hear(fact)
    one.hear(accepted())
    assert b'["Accepted",' in one.written()
    assert one.replayed() is None
