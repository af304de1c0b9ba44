"""The demo: played for real on both runtimes, interrupted, on a terminal; and its judgement of what went wrong."""

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256

import pytest
from attrs import evolve

from gaproxy.cli.demo import (
    HERE,
    PLAY_S,
    REMOTE,
    SECOND,
    Play,
    ProxyProcess,
    Result,
    configuration,
    faults_of,
    share_out,
    tell,
    with_proxy,
)
from gaproxy.peers.errand import Outcome
from gaproxy.peers.mx import Arrival
from gaproxy.proto.actions import Exit
from gaproxy.proto.events import Elapsed, Prepared, Signalled

WAIT_S = 60
SECRET = "a-secret-of-the-tests-and-of-no-other"
ONE_PORT = {"door": 807, "mx": 25}
RUNTIMES = ["asyncio", "trio"]


def demo(*words: str) -> list[str]:
    return [sys.executable, "-m", "gaproxy", "demo", *words]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_message_arrives_exactly_once_by_either_way_and_the_proxy_needs_two_connections(runtime):
    told = subprocess.run(
        demo("--messages", "20", "--runtime", runtime), capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (told.returncode, told.stderr) == (0, ""), told.stdout
    lines = told.stdout.splitlines()
    assert ", then through a proxy with TLS (" in lines[0]
    shown = [f"{way:7} {quarter:3} %" for way in ("direct", "gaproxy") for quarter in (25, 50, 75, 100)]
    assert [line[:13] for line in lines[1:9]] == shown
    rows = [line.split()[:-2] for line in lines[10:12]]  # but for the seconds and the pace
    assert rows == [["direct", "20", "20", "20", "20", "TLSv1.3"], ["gaproxy", "20", "20", "2", "2", "TLSv1.3"]]
    assert lines[-1].startswith("Every message arrived exactly once")


def test_on_a_terminal_it_shows_bars_and_what_the_proxy_says():
    ours, theirs = pty.openpty()
    surroundings = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen(demo("--messages", "3"), stdout=theirs, stderr=theirs, env=surroundings) as played:
        os.close(theirs)
        shown = read_terminal(ours)
    os.close(ours)
    assert played.returncode == 0, shown
    for words in ("gaproxy mta-1", "━", "2/2", "1/1", "proxy ", "exactly once", "Every message arrived"):
        assert words in shown


def read_terminal(terminal: int) -> str:
    """All that is shown there, until nobody writes to it any more."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # so Linux says that the other side is closed
            return shown.decode()
        if not piece:
            return shown.decode()
        shown += piece


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_interrupt_ends_it_and_its_proxy_in_one_line(runtime):
    words = demo("--messages", "40", "--runtime", runtime)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as played:
        assert played.stdout is not None
        first = played.stdout.readline()
        proxy = int(first.partition("process ")[2].partition(")")[0])
        os.kill(proxy, 0)
        assert played.stdout.readline().startswith("direct   25 %")
        played.send_signal(signal.SIGINT)
        _, err = played.communicate(timeout=WAIT_S)
    assert (played.returncode, err) == (130, "gaproxy demo: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(proxy, 0)


def test_without_trustme_it_says_what_to_install():
    without = "import sys; sys.modules['trustme'] = None; from gaproxy.cli.main import main; sys.exit(main(['demo']))"
    told = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.endswith("is not installed: pip install 'gaproxy[demo]'\n")
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("number", ["0", "-1", "many", "²"])
def test_a_number_of_messages_that_is_none_is_a_wrong_use(number):
    told = subprocess.run(demo(f"--messages={number}"), capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert told.returncode == 2
    assert "is no number of messages" in told.stderr


def test_a_proxy_whose_port_is_taken_says_so_and_is_not_taken_to_serve(tmp_path):
    with socket.create_server((HERE, 0)) as taken:
        ports = {"door": taken.getsockname()[1], "mx": 25}
        proxy = ProxyProcess(tmp_path, "asyncio", configuration(SECRET, ports))
        assert not proxy.serves()
    assert proxy.stop() == f"the proxy left with exit code 1; it says: {proxy.last_line()}"
    assert "cannot listen" in proxy.last_line()


# What it judges.

LETTERS = share_out(3, "127.0.0.25:25")
ALL = [letter for each in LETTERS.values() for letter in each]
OUTCOMES = {mta: [Outcome(letter.message_id, "delivered", "250 ok") for letter in LETTERS[mta]] for mta in LETTERS}
ARRIVALS = [
    Arrival(id, letter.source, "TLSv1.3", letter.message_id, sha256(letter.data).hexdigest(), len(letter.data))
    for id, letter in zip((1, 3, 5), ALL, strict=True)
]
RESULT = Result("direct", LETTERS, OUTCOMES, ARRIVALS, 3, 3, 0.5)


def test_letters_are_dealt_out_in_turn_and_no_two_are_alike():
    assert {mta: len(letters) for mta, letters in LETTERS.items()} == {"mta-1": 2, "mta-2": 1}
    assert len({letter.data for letter in ALL} | {letter.message_id for letter in ALL}) == 6


def test_all_is_well_where_all_is_well(capsys):
    assert tell([RESULT, evolve(RESULT, way="gaproxy", connections=2, handshakes=2, seconds=0.25)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "way      messages  exactly once  connections  handshakes  TLS      seconds  messages/s",
        "direct          3             3            3           3  TLSv1.3     0.50         6.0",
        "gaproxy         3             3            2           2  TLSv1.3     0.25        12.0",
        "Every message arrived exactly once, byte for byte, under TLS all the way, from the IP that its MTA asked for.",
    ]


def with_arrivals(arrivals: Sequence[Arrival]) -> Result:
    return evolve(RESULT, arrivals=arrivals)


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (with_arrivals(ARRIVALS[1:]), "1@mta-1.demo.example never arrived; its MTA was told: delivered (250 ok)"),
        (with_arrivals([*ARRIVALS, ARRIVALS[0]]), "1@mta-1.demo.example arrived 2 times"),
        (with_arrivals([*ARRIVALS[:2], evolve(ARRIVALS[2], tls=None)]), "1@mta-2.demo.example arrived in plain text"),
    ],
)
def test_a_remote_that_loses_or_doubles_a_message_is_told_and_it_exits_with_1(capsys, result, fault):
    assert tell([result]) == 1
    assert capsys.readouterr().out.splitlines()[2:] == [f"wrong: direct: {fault}"]


def test_a_proxy_that_does_not_leave_in_order_is_told_and_it_exits_with_1(capsys):
    assert tell([RESULT], "the proxy left with exit code 1") == 1
    assert capsys.readouterr().out.splitlines()[2:] == ["wrong: the proxy left with exit code 1"]


def test_of_many_faults_the_first_are_told_and_the_rest_counted(capsys):
    assert tell([Result("gaproxy", share_out(24, "127.0.0.25:25"), {}, [], 0, 0, None, "late")]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "gaproxy        24             0            0           0  -    -        -"
    assert out[2] == f"wrong: gaproxy: it was not over within {PLAY_S:.0f} seconds"
    assert (len(out), out[-1]) == (13, "wrong: and 15 more of the kind")


def play() -> Play:
    return Play("gaproxy", ONE_PORT, LETTERS, with_proxy(LETTERS, ONE_PORT, SECRET))


def test_a_play_that_lasts_too_long_is_ended():
    late = play()
    assert late.next_deadline is None
    orders = late.step(7 * SECOND, Signalled("START", bytes(16)))
    assert len(orders) == 3  # a listener and two calls
    assert late.next_deadline == (7 + int(PLAY_S)) * SECOND
    assert late.step(late.next_deadline, Elapsed()) == [Exit(0)]
    assert (late.why, late.result().seconds) == ("late", None)


def test_a_remote_that_cannot_listen_ends_the_play():
    deaf = play()
    deaf.step(0, Signalled("START", bytes(16)))
    assert deaf.step(0, Prepared((f"cannot listen at {REMOTE}",))) == [Exit(0)]
    assert faults_of(deaf.result())[0] == f"gaproxy: cannot listen at {REMOTE}"
