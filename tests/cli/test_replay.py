"""replay: what is said of a journal that plays, of one that does not, and of what is none."""

import pytest

from gaproxy.cli.main import main
from gaproxy.journal.recorder import Recorder, RecordingKeys
from gaproxy.proto.doors.credentials import Keyring
from gaproxy.proto.events import Accepted, ConfigRead, Prepared, Received, Signalled
from gaproxy.proto.proxy import Proxy


@pytest.fixture
def journal(tmp_path):
    """A run in which somebody said something that is no greeting."""
    config = (
        f'listen "127.0.0.1:807"\nauth_shared_secret "{"x" * 20 + "y" * 20}"\ncapture {{ directory "{tmp_path}" }}\n'
    )
    keys = RecordingKeys(Keyring())
    machine = Recorder(Proxy("proxy.conf", keys), keys)
    for fact in (
        Signalled("START", bytes(16)),
        ConfigRead(config),
        Prepared(),
        Accepted(1, "127.0.0.1:807", ("127.0.0.9", 40112), bytes(48)),
        Received(1, b"HELO\r\n"),
    ):
        machine.step(1, fact)
    machine.close()
    return tmp_path / "gaproxy-00000000.journal"


def test_a_journal_that_plays_says_how_long_it_was(journal, capsys):
    assert main(["replay", str(journal), str(journal)]) == 0
    assert capsys.readouterr().out == f"{journal}: 5 steps, no difference\n" * 2


def test_a_difference_is_shown_with_both_sides(journal, capsys):
    text = journal.read_text()
    journal.write_text(text.replace('["Close",{"id":1}]', '["Close",{"id":3}],["Hold",{"id":1}]'))
    assert main(["replay", str(journal)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{journal}: step 5 of 5 differs"
    assert told[2] == "  fact     Received(id=1, data=b'0000\\r\\n')"
    assert told[3].startswith("  both     Note(")
    assert told[4:] == [
        "  written  Close(id=3)",
        "  played   Close(id=1)",
        "  written  Hold(id=1)",
        "  played   –",
    ]


def test_what_is_no_journal_is_told_in_one_sentence(journal, tmp_path, capsys):
    other = tmp_path / "mail.log"
    other.write_text("hello\n")
    assert main(["replay", str(journal), str(other), str(tmp_path / "none")]) == 2
    told = capsys.readouterr()
    assert "no difference" in told.out
    first, second = told.err.splitlines()
    assert first.startswith(f"gaproxy replay: {other} is no whole journal: line 1: ")
    assert second == f"gaproxy replay: cannot read {tmp_path / 'none'}: No such file or directory"
