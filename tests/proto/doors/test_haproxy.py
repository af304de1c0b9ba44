"""The PROXY door, sentence by sentence: what comes before a session, who speaks TLS, what is told if there is none.

1, 3 … came in; 2, 4 … were called.
"""

import pytest
from tools.every_split import every_split
from tools.talk import (
    CLIENT,
    DATA,
    ENTROPY,
    GOODBYE,
    GREETING,
    MAIL,
    PIPELINING,
    QUIT,
    RCPT,
    SESSION,
    Talk,
    connected,
    story,
)

from gaproxy.proto.actions import Close, Connect, Hear, Hold, Relay, Secure, Send
from gaproxy.proto.asks import Failed
from gaproxy.proto.doors.haproxy import CODES, HaproxyDoor
from gaproxy.proto.doors.haproxy_words import V2_SIGNATURE
from gaproxy.proto.events import (
    Accepted,
    Closed,
    ConfigRead,
    ConnectFailed,
    Elapsed,
    Ended,
    Prepared,
    Received,
    Relayed,
    Secured,
    SecureFailed,
    Signalled,
)

PLACE = "127.0.0.1:5000"
OPTIONS = ""
HEADER = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
LOCAL = V2_SIGNATURE + b"\x20\x00\x00\x00"
V2 = V2_SIGNATURE + b"\x21\x11\x00\x0c" + bytes([127, 0, 0, 2, 192, 0, 2, 5, 0, 0, 0, 25])
DIAL = Connect(2, "127.0.0.2", ("192.0.2.5", 25))
EHLO, HELO = b"EHLO mta.example.com\r\n", b"HELO mta.example.com\r\n"
OFFERS_TLS = b"250-mx1.example.net at your service\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS\r\n"
SHOWN = b"250-mx1.example.net at your service\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
SECURED = Secured(2, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "ef" * 32, (), False)
STARTTLS, GO = b"STARTTLS\r\n", b"220 2.0.0 go ahead\r\n"
FIRST = b"503 5.5.1 gaproxy: EHLO first\r\n"


def config(options: str = "", more: str = "") -> str:
    return f"""
        listen_proxy_protocol "{PLACE}" {{ {options} }}
        allow_from 127.0.0.0/8
        remote_allow 192.0.2.0/24, 2001:db8::/32
        reuse_connections no
remote_ports 25, 465
        {more}
    """


def accepted(id: int = 1, client: tuple[str, int] = CLIENT, listener: str = PLACE) -> Accepted:
    return Accepted(id, listener, client, ENTROPY)


def stranger(options: str = "", more: str = "") -> Talk:
    """A talk with somebody, 1, who has connected and said nothing yet."""
    talk = Talk(config(options, more))
    talk.tell(accepted())
    return talk


def dialling(options: str = "", more: str = "") -> Talk:
    """A talk in which the remote 2 is being dialled for 1."""
    talk = stranger(options, more)
    talk.tell(Received(1, HEADER), DIAL)
    return talk


def greeted(options: str = "", more: str = "") -> Talk:
    """A talk in which 1 has been shown the greeting of 2."""
    talk = dialling(options, more)
    talk.tell(connected())
    talk.tell(Received(2, GREETING), Send(1, GREETING))
    return talk


def in_session(options: str = "", offer: bytes = OFFERS_TLS) -> Talk:
    """A talk in which 1 said EHLO itself, and 2 has answered."""
    talk = greeted(options)
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    talk.hear(Received(2, offer))
    return talk


def told(kind: str, words: str, code: str, where: str = "192.0.2.5:25 from 127.0.0.2: ") -> bytes:
    """Our greeting when there is none of the remote's."""
    return f"421 {code} gaproxy: {kind}: {where}{words} [{SESSION}]\r\n".encode()


