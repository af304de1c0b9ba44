"""The native door: who gets in, what may be said between two sessions, and what becomes of an OPEN. 1, 3 … came in."""

from collections.abc import Iterable

import pytest
from tools.every_split import every_split
from tools.talk import (
    CERTIFICATE,
    CHALLENGE,
    CONFIG,
    DATA,
    EHLO,
    GOODBYE,
    GREETING,
    MAIL,
    NONCE,
    PIPELINING,
    QUIT,
    RCPT,
    READY,
    SESSION,
    Talk,
    accepted,
    auth,
    connected,
    failed,
    hello,
    in_session,
    opening,
    story,
    welcome,
    with_mta,
)

from gaproxy.proto.actions import Action, Close, Connect, Hear, Hold, Send
from gaproxy.proto.doors.credentials import PLAIN_BINDING, certificate_binding
from gaproxy.proto.doors.native import refuses_version
from gaproxy.proto.doors.native_words import Hello
from gaproxy.proto.events import Closed, ConnectFailed, Ended, Received, Secured, SecureFailed, Signalled

REFUSED = b"ERROR code=auth_failed fatal=yes text=authentication%20failed\r\n"
OTHER_CLIENT = ("127.0.0.10", 40112)


def stranger(*heard: bytes) -> Talk:
    """A talk with a stranger, 1, who has said this."""
    talk = Talk()
    talk.hear(accepted())
    for data in heard:
        talk.hear(Received(1, data))
    return talk


# The handshake.


def test_an_mta_that_knows_the_secret_is_welcome():
    talk = Talk()
    talk.tell(accepted())
    talk.tell(Received(1, hello()), Send(1, CHALLENGE))
    talk.tell(Received(1, auth()), Send(1, welcome()))
    assert talk.notes[-1] == (
        f"native: session({SESSION}): authenticated node=mta-1 client=127.0.0.9:40112 tls=none secret=current"
    )


SECURED = Secured(1, "TLSv1.3", "TLS_AES_256_GCM_SHA384", CERTIFICATE, (), False)
BOUND = certificate_binding(CERTIFICATE)


def test_over_tls_both_proofs_are_bound_to_our_certificate():
    talk = Talk()
    talk.tell(accepted())
    talk.tell(SECURED)
    talk.tell(Received(1, hello()), Send(1, CHALLENGE))
    talk.tell(Received(1, auth(binding=BOUND)), Send(1, welcome(binding=BOUND)))
    assert talk.notes[-1] == (
        f"native: session({SESSION}): authenticated node=mta-1 client=127.0.0.9:40112 tls=TLSv1.3 secret=current"
    )


@pytest.mark.parametrize(
    ("secured", "binding"),
    [(True, PLAIN_BINDING), (True, certificate_binding("ef" * 32)), (False, BOUND)],
    ids=["said in plain text", "bound to the certificate of somebody in between", "said over TLS"],
)
def test_a_proof_of_another_channel_is_a_wrong_one(secured, binding):
    talk = Talk()
    talk.hear(accepted())
    if secured:
        talk.hear(SECURED)
    talk.hear(Received(1, hello()))
    talk.tell(Received(1, auth(binding=binding)))
    talk.wait(1.0, Send(1, REFUSED), Close(1))
    assert talk.last_note("native:").endswith(" reason=wrong_proof")


def test_another_verb_over_tls_takes_as_long_as_a_wrong_proof():
    talk = Talk()
    talk.hear(accepted())
    talk.hear(SECURED)
    talk.hear(Received(1, hello()))
    talk.tell(Received(1, b"OPEN id=7\r\n"))
    talk.wait(1.0, Send(1, REFUSED), Close(1))


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("plain_text", "plain text where TLS is required", "reason=plain_text hint=the native protocol"),
        ("handshake", "unsupported protocol", "reason=tls text=unsupported protocol"),
    ],
)
def test_who_comes_without_the_tls_that_is_due_is_closed_in_one_line_and_in_silence(kind, text, told):
    talk = Talk()
    talk.tell(accepted())
    before = len(talk.notes)
    talk.tell(SecureFailed(1, kind, text, b"GAPROXY/1"), Close(1))
    assert talk.notes[before:] == [f"native: session({SESSION}): refused client=127.0.0.9:40112 {told}"]
    talk.tell(Ended(1))
    talk.tell(Closed(1, "closed"))


