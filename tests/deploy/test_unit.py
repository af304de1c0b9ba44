"""The systemd unit: what it starts serves, what it reloads with reloads, and what systemd stops it with drains."""

import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools.house import ROOT
from tools.real import DOOR_PORT, SECRET, WAIT_S, fresh_address

UNIT = ROOT / "deploy" / "greenarrow_proxy.service"
PROGRAM = Path(sys.executable).with_name("greenarrow_proxy")

DOCUMENTED = {
    "Type": "simple",
    "Restart": "always",
    "KillMode": "control-group",
    "OOMPolicy": "continue",
    "StandardInput": "null",
}
"""What GreenArrow's documentation sets, beside the two commands."""


@pytest.fixture
def unit() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser


@pytest.fixture
def service(unit) -> Mapping[str, str]:
    return unit["Service"]


@pytest.fixture
def place() -> tuple[str, int]:
    return fresh_address(), DOOR_PORT


@pytest.fixture
def path(tmp_path, place) -> Path:
    file = tmp_path / "greenarrow_proxy.conf"
    file.write_text(f'listen "{place[0]}:{place[1]}"\nauth_shared_secret "{SECRET}"\n')
    return file


def swapped(command: str, path: Path) -> list[str]:
    """An ExecStart with the executable of this checkout, and another file for the one that it names."""
    executable, option = shlex.split(command)
    assert Path(executable).name == PROGRAM.name
    name, equals, _ = option.partition("=")
    return [str(PROGRAM), f"{name}{equals}{path}"]


@contextmanager
def started(words: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A proxy as systemd starts it, which has adopted its configuration."""
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as proxy:
        try:
            wait_for(proxy, "configuration adopted")
            yield proxy
        finally:
            proxy.kill()


def wait_for(proxy: "subprocess.Popen[str]", words: str) -> None:
    """Read its log on until a line has these words."""
    assert proxy.stdout is not None
    assert any(words in line for line in proxy.stdout), f"it ended without {words!r}"


def reload(service: Mapping[str, str], proxy: "subprocess.Popen[str]") -> None:
    """Run ExecReload, as systemd would."""
    words = [word.replace("$MAINPID", str(proxy.pid)) for word in shlex.split(service["ExecReload"])]
    subprocess.run(words, check=True, timeout=WAIT_S)


def test_the_unit_says_what_greenarrow_documents(service):
    assert {name: service[name] for name in DOCUMENTED} == DOCUMENTED
    assert set(service) == {*DOCUMENTED, "ExecStart", "ExecReload"}


@pytest.mark.parametrize("options", [[], ["--runtime", "trio"]], ids=["as it stands", "on trio"])
def test_what_it_starts_reloads_and_stops_in_order(service, path, place, options):
    with started([*swapped(service["ExecStart"], path), *options]) as proxy:
        with socket.create_connection(place, WAIT_S) as mta:
            reload(service, proxy)
            wait_for(proxy, "configuration adopted")
            mta.sendall(b"EHLO a.example\r\n")
            wait_for(proxy, "reason=other_protocol")  # who was connected before a reload is heard after it
        proxy.send_signal(signal.SIGTERM)  # systemd's KillSignal, which the unit leaves as it is
        out, _ = proxy.communicate(timeout=WAIT_S)
    assert proxy.returncode == 0
    told = [line for line in out.splitlines() if line.startswith("gaproxy: ")]
    assert [line.partition(" connections=")[0] for line in told] == [
        "gaproxy: draining",
        "gaproxy: drained cut=0 unknown=0",
    ]


def test_a_reload_with_a_bad_file_leaves_the_service_running(service, path, place):
    with started(swapped(service["ExecStart"], path)) as proxy:
        path.write_text("listn\n")
        reload(service, proxy)
        wait_for(proxy, "configuration refused")
        socket.create_connection(place, WAIT_S).close()


def test_systemd_finds_nothing_to_say_about_it(unit, path, tmp_path, need):
    analyze = need("systemd-analyze")
    unit["Service"]["ExecStart"] = shlex.join(swapped(unit["Service"]["ExecStart"], path))
    copy = tmp_path / UNIT.name
    with copy.open("w", encoding="utf-8") as file:
        unit.write(file, space_around_delimiters=False)
    words = [analyze, "verify", "--man=no", str(copy)]  # the manual need not be installed here
    told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