def logged(talk: Talk) -> str:
    """The last line of the log."""
    return talk.notes[-1]


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
        (b"EHLO mta.example.com\r\n", "SMTP, which no door here speaks"),
        (b"GAPROXY/1 min=1 node=a", "the native protocol: listen serves it"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "TLS: listen serves it"),
        (b"\x05\x01\x00", "SOCKS5, which no door here speaks"),
        (b"GET / HTTP/1.1\r\n", "HTTP, which no door here speaks"),
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
    ],
)
def test_a_header_that_is_well_formed_and_cannot_be_served_is_answered(header, kind, code, words, where):
    talk = stranger()
    talk.tell(Received(1, header), Send(1, told(kind, words, code, where)), Close(1))
    assert logged(talk).startswith(f"smtp: session({SESSION}): failed kind={kind} client=127.0.0.9:40112 ")


def test_a_header_has_five_seconds_from_accept_and_whoever_said_nothing_is_told_so():
    talk = stranger()
    talk.wait(4.999)
    words = "no PROXY header came; SMTP clients use listen_smtp"
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
    talk.wait(0.999)
    assert talk.proxy.next_deadline is not None
    assert isinstance(talk.hear(Ended(1))[0], Close)


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


# Failures, in words.


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("refused", "4.4.1"),
        ("timeout", "4.4.1"),
        ("unreachable", "4.4.1"),
        ("source_unavailable", "4.3.5"),
        ("overload", "4.3.2"),
    ],
)
def test_a_dial_that_fails_is_told_in_one_line(kind, code):
    talk = dialling()
    talk.tell(ConnectFailed(2, kind, "words of the kernel"), Send(1, told(kind, "words of the kernel", code)), Close(1))
    assert logged(talk) == (
        f"smtp: session({SESSION}): failed kind={kind} client=127.0.0.9:40112 source=127.0.0.2 remote=192.0.2.5:25 "
        "text=words of the kernel"
    )


def test_what_still_comes_behind_our_421_is_thrown_away():
    talk = dialling()
    talk.hear(ConnectFailed(2, "refused", "no"))
    talk.tell(Received(1, EHLO))
    talk.tell(Ended(1))
    talk.tell(Closed(1, "closed"))


def test_a_remote_that_refused_a_moment_ago_is_not_dialled_and_the_wait_is_told():
    talk = dialling()
    talk.hear(ConnectFailed(2, "refused", "no"))
    talk.tell(accepted(3))
    words = told("refused", "it refused a connection a moment ago, retry in 5 s", "4.4.1")
    talk.tell(Received(3, HEADER), Send(3, words), Close(3))


@pytest.mark.parametrize("greeting", [b"554-no\r\n554 go away\r\n", b"421 4.3.2 busy\r\n", b"450 later\r\n"])
def test_a_greeting_that_refuses_is_told_word_for_word(greeting):
    talk = dialling()
    talk.tell(connected())
    orders = talk.hear(Received(2, greeting))
    assert story(orders)[0][1] == greeting
    assert Close(1) in orders
    assert (
        f"kind=greeting client=127.0.0.9:40112 source=127.0.0.2:40113 remote=192.0.2.5:25 reply={greeting[:3].decode()}"
        in (talk.last_note("smtp:").replace("source=127.0.0.2 ", "source=127.0.0.2:40113 "))
    )


def test_a_greeting_that_is_none_is_told_as_ours():
    talk = dialling()
    talk.tell(connected())
    words = told("greeting", "the remote refused us in its greeting: 250 hello", "4.4.2")
    talk.tell(Received(2, b"250 hello\r\n"), Send(2, QUIT), Send(1, words), Close(1))


def test_a_remote_that_closes_before_its_greeting():
    talk = dialling()
    talk.tell(connected())
    words = told("greeting", "the remote closed the connection while GREETING", "4.4.2")
    talk.tell(Ended(2), Close(2), Send(1, words), Close(1))