def test_a_handshake_of_tls_has_the_time_of_ours_and_no_more():
    talk = Talk()
    talk.hear(accepted())
    talk.wait(4.0)
    talk.tell(SECURED)
    talk.wait(0.999)
    talk.wait(0.001, Close(1))
    assert talk.last_note("native:").endswith(" reason=handshake_timeout")
    talk.tell(SecureFailed(1, "handshake", "the peer ended the connection", b""))  # nobody is left to hear it
    talk.tell(SECURED)


def test_an_ipv6_client_is_named_in_brackets():
    talk = Talk(CONFIG.replace("127.0.0.0/8", "::1/128"))
    talk.hear(accepted(1, ("::1", 40112)))
    talk.hear(Received(1, hello()))
    talk.hear(Received(1, auth()))
    assert "client=[::1]:40112" in talk.notes[-1]


def test_the_secret_of_before_is_believed_too_while_secrets_rotate():
    talk = Talk(CONFIG + 'auth_shared_secret_previous "the-secret-of-yesterday-still-known"\n')
    talk.hear(accepted())
    talk.hear(Received(1, hello()))
    proof = auth("the-secret-of-yesterday-still-known")
    talk.tell(Received(1, proof), Send(1, welcome("the-secret-of-yesterday-still-known")))
    assert "secret=previous" in talk.notes[-1]


WRONG_PROOFS = {
    "another secret": auth("another-secret-that-nobody-here-knows"),
    "the proof of another node": auth(node="mta-2"),
    "no hexadecimal digits": b"AUTH proof=" + b"x" * 64 + b"\r\n",
    "too short": b"AUTH proof=00\r\n",
    "no proof at all": b"AUTH\r\n",
    "small letters": auth().lower(),
    "another verb": b"OPEN id=7\r\n",
    "no line at all": b"\x16\x03\x01",
    "a line without an end": b"A" * 1100,
}


@pytest.mark.parametrize("said", WRONG_PROOFS.values(), ids=WRONG_PROOFS)
def test_every_wrong_proof_is_told_alike_one_second_after_accept(said):
    talk = stranger(hello())
    talk.wait(0.5)
    talk.tell(Received(1, said))
    talk.wait(0.499)
    talk.wait(0.001, Send(1, REFUSED), Close(1))
    assert talk.last_note("native:").startswith(f"native: session({SESSION}): refused client=127.0.0.9:40112 reason=")


WRONG_HELLOS = {
    "version 0": b"GAPROXY/0 min=0 node=a role=smtp nonce=" + b"f" * 64 + b"\r\n",
    "a minimum above the version": hello(version=1, minimum=2),
    "a node with a space in it": hello(node="a%20b"),
    "no such role": hello(role="observer"),
    "too long a line": b"GAPROXY/" + b"1" * 1100,
    "a control character": b"GAPROXY/1\x00",
}


@pytest.mark.parametrize("said", WRONG_HELLOS.values(), ids=WRONG_HELLOS)
def test_a_first_line_that_is_none_is_told_what_a_wrong_proof_is_told(said):
    talk = stranger()
    talk.tell(Received(1, said))
    talk.wait(1.0, Send(1, REFUSED), Close(1))


def test_a_proof_that_is_wrong_later_than_one_second_after_accept_is_told_at_once():
    talk = stranger()
    talk.wait(2.0)
    talk.tell(Received(1, hello()), Send(1, CHALLENGE))
    talk.tell(Received(1, auth("another-secret-that-nobody-here-knows")))
    talk.wait(0.0, Send(1, REFUSED), Close(1))


def test_who_failed_is_not_heard_and_not_hurried_by_its_own_end():
    talk = stranger(hello(), auth("another-secret-that-nobody-here-knows"))
    talk.tell(Received(1, auth()))
    talk.tell(Ended(1))
    talk.wait(1.0, Send(1, REFUSED), Close(1))


