"""The PROXY door from the greeting to the EHLO that had its 250: who speaks TLS, and what is not forwarded."""

import pytest
from tools.haproxy_talk import (
    EHLO,
    FIRST,
    GO,
    HELO,
    OFFERS_TLS,
    SECURED,
    SHOWN,
    STARTTLS,
    greeted,
    in_session,
    logged,
    told,
)
from tools.talk import GOODBYE, GREETING, MAIL, PIPELINING, QUIT, RCPT, SESSION, Talk, connected, story

from gaproxy.proto.actions import Close, Connect, Relay, Secure, Send
from gaproxy.proto.events import Closed, ConnectFailed, Ended, Received, SecureFailed, Signalled

# Between greeting and EHLO.


def test_before_an_ehlo_had_its_250_nothing_is_forwarded():
    talk = greeted()
    talk.tell(Received(1, MAIL), Send(1, FIRST))
    talk.tell(Received(1, STARTTLS), Send(1, FIRST))
    talk.tell(Received(1, b"NOOP\nMAIL\r\n"), Send(1, FIRST))
    talk.tell(Received(1, b"EHLO\r\n"), Send(1, b"501 5.5.4 gaproxy: EHLO needs a name\r\n"))
    talk.tell(Received(1, b"EHLO \xff\r\n"), Send(1, b"501 5.5.4 gaproxy: EHLO needs a name\r\n"))
    talk.tell(Received(1, b"QUIT now\r\n"), Send(1, b"501 5.5.4 gaproxy: QUIT takes no argument\r\n"))
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


@pytest.mark.parametrize("reply", ["220 what", "251 what", "354 what", "250-yes\r\n550 no"])
def test_what_one_mta_takes_for_yes_and_another_for_no_is_our_421(reply):
    talk = greeted()
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    orders = talk.hear(Received(2, f"{reply}\r\n".encode()))
    said = reply.replace("\r\n550", "").replace("250-", "550 ")
    assert story(orders)[0][1] == told("ehlo", f"the remote refused EHLO: {said}", "4.4.2")
    assert Close(1) in orders


def test_what_is_pipelined_behind_an_ehlo_waits_and_is_not_forwarded_if_that_is_refused():
    talk = greeted()
    talk.tell(Received(1, EHLO + MAIL + RCPT), Send(2, EHLO))
    talk.tell(Received(2, b"550 no\r\n"), Send(1, b"550 no\r\n" + FIRST + FIRST))
    talk.tell(Received(1, EHLO + MAIL + RCPT), Send(2, EHLO))
    talk.tell(Received(2, PIPELINING), Send(1, PIPELINING), Send(2, MAIL + RCPT))


def test_a_remote_that_does_not_answer_the_mtas_ehlo_has_its_five_minutes():
    talk = greeted()
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    talk.wait(299.999)
    words = told("timeout", "the remote was silent for too long while EHLO", "4.4.1")
    talk.wait(0.001, Close(2), Send(1, words), Close(1))


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
    assert not [line for line in talk.notes if line.startswith("smtp:")]


def test_a_starttls_that_the_remote_refuses_changes_nothing():
    talk = in_session()
    talk.tell(Received(1, STARTTLS), Send(2, STARTTLS))
    talk.tell(Received(2, b"454 4.7.0 not now\r\n"), Send(1, b"454 4.7.0 not now\r\n"))
    talk.tell(Received(1, MAIL), Send(2, MAIL))


def test_no_tls_begins_while_the_house_closes():
    talk = in_session()
    talk.hear(Received(1, STARTTLS))
    talk.hear(Signalled("TERM"))
    words = f"421 4.3.2 gaproxy: shutting down [{SESSION}]\r\n".encode()
    talk.tell(Received(2, GO), Close(2), Send(1, words), Close(1))


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


@pytest.mark.parametrize(
    ("options", "reply"),
    [(ENCRYPT, "454 4.7.0 not now"), (ENCRYPT, "421 4.3.2 I go"), (BY_US, "421 4.3.2 I go")],
)
def test_a_starttls_of_ours_that_fails_is_our_421(options, reply):
    talk = greeted(options)
    talk.hear(Received(1, EHLO))
    talk.tell(Received(2, OFFERS_TLS), Send(2, STARTTLS))
    orders = talk.hear(Received(2, f"{reply}\r\n".encode()))
    assert story(orders)[0][1] == told("tls", f"the remote refused STARTTLS: {reply}", "4.7.5")
    assert Close(1) in orders


def test_a_starttls_of_ours_that_is_refused_is_no_matter_under_level_may():
    talk = greeted(BY_US)
    talk.hear(Received(1, EHLO))
    talk.hear(Received(2, OFFERS_TLS))
    talk.tell(Received(2, b"454 no\r\n"), Send(1, b"250-mx1.example.net\r\n250 PIPELINING\r\n"))


@pytest.mark.parametrize("options", [BY_US, ENCRYPT])
def test_plain_text_behind_the_220_to_our_starttls_is_the_end(options):
    talk = greeted(options)
    talk.hear(Received(1, EHLO))
    talk.hear(Received(2, OFFERS_TLS))
    words = told("tls", "plain text came behind the reply to STARTTLS", "4.7.5")
    talk.tell(Received(2, GO + b"250 evil\r\n"), Close(2), Send(1, words), Close(1))


@pytest.mark.parametrize("gone", [Ended(2), Closed(2, "reset")])
def test_a_remote_that_goes_in_the_handshake_is_our_421_under_level_encrypt(gone):
    orders = securing(ENCRYPT).hear(gone)
    assert Send(1, told("tls", "the remote closed the connection while SECURING", "4.7.5")) in orders
    assert Close(1) in orders


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


def test_a_second_dial_tries_no_tls_again():
    talk = failed_handshake()
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, OFFERS_TLS), Send(1, b"250-mx1.example.net\r\n250 PIPELINING\r\n"))
    talk.tell(Received(1, STARTTLS), Send(1, b"502 5.5.1 gaproxy: not relayed\r\n"))


def test_a_second_dial_that_fails_is_our_421():
    talk = failed_handshake()
    talk.tell(ConnectFailed(4, "timeout", "timed out"), Send(1, told("timeout", "timed out", "4.4.1")), Close(1))


@pytest.mark.parametrize("greeting", ["554 5.7.1 go away", "421 4.3.2 busy"])
def test_a_greeting_that_refuses_the_second_dial_is_no_answer_to_the_mtas_ehlo(greeting):
    talk = failed_handshake()
    talk.tell(connected(4))
    words = told("greeting", f"the remote refused us in its greeting: {greeting}", "4.4.2")
    orders = talk.hear(Received(4, f"{greeting}\r\n".encode()))
    assert story(orders)[0][1] == words
    assert Close(1) in orders


def test_a_second_dial_has_the_time_of_a_request():
    talk = failed_handshake()
    talk.tell(Closed(2, "closed"))
    talk.tell(connected(4))
    talk.wait(59.999)
    words = told("timeout", "the time for all addresses is over", "4.4.1")
    talk.wait(0.001, Close(4), Send(1, words), Close(1))


@pytest.mark.parametrize("gone", [Ended(1), Closed(1, "reset")])
def test_an_mta_that_leaves_during_the_second_dial_calls_it_off(gone):
    assert Close(4) in failed_handshake().hear(gone)


def test_a_stop_during_the_second_dial_is_told():
    orders = failed_handshake().hear(Signalled("TERM"))
    assert Send(1, told("shutting_down", "the proxy is shutting down", "4.3.2")) in orders
