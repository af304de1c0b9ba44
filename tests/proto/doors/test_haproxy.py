"""The PROXY door up to the dial: headers, health checks, and who may go where. 1, 3 … came in; 2, 4 … were called."""

import pytest
from tools.every_split import every_split
from tools.haproxy_talk import (
    DIAL,
    EHLO,
    HEADER,
    LOCAL,
    OFFERS_TLS,
    PLACE,
    SHOWN,
    V2,
    accepted,
    config,
    dialling,
    logged,
    stranger,
    told,
)
from tools.talk import DATA, GOODBYE, GREETING, MAIL, PIPELINING, QUIT, RCPT, SESSION, Talk, connected, story

from gaproxy.proto.actions import Close, Connect, Hear, Hold, Relay, Send
from gaproxy.proto.doors.haproxy_words import V2_SIGNATURE
from gaproxy.proto.events import Closed, ConfigRead, ConnectFailed, Ended, Prepared, Received, Relayed, Signalled

# From the header to the QUIT.


@pytest.mark.parametrize("header", [HEADER, V2])
def test_the_source_of_the_header_is_where_it_leaves_from_and_its_destination_is_the_remote(header):
    talk = stranger()
    talk.tell(Received(1, header), DIAL)
    talk.tell(connected())
    talk.tell(Received(2, GREETING), Send(1, GREETING))
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    talk.tell(Received(2, PIPELINING), Send(1, PIPELINING))
    talk.tell(Received(1, MAIL + RCPT + DATA), Send(2, MAIL + RCPT + DATA))
    talk.tell(Received(2, b"250 a\r\n250 b\r\n354 c\r\n"), Send(1, b"250 a\r\n250 b\r\n354 c\r\n"), Relay(1, 2))
    talk.tell(Relayed(1, 100, b"", "dot"))
    talk.tell(Received(2, b"250 ok\r\n"), Send(1, b"250 ok\r\n"))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Close(1), Send(2, QUIT))
    assert logged(talk) == (
        f"smtp: session({SESSION}): end client=127.0.0.9:40112 source=127.0.0.2:40113 remote=192.0.2.5:25 "
        "tls=none reused=no uses=1 messages=1 bytes=100 seconds=0.000 reason=quit"
    )
    talk.tell(Received(1, b"NOOP\r\n"))
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))
    talk.tell(Closed(1, "closed"))
    talk.tell(Closed(2, "closed"))
    assert talk.proxy.seating.seats == {}


def test_an_ipv6_pair_is_served_as_well():
    talk = stranger()
    talk.tell(Received(1, b"PROXY TCP6 ::1 2001:db8::5 0 25\r\n"), Connect(2, "::1", ("2001:db8::5", 25)))
    talk.tell(
        ConnectFailed(2, "refused", "Connection refused"),
        Send(1, told("refused", "Connection refused", "4.4.1", "[2001:db8::5]:25 from ::1: ")),
        Close(1),
    )


@pytest.mark.parametrize("said", [HEADER + EHLO, V2 + EHLO])
def test_in_any_pieces_the_same_is_heard_and_the_same_is_done(said):
    def orders(pieces):
        talk = stranger()
        heard = [order for piece in pieces for order in talk.hear(Received(1, piece))]
        for fact in (connected(), Received(2, GREETING), Received(2, OFFERS_TLS)):
            heard += talk.hear(fact)
        return story(heard)

    expected = orders([said])
    assert expected[0] == {1: GREETING + SHOWN, 2: EHLO}
    splits = list(every_split(said, 1))
    assert len(splits) > len(said)
    assert all(orders(pieces) == expected for pieces in splits)


def test_what_the_mta_says_before_our_greeting_waits_and_is_not_read_beyond_4096_bytes():
    talk = dialling()
    talk.tell(Received(1, EHLO + b"NOOP\r\n" * 700), Hold(1))
    talk.tell(connected())
    talk.tell(Received(2, GREETING), Send(1, GREETING), Send(2, EHLO))
    assert Hear(1) in talk.hear(Received(2, PIPELINING))