@pytest.mark.parametrize("right", range(8))
def test_who_speaks_another_protocol_is_closed_in_silence_at_the_first_wrong_byte(right):
    talk = stranger()
    for byte in b"GAPROXY/"[:right]:
        talk.tell(Received(1, bytes([byte])))
    talk.tell(Received(1, b"?"), Close(1))
    assert talk.last_note("native:").endswith("reason=other_protocol")


def test_a_handshake_has_five_seconds_for_both_of_its_lines():
    talk = stranger()
    talk.wait(4.9)
    talk.tell(Received(1, hello()), Send(1, CHALLENGE))
    talk.wait(0.099)
    talk.wait(0.001, Close(1))
    assert talk.last_note("native:").endswith("reason=handshake_timeout")


def test_a_scan_sees_a_silent_port_that_closes_after_five_seconds():
    talk = stranger()
    talk.wait(4.999)
    talk.wait(0.001, Close(1))


def test_an_mta_that_needs_a_newer_proxy_is_told_whom_to_upgrade():
    talk = stranger()
    told = b"ERROR code=version fatal=yes text=this%20proxy%20speaks%20version%201%20at%20the%20newest:"
    talk.tell(Received(1, hello(version=9, minimum=2)), Send(1, told + b"%20upgrade%20the%20proxy\r\n"), Close(1))


def test_an_mta_that_can_also_speak_our_version_is_answered_in_it():
    talk = stranger()
    talk.tell(Received(1, hello(version=9, minimum=1)), Send(1, CHALLENGE))


@pytest.mark.parametrize(
    ("minimum", "version", "refusal"),
    [
        (1, 1, "this proxy speaks version 2 at the oldest: upgrade the MTA"),
        (1, 2, None),
        (3, 9, None),
        (4, 9, "this proxy speaks version 3 at the newest: upgrade the proxy"),
    ],
)
def test_whoever_is_too_old_is_named(minimum, version, refusal):
    said = Hello(version, minimum, "mta-1", "smtp", NONCE, "", ())
    assert refuses_version(said, oldest=2, newest=3) == refusal


def test_a_role_that_this_version_does_not_serve_is_told_so_once_it_has_proved_itself():
    talk = Talk()
    talk.hear(accepted())
    talk.tell(Received(1, hello("throttle")), Send(1, CHALLENGE))
    error = b"ERROR code=bad_state fatal=yes text=role=throttle%20is%20not%20served%20by%20this%20version\r\n"
    talk.tell(Received(1, auth(role="throttle")), Send(1, welcome(role="throttle")), Send(1, error), Close(1))


# Strangers in numbers.


def test_the_seventeenth_stranger_of_one_client_waits_unread_until_one_is_gone():
    talk = Talk()
    for id in range(1, 33, 2):
        talk.tell(accepted(id))
    talk.tell(accepted(33), Hold(33))
    talk.tell(accepted(35, OTHER_CLIENT))
    talk.tell(Closed(5, "reset"), Hear(33))


def test_who_waited_has_its_five_seconds_from_when_it_is_read():
    talk = Talk()
    for id in range(1, 35, 2):
        talk.hear(accepted(id))
    talk.wait(4.0)
    talk.hear(Closed(5, "reset"))
    closes = [Close(id) for id in range(1, 33, 2) if id != 5]
    talk.wait(1.0, *closes)
    talk.wait(3.9)
    talk.tell(Received(33, hello()), Send(33, CHALLENGE))
    talk.wait(0.1, Close(33))


def test_a_proof_makes_room_for_the_next_stranger():
    talk = Talk()
    for id in range(1, 35, 2):
        talk.hear(accepted(id))
    talk.tell(Received(1, hello()), Send(1, CHALLENGE))
    talk.tell(Received(1, auth()), Send(1, welcome()), Hear(33))


