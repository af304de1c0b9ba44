"""What the edge promises about a relay: bytes go from one link to another without the machine, until their end."""

import socket
import threading
from collections.abc import Callable

import pytest
from tools.real import narrow
from tools.script import Stage, read_all, reset

from gaproxy.proto.actions import Close, End, Relay, Send
from gaproxy.proto.events import Closed, Ended, Received, Relayed, Relaying

BODY = b"Subject: a dot is doubled\r\n\r\n..\r\n.leading\r\nlast line\r\n.\r\n"


class Clock:
    """A clock that stands still until it is put forward."""

    now = 1

    def __call__(self) -> int:
        return self.now


def test_a_body_goes_over_without_the_machine(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    for byte in BODY[:-1]:
        mta.sendall(bytes([byte]))
    mta.sendall(BODY[-1:] + b"QUIT\r\n")
    stage.hears(Relayed(near, len(BODY), b"QUIT\r\n", "dot"))
    stage.order(End(2))
    assert read_all(mx) == BODY
    mta.sendall(b"RSET\r\n")
    stage.hears(Received(near, b"RSET\r\n"))


def test_one_relay_follows_the_other_on_the_same_links(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.script.answers[Relayed] = lambda event: [Send(2, event.rest)]
    for _ in range(3):
        stage.order(Relay(near, 2))
        stage.settle()
        mta.sendall(BODY)
        stage.hears(Relayed(near, len(BODY), b"", "dot"))
    stage.order(End(2))
    assert read_all(mx) == BODY * 3


def test_a_large_body_arrives_whole_at_a_slow_remote(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    for sock in (mta, mx, stage.edge.links[near].sock, stage.edge.links[2].sock):
        narrow(sock)
    sent = stage.fill(mta, near)  # it waits: nobody reads
    large = bytes(range(14, 256)) * 40_000 + b"\r\n.\r\n"
    assert sent < len(large)
    sender = threading.Thread(target=mta.sendall, args=[large])
    sender.start()
    arrived = bytearray()
    while len(arrived) < sent + len(large):
        arrived += mx.recv(100_000)
    sender.join()
    assert arrived == bytes(sent) + large
    stage.hears(Relayed(near, sent + len(large), b"", "dot"))


def test_nowhere_swallows(stage: Stage) -> None:
    mta, near = stage.knock()
    stage.order(Relay(near, None))
    mta.sendall(BODY + b"NOOP\r\n")
    stage.hears(Relayed(near, len(BODY), b"NOOP\r\n", "dot"))


def test_when_the_remote_goes_bytes_are_dropped_and_the_scan_goes_on(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    mta.sendall(b"half of ")
    assert mx.recv(100) == b"half of "
    reset(mx)
    stage.hears(Closed(2, "reset"))
    mta.sendall(b"it\r\n.\r\n")
    stage.hears(Relayed(near, len(b"half of it\r\n.\r\n"), b"", "dot"))


def test_a_remote_that_is_gone_before_is_nowhere(stage: Stage) -> None:
    mta, near = stage.knock()
    stage.order(Relay(near, 2))
    mta.sendall(BODY)
    stage.hears(Relayed(near, len(BODY), b"", "dot"))


def test_an_end_in_the_middle_cuts(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    mta.sendall(b"half of it\r\n.")
    mta.close()
    stage.hears(Relayed(near, 13, b"", "cut"), Ended(near))
    stage.order(End(2))
    assert read_all(mx) == b"half of it"


def test_an_end_that_was_there_before_cuts_at_once(stage: Stage) -> None:
    mta, near = stage.knock()
    mta.shutdown(socket.SHUT_WR)
    stage.hears(Ended(near))
    stage.order(Relay(near, None), Relay(near, None, "end"))
    stage.hears(Relayed(near, 0, b"", "cut"), Relayed(near, 0, b"", "end"))
    assert stage.is_quiet()


def test_a_reset_in_the_middle_is_closed_and_not_relayed(stage: Stage) -> None:
    mta, near = stage.knock()
    stage.call(2)
    stage.order(Relay(near, 2))
    stage.settle()
    reset(mta)
    stage.hears(Closed(near, "reset"))
    assert stage.is_quiet()


def test_of_bytes_that_nobody_scans_a_reset_leaves_their_number_both_ways(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2, "end"), Relay(2, near, "end"))
    mta.sendall(b"12345")
    assert mx.recv(5) == b"12345"
    mx.sendall(b"678")
    assert mta.recv(3) == b"678"
    reset(mta)
    stage.hears(Relaying(2, 3, 0), Relaying(near, 5, 0), Closed(near, "reset"))
    stage.order(End(2))
    assert read_all(mx) == b""


def test_a_close_in_the_middle_is_closed_and_not_relayed(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    stage.settle()
    stage.order(Close(near))
    assert read_all(mta) == b""
    mta.sendall(BODY)
    mta.close()
    stage.hears(Closed(near, "closed"))
    stage.order(Send(2, b"the remote is free again"), End(2))
    assert read_all(mx) == b"the remote is free again"


def test_both_ways_until_their_ends(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2, "end"), Relay(2, near, "end"))
    mta.sendall(BODY * 2)
    mta.shutdown(socket.SHUT_WR)
    stage.hears(Relayed(near, len(BODY) * 2, b"", "end"), Ended(near))
    stage.order(End(2))
    assert read_all(mx) == BODY * 2
    mx.sendall(b"and back")
    mx.close()
    stage.hears(Relayed(2, 8, b"", "end"), Ended(2), Closed(2, "closed"))
    stage.order(End(near))
    assert read_all(mta) == b"and back"
    stage.hears(Closed(near, "closed"))


def test_a_look_alike_is_told_at_once_and_never_arrives(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    stage.script.answers[Relaying] = lambda event: [Close(2)]
    mta.sendall(b"one\r\n")
    assert mx.recv(100) == b"one"
    mta.sendall(b"two\n.\nMAIL FROM:<evil>\r\n")
    looks_alike = stage.next()
    assert (looks_alike.id, looks_alike.at) == (near, b"one\r\ntwo\n.\n".index(b"\n.\n"))
    assert b"\n.\n" not in read_all(mx)
    mx.close()
    stage.hears(Closed(2, "closed"))
    assert stage.is_quiet()
    mta.sendall(b"DATA\r\nthree\r\n.\r\nQUIT\r\n")
    size = len(b"one\r\ntwo\n.\nMAIL FROM:<evil>\r\nDATA\r\nthree\r\n.\r\n")
    stage.hears(Relayed(near, size, b"QUIT\r\n", "smuggled", looks_alike.at))


def test_a_look_alike_and_the_end_in_one_packet_are_told_one_after_the_other(stage: Stage) -> None:
    mta, near = stage.knock()
    stage.call(2)
    stage.order(Relay(near, 2))
    stage.settle()
    mta.sendall(b"one\n.\ntwo\r\n.\r\nRSET\r\n")
    looks_alike, relayed = stage.next(), stage.next()
    assert (looks_alike.id, looks_alike.at) == (near, 3)
    assert relayed == Relayed(near, len(b"one\n.\ntwo\r\n.\r\n"), b"RSET\r\n", "smuggled", 3)
    assert stage.is_quiet()


def test_a_relay_that_moves_is_told_every_ten_seconds(raise_curtain: Callable[..., Stage]) -> None:
    clock = Clock()
    stage = raise_curtain(clock=clock)
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    mta.sendall(b"1234")
    assert mx.recv(4) == b"1234"
    clock.now += 10_000_000_000 - 1
    mta.sendall(b"5678")
    assert mx.recv(4) == b"5678"
    assert stage.is_quiet()
    clock.now += 1
    mta.sendall(b"90")
    assert mx.recv(2) == b"90"
    stage.hears(Relaying(near, 10, 0))
    mta.sendall(b"90")
    assert mx.recv(2) == b"90"
    assert stage.is_quiet()
    clock.now += 10_000_000_000
    assert stage.is_quiet()  # it does not move


def test_a_relay_that_only_drains_is_told_too(raise_curtain: Callable[..., Stage]) -> None:
    clock = Clock()
    stage = raise_curtain(clock=clock)
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    stage.fill(mta, near)
    taken, unsent = stage.edge.links[near].passage.size, len(stage.edge.links[2].outbox)
    assert unsent > 65536
    clock.now += 10_000_000_000
    while stage.is_quiet():
        mx.recv(1_000_000)
    told = stage.next()
    assert told == Relaying(near, taken, told.unsent)
    assert told.unsent < unsent


# Pressure.


def test_a_feeder_is_paused_while_the_outbox_it_fills_is_too_full(stage: Stage) -> None:
    mta, near = stage.knock()
    stage.call(2)
    stage.order(Relay(near, 2))
    stage.fill(mta, near)
    outbox = stage.edge.links[2].outbox
    assert 65536 < len(outbox) <= 65536 + 131072
    assert stage.is_quiet()


def test_a_remote_that_is_fed_is_heard_though_it_reads_nothing(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    stage.fill(mta, near)
    mx.sendall(b"421 4.7.0 too much\r\n")
    stage.hears(Received(2, b"421 4.7.0 too much\r\n"))


def test_close_on_a_remote_that_is_fed_drops_its_outbox_and_frees_its_feeder(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    sent = stage.fill(mta, near)
    with stage.stalled():
        forwarded = stage.edge.links[near].passage.size - len(stage.edge.links[2].outbox)
        stage.order(Close(2))
    mta.sendall(b"\r\n.\r\nRSET\r\n")
    stage.hears(Relayed(near, sent + 5, b"RSET\r\n", "dot"))
    assert len(read_all(mx)) == forwarded
    mx.close()
    stage.hears(Closed(2, "closed"))


def test_an_opaque_relay_that_is_closed_is_flushed_all_the_same(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2, "end"))
    stage.fill(mta, near)
    with stage.stalled():
        moved = stage.edge.links[near].passage.size
        stage.order(Close(2))
    assert len(read_all(mx)) == moved


def test_the_last_of_a_body_is_still_a_body_to_a_remote_that_says_421(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    while len(stage.edge.links[2].outbox) < 20_000:
        mta.sendall(bytes(4096))
        stage.settle()
    with stage.stalled():
        mta.sendall(bytes(50_000) + b"\r\n.\r\n")
    assert stage.next().outcome == "dot"
    assert len(stage.edge.links[2].outbox) > 65536
    mx.sendall(b"421 4.7.0 too much\r\n")
    stage.hears(Received(2, b"421 4.7.0 too much\r\n"))


@pytest.mark.parametrize("until", ["dot", "end"])
def test_a_paused_feeder_goes_on_when_the_remote_reads(stage: Stage, until: str) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2, until))
    sent = stage.fill(mta, near)
    mta.shutdown(socket.SHUT_WR)
    heard = 0
    while heard < sent:
        heard += len(mx.recv(1_000_000))
    outcome = {"dot": "cut", "end": "end"}[until]
    stage.hears(Relayed(near, sent, b"", outcome), Ended(near))


def test_a_remote_whose_body_has_left_is_a_link_like_any_other(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    mta.sendall(BODY)
    stage.hears(Relayed(near, len(BODY), b"", "dot"))
    stage.script.answers[Received] = lambda event: [Send(2, event.data)]
    stage.fill(mx, 2)
    assert 65536 < len(stage.edge.links[2].outbox) <= 65536 + 16384


def test_a_link_that_is_closing_neither_relays_nor_is_relayed_to(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Send(2, bytes(30_000_000)), Close(2), Relay(near, 2), Relay(2, near))
    mta.sendall(BODY)
    mx.sendall(BODY)
    stage.hears(Relayed(near, len(BODY), b"", "dot"))
    assert read_all(mx) == bytes(30_000_000)
    mx.close()
    stage.hears(Closed(2, "closed"))
    assert stage.is_quiet()


def test_a_remote_that_resets_while_it_is_fed_frees_its_feeder(stage: Stage) -> None:
    mta, near = stage.knock()
    mx = stage.call(2)
    stage.order(Relay(near, 2))
    sent = stage.fill(mta, near)
    reset(mx)
    stage.hears(Closed(2, "reset"))
    mta.sendall(b"\r\n.\r\n")
    stage.hears(Relayed(near, sent + 5, b"", "dot"))


def test_any_other_link_whose_outbox_is_too_full_is_not_read(stage: Stage) -> None:
    peer, id = stage.knock()
    stage.script.answers[Received] = lambda event: [Send(id, event.data * 3)]
    sent = stage.fill(peer, id)
    assert 65536 < len(stage.edge.links[id].outbox) <= 65536 + 3 * 16384
    heard = 0
    while heard < 3 * sent:
        heard += len(peer.recv(1_000_000))
    stage.settle()
    assert stage.reads(id)
