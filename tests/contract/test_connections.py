"""What the edge promises about connections: how they begin, how they are heard, and how they end."""

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from tools.script import PATIENCE_S, PROMPTER, Stage, prepared, read_all, reset

from gaproxy.proto.actions import Adopt, Close, Connect, End, Hear, Hold, Listener, Prepare, ReadConfig, Relay, Send
from gaproxy.proto.events import (
    Accepted,
    Closed,
    ConfigRead,
    Connected,
    ConnectFailed,
    Elapsed,
    Ended,
    Exhausted,
    Received,
)

NOWHERE = "192.0.2.1"  # RFC 5737: it is nobody's


def test_who_came_in_is_odd_and_brings_entropy(stage: Stage) -> None:
    _, first = stage.knock()
    stage.keep(socket.create_connection(("127.0.0.1", stage.edge.port("door")), PATIENCE_S))
    second = stage.next()
    assert (first, second.id) == (3, 5)
    assert len(second.entropy) == 48
    assert second.entropy != bytes(48)


def test_sockets_on_both_sides_are_set_alike(stage: Stage) -> None:
    stage.knock()
    stage.call(2)
    for link in stage.edge.links.values():
        assert link.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert link.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 300_000
        assert not link.sock.getblocking()


def test_a_connect_is_answered_with_the_source_it_asked_for(stage: Stage) -> None:
    listener, address = stage.listen()
    stage.order(Connect(2, "127.0.0.7", address))
    peer, name = listener.accept()
    stage.keep(peer)
    assert name[0] == "127.0.0.7"
    stage.hears(Connected(2, name))


def test_a_connect_over_ipv6_is_answered_with_its_source(stage: Stage) -> None:
    listener = stage.keep(socket.create_server(("::1", 0), family=socket.AF_INET6))
    stage.order(Connect(2, "0:0::1", listener.getsockname()[:2]))
    peer, name = listener.accept()
    stage.keep(peer)
    stage.hears(Connected(2, name[:2]))


def test_a_listener_on_ipv6_does_not_take_ipv4(stage: Stage) -> None:
    stage.order(Prepare((PROMPTER, Listener("six", ("::", 0)))), Adopt())
    stage.hears(prepared())
    with suppress(ConnectionRefusedError):  # somebody else may listen there
        stage.keep(socket.create_connection(("127.0.0.1", stage.edge.port("six")), PATIENCE_S))
    assert stage.is_quiet()
    peer = stage.keep(socket.create_connection(("::1", stage.edge.port("six")), PATIENCE_S))
    accepted = stage.next()
    assert (accepted.listener, accepted.client) == ("six", peer.getsockname()[:2])


def test_who_greets_and_resets_before_we_look_was_there(stage: Stage, tmp_path: Path) -> None:
    listener, address = stage.listen()
    busy = tmp_path / "busy"
    os.mkfifo(busy)
    stage.order(Connect(2, "127.0.0.7", address), ReadConfig(str(busy)))
    with busy.open("w"):  # so long the edge looks at nothing else
        peer, name = listener.accept()
        peer.sendall(b"220 hello\r\n")
        reset(peer)
    stage.hears(ConfigRead(""), Connected(2, name), Received(2, b"220 hello\r\n"), Ended(2))


def test_nobody_there_is_refused(stage: Stage) -> None:
    listener, address = stage.listen()
    listener.close()
    stage.order(Connect(2, "127.0.0.1", address))
    stage.hears(ConnectFailed(2, "refused", os.strerror(errno.ECONNREFUSED)))
    assert stage.is_quiet()


@pytest.mark.parametrize(
    ("source", "destination", "kind"),
    [
        (NOWHERE, "127.0.0.2", "source_unavailable"),
        ("127.0.0.1", "::1", "source_unavailable"),
        ("localhost", "127.0.0.2", "source_unavailable"),
        ("", "127.0.0.2", "source_unavailable"),
        ("0.0.0.0", "127.0.0.2", "source_unavailable"),
        ("127.0.0.1", "localhost", "unreachable"),
        ("127.0.0.1", "255.255.255.255", "unreachable"),
    ],
)
def test_what_cannot_be_dialled_as_asked_is_not_dialled_otherwise(
    stage: Stage, source: str, destination: str, kind: str
) -> None:
    _, (_, port) = stage.listen()
    stage.order(Connect(2, source, (destination, port)))
    failed = stage.next()
    assert (failed.id, failed.kind) == (2, kind)
    assert failed.text
    assert stage.is_quiet()


def test_a_close_while_it_is_dialled_is_answered_once(stage: Stage) -> None:
    stage.order(Connect(2, "127.0.0.1", stage.black_hole()))
    assert stage.is_quiet()
    stage.order(Close(2), Close(2))
    stage.hears(ConnectFailed(2, "called_off", "closed while it was being dialled"))
    assert stage.is_quiet()


