"""check-config: every problem with its place, or the effective values; a secret in neither."""

import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "correct-horse-battery-staple-0123456789"
GOOD = f'listen "127.0.0.1:807"\nauth_shared_secret "{SECRET}"\n'


def check(path: Path) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error without the file's name."""
    told = subprocess.run(
        [sys.executable, "-m", "gaproxy", "check-config", str(path)], capture_output=True, text=True, check=False
    )
    assert SECRET not in told.stdout + told.stderr
    assert "Traceback" not in told.stderr
    return told.returncode, told.stdout, [line.removeprefix(str(path)) for line in told.stderr.splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "proxy.conf"


def test_a_good_file_is_answered_by_its_effective_values(path):
    path.write_text(GOOD)
    code, out, err = check(path)
    assert (code, err) == (0, [])
    lines = out.splitlines()
    assert lines[:4] == [
        'listen "127.0.0.1:807"',
        "# listen_proxy_protocol: none",
        "allow_from 127.0.0.0/8, ::1/128",
        'auth_shared_secret "(hidden, 39 characters)"',
    ]
    assert "    connect 30s" in lines


def test_a_doubtful_file_is_good_and_warned_about(path):
    path.write_text(GOOD + "allow_from 10.0.0.1/8\n")
    code, out, err = check(path)
    assert code == 0
    assert "allow_from 10.0.0.0/8\n" in out
    assert err == [":3:12: warning: allow_from: 10.0.0.1/8 has host bits set; the network 10.0.0.0/8 holds"]


def test_a_bad_file_is_answered_by_all_its_problems(path):
    path.write_text(GOOD + f'log_verbose maybe\r\nauth_shared_secret "{SECRET}\n\ntimeouts {{ conect 5s }}\n')
    code, out, err = check(path)
    assert (code, out) == (1, "")
    assert err == [
        ':3:13: log_verbose: found "maybe"; allowed: yes or no',
        ":4:1: auth_shared_secret: given twice; the first stands on line 2",
        ':4:20: auth_shared_secret: the string has no closing " on its line',
        ':6:12: timeouts: found "conect", which is no directive in timeouts; did you mean "connect"?',
    ]


def test_a_file_that_is_not_there_is_one_sentence(path):
    assert check(path) == (1, "", [f"cannot read {path}: No such file or directory"])


def test_a_directory_is_no_file(tmp_path):
    assert check(tmp_path) == (1, "", [f"cannot read {tmp_path}: Is a directory"])


def test_a_file_that_is_not_utf_8_is_one_sentence(path):
    path.write_bytes(GOOD.encode() + b"# \xff\n")
    assert check(path) == (1, "", [f"cannot read {path}: it is not UTF-8 at byte {len(GOOD) + 2}"])