def test_a_stranger_that_leaves_while_it_waits_makes_room_for_nobody():
    talk = Talk()
    for id in range(1, 37, 2):
        talk.hear(accepted(id))
    talk.tell(Closed(33, "reset"))
    talk.tell(Closed(1, "reset"), Hear(35))


def fail(talk: Talk, id: int) -> None:
    talk.hear(accepted(id))
    talk.hear(Received(id, hello()))
    talk.hear(Received(id, auth("another-secret-that-nobody-here-knows")))
    talk.hear(Closed(id, "closed"))


def test_a_client_that_failed_ten_times_is_refused_for_a_minute():
    talk = Talk()
    for id in range(1, 19, 2):
        fail(talk, id)
    talk.tell(accepted(19))
    talk.hear(Closed(19, "closed"))
    fail(talk, 21)
    talk.tell(accepted(23), Close(23), Close(23))
    assert talk.notes[-1] == "listener(127.0.0.1:807): refused client=127.0.0.9 reason=auth_failed"
    talk.tell(Received(23, hello()))
    talk.tell(Closed(23, "closed"))
    talk.tell(accepted(25, OTHER_CLIENT))
    talk.hear(Closed(25, "closed"))
    talk.wait(60.0)
    talk.tell(accepted(27))


def test_a_client_that_has_proved_itself_is_not_refused_for_another_ones_failures():
    talk = with_mta(ids=[1])
    for id in range(3, 23, 2):
        fail(talk, id)
    talk.tell(accepted(23))
    talk.tell(Closed(1, "closed"))
    talk.tell(accepted(25), Close(25), Close(25))


# Between two sessions.


def test_a_ping_is_told_back_as_it_came():
    with_mta().tell(Received(1, b"PING t=007\r\n"), Send(1, b"PONG t=007\r\n"))


def test_a_pong_that_nobody_asked_for_is_ignored():
    with_mta().tell(Received(1, b"PONG t=1\r\n"))


FAULTS = {
    b"PING\r\n": b"bad_line fatal=no verb=PING text=PING%20needs%20t,%201%20to%2020%20digits",
    b"PING t=1x\r\n": b"bad_line fatal=no verb=PING text=PING%20needs%20t,%201%20to%2020%20digits",
    b"HELO a\r\n": b"bad_line fatal=no verb=HELO",
    b"NOOP\r\n": b"unknown_verb fatal=no verb=NOOP text=not%20a%20verb%20of%20this%20protocol",
    b"ping t=1\r\n": b"bad_line fatal=no text=a%20line%20begins%20with%20a%20verb%20in%20capitals",
    b"\r\n": b"bad_line fatal=no text=a%20line%20begins%20with%20a%20verb%20in%20capitals",
    b"OPEN\r\n": b"bad_line fatal=no verb=OPEN text=id:%20an%20integer",
    b"OPEN id=7 id=8\r\n": b"bad_line fatal=no verb=OPEN text=id%20stands%20twice",
}


@pytest.mark.parametrize("said", FAULTS)
def test_a_line_that_is_wrong_is_answered_and_the_next_one_heard(said):
    [told] = with_mta().hear(Received(1, said + b"PING t=1\r\n"))
    assert isinstance(told, Send)
    assert told.data.startswith(b"ERROR code=" + FAULTS[said])
    assert told.data.endswith(b"\r\nPONG t=1\r\n")


FATAL = {
    "too_long": b"PING t=" + b"1" * 16_384,
    "bad_line": b"PING t=\xc3\xbc\r\n",
}


@pytest.mark.parametrize("code", FATAL)
def test_behind_a_line_that_cannot_be_cut_nothing_is_heard(code):
    talk = with_mta()
    told, close = talk.hear(Received(1, FATAL[code]))
    assert isinstance(told, Send)
    assert told.data.startswith(b"ERROR code=" + code.encode() + b" fatal=yes text=")
    assert close == Close(1)
    assert talk.last_note("native:").endswith(f"refused client=127.0.0.9:40112 reason={code}")


def test_an_mta_that_says_nothing_for_five_minutes_is_sent_away():
    talk = with_mta()
    talk.wait(299.9)
    talk.wait(0.1, Send(1, b"GOAWAY reason=idle\r\n"), Close(1))


