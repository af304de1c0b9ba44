"""What is refused, what waits, and what becomes of a proxy that may open no more files."""

import os
import resource
import select
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count, islice

import pytest
from ops.daemon import Daemon
from ops.traffic import Load, Over, Sender
from tools.real import SECRET

from gaproxy.client import Challenged, Welcomed

OTHER_SECRET = "another-secret-of-the-tests-and-no-other"
HERE, THERE, ELSEWHERE = "127.255.0.1", "127.255.0.2", "127.255.0.3"


def is_refused(daemon, client):
    with pytest.raises(Over), Sender(daemon.place, client=client):
        pass


def hears_nothing_yet(mta):
    """Nothing was said to it, though the proxy has heard all that happened before."""
    assert select.select([mta.sock], [], [], 0) == ([], [], [])


def proves_itself(mta):
    """The rest of the handshake, behind a hello that was said."""
    challenged = mta.hear()
    assert isinstance(challenged, Challenged)
    mta.say(challenged.answer)
    assert isinstance(mta.hear(), Welcomed)


# Connections.


def test_beyond_the_limits_connections_are_closed_and_told_once(runtime, tmp_path):
    with Daemon(runtime, tmp_path, "connections { max 3; per_client 2 }") as daemon, ExitStack() as guests:
        for client in (HERE, HERE):
            last = guests.enter_context(Sender(daemon.place, client=client))
        is_refused(daemon, HERE)
        guests.enter_context(Sender(daemon.place, client=THERE))
        for _ in range(5):
            is_refused(daemon, ELSEWHERE)
        is_refused(daemon, HERE)
        last.leaves()
        let_in = guests.enter_context(Sender(daemon.place, client=ELSEWHERE))
        assert [line.partition(": ")[2] for line in daemon.log.having("refused", until=let_in.session)] == [
            f"refused client={HERE} reason=connections_per_client",
            f"refused client={ELSEWHERE} reason=connections_max",
            f"refused client={HERE} reason=connections_max",
        ]


def test_strangers_beyond_the_limit_wait_and_are_served(runtime, tmp_path):
    with Daemon(runtime, tmp_path) as daemon, ExitStack() as strangers:
        silent = [strangers.enter_context(stranger(daemon, HERE)) for _ in range(16)]
        seventeenth = strangers.enter_context(stranger(daemon, HERE))
        seventeenth.say(seventeenth.client.hello())
        with Sender(daemon.place, client=THERE):  # somebody else does not wait
            hears_nothing_yet(seventeenth)
        silent[3].leaves()
        proves_itself(seventeenth)


def test_strangers_of_all_clients_beyond_the_limit_wait_and_are_served(runtime, tmp_path):
    limit = "unauthenticated { total 3; per_client 2 }"
    with Daemon(runtime, tmp_path, limit) as daemon, ExitStack() as strangers, Sender(daemon.place) as proved:
        for client in (HERE, HERE, THERE):
            first = strangers.enter_context(stranger(daemon, client))
        fourth = strangers.enter_context(stranger(daemon, ELSEWHERE))
        fourth.say(fourth.client.hello())
        proved.say(proved.client.ping(1))
        proved.hear()
        hears_nothing_yet(fourth)
        first.say(first.client.hello())
        proves_itself(first)
        proves_itself(fourth)


@contextmanager
def stranger(daemon, client):
    """Who has connected, and proved nothing."""
    mta = Sender(daemon.place, client=client)
    with mta.sock:
        yield mta


def test_who_has_the_wrong_secret_ten_times_is_not_let_in_for_a_while(daemon):
    def fails(_):
        with pytest.raises(Over, match="auth_failed"), Sender(daemon.place, OTHER_SECRET, HERE):
            pass

    with ThreadPoolExecutor(10) as pool:  # each is told one second after it came
        list(pool.map(fails, range(10)))
    for _ in range(5):
        is_refused(daemon, HERE)
    with Sender(daemon.place, client=THERE) as let_in:
        pass
    lines = [line.partition(": ")[2] for line in daemon.log.having("refused", until=let_in.session)]
    assert len(lines) == 2
    assert lines[0].endswith("reason=wrong_proof")
    assert lines[1] == f"refused client={HERE} reason=auth_failed"
    assert not daemon.log.having(OTHER_SECRET) and not daemon.log.having(SECRET)


# Files.


def may_open(daemon, more):
    """From now on it may open so many files more than it has."""
    taken = {int(name) for name in os.listdir(f"/proc/{daemon.process.pid}/fd")}
    free = (number for number in count() if number not in taken)
    limit = next(islice(free, more, None))  # the first number that is not to be had
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (limit, limit))


def test_the_soft_limit_is_raised_and_told(runtime, tmp_path):
    with Daemon(runtime, tmp_path, ulimit="-S -n 64") as daemon:
        soft, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard != 64
        assert daemon.log.wait_for("adopted").endswith(f" descriptors={hard}")


def test_where_no_file_is_left_those_who_knock_wait_and_nobody_is_cut(daemon, sink):
    with Sender(daemon.place) as busy, ExitStack() as guests:
        busy.opens(sink.to)
        busy.begins()
        may_open(daemon, 2)
        first, _ = (guests.enter_context(Sender(daemon.place)) for _ in range(2))
        third = guests.enter_context(stranger(daemon, HERE))
        third.say(third.client.hello())
        assert daemon.log.wait_for("no descriptor left").endswith("what=descriptors")
        busy.sends(b"as if nothing were")
        busy.is_granted()
        hears_nothing_yet(third)
        first.leaves()
        proves_itself(third)
        busy.parts()
    assert set(sink.kept) == {b"as if nothing were"}


def test_where_no_file_is_left_a_dial_fails_and_the_next_one_does_not(daemon, sink):
    with Sender(daemon.place) as mta, Sender(daemon.place) as other:
        may_open(daemon, 0)
        mta.ask_for(sink.to)
        with pytest.raises(Over, match="overload"):
            mta.hear()
        other.leaves()
        mta.delivers(sink.to, b"once there is one")
    assert set(sink.kept) == {b"once there is one"}


def test_a_proxy_at_its_limit_loses_no_message(daemon, sink):
    may_open(daemon, 5)  # four MTAs, and one remote at a time
    with Load(daemon.place, sink, patient=True) as load:
        load.goes_on(10)
    assert daemon.log.wait_for("kind=overload")
    assert len(daemon.log.having("no descriptor left")) < 2  # however often it was so