def test_a_close_in_the_same_step_is_answered_once(stage: Stage) -> None:
    _, address = stage.listen()
    stage.order(Connect(2, "127.0.0.1", address), Close(2))
    assert stage.next().kind == "called_off"
    assert stage.is_quiet()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No descriptor is to be had meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_a_descriptor_a_connect_fails_as_overload(stage: Stage) -> None:
    _, address = stage.listen()
    with no_descriptors():
        stage.order(Connect(2, "127.0.0.1", address))
        stage.hears(ConnectFailed(2, "overload", os.strerror(errno.EMFILE)))


def test_without_a_descriptor_accepting_pauses_until_one_is_free(stage: Stage) -> None:
    peer, id = stage.knock()
    with ExitStack() as shortage:
        with stage.stalled():
            waiting = stage.keep(socket.create_connection(("127.0.0.1", stage.edge.port("door")), PATIENCE_S))
            shortage.enter_context(no_descriptors())
        stage.hears(Exhausted("descriptors"))
        assert stage.is_quiet()
    assert stage.is_quiet()
    peer.close()
    stage.hears(Ended(id))
    stage.order(Close(id))
    stage.hears(Closed(id, "closed"))
    accepted = stage.next()
    assert isinstance(accepted, Accepted)
    assert accepted.client == waiting.getsockname()


def test_accepting_is_tried_again_when_the_alarm_rings_for_others_may_have_had_the_last_descriptor(
    stage: Stage,
) -> None:
    def wait() -> list[object]:
        stage.script.next_deadline = stage.script.now + 1_000_000
        return []

    with ExitStack() as shortage:
        with stage.stalled():
            waiting = stage.keep(socket.create_connection(("127.0.0.1", stage.edge.port("door")), PATIENCE_S))
            shortage.enter_context(no_descriptors())
        stage.hears(Exhausted("descriptors"))
        stage.within(wait)
        stage.hears(Exhausted("descriptors"), Elapsed())
    assert stage.is_quiet()
    stage.within(wait)
    accepted = stage.next()
    assert isinstance(accepted, Accepted)
    assert accepted.client == waiting.getsockname()
    stage.hears(Elapsed())


def test_a_descriptor_that_is_given_out_again_does_not_hear_what_its_former_owner_was_owed(stage: Stage) -> None:
    address = stage.black_hole()
    one, first = stage.knock()
    other, second = stage.knock()
    given_again = stage.edge.links[second].fd
    holes = [os.open(os.devnull, os.O_RDONLY)]
    while holes[-1] < given_again:
        holes.append(os.open(os.devnull, os.O_RDONLY))
    stage.script.answers[Received] = lambda event: [Close(second), Close(second), Connect(2, "127.0.0.1", address)]
    with stage.stalled():  # so that both are ready in one turn
        one.sendall(b"now")
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        os.dup2(holes[-1], other.fileno())  # a reset, and its number is not free
    stage.hears(Received(first, b"now"), Closed(second, "closed"))
    assert stage.edge.dials[2].fd == given_again
    assert stage.is_quiet()
    for hole in holes:
        os.close(hole)


def test_bytes_and_then_the_end(stage: Stage) -> None:
    peer, id = stage.knock()
    peer.sendall(b"QUIT\r\n")
    peer.shutdown(socket.SHUT_WR)
    stage.hears(Received(id, b"QUIT\r\n"), Ended(id))
    stage.order(Send(id, b"221 bye\r\n"))
    assert peer.recv(100) == b"221 bye\r\n"
    assert stage.is_quiet()
    stage.order(End(id))
    assert peer.recv(100) == b""
    stage.hears(Closed(id, "closed"))


def test_our_end_comes_behind_all_that_was_sent_and_the_other_direction_lives(stage: Stage) -> None:
    peer, id = stage.knock()
    much = bytes(range(256)) * 40_000
    stage.order(Send(id, much), End(id), Send(id, b"never"))
    assert read_all(peer) == much
    peer.sendall(b"still here")
    stage.hears(Received(id, b"still here"))
    peer.close()
    stage.hears(Ended(id), Closed(id, "closed"))
    assert stage.is_quiet()


def test_data_then_a_reset(stage: Stage) -> None:
    peer, id = stage.knock()
    with stage.stalled():
        peer.sendall(b"last words")
        reset(peer)
    stage.hears(Received(id, b"last words"), Closed(id, "reset"))
    assert stage.is_quiet()


def test_many_resets_leave_nothing_behind(stage: Stage) -> None:
    for _ in range(50):
        peer, id = stage.knock()
        peer.sendall(b"x")
        reset(peer)
        heard = [stage.next()]
        while not isinstance(heard[-1], Closed):
            heard.append(stage.next())
        assert heard[-1] == Closed(id, "reset")
    assert list(stage.edge.links) == [1]


