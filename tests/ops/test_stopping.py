"""SIGTERM while mail is under way: what has begun ends, and the last line of the log tells what did not."""

import pytest
from ops.daemon import Daemon
from ops.traffic import Load, Over, Sender, Sink
from tools.real import Mta, Remote

from gaproxy.client import Failed, GoneAway

MTAS = 8


def begin_some(daemon: Daemon, sink: Sink) -> list[Sender]:
    """MTAs that have said their dots, and one that is in the body yet (the last one). The remote says nothing."""
    sink.waits.clear()
    mtas = [Sender(daemon.place).__enter__() for _ in range(MTAS + 1)]
    for number, mta in enumerate(mtas):
        mta.opens(sink.to)
        mta.begins()
        if number < MTAS:
            mta.sends(b"message %d" % number)
            sink.arrives()
        else:
            mta.say(b"the first line\r\n")
    return mtas


@pytest.fixture
def begun(daemon, sink):
    mtas = begin_some(daemon, sink)
    yield mtas
    for mta in mtas:
        mta.sock.close()


def test_no_message_is_cut_between_its_dot_and_its_reply(daemon, sink, begun):
    *dotted, in_body = begun
    daemon.stop()
    in_body.sends(b"the rest")
    sink.arrives()
    sink.waits.set()  # only now does the remote answer
    for mta in begun:
        mta.is_granted()
        with pytest.raises(Over, match="shutting down"):
            mta.begins()
        mta.parts()
        with pytest.raises(Over, match=r"GoneAway.*drain"):
            mta.hear()
        mta.sock.close()
    assert daemon.ends_with(0) == "gaproxy: drained cut=0 unknown=0"
    assert set(sink.kept) == {b"message %d" % number for number in range(len(dotted))} | {b"the first line\r\nthe rest"}


def test_who_sends_on_and_on_is_told_to_go_and_loses_nothing(daemon, sink):
    with Load(daemon.place, sink, leaving=True) as load:
        load.goes_on(10)
        daemon.process.terminate()
    assert daemon.ends_with(0) == "gaproxy: drained cut=0 unknown=0"


def test_who_is_idle_or_waits_for_a_remote_is_told_at_once(daemon):
    with Mta(daemon) as idle, Mta(daemon) as waiting, Remote() as silent:
        waiting.ask_for(silent.to)
        silent.take()
        daemon.stop()
        assert idle.hear() == GoneAway("drain")
        failed = waiting.hear()
        assert isinstance(failed, Failed) and failed.kind == "shutting_down"
        assert waiting.hear() == GoneAway("drain")
    assert daemon.ends_with(0) == "gaproxy: drained cut=0 unknown=0"


def test_nobody_is_let_in_any_more(daemon, sink, begun):
    with Sender(daemon.place) as mta:
        mta.opens(sink.to)
        daemon.stop()
        with pytest.raises(Over, match="shutting down"):
            mta.begins()
    with pytest.raises(Over, match="refused"):
        Sender(daemon.place)


def test_a_second_signal_ends_it_at_once_and_the_last_line_tells_what_was_cut(daemon, begun):
    daemon.stop()
    daemon.process.terminate()
    assert daemon.ends_with(1) == f"gaproxy: drained cut={MTAS + 1} unknown={MTAS}"
    for mta in begun:
        with pytest.raises(AssertionError, match=r"closed|reset"):
            mta.hear()


def test_what_does_not_end_in_time_is_cut_and_counted(runtime, tmp_path, sink):
    with Daemon(runtime, tmp_path, "timeouts { drain 200ms }") as daemon:
        mtas = begin_some(daemon, sink)
        daemon.stop()
        assert daemon.ends_with(0) == f"gaproxy: drained cut={MTAS + 1} unknown={MTAS}"
        for mta in mtas:
            mta.sock.close()


def test_a_signal_that_comes_with_a_reload_wins(daemon):
    daemon.hang_up()
    daemon.process.terminate()
    daemon.hang_up()
    assert daemon.ends_with(0) == "gaproxy: drained cut=0 unknown=0"