def test_a_ping_renews_the_patience_and_a_faulty_line_does_not():
    talk = with_mta()
    talk.wait(200.0)
    talk.hear(Received(1, b"PING t=1\r\n"))
    talk.wait(200.0)
    talk.hear(Received(1, b"NOOP\r\n"))
    talk.wait(99.9)
    talk.wait(0.1, Send(1, b"GOAWAY reason=idle\r\n"), Close(1))


# OPEN.


def test_an_open_becomes_a_call_and_the_line_becomes_smtp_until_quit():
    talk = with_mta()
    talk.tell(Received(1, opening()), Connect(2, "127.0.0.2", ("192.0.2.5", 25)))
    talk.tell(connected())
    talk.tell(Received(2, GREETING), Send(2, EHLO))
    talk.tell(Received(2, PIPELINING), Send(1, READY + GREETING))
    talk.tell(Received(1, EHLO), Send(1, PIPELINING))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))
    talk.tell(Received(1, b"PING t=1\r\n"), Send(1, b"PONG t=1\r\n"))
    assert talk.notes[-1] == (
        f"smtp: session({SESSION}/7): end node=mta-1 client=127.0.0.9:40112 source=127.0.0.2:40113 remote=192.0.2.5:25 "
        "tls=none reused=no uses=1 messages=0 bytes=0 seconds=0.000 reason=quit"
    )


def test_ready_and_the_log_name_the_host_where_the_request_gave_one():
    talk = with_mta()
    talk.hear(Received(1, opening(to="[2001:db8::5]:25/mx1.example.net").replace(b"127.0.0.2", b"::1")))
    talk.hear(connected())
    talk.hear(Received(2, GREETING))
    ready = READY.replace(b"192.0.2.5:25", b"[2001:db8::5]:25 host=mx1.example.net")
    talk.tell(Received(2, PIPELINING), Send(1, ready + GREETING))
    talk.hear(Received(1, QUIT))
    assert "remote=[2001:db8::5]:25 host=mx1.example.net tls=none" in talk.notes[-1]


def test_an_ehlo_before_ready_is_answered_right_behind_the_greeting():
    talk = with_mta()
    talk.tell(Received(1, opening() + b"ehlo out1\r\n"), Connect(2, "127.0.0.2", ("192.0.2.5", 25)))
    talk.tell(connected())
    talk.tell(Received(2, GREETING), Send(2, EHLO))
    talk.tell(Received(2, PIPELINING), Send(1, READY + GREETING + PIPELINING))


@pytest.mark.parametrize("said", [EHLO + EHLO, b"MAIL FROM:<>\r\n", b"PING t=1\r\n", opening(8), b"HELO a\r\n"])
def test_anything_but_one_ehlo_before_ready_ends_the_connection_and_the_call(said):
    talk = with_mta()
    talk.hear(Received(1, opening()))
    error = b"ERROR code=bad_state fatal=yes id=7 text=nothing%20but%20one%20EHLO%20may%20come%20before%20READY"
    talk.tell(Received(1, said), Close(2), Send(1, error + b"%20or%20FAILED\r\n"), Close(1))
    talk.tell(ConnectFailed(2, "called_off", "called off"))


def refused_call(*said: bytes) -> Talk:
    """A talk in which MTA 1 sent these lines, and its call was refused."""
    talk = with_mta()
    for data in said:
        talk.hear(Received(1, data))
    line = failed("refused", "192.0.2.5:25/refused/0", "Connection refused")
    talk.tell(ConnectFailed(2, "refused", "Connection refused"), Send(1, line))
    return talk


def test_one_ehlo_right_behind_a_failed_open_is_passed_over_in_silence_whenever_it_comes():
    talk = refused_call(opening())
    talk.wait(100.0)
    talk.tell(Received(1, EHLO))
    [told] = talk.hear(Received(1, EHLO))
    assert isinstance(told, Send) and told.data.startswith(b"ERROR code=bad_line fatal=no verb=EHLO")


