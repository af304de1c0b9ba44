"""What the edge promises about a run: how it starts, speaks, keeps time and ends, on every runtime alike."""

import asyncio
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from tools.script import DOOR, PATIENCE_S, PROMPTER, RUNTIMES, Script, Stage, prepared

from gaproxy.proto.actions import Adopt, Connect, Exit, Listener, Note, Prepare, ReadConfig
from gaproxy.proto.events import ConfigRead, Dropped, Elapsed, Received, Signalled
from gaproxy.runtime_asyncio import driver as on_asyncio
from gaproxy.runtime_trio import driver as on_trio

LENIENT_S = 3600


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# How it starts and ends.


def test_the_first_fact_is_the_start_with_the_runs_entropy(runtime: str) -> None:
    script = Script()
    script.boot = {Signalled: [Exit(7)]}
    assert RUNTIMES[runtime](script, signals=False) == 7
    started = script.facts.get_nowait()
    assert started == Signalled("START", started.entropy)
    assert len(started.entropy) == 16
    assert started.entropy != bytes(16)
    assert script.facts.empty()


def test_nothing_is_heard_behind_an_exit(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    peer, _ = stage.knock()

    def begin() -> None:
        stage.script.next_deadline = stage.script.now

    with stage.stalled(begin):
        stage.order(Connect(2, "192.0.2.1", ("127.0.0.2", 25)), Exit(3))  # is taken first
        peer.sendall(b"too late")
    assert stage.end() == 3
    stage.hears(3)
    assert not caplog.records  # asyncio logs what a callback raises


def test_a_fault_of_the_machine_ends_the_run_with_it(stage: Stage) -> None:
    peer, id = stage.knock()

    def fail(event: Received) -> list[object]:
        raise ZeroDivisionError(event.data)

    def begin() -> None:
        stage.script.next_deadline = stage.script.now

    stage.script.answers[Received] = fail
    with stage.stalled(begin):  # so that a deadline is due behind it
        peer.sendall(b"x")
    fault = stage.end()
    stage.hears(Received(id, b"x"), fault)
    assert isinstance(fault, ZeroDivisionError)
    assert fault.args == (b"x",)
    assert peer.recv(1) == b""


def test_a_fault_at_the_start_or_at_a_deadline_ends_the_run_with_it(runtime: str) -> None:
    class Late(Script):
        def step(self, now: int, event: object) -> list[object]:
            self.next_deadline = now
            if isinstance(event, Elapsed):
                raise ZeroDivisionError
            return []

    class Early(Script):
        def step(self, now: int, event: object) -> list[object]:
            raise KeyError

    with pytest.raises(ZeroDivisionError):
        RUNTIMES[runtime](Late(), signals=False)
    with pytest.raises(KeyError):
        RUNTIMES[runtime](Early(), signals=False)


def test_a_run_leaves_no_descriptor_open(raise_curtain: Callable[..., Stage]) -> None:
    before = descriptors()
    stage = raise_curtain()
    stage.knock()
    stage.call(2)
    stage.order(Connect(4, "127.0.0.1", stage.black_hole()))
    stage.order(Prepare((PROMPTER, DOOR, Listener("prepared only", ("127.0.0.1", 0)))))
    stage.hears(prepared())
    stage.leave()
    assert descriptors() == before


def test_a_run_that_is_cancelled_leaves_no_descriptor_open_on_asyncio() -> None:
    async def cancel() -> None:
        before = descriptors()
        running = asyncio.create_task(on_asyncio.run(Script(), signals=False))
        await asyncio.sleep(0)
        assert descriptors() > before
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert descriptors() == before

    asyncio.run(cancel())


def test_a_run_that_is_cancelled_leaves_no_descriptor_open_on_trio() -> None:
    async def cancel() -> None:
        before = descriptors()
        with trio.CancelScope() as scope:
            await on_trio.run(Script(), signals=False, started=lambda edge: scope.cancel())
        assert scope.cancelled_caught
        assert descriptors() == before

    trio.run(cancel)


@pytest.fixture
def ignored_hangup() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("ignored_hangup")
def test_signals_are_facts_and_mean_afterwards_what_they_meant_before(runtime: str) -> None:
    class Killed(Script):
        def step(self, now: int, event: Signalled) -> list[object]:
            self.facts.put(event)
            after = {"START": signal.SIGHUP, "HUP": signal.SIGTERM, "TERM": signal.SIGINT}.get(event.name)
            if after is None:
                return [Exit(0)]
            os.kill(os.getpid(), after)
            return []

    script = Killed()
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    assert RUNTIMES[runtime](script) == 0
    assert [script.facts.get_nowait().name for _ in range(4)] == ["START", "HUP", "TERM", "INT"]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_both_drivers_have_the_same_members() -> None:
    def members(thing: object) -> set[str]:
        return {name for name in vars(thing) if not name.startswith("_")}

    assert members(on_asyncio.Driver) == members(on_trio.Driver)
    assert on_asyncio.run.__annotations__ == on_trio.run.__annotations__
    assert on_asyncio.run.__kwdefaults__ == on_trio.run.__kwdefaults__
    assert on_asyncio.SIGNALS == on_trio.SIGNALS


# What it reads, and where it listens.


def test_the_configuration_is_read_when_it_is_ordered(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "gaproxy.conf"
    file.write_text('listen "127.0.0.1:807"  # für alle\n', encoding="utf-8")
    stage.order(ReadConfig(str(file)))
    stage.hears(ConfigRead('listen "127.0.0.1:807"  # für alle\n'))


def test_a_configuration_that_cannot_be_read_is_one_sentence(stage: Stage, tmp_path: Path) -> None:
    missing, latin, large = (str(tmp_path / name) for name in ("missing", "latin", "large"))
    Path(latin).write_bytes(b"# f\xfcr alle\n")
    Path(large).write_bytes(b"#" * (1024 * 1024 + 1))
    stage.order(ReadConfig(missing), ReadConfig(latin), ReadConfig(large))
    stage.hears(
        ConfigRead("", f"cannot read {missing}: No such file or directory"),
        ConfigRead("", f"cannot read {latin}: it is not UTF-8 at byte 3"),
        ConfigRead("", f"cannot read {large}: it is larger than 1048576 bytes"),
    )


def test_a_new_listener_accepts_only_once_it_is_adopted(stage: Stage) -> None:
    stage.order(Prepare((PROMPTER, DOOR, Listener("new", ("127.0.0.3", 0)))))
    stage.hears(prepared())
    peer = stage.keep(socket.create_connection(("127.0.0.3", stage.edge.port("new")), PATIENCE_S))
    assert stage.is_quiet()
    stage.order(Adopt())
    accepted = stage.next()
    assert (accepted.listener, accepted.client) == ("new", peer.getsockname())


def test_a_listener_that_stays_is_not_bound_again_and_one_that_goes_stops(stage: Stage) -> None:
    stays, goes = stage.edge.port("prompter"), stage.edge.port("door")
    peer, id = stage.knock()
    stage.order(Prepare((PROMPTER, Listener("new", ("127.0.0.3", 0)))))
    stage.hears(prepared())
    stage.keep(socket.create_connection(("127.0.0.1", goes), PATIENCE_S))  # nothing is in force before Adopt
    assert stage.next().listener == "door"
    stage.order(Adopt())
    stage.settle()
    assert stage.edge.port("prompter") == stays
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", goes), PATIENCE_S)
    peer.sendall(b"those who are here stay")
    stage.hears(Received(id, b"those who are here stay"))


def test_a_listener_of_the_same_name_at_another_address_is_another_listener(stage: Stage) -> None:
    former = stage.edge.port("door")
    stage.order(Prepare((PROMPTER, Listener("door", ("127.0.0.3", 0)))), Adopt())
    stage.hears(prepared())
    assert socket.create_connection(("127.0.0.3", stage.edge.port("door")), PATIENCE_S).close() is None
    assert stage.next().listener == "door"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", former), PATIENCE_S)


def test_what_cannot_be_had_is_named_and_nothing_new_is_kept(stage: Stage, tmp_path: Path) -> None:
    _, (_, taken) = stage.listen()
    file = tmp_path / "file"
    file.touch()
    before = descriptors()
    wanted = (
        PROMPTER,
        Listener("127.0.0.3:0", ("127.0.0.3", 0)),
        Listener(f"127.0.0.2:{taken}", ("127.0.0.2", taken)),
        Listener("192.0.2.1:807", ("192.0.2.1", 807)),
    )
    stage.order(Prepare(wanted, (str(tmp_path), str(file))))
    stage.hears(
        prepared(
            f"cannot listen at 127.0.0.2:{taken}: Address already in use",
            "cannot listen at 192.0.2.1:807: Cannot assign requested address",
            f"{file} is no directory",
        )
    )
    assert descriptors() == before
    stage.order(Prepare((DOOR, Listener("127.0.0.3:0", ("127.0.0.3", 0))), (str(file),)))
    stage.hears(prepared(f"{file} is no directory"))
    assert descriptors() == before
    stage.knock()


def test_a_prepare_that_was_never_adopted_is_forgotten_at_the_next(stage: Stage) -> None:
    stage.order(Prepare((PROMPTER, Listener("new", ("127.0.0.3", 0)))))
    stage.hears(prepared())
    port = stage.edge.port("new")
    stage.order(Prepare((PROMPTER, DOOR)), Adopt())
    stage.hears(prepared())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.3", port), PATIENCE_S)
    stage.knock()


# What it says.


def test_a_note_is_one_line(raise_curtain: Callable[..., Stage]) -> None:
    reader, writer = os.pipe()
    stage = raise_curtain(log=writer)
    stage.order(Note("listener(0.0.0.0:807): ready", {}), Note("für \udcff", {"n": 1}))
    stage.leave()
    assert os.read(reader, 1000) == "listener(0.0.0.0:807): ready\nfür \\udcff\n".encode()
    os.close(reader)
    os.close(writer)


def test_a_log_may_have_the_fields_instead_of_the_line(raise_curtain: Callable[..., Stage]) -> None:
    reader, writer = os.pipe()
    stage = raise_curtain(log=writer)
    stage.order(Adopt(log_format="json"), Note("what: a \nb", {"event": "what", "value": "a \nb\u2028", "number": 7}))
    stage.settle()
    assert os.read(reader, 1000) == b'{"event": "what", "value": "a \\nb\\u2028", "number": 7}\n'
    os.close(reader)
    os.close(writer)


def test_a_full_log_is_never_waited_for(raise_curtain: Callable[..., Stage]) -> None:
    reader, writer = os.pipe()
    stage = raise_curtain(log=writer)
    stage.order(*(Note("x" * 9_999, {}) for _ in range(10)))
    stage.settle()
    os.set_blocking(reader, False)
    heard = os.read(reader, 200_000)
    whole = heard.count(b"\n")
    assert 0 < whole < 10
    assert stage.edge.notes.dropped == 10 - whole
    stage.order(Note("y", {}))
    stage.hears(Dropped(10 - whole))
    heard += os.read(reader, 1000)
    lines = heard.splitlines()
    assert lines[:whole] == [b"x" * 9_999] * whole
    assert lines[-1] == b"y"  # on a line of its own, though the one before was cut
    os.close(reader)
    stage.order(Note("nobody", {}))
    stage.settle()
    assert stage.edge.notes.dropped == 11 - whole
    os.close(writer)


def test_a_line_that_tells_of_dropped_ones_and_is_dropped_as_well_is_told_again(
    raise_curtain: Callable[..., Stage],
) -> None:
    reader, writer = os.pipe()
    page = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1)  # room for one line at a time
    stage = raise_curtain(log=writer)
    stage.order(Note("first", {}), Note("dropped", {}))
    stage.settle()
    assert os.read(reader, page) == b"first\n"
    stage.order(Note("second", {}), Note("tells of one", {}))
    stage.hears(Dropped(1))
    assert os.read(reader, page) == b"second\n"
    stage.order(Note("third", {}))
    stage.hears(Dropped(2))
    stage.order(Note("fourth", {}))
    stage.settle()
    os.close(reader)
    os.close(writer)


# How it keeps time.


def test_the_alarm_rings_at_the_deadline_and_not_before(stage: Stage) -> None:
    told: list[int] = []

    def wait() -> list[object]:
        stage.script.next_deadline = stage.script.now + 30_000_000
        told.append(stage.script.next_deadline)
        return []

    stage.within(wait)
    stage.hears(Elapsed())
    assert told[0] <= stage.script.now < told[0] + 1_000_000_000 * PATIENCE_S
    assert stage.is_quiet()


def test_a_deadline_that_moves_closer_is_met(stage: Stage) -> None:
    def move(wait_s: float) -> Callable[[], list[object]]:
        def wait() -> list[object]:
            stage.script.next_deadline = stage.script.now + int(wait_s * 1e9)
            return []

        return wait

    stage.within(move(LENIENT_S))
    stage.settle()
    stage.within(move(0.01))
    stage.hears(Elapsed())


class Clock:
    """A clock that stands still until it is put forward, while alarms go on ringing."""

    now = 5_000_000

    def __call__(self) -> int:
        return self.now


def test_a_deadline_that_moves_away_or_is_met_is_not_told(raise_curtain: Callable[..., Stage]) -> None:
    clock = Clock()
    stage = raise_curtain(clock=clock)

    def forget() -> list[object]:
        stage.script.next_deadline = None
        return []

    def move() -> list[object]:
        stage.script.next_deadline = stage.script.now + 2_000_000
        return []

    stage.within(move)
    stage.settle()
    clock.now += 1_000_000
    stage.within(move)
    stage.settle()
    clock.now += 1_000_000
    assert stage.is_quiet()  # it moved away
    stage.within(forget)
    stage.settle()
    clock.now += 1_000_000
    assert stage.is_quiet()
    stage.within(move)
    stage.settle()
    clock.now += 2_000_000
    stage.hears(Elapsed())
    assert stage.is_quiet()


def test_an_alarm_that_rings_before_the_clock_is_there_is_set_again(raise_curtain: Callable[..., Stage]) -> None:
    clock = Clock()
    stage = raise_curtain(clock=clock)

    def wait() -> list[object]:
        stage.script.next_deadline = clock.now + 1_000_000
        return []

    stage.within(wait)
    ringing_ns = time.monotonic_ns() + 5_000_000  # so long that it rings again and again
    while time.monotonic_ns() < ringing_ns:
        assert stage.is_quiet()
    clock.now += 1_000_000
    stage.hears(Elapsed())
    assert stage.is_quiet()


def test_stalled_and_then_the_alarm(stage: Stage) -> None:
    peers = [stage.knock() for _ in range(8)]

    def begin() -> None:
        stage.script.next_deadline = stage.script.now

    with stage.stalled(begin):
        for peer, _ in peers:
            peer.sendall(b"in time")
    stage.hears(*(Received(id, b"in time") for _, id in peers), Elapsed())


def test_the_clock_is_monotonic(stage: Stage) -> None:
    before = time.monotonic_ns()
    stage.settle()
    stage.order(Note("", {}))
    stage.knock()
    assert before < stage.script.now < time.monotonic_ns()