def test_words_that_are_too_long_are_cut_and_the_session_still_named():
    talk = dialling()
    talk.tell(connected())
    [_, send, _] = talk.hear(Received(2, b"250-" + b"x" * 600 + b"\r\n250 \xff\r\n"))
    assert len(send.data) == 512
    assert send.data.endswith(f"x [{SESSION}]\r\n".encode())


def test_every_letter_of_our_words_can_be_read():
    door = HaproxyDoor((PLACE, ("127.0.0.1", 5000)), CLIENT, ENTROPY, "mta")
    assert door.worded(Failed("tls", "caf\xe9\r\n")) == f"421 4.7.5 gaproxy: tls: caf??? [{SESSION}]\r\n".encode()


def test_no_fault_of_ours_is_5xx():
    assert {code[0] for code in CODES.values()} == {"4"}


def test_all_before_our_greeting_has_25_seconds():
    talk = dialling()
    talk.wait(20.0)
    talk.tell(connected())
    talk.wait(4.999)
    words = told("timeout", "no greeting of the remote in time", "4.4.1")
    talk.wait(0.001, Close(2), Send(1, words), Close(1))


def test_a_total_that_is_given_holds_here_too():
    talk = dialling(more="timeouts { total 10s }")
    talk.wait(9.999)
    talk.now += 1_000_000
    orders = talk.hear(Elapsed())
    assert any(isinstance(one, Send) and b"gaproxy: timeout: " in one.data for one in orders)
    assert Close(2) in orders


@pytest.mark.parametrize("gone", [Ended(1), Closed(1, "reset")])
def test_an_mta_that_leaves_before_there_is_a_remote_calls_the_dial_off(gone):
    talk = dialling()
    assert Close(2) in talk.hear(gone)
    assert "kind=mta_gone" in logged(talk)
    talk.hear(ConnectFailed(2, "called_off", ""))


def test_a_stop_is_told_to_whoever_waits():
    talk = dialling()
    orders = talk.hear(Signalled("TERM"))
    assert Close(2) in orders
    assert Send(1, told("shutting_down", "the proxy is shutting down", "4.3.2")) in orders


# Between greeting and EHLO.


def test_before_an_ehlo_had_its_250_nothing_is_forwarded():
    talk = greeted()
    talk.tell(Received(1, MAIL), Send(1, FIRST))
    talk.tell(Received(1, STARTTLS), Send(1, FIRST))
    talk.tell(Received(1, b"NOOP\nMAIL\r\n"), Send(1, FIRST))
    talk.tell(Received(1, b"EHLO\r\n"), Send(1, b"501 5.5.4 gaproxy: EHLO needs a name\r\n"))
    talk.tell(Received(1, b"EHLO \xff\r\n"), Send(1, b"501 5.5.4 gaproxy: EHLO needs a name\r\n"))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Close(1), Send(2, QUIT))
    assert logged(talk) == (
        f"smtp: session({SESSION}): end client=127.0.0.9:40112 source=127.0.0.2:40113 remote=192.0.2.5:25 "
        "tls=none messages=0 bytes=0 seconds=0.000 reason=quit"
    )


@pytest.mark.parametrize("reply", [b"502 5.5.1 what\r\n", b"550-you\r\n550 no\r\n"])
def test_the_remotes_answer_to_ehlo_passes_whatever_its_code_and_the_mta_falls_back_itself(reply):
    talk = greeted()
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    talk.tell(Received(2, reply), Send(1, reply))
    talk.tell(Received(1, MAIL), Send(1, FIRST))
    talk.tell(Received(1, HELO), Send(2, HELO))
    talk.tell(Received(2, b"501 no\r\n"), Send(1, b"501 no\r\n"))
    talk.tell(Received(1, HELO), Send(2, HELO))
    talk.tell(Received(2, b"250 mx1 hello mta\r\n"), Send(1, b"250 mx1 hello mta\r\n"))
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_an_mta_that_sends_no_end_of_a_command_is_refused():
    talk = greeted()
    words = b"500 5.5.2 gaproxy: a command longer than 4096 bytes\r\n"
    talk.tell(Received(1, b"A" * 4096), Send(1, words), Close(1), Send(2, QUIT))
    assert logged(talk).endswith("reason=malformed_command")