# The header: what is none, what cannot be served, what does not come.


def test_what_is_no_header_is_closed_without_a_word():
    talk = stranger()
    talk.tell(Received(1, b"PROXY TCP4 127.1 192.0.2.5 0 25\r\n"), Close(1))
    assert logged(talk) == (
        f"listener({PLACE}): refused client=127.0.0.9:40112 reason=bad_header "
        "text=a version 1 header with what is no address of its family hint=a PROXY header"
    )


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (b"EHLO mta.example.com\r\n", "SMTP"),
        (b"GAPROXY/1 min=1 node=a", "the native protocol: listen serves it"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "TLS: listen serves it"),
        (b"\x05\x01\x00", "SOCKS5"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
    ],
)
def test_who_speaks_something_else_leaves_a_hint_once_a_minute(said, hint):
    talk = stranger()
    talk.tell(Received(1, said), Close(1))
    assert logged(talk) == (
        f"listener({PLACE}): refused client=127.0.0.9:40112 reason=bad_header text=no PROXY header hint={hint}"
    )
    count = len(talk.notes)
    talk.hear(accepted(3))
    talk.tell(Received(3, said), Close(3))
    assert len(talk.notes) == count


@pytest.mark.parametrize(
    ("header", "kind", "code", "words", "where"),
    [
        (b"PROXY UNKNOWN\r\n", "bad_request", "4.5.0", "the PROXY header says UNKNOWN, so it names no destination", ""),
        (
            V2_SIGNATURE + b"\x21\x00\x00\x00",
            "bad_request",
            "4.5.0",
            "the PROXY header says UNSPEC, so it names no destination",
            "",
        ),
        (
            b"PROXY TCP6 ::1 ::ffff:127.0.0.1 0 25\r\n",
            "denied",
            "4.7.1",
            "::ffff:7f00:1 is an IPv4 address in the disguise of IPv6",
            "[::ffff:7f00:1]:25 from ::1: ",
        ),
        (
            b"PROXY TCP6 ::ffff:127.0.0.2 ::ffff:127.0.0.1 0 25\r\n",
            "source_denied",
            "4.7.1",
            "::ffff:7f00:2 is an IPv4 address in the disguise of IPv6",
            "[::ffff:7f00:1]:25 from ::ffff:7f00:2: ",
        ),
    ],
)
def test_a_header_that_is_well_formed_and_cannot_be_served_is_answered(header, kind, code, words, where):
    talk = stranger()
    talk.tell(Received(1, header), Send(1, told(kind, words, code, where)), Close(1))
    assert logged(talk).startswith(f"smtp: session({SESSION}): failed kind={kind} client=127.0.0.9:40112 ")


def test_a_header_has_five_seconds_from_accept_and_whoever_said_nothing_is_told_so():
    talk = stranger()
    talk.wait(4.999)
    words = "no PROXY header came"
    talk.wait(0.001, Send(1, f"421 4.5.0 gaproxy: bad_request: {words}\r\n".encode()), Close(1))
    assert logged(talk) == f"listener({PLACE}): refused client=127.0.0.9:40112 reason=header_timeout"


def test_a_part_of_a_header_is_closed_in_silence_however_slowly_it_comes():
    talk = stranger()
    for byte in HEADER[:4]:
        talk.wait(1.0)
        talk.tell(Received(1, bytes([byte])))
    talk.wait(1.0, Close(1))


def test_the_time_for_a_header_can_be_set():
    talk = stranger(more="timeouts { header 1s }")
    talk.tell(Received(1, HEADER[:9]))
    talk.wait(0.999)
    talk.wait(0.001, Close(1))


def test_who_is_not_in_both_lists_is_closed_at_once():
    talk = Talk(config("allow_from 127.0.0.9"))
    talk.tell(accepted(1))
    talk.tell(accepted(3, ("127.0.0.10", 40112)), Close(3), Close(3))
    assert logged(talk) == f"listener({PLACE}): refused client=127.0.0.10 reason=allow_from"
    talk.tell(accepted(5, ("192.0.2.9", 40112)), Close(5), Close(5))