def test_what_the_peer_said_before_it_reset_us_is_heard_though_a_send_failed_first(stage: Stage) -> None:
    peer, id = stage.knock()
    with stage.stalled():
        stage.order(Send(id, b"EHLO us\r\n"), Send(id, b"MAIL"))  # is taken first
        peer.sendall(b"421 too many\r\n")
        reset(peer)
    stage.hears(Received(id, b"421 too many\r\n"), Closed(id, "reset"))


def test_a_reset_behind_the_peers_end_is_heard_once_we_send(stage: Stage) -> None:
    peer, id = stage.knock()
    peer.shutdown(socket.SHUT_WR)
    stage.hears(Ended(id))
    reset(peer)
    stage.order(Send(id, b"is anybody there?"))
    stage.hears(Closed(id, "reset"))
    assert stage.is_quiet()


def test_who_is_held_and_has_reset_us_is_closed_at_once(stage: Stage) -> None:
    peer, id = stage.knock()
    stage.order(Hold(id))
    stage.settle()
    peer.sendall(b"unheard")
    reset(peer)
    stage.order(Send(id, b"421 too much\r\n"))
    assert stage.is_quiet()
    stage.order(Close(id))
    stage.hears(Closed(id, "reset"))


def test_an_end_into_a_reset_is_closed(stage: Stage) -> None:
    peer, id = stage.knock()
    stage.order(Hold(id))
    stage.settle()
    reset(peer)
    stage.order(End(id), Hear(id))
    stage.hears(Closed(id, "reset"))


def test_a_farewell_with_unread_input_is_not_lost(stage: Stage) -> None:
    peer, id = stage.knock()
    stage.order(Hold(id))
    stage.settle()
    peer.sendall(bytes(100_000))
    stage.order(Send(id, b"421 4.3.2 shutting down\r\n"), Close(id))
    assert read_all(peer) == b"421 4.3.2 shutting down\r\n"
    peer.sendall(b"what comes now is dropped")
    assert stage.is_quiet()
    peer.close()
    stage.hears(Closed(id, "closed"))


def test_a_close_flushes_first(stage: Stage) -> None:
    peer, id = stage.knock()
    much = bytes(range(256)) * 40_000
    stage.order(Send(id, much), Close(id))
    assert read_all(peer) == much
    assert stage.is_quiet()
    peer.close()
    stage.hears(Closed(id, "closed"))


def test_a_close_behind_the_peers_end_waits_for_nothing_but_the_flush(stage: Stage) -> None:
    peer, id = stage.knock()
    peer.shutdown(socket.SHUT_WR)
    stage.hears(Ended(id))
    much = bytes(range(256)) * 40_000
    stage.order(Send(id, much), Close(id))
    assert read_all(peer) == much
    stage.hears(Closed(id, "closed"))


def test_a_second_close_abandons_at_once(stage: Stage) -> None:
    peer, id = stage.knock()
    stage.order(Send(id, bytes(30_000_000)), Close(id))
    assert stage.is_quiet()
    stage.order(Close(id), Close(id), Send(id, b"nobody"))
    stage.hears(Closed(id, "closed"))
    assert stage.is_quiet()
    assert len(read_all(peer)) < 30_000_000


def test_a_reset_instead_of_a_farewell_is_told_as_such(stage: Stage) -> None:
    peer, id = stage.knock()
    stage.order(Send(id, bytes(30_000_000)), Close(id))
    stage.settle()
    reset(peer)
    stage.hears(Closed(id, "reset"))
    assert stage.is_quiet()


def test_who_is_held_is_not_read_until_he_is_heard_again(stage: Stage) -> None:
    peer, id = stage.knock()
    stage.order(Hold(id))
    stage.settle()
    peer.sendall(b"patience")
    peer.shutdown(socket.SHUT_WR)
    assert stage.is_quiet()
    stage.order(Hear(id))
    stage.hears(Received(id, b"patience"), Ended(id))


def test_orders_to_an_id_that_is_gone_are_ignored(stage: Stage) -> None:
    peer, id = stage.knock()
    peer.close()
    stage.hears(Ended(id))
    stage.order(Close(id))
    stage.hears(Closed(id, "closed"))
    stage.order(Send(id, b"x"), Relay(id, None), Hold(id), Hear(id), End(id), Close(id))
    assert stage.is_quiet()


def test_a_failed_connect_is_told_behind_the_orders_that_stand_with_it(stage: Stage) -> None:
    peer, id = stage.knock()
    stage.script.answers[ConnectFailed] = lambda event: [Send(id, b"second")]
    stage.order(Connect(2, NOWHERE, ("127.0.0.2", 25)), Send(id, b"first "))
    assert stage.next().kind == "source_unavailable"
    stage.order(End(id))
    assert read_all(peer) == b"first second"