def test_an_mta_that_says_nothing_behind_the_greeting_has_its_five_minutes():
    talk = greeted()
    talk.wait(200.0)
    talk.tell(Received(1, MAIL), Send(1, FIRST))
    talk.wait(299.999)
    talk.wait(0.001, Close(1), Send(2, QUIT))
    assert talk.last_note("smtp:").endswith("reason=mta_silent")


@pytest.mark.parametrize(("gone", "reason"), [(Ended(1), "mta_ended"), (Closed(1, "reset"), "mta_gone")])
def test_an_mta_that_leaves_behind_the_greeting_is_followed_by_a_quit(gone, reason):
    talk = greeted()
    assert Send(2, QUIT) in talk.hear(gone)
    assert logged(talk).endswith(f"reason={reason}")


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (Ended(2), told("ehlo", "the remote closed the connection while GREETED", "4.4.2")),
        (Closed(2, "reset"), told("ehlo", "the remote closed the connection while GREETED", "4.4.2")),
        (Received(2, b"250 what\r\n"), told("ehlo", "the remote said 250 out of turn", "4.4.2")),
        (Received(2, b"421 4.3.2 I go\r\n"), b"421 4.3.2 I go\r\n"),
    ],
)
def test_a_remote_that_is_lost_behind_its_greeting_is_told_at_once(fact, words):
    talk = greeted()
    orders = talk.hear(fact)
    assert Send(1, words) in orders
    assert Close(1) in orders


def test_a_421_to_the_mtas_own_ehlo_passes_and_is_the_end():
    talk = greeted()
    talk.hear(Received(1, EHLO))
    talk.tell(Received(2, b"421 4.3.2 no\r\n"), Close(2), Send(1, b"421 4.3.2 no\r\n"), Close(1))


def test_a_stop_behind_the_greeting_is_told_and_the_remote_hears_quit():
    talk = greeted()
    orders = talk.hear(Signalled("TERM"))
    assert Send(2, QUIT) in orders
    assert Send(1, told("shutting_down", "the proxy is shutting down", "4.3.2")) in orders


@pytest.mark.parametrize("gone", [Ended(1), Closed(1, "reset")])
def test_an_mta_that_leaves_while_its_name_is_told_calls_it_off(gone):
    talk = greeted()
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    assert Close(2) in talk.hear(gone)


# `starttls mta`: the MTA's own STARTTLS passes end to end.


def test_the_mta_is_shown_starttls_and_no_keyword_that_we_do_not_relay():
    talk = greeted()
    talk.hear(Received(1, EHLO))
    talk.tell(Received(2, OFFERS_TLS), Send(1, SHOWN))
    talk.tell(Received(1, EHLO), Send(1, b"250-mx1.example.net\r\n250-PIPELINING\r\n250 STARTTLS\r\n"))


def test_the_mtas_own_starttls_passes_and_then_nobody_reads_what_they_say():
    talk = in_session()
    talk.tell(Received(1, STARTTLS), Send(2, STARTTLS))
    talk.tell(Received(2, GO), Send(1, GO))
    talk.tell(Received(1, b"\x16hello"), Send(2, b"\x16hello"), Relay(1, 2, "end"))
    talk.tell(Received(2, b"\x16hello yourself"), Send(1, b"\x16hello yourself"), Relay(2, 1, "end"))
    assert talk.last_note("gaproxy:")