def test_an_ehlo_that_was_kept_when_its_open_failed_was_the_one():
    talk = refused_call(opening(), EHLO)
    [told] = talk.hear(Received(1, EHLO))
    assert isinstance(told, Send) and told.data.startswith(b"ERROR code=bad_line fatal=no verb=EHLO")


def test_an_ehlo_behind_another_line_is_not_passed_over():
    talk = refused_call(opening())
    talk.tell(Received(1, b"PING t=1\r\n"), Send(1, b"PONG t=1\r\n"))
    [told] = talk.hear(Received(1, EHLO))
    assert isinstance(told, Send) and told.data.startswith(b"ERROR code=bad_line fatal=no verb=EHLO")


def test_an_open_that_is_wrong_fails_with_its_id_and_the_ehlo_behind_it_is_passed_over():
    talk = with_mta()
    wrong = opening(tls="maybe")
    line = failed("bad_request", "", "tls: one of none, may, encrypt, verify")
    talk.tell(Received(1, wrong + EHLO + b"PING t=1\r\n"), Send(1, line), Send(1, b"PONG t=1\r\n"))
    assert talk.notes[-1] == (
        f"smtp: session({SESSION}/7): failed kind=bad_request client=127.0.0.9:40112 "
        "text=tls: one of none, may, encrypt, verify"
    )


def test_dane_is_reserved_and_fails_as_a_matter_of_tls():
    line = failed("tls", "", "dane, tlsa: reserved, this proxy does not verify by DANE")
    with_mta().tell(Received(1, opening(more=" dane=yes")), Send(1, line))


def test_no_remote_on_port_465_speaks_plain_text():
    line = failed("bad_request", "", "tls: port 465 is TLS from the first byte, none cannot be had there")
    with_mta().tell(Received(1, opening(to="192.0.2.5:465")), Send(1, line))


# The end.


def test_an_mta_that_ends_between_two_sessions_is_closed():
    with_mta().tell(Ended(1), Close(1))


def test_a_stranger_that_ends_is_closed():
    stranger().tell(Ended(1), Close(1))
    stranger(hello()).tell(Ended(1), Close(1))


def test_an_mta_that_ends_while_a_remote_is_looked_for_calls_it_off():
    talk = with_mta()
    talk.hear(Received(1, opening()))
    talk.hear(Received(1, b"EH"))
    talk.tell(Ended(1), Close(2), Close(1))
    talk.tell(ConnectFailed(2, "called_off", "called off"))
    talk.tell(Closed(1, "closed"))
    assert talk.proxy.seating.seats == {}
    failed = f"smtp: session({SESSION}/7): failed kind=mta_gone client=127.0.0.9:40112"
    assert talk.notes[-1] == f"{failed} text=the MTA left before there was a remote"


def test_an_mta_that_vanishes_while_a_remote_is_looked_for_calls_it_off():
    talk = with_mta()
    talk.hear(Received(1, opening()))
    talk.hear(connected())
    talk.tell(Closed(1, "reset"), Close(2))
    talk.tell(Closed(2, "closed"))
    assert talk.proxy.seating.seats == {}


@pytest.mark.parametrize("heard", [[], [hello()], [hello(), auth("another-secret-that-nobody-here-knows")]])
def test_a_stranger_that_vanishes_leaves_nothing_behind(heard):
    talk = stranger(*heard)
    talk.tell(Closed(1, "reset"))
    talk.wait(5.0)
    assert talk.proxy.seating.seats == {}


def test_when_the_house_closes_an_idle_mta_is_sent_away():
    talk = with_mta()
    orders = talk.hear(Signalled("TERM"))
    assert orders[1:] == [Send(1, b"GOAWAY reason=drain\r\n"), Close(1)]


def test_when_the_house_closes_a_call_under_way_is_called_off():
    talk = with_mta()
    talk.hear(Received(1, opening()))
    orders = talk.hear(Signalled("TERM"))
    line = failed("shutting_down", "", "the proxy is shutting down", retry_ms=1000)
    assert orders[1:] == [Close(2), Send(1, line), Send(1, b"GOAWAY reason=drain\r\n"), Close(1)]