# Health checks.


def test_a_bare_connect_and_close_is_a_health_check():
    talk = stranger()
    talk.tell(Ended(1), Close(1))
    assert logged(talk) == f"listener({PLACE}): health client=127.0.0.9:40112 reason=connect"
    talk.tell(Closed(1, "closed"))
    talk.tell(accepted(3, ("127.0.0.9", 40114)))
    count = len(talk.notes)
    talk.tell(Closed(3, "reset"))
    assert len(talk.notes) == count
    talk.wait(60.0)
    assert talk.last_note("listener(127.0.0.1:5000): health") == (
        f"listener({PLACE}): health again client=127.0.0.9 reason=connect repeated=1"
    )


def test_who_leaves_within_its_header_is_no_health_check():
    talk = stranger()
    talk.tell(Received(1, HEADER[:9]))
    talk.tell(Ended(1), Close(1))
    assert logged(talk).endswith("reason=bad_header text=it ended within its header")


def test_local_is_greeted_and_nothing_is_dialled():
    talk = stranger()
    talk.tell(Received(1, LOCAL), Send(1, b"220 gaproxy\r\n"))
    assert logged(talk) == f"listener({PLACE}): health client=127.0.0.9:40112 reason=local"
    for verb in (b"EHLO a\r\n", b"HELO a\r\n", b"NOOP\r\n", b"RSET\r\n"):
        talk.tell(Received(1, verb), Send(1, b"250 gaproxy\r\n"))
    talk.tell(Received(1, MAIL), Send(1, b"502 5.5.1 gaproxy: a health check sends no mail\r\n"))
    talk.tell(Received(1, b"QUIT now\r\n"), Send(1, b"501 5.5.4 gaproxy: QUIT takes no argument\r\n"))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Close(1))


def test_a_health_check_has_five_seconds():
    talk = stranger()
    talk.hear(Received(1, LOCAL))
    talk.wait(4.0)
    talk.tell(Received(1, b"NOOP\r\n"), Send(1, b"250 gaproxy\r\n"))
    talk.wait(0.999)
    talk.wait(0.001, Close(1))


def test_a_health_check_may_end_as_it_likes():
    talk = stranger()
    talk.hear(Received(1, LOCAL))
    talk.tell(Ended(1), Close(1))


def test_a_health_check_that_sends_no_end_of_a_command_is_refused():
    talk = stranger()
    talk.hear(Received(1, LOCAL))
    words = b"500 5.5.2 gaproxy: a command longer than 4096 bytes\r\n"
    talk.tell(Received(1, b"A" * 4096), Send(1, words), Close(1))


def test_balancers_learn_that_we_are_closing():
    talk = stranger()
    talk.hear(Received(1, LOCAL))
    talk.tell(accepted(3))
    talk.hear(accepted(5))
    assert Close(1) in talk.hear(Signalled("TERM"))
    shutting_down = told("shutting_down", "the proxy is shutting down", "4.3.2", "")
    talk.tell(Received(3, LOCAL), Send(3, shutting_down), Close(3))
    talk.tell(Received(5, HEADER), Send(5, shutting_down), Close(5))


@pytest.mark.parametrize("listener", [PLACE, "0.0.0.0:5000"])
def test_a_health_check_of_haproxy_names_its_own_pair_and_is_no_failure(listener):
    talk = Talk(config().replace(PLACE, listener))
    talk.hear(accepted(listener=listener))
    pair = b"PROXY TCP4 127.0.0.9 127.0.0.1 40112 5000\r\n"
    words = told("denied", "the destination is a listener of this proxy", "4.7.1", "127.0.0.1:5000 from 127.0.0.9: ")
    talk.tell(Received(1, pair), Send(1, words), Close(1))
    assert logged(talk) == f"listener({listener}): health client=127.0.0.9:40112 reason=own_pair"


def test_a_header_that_names_its_own_pair_and_goes_on_is_a_loop():
    talk = stranger()
    assert talk.hear(Received(1, b"PROXY TCP4 127.0.0.9 127.0.0.1 40112 5000\r\n" + EHLO))[1:] == [Close(1)]
    assert logged(talk).startswith(f"smtp: session({SESSION}): failed kind=denied")