def test_a_starttls_that_the_remote_refuses_changes_nothing():
    talk = in_session()
    talk.tell(Received(1, STARTTLS), Send(2, STARTTLS))
    talk.tell(Received(2, b"454 4.7.0 not now\r\n"), Send(1, b"454 4.7.0 not now\r\n"))
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_a_starttls_that_the_remote_does_not_offer_is_refused_by_us():
    talk = in_session(offer=PIPELINING)
    talk.tell(Received(1, STARTTLS), Send(1, b"502 5.5.1 gaproxy: not relayed\r\n"))


def injected(talk: Talk) -> bool:
    return talk.last_note("smtp:").endswith(" reason=injection")


def test_a_starttls_with_bytes_behind_it_is_not_forwarded_and_both_are_closed():
    talk = in_session()
    words = f"421 4.7.0 gaproxy: bytes behind STARTTLS [{SESSION}]\r\n".encode()
    talk.tell(Received(1, STARTTLS + b"\x16"), Close(2), Send(1, words), Close(1))
    assert injected(talk)


def test_bytes_behind_the_remotes_220_are_the_end_and_the_220_is_not_passed():
    talk = in_session()
    talk.hear(Received(1, STARTTLS))
    words = f"421 4.7.0 gaproxy: bytes behind the reply to STARTTLS [{SESSION}]\r\n".encode()
    talk.tell(Received(2, GO + b"250 evil\r\n"), Close(2), Send(1, words), Close(1))
    assert injected(talk)


def test_the_first_byte_of_the_mta_must_be_that_of_tls():
    talk = in_session()
    talk.hear(Received(1, STARTTLS))
    talk.hear(Received(2, GO))
    talk.tell(Received(1, EHLO), Close(2), Close(1))
    assert injected(talk)


def test_what_the_mta_said_before_the_220_came_is_judged_then():
    talk = in_session()
    talk.hear(Received(1, STARTTLS))
    talk.tell(Received(1, b"MAIL"))
    talk.tell(Received(2, GO), Send(1, GO), Close(2), Close(1))
    assert injected(talk)


def test_the_remote_does_not_speak_before_the_mta():
    talk = in_session()
    talk.hear(Received(1, STARTTLS))
    talk.hear(Received(2, GO))
    talk.tell(Received(2, b"\x16"), Close(2), Close(1))
    assert injected(talk)


def test_the_first_byte_of_the_remote_must_be_that_of_tls():
    talk = in_session()
    talk.hear(Received(1, STARTTLS))
    talk.hear(Received(2, GO))
    talk.hear(Received(1, b"\x16"))
    talk.tell(Received(2, b"250 ok\r\n"), Close(2), Close(1))
    assert injected(talk)


# `starttls proxy`: we speak TLS, and the MTA is not shown that it could.


BY_US = "starttls proxy"
ENCRYPT = "starttls proxy; level encrypt"


def securing(options: str = BY_US, hello: bytes = EHLO) -> Talk:
    """A talk in which 2 has begun TLS with us, for 1 has said its name."""
    talk = greeted(options)
    talk.tell(Received(1, hello), Send(2, EHLO))
    talk.tell(Received(2, OFFERS_TLS), Send(2, STARTTLS))
    talk.tell(Received(2, GO), Secure(2))
    return talk


def test_the_proxy_speaks_tls_once_the_ehlo_is_here_and_hides_starttls():
    talk = securing()
    talk.tell(SECURED, Send(2, EHLO))
    talk.tell(Received(2, OFFERS_TLS), Send(1, b"250-mx1.example.net\r\n250 PIPELINING\r\n"))
    talk.tell(Received(1, STARTTLS), Send(1, b"502 5.5.1 gaproxy: not relayed\r\n"))
    talk.tell(Received(1, STARTTLS + MAIL), Send(1, b"502 5.5.1 gaproxy: not relayed\r\n"), Send(2, MAIL))
    talk.hear(Received(2, b"250 ok\r\n"))
    talk.hear(Received(1, QUIT))
    assert " tls=TLSv1.3 " in talk.last_note("smtp:")