def test_when_the_house_closes_a_stranger_is_sent_away_once_it_has_proved_itself():
    talk = stranger(hello())
    talk.hear(Signalled("TERM"))
    talk.tell(Received(1, auth()), Send(1, welcome()), Send(1, b"GOAWAY reason=drain\r\n"), Close(1))


def test_when_the_house_closes_an_mta_in_a_session_is_sent_away_behind_its_quit():
    talk = in_session()
    talk.hear(Signalled("TERM"))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(1, b"GOAWAY reason=drain\r\n"), Close(1))


# Every cut.

TURNS = (
    (1, hello() + auth() + b"PING t=1\r\n" + opening(7) + EHLO),
    (2, GREETING),
    (2, PIPELINING),
    (1, b"XCLIENT a\r\n" + MAIL + RCPT + DATA),
    (2, b"250-ok\r\n250 ok\r\n451 not now\r\n554 no\r\n"),
    (1, QUIT + opening(8, to="192.0.2.6:25") + EHLO),
    (2, b"221 bye\r\n"),
    (4, b"554 no\r\n"),
    (1, b"PING t=2\r\n" + QUIT),
)
"""Two sessions: who speaks, and what."""


def conversation(cut_turn: int = 0, pieces: Iterable[bytes] = (TURNS[0][1],)) -> tuple[dict[int, bytes], list[Action]]:
    """What comes of these turns, if the network cuts one of them into these pieces."""
    talk = Talk()
    orders = talk.hear(accepted())
    for turn, (id, data) in enumerate(TURNS):
        if turn in (1, 7):
            orders += talk.hear(connected(id))
        for piece in pieces if turn == cut_turn else (data,):
            orders += talk.hear(Received(id, piece))
    return story(orders)


def test_two_sessions_leave_this_story():
    sent, others = conversation()
    lines = [line.split(b" ")[0] for line in sent[1].split(b"\r\n")]
    assert lines == [
        *(b"CHALLENGE", b"WELCOME", b"PONG", b"READY", b"220", b"250-mx1.example.net", b"250-PIPELINING", b"250"),
        *(b"502", b"250-ok", b"250", b"451", b"554", b"221"),
        *(b"FAILED", b"PONG", b"ERROR", b""),
    ]
    assert sent[2] == EHLO + MAIL + RCPT + DATA + QUIT
    assert sent[4] == QUIT
    first, second = ("192.0.2.5", 25), ("192.0.2.6", 25)
    assert others == [Connect(2, "127.0.0.2", first), Connect(4, "127.0.0.2", second), Close(2)]


@pytest.mark.parametrize("turn", range(len(TURNS)))
def test_however_the_network_cuts_it_the_story_is_the_same(turn):
    whole = conversation()
    for pieces in every_split(TURNS[turn][1]):
        assert conversation(turn, pieces) == whole


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n", "a PROXY header: listen_proxy_protocol serves it"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "a PROXY header: listen_proxy_protocol serves it"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (b"EHLO mta.example.com\r\n", "SMTP"),
        (b"\x05\x01\x00", "SOCKS5"),
    ],
)
def test_who_speaks_something_else_leaves_a_hint_once_a_minute(said, hint):
    talk = stranger()
    talk.tell(Received(1, said), Close(1))
    told = f"native: session({SESSION}): refused client=127.0.0.9:40112 reason=other_protocol hint={hint}"
    assert talk.notes[-1] == told
    talk.hear(accepted(3))
    talk.tell(Received(3, said), Close(3))
    assert talk.notes.count(told) == 1


def test_what_came_instead_of_the_tls_that_is_due_is_named_as_well():
    talk = Talk()
    talk.hear(accepted())
    talk.hear(SecureFailed(1, "plain_text", "plain text where TLS is required", b"PROXY TCP4 1"))
    assert talk.notes[-1].endswith("reason=plain_text hint=a PROXY header: listen_proxy_protocol serves it")