def test_a_header_that_names_a_listener_of_ours_is_a_loop_whoever_it_claims_to_be():
    talk = Talk(config().replace("remote_ports 25", "remote_ports 5000"))
    talk.tell(accepted())
    words = "destination 127.0.0.1 port 5000 is a listener of this proxy"
    words = told("denied", words, "4.7.1", "127.0.0.1:5000 from 127.0.0.2: ")
    talk.tell(Received(1, b"PROXY TCP4 127.0.0.2 127.0.0.1 1 5000\r\n"), Send(1, words), Close(1))


# Who may go where, in this order.


@pytest.mark.parametrize("source", ["0.0.0.0", "224.0.0.1", "255.255.255.255"])
def test_what_is_no_host_is_no_source_whatever_source_ips_says(source):
    talk = stranger(more="source_ips 0.0.0.0/0")
    where = f"127.0.0.1:5000 from {source}: "
    words = f"source {source} is not the address of one host"
    header = f"PROXY TCP4 {source} 127.0.0.1 0 5000\r\n".encode()
    talk.tell(Received(1, header), Send(1, told("source_denied", words, "4.7.1", where)), Close(1))


def test_who_may_not_use_a_source_learns_nothing_about_destinations():
    talk = stranger(more="source_ips 127.0.0.3")
    header = b"PROXY TCP4 127.0.0.2 10.0.0.1 0 465\r\n"
    words = told("source_denied", "source 127.0.0.2 is not in source_ips", "4.7.1", "10.0.0.1:465 from 127.0.0.2: ")
    talk.tell(Received(1, header), Send(1, words), Close(1))
    assert logged(talk) == (
        f"smtp: session({SESSION}): failed kind=source_denied client=127.0.0.9:40112 source=127.0.0.2 "
        "remote=10.0.0.1:465 text=source 127.0.0.2 is not in source_ips"
    )


@pytest.mark.parametrize(
    ("destination", "port", "words"),
    [
        ("10.0.0.1", 25, "destination 10.0.0.1 is denied (10.0.0.0/8)"),
        ("192.0.2.5", 9325, "destination port 9325 is not in remote_ports"),
        ("192.0.2.5", 465, "port 465 is TLS from its first byte (RFC 8314), and this door relays SMTP"),
    ],
)
def test_a_destination_that_is_denied_is_named(destination, port, words):
    talk = stranger()
    header = f"PROXY TCP4 127.0.0.2 {destination} 0 {port}\r\n".encode()
    where = f"{destination}:{port} from 127.0.0.2: "
    talk.tell(Received(1, header), Send(1, told("denied", words, "4.7.1", where)), Close(1))


# The house around it.


def test_a_door_alone_is_a_complete_configuration_and_stands_in_the_status_lines():
    talk = stranger()
    assert "gaproxy: configuration adopted listeners=127.0.0.1:5000" in talk.last_note("gaproxy: configuration")
    talk.wait(4.0)
    talk.hear(Ended(1))
    talk.wait(1.0)
    assert talk.last_note("listener(127.0.0.1:5000): open") == "listener(127.0.0.1:5000): open_connections=1"


def test_a_block_that_a_reload_changes_holds_for_new_connections():
    talk = stranger()
    talk.hear(Signalled("HUP"))
    talk.hear(ConfigRead(config("relay opaque")))
    talk.hear(Prepared())
    talk.hear(accepted(3))
    talk.tell(Received(1, HEADER), DIAL)
    talk.tell(Received(3, HEADER), Connect(4, "127.0.0.2", ("192.0.2.5", 25)))
    talk.tell(connected())
    talk.tell(connected(4), Relay(3, 4, "end"), Relay(4, 3, "end"))
    talk.tell(Received(2, GREETING), Send(1, GREETING))


def test_strangers_of_this_door_wait_in_no_room():
    talk = stranger()
    for id in range(3, 103, 2):
        talk.tell(accepted(id))