def test_helo_is_answered_in_one_line_and_we_say_ehlo_for_it():
    talk = securing(hello=HELO)
    talk.tell(SECURED, Send(2, EHLO))
    talk.tell(Received(2, OFFERS_TLS), Send(1, b"250 mx1.example.net\r\n"))
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_helo_falls_back_to_helo_where_the_remote_knows_no_ehlo():
    talk = greeted(BY_US)
    talk.tell(Received(1, HELO), Send(2, EHLO))
    talk.tell(Received(2, b"502 what\r\n"), Send(2, HELO))
    talk.tell(Received(2, b"250 mx1 hello\r\n"), Send(1, b"250 mx1\r\n"))


def test_the_remotes_refusal_of_the_mtas_name_passes_here_too():
    talk = greeted(BY_US)
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    talk.tell(Received(2, b"550 no\r\n"), Send(1, b"550 no\r\n"))
    talk.tell(Received(1, HELO), Send(2, EHLO))
    talk.tell(Received(2, b"502 no\r\n"), Send(2, HELO))
    talk.tell(Received(2, b"550 no\r\n"), Send(1, b"550 no\r\n"))


def test_what_follows_by_our_doing_is_our_421():
    talk = securing()
    talk.tell(SECURED, Send(2, EHLO))
    words = told("ehlo", "the remote refused EHLO: 550 not under TLS", "4.4.2")
    talk.tell(Received(2, b"550 not under TLS\r\n"), Send(2, QUIT), Send(1, words), Close(1))


def test_level_encrypt_takes_no_remote_without_tls():
    talk = greeted(ENCRYPT)
    talk.hear(Received(1, EHLO))
    words = "the remote offers no STARTTLS: 250 mx1.example.net PIPELINING SIZE 1000"
    talk.tell(Received(2, PIPELINING), Send(2, QUIT), Send(1, told("tls", words, "4.7.5")), Close(1))


def test_level_may_takes_one():
    talk = greeted(BY_US)
    talk.hear(Received(1, EHLO))
    talk.tell(Received(2, PIPELINING), Send(1, PIPELINING))


def test_a_handshake_that_fails_under_level_encrypt_is_told():
    talk = securing(ENCRYPT)
    words = told("tls", "no protocol in common", "4.7.5")
    talk.tell(SecureFailed(2, "handshake", "no protocol in common", b""), Close(2), Send(1, words), Close(1))


def failed_handshake(hello: bytes = EHLO) -> Talk:
    """A talk in which the remote 2 could not do TLS, and is called again, as 4."""
    talk = securing(hello=hello)
    talk.tell(
        SecureFailed(2, "handshake", "no protocol in common", b""),
        Close(2),
        Connect(4, "127.0.0.2", ("192.0.2.5", 25)),
    )
    return talk


@pytest.mark.parametrize(("hello", "answer"), [(EHLO, PIPELINING), (HELO, b"250 mx1.example.net\r\n")])
def test_a_handshake_that_fails_under_level_may_is_no_reason_to_give_the_remote_up(hello, answer):
    talk = failed_handshake(hello)
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, PIPELINING), Send(1, answer))
    talk.tell(Received(1, MAIL), Send(4, MAIL))


def test_a_second_dial_that_fails_is_our_421():
    talk = failed_handshake()
    talk.tell(ConnectFailed(4, "timeout", "timed out"), Send(1, told("timeout", "timed out", "4.4.1")), Close(1))


@pytest.mark.parametrize("gone", [Ended(1), Closed(1, "reset")])
def test_an_mta_that_leaves_during_the_second_dial_calls_it_off(gone):
    assert Close(4) in failed_handshake().hear(gone)


def test_a_stop_during_the_second_dial_is_told():
    orders = failed_handshake().hear(Signalled("TERM"))
    assert Send(1, told("shutting_down", "the proxy is shutting down", "4.3.2")) in orders


# A remote that is lost in the session: told at once, then our end.


