"""serve: the daemon starts, hears its signals, and says why where it does not start."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools.real import DOOR_PORT, SECRET, WAIT_S, fresh_address


@pytest.fixture
def place() -> tuple[str, int]:
    return fresh_address(), DOOR_PORT


@pytest.fixture
def path(tmp_path, place) -> Path:
    file = tmp_path / "proxy.conf"
    file.write_text(f'listen "{place[0]}:{place[1]}"\nauth_shared_secret "{SECRET}"\n')
    return file


def command(path: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "gaproxy", "serve", f"--config-filename={path}", *options]


@contextmanager
def serving(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A proxy that has adopted its configuration."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            wait_for(proxy, "configuration adopted")
            yield proxy
        finally:
            proxy.kill()


def wait_for(proxy: subprocess.Popen[str], words: str) -> str:
    """The next line of the log in which these words stand."""
    assert proxy.stdout is not None
    for line in proxy.stdout:
        if words in line:
            return line
    raise AssertionError(f"it ended without {words!r}")


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_it_serves_until_sigterm_and_exits_with_0(runtime, path, place):
    with serving(command(path, "--runtime", runtime)) as proxy:
        with socket.create_connection(place, timeout=WAIT_S):
            proxy.send_signal(signal.SIGHUP)
            wait_for(proxy, "configuration adopted")
        proxy.send_signal(signal.SIGTERM)
        out, err = proxy.communicate(timeout=WAIT_S)
        assert (proxy.returncode, err) == (0, "")
        assert SECRET not in out


def test_a_reload_that_is_asked_for_before_it_is_up_does_not_end_it(path):
    text = path.read_text()
    path.unlink()
    os.mkfifo(path)
    words = command(path)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as proxy:
        try:
            with path.open("w") as waiting:  # until it wants to read
                path.unlink()
                path.write_text(text)
                proxy.send_signal(signal.SIGHUP)
                waiting.write(text)
            wait_for(proxy, "configuration adopted")
        finally:
            proxy.kill()


def test_a_file_that_went_bad_does_not_end_it(path, place):
    with serving(command(path)) as proxy:
        path.write_text("listn\n")
        proxy.send_signal(signal.SIGHUP)
        assert f'{path}:1:1: found "listn"' in wait_for(proxy, "configuration refused")
        with socket.create_connection(place, timeout=WAIT_S):
            pass


def test_it_takes_as_many_files_as_it_may(path):
    limited = ["sh", "-c", 'ulimit -S -n 64; exec "$@"', "sh", *command(path)]
    with serving(limited) as proxy:
        limits = Path(f"/proc/{proxy.pid}/limits").read_text()
        soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
        assert soft == hard != "64"


def test_a_bad_file_at_start_is_told_on_standard_error(path):
    path.write_text(f'auth_shared_secret "{SECRET}"; log_verbose maybe\n')
    told = subprocess.run(command(path), capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert (told.returncode, told.stdout) == (1, "")
    assert [line.removeprefix(f"{path}:") for line in told.stderr.splitlines()] == [
        '1:1: listen: is missing; it takes an IP address and a port, such as "0.0.0.0:807" or "[::]:807"',
        "1:75: log_verbose: found 5 characters; allowed: yes or no",
    ]


def test_a_place_that_is_taken_is_told_and_it_exits_with_1(path, place):
    with socket.create_server(place):
        told = subprocess.run(command(path), capture_output=True, text=True, check=False, timeout=WAIT_S)
    problem = f"cannot listen at {place[0]}:{place[1]}: Address already in use"
    assert (told.returncode, told.stderr) == (1, f"{problem}\n")
    assert told.stdout == f"gaproxy: configuration refused text={problem}\n"


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_a_reload_that_is_asked_for_when_it_has_ended_does_not_kill_it(runtime, path):
    program = (
        "import os, signal, sys; from gaproxy.cli.main import main; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "code = main(sys.argv[1:]); os.kill(os.getpid(), signal.SIGHUP); sys.exit(code)"
    )
    words = [sys.executable, "-c", program, *command(path)[3:]]
    with serving([*words, "--runtime", runtime]) as proxy:
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait(WAIT_S) == 0
