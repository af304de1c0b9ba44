"""SIGHUP while mail is under way: nothing is lost, nobody is refused, and it is all or nothing."""

import signal
import socket

import pytest
from ops.daemon import configuration
from ops.traffic import Load, Over, Sender
from tools.real import DOOR_PORT, SECRET, WAIT_S, fresh_address

from gaproxy.client import Ponged

OTHER_SECRET = "another-secret-of-the-tests-and-no-other"
MESSAGES = 50


def is_served(mta: Sender) -> None:
    """The connection lives, between two sessions."""
    mta.say(mta.client.ping(7))
    assert mta.hear() == Ponged("7")


def is_refused(place: tuple[str, int]) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, WAIT_S)


def another_place() -> tuple[str, int]:
    return fresh_address(), DOOR_PORT


# The storm.


def test_a_storm_of_reloads_costs_no_message_and_no_listener(daemon, sink):
    inode, new = daemon.inode(daemon.place), another_place()
    with Load(daemon.place, sink, after_each=daemon.hang_up) as load:
        load.goes_on(MESSAGES)
        for _ in range(100):
            daemon.hang_up()
        told = daemon.reload(configuration(daemon.place, new), f",{new[0]}:{new[1]}")
    assert "configuration adopted" in told  # of what the file said when the last signal came
    assert len(load.granted) >= 4 * MESSAGES
    assert daemon.inode(daemon.place) == inode
    assert daemon.log.having("refused") == []


def test_who_knocks_at_the_moment_of_a_reload_is_let_in(daemon):
    daemon.process.send_signal(signal.SIGSTOP)
    mta = Sender(daemon.place)  # waits in the kernel
    before = len(daemon.log.lines)
    daemon.hang_up()
    daemon.process.send_signal(signal.SIGCONT)
    with mta:
        daemon.log.wait_for("configuration adopted", before)
        is_served(mta)


# What cannot be had.


def test_a_bad_file_changes_nothing_and_every_problem_is_told_with_its_place(daemon, sink):
    bad = f'listn "x"\nallow_from 10.0.0.0/33; log_verbose maybe\nauth_shared_secret "{OTHER_SECRET}"\n'
    with Load(daemon.place, sink):
        daemon.reload(bad, f'{daemon.path}:1:1: found "listn"')
        daemon.log.wait_for(f"{daemon.path}:2:12: allow_from: ")
        daemon.log.wait_for(f"{daemon.path}:2:37: log_verbose: ")
        daemon.log.wait_for(f"{daemon.path}:1:1: listen: is missing")
        with Sender(daemon.place) as mta:
            is_served(mta)
    assert len(daemon.log.having("configuration refused")) == 4
    daemon.reload(configuration(daemon.place))


def test_a_file_that_is_gone_changes_nothing(daemon):
    daemon.path.unlink()
    daemon.hang_up()
    told = daemon.log.wait_for("configuration refused")
    assert told.endswith(f"cannot read {daemon.path}: No such file or directory")
    with Sender(daemon.place) as mta:
        is_served(mta)


def test_where_one_listener_cannot_be_bound_nothing_of_the_file_holds(daemon, sink):
    new, taken = another_place(), another_place()
    wanted = configuration(daemon.place, new, taken, secret=OTHER_SECRET, more="allow_from 127.255.0.1")
    with Load(daemon.place, sink), socket.create_server(taken):
        told = daemon.reload(wanted, "configuration refused")
        assert f"cannot listen at {taken[0]}:{taken[1]}: Address already in use" in told
        is_refused(new)
        with Sender(daemon.place) as mta:  # with the old secret, from where the new file lets nobody in
            mta.delivers(sink.to, b"as before")
        sink.kept.pop(b"as before")
    daemon.reload(wanted)
    with Sender(new, OTHER_SECRET, client="127.255.0.1") as mta:
        is_served(mta)


# What comes, and what goes.


def test_a_listener_that_comes_serves_and_one_that_goes_lets_its_sessions_finish(daemon, sink):
    new = another_place()
    with Load(daemon.place, sink), Sender(daemon.place) as stays:
        daemon.reload(configuration(daemon.place, new))
        with Sender(new) as idle, Sender(new) as busy:
            busy.opens(sink.to)
            busy.begins()
            daemon.reload(configuration(daemon.place))
            is_refused(new)
            is_sent_away(idle)
            busy.sends(b"sent when its listener was gone")
            busy.is_granted()
            busy.begins()
            busy.sends(b"and another one")
            busy.is_granted()
            busy.parts()
            is_sent_away(busy)
        is_served(stays)
        for message in (b"sent when its listener was gone", b"and another one"):
            assert sink.kept.pop(message) == 1


def is_sent_away(mta: Sender) -> None:
    with pytest.raises(Over, match=r"GoneAway.*reload"):
        mta.hear()
    assert mta.at_end()


def test_a_secret_that_changes_holds_for_the_next_handshake(daemon):
    place = daemon.place
    with Sender(place) as first:
        previous = configuration(place, secret=OTHER_SECRET, more=f'auth_shared_secret_previous "{SECRET}"')
        daemon.reload(previous)
        with Sender(place) as old, Sender(place, OTHER_SECRET) as new:
            assert daemon.log.wait_for(f"session({old.session}): authenticated").endswith("secret=previous")
            assert daemon.log.wait_for(f"session({new.session}): authenticated").endswith("secret=current")
            daemon.reload(configuration(place, secret=OTHER_SECRET))
            with pytest.raises(Over, match="auth_failed"), Sender(place):
                pass
            with Sender(place, OTHER_SECRET) as mta:
                is_served(mta)
            is_served(old)
            is_served(new)
        is_served(first)


def test_a_changed_allow_from_holds_for_the_next_connection(daemon, sink):
    with Sender(daemon.place) as inside:
        inside.opens(sink.to)
        daemon.reload(configuration(daemon.place, more="allow_from 127.0.0.5"))
        with pytest.raises(Over), Sender(daemon.place):
            pass
        assert daemon.log.wait_for("reason=allow_from").endswith("refused client=127.0.0.1 reason=allow_from")
        with Sender(daemon.place, client="127.0.0.5") as mta:
            is_served(mta)
        inside.begins()
        inside.sends(b"from a client that would not get in any more")
        inside.is_granted()
        inside.parts()
        is_served(inside)


def test_lowered_limits_let_running_work_finish(daemon, sink):
    with Sender(daemon.place) as one, Sender(daemon.place) as two:
        one.opens(sink.to)
        two.opens(sink.to)
        daemon.reload(configuration(daemon.place, more="connections { max 1 }"))
        with pytest.raises(Over), Sender(daemon.place):
            pass
        for mta in (one, two):
            mta.begins()
            mta.sends(mta.session.encode())
            mta.is_granted()
            mta.parts()
            is_served(mta)
    assert len(sink.kept) == 2
    assert daemon.log.wait_for("reason=connections_max")