def away(words: str, code: str = "4.4.2") -> bytes:
    return f"421 {code} gaproxy: {words} [{SESSION}]\r\n".encode()


def test_every_loss_of_the_remote_is_told_at_once_and_then_our_end():
    talk = in_session()
    talk.tell(Ended(2), Close(2), Send(1, away("the remote closed the connection")), Close(1))


def test_a_421_of_the_remote_is_passed_at_once():
    talk = in_session()
    talk.tell(Received(2, b"421 4.3.2 I go\r\n"), Close(2), Send(1, b"421 4.3.2 I go\r\n"), Close(1))


def test_replies_that_are_owed_are_told_once_each():
    talk = in_session()
    talk.hear(Received(1, MAIL + RCPT))
    lost = away("the remote closed the connection")
    talk.tell(Closed(2, "closed"), Send(1, lost + lost), Close(1))


def test_a_body_under_way_does_not_keep_the_mta_from_hearing_of_it():
    talk = in_session()
    for said, heard in ((MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n"), (DATA, b"354 go\r\n")):
        talk.hear(Received(1, said))
        talk.hear(Received(2, heard))
    talk.tell(Received(2, b"421 full\r\n"), Close(2), Send(1, b"421 full\r\n"), Close(1))


def test_behind_the_dot_the_outcome_is_unknown_and_told_at_once():
    talk = in_session()
    for said, heard in ((MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n"), (DATA, b"354 go\r\n")):
        talk.hear(Received(1, said))
        talk.hear(Received(2, heard))
    talk.tell(Relayed(1, 100, b"", "dot"))
    words = away("the remote closed the connection after the end of data, outcome unknown")
    talk.tell(Ended(2), Close(2), Send(1, words), Close(1))


SHUTTING_DOWN = away("shutting down", "4.3.2")


def test_a_stop_behind_a_message_lets_the_mta_quit_as_if_nothing_were_wrong():
    talk = in_session()
    for said, heard in ((MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n"), (DATA, b"354 go\r\n")):
        talk.hear(Received(1, said))
        talk.hear(Received(2, heard))
    talk.hear(Signalled("TERM"))
    talk.tell(Relayed(1, 100, b"", "dot"))
    talk.tell(Received(2, b"250 kept\r\n"), Send(1, b"250 kept\r\n"), Close(2))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Close(1))


def test_a_stop_between_two_messages_is_told_to_who_begins_another_and_after_two_seconds_to_everybody():
    talk = in_session()
    assert Send(1, SHUTTING_DOWN) not in talk.hear(Signalled("TERM"))
    talk.tell(Received(1, MAIL), Send(1, SHUTTING_DOWN))
    talk.wait(1.9)
    talk.wait(0.1, Send(1, SHUTTING_DOWN), Close(1))


def test_an_mta_that_vanishes_in_its_session_closes_the_remote():
    talk = in_session()
    talk.tell(Closed(1, "reset"), Send(2, QUIT))


# `relay opaque`.


def test_an_opaque_door_carries_bytes_and_the_mta_may_speak_first():
    talk = dialling("relay opaque")
    talk.tell(Received(1, b"\x16\x03\x01"))
    talk.tell(connected(), Send(2, b"\x16\x03\x01"), Relay(1, 2, "end"), Relay(2, 1, "end"))


def test_an_opaque_door_leaves_port_465_to_remote_ports():
    talk = stranger("relay opaque")
    talk.tell(Received(1, HEADER.replace(b" 25", b" 465")), Connect(2, "127.0.0.2", ("192.0.2.5", 465)))
    talk.tell(connected(), Relay(1, 2, "end"), Relay(2, 1, "end"))


def test_failures_at_an_opaque_door_are_only_an_end():
    talk = dialling("relay opaque")
    talk.tell(ConnectFailed(2, "refused", "no"), Close(1))
    talk.tell(accepted(3))
    talk.wait(5.0, Close(3))


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
