"""How remote 2 is called for MTA 1: greeting, EHLO, TLS in each of its policies, and the farewell."""

import pytest
from tools.talk import (
    CONFIG,
    EHLO,
    GOODBYE,
    GREETING,
    ONE_AT_A_TIME,
    PIPELINING,
    QUIT,
    READY,
    Talk,
    calling,
    connected,
    failed,
    in_session,
    opening,
    with_mta,
)

from gaproxy.proto.actions import Close, Connect, Secure, Send
from gaproxy.proto.events import Closed, ConnectFailed, Ended, Received, Secured, SecureFailed

PATIENT = CONFIG + "timeouts { total 30m }\n"
STARTTLS = b"STARTTLS\r\n"
OFFERS_TLS = b"250-mx1.example.net\r\n250-STARTTLS\r\n250 DSN\r\n"
WITH_TLS = b"250-mx1.example.net\r\n250 PIPELINING\r\n"
READY_TLS = READY.replace(b"tls=none", b"tls=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 verified=no")
READY_VERIFIED = READY_TLS.replace(b"verified=no", b"verified=yes")
HOST = "192.0.2.5:25/mx1.example.net"


def with_host(ready: bytes) -> bytes:
    return ready.replace(b":25 reused", b":25 host=mx1.example.net reused")


def secured(*names: str, id: int = 2) -> Secured:
    return Secured(id, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "00" * 32, names, bool(names))


def fails(kind: str, text: str, reply: str = "", ms: int = 0, port: int = 25) -> Send:
    return Send(1, failed(kind, f"192.0.2.5:{port}/{kind}/{ms}", text, reply))


def greeted(tls: str = "none", offer: bytes | None = None, config: str = CONFIG, to: str = "192.0.2.5:25") -> Talk:
    """A talk in which the remote has greeted us, and answered EHLO if there is an offer."""
    talk = calling(tls, to, config=config)
    talk.tell(Received(2, GREETING), Send(2, EHLO))
    if offer is not None:
        talk.hear(Received(2, offer))
    return talk


def securing(tls: str = "may", to: str = HOST, config: str = CONFIG, more: str = "") -> Talk:
    """A talk in which the handshake with the remote is under way."""
    talk = calling(tls, to, more, config)
    talk.tell(Received(2, GREETING), Send(2, EHLO))
    talk.tell(Received(2, OFFERS_TLS), Send(2, STARTTLS))
    talk.hear(Received(2, b"220 go\r\n"))
    return talk


# The call.


def test_a_call_that_nobody_takes_for_thirty_seconds_is_given_up():
    talk = with_mta()
    talk.hear(Received(1, opening()))
    talk.wait(29.9)
    talk.wait(0.1, Close(2), fails("timeout", "the remote was silent for too long while DIALLING", ms=30_000))
    talk.tell(ConnectFailed(2, "called_off", "called off"))
    talk.tell(Received(1, b"PING t=1\r\n"), Send(1, b"PONG t=1\r\n"))


def test_a_connection_that_crosses_its_calling_off_is_closed_all_the_same():
    talk = with_mta()
    talk.hear(Received(1, opening()))
    talk.wait(30.0, Close(2), fails("timeout", "the remote was silent for too long while DIALLING", ms=30_000))
    talk.tell(connected())
    talk.tell(Received(2, GREETING))
    talk.tell(Ended(2))
    talk.tell(Closed(2, "closed"))


def test_a_call_that_is_never_said_to_be_off_is_abandoned():
    talk = with_mta()
    talk.hear(Received(1, opening()))
    talk.wait(30.0, Close(2), fails("timeout", "the remote was silent for too long while DIALLING", ms=30_000))
    talk.wait(10.0, Close(2))


# The greeting.

GREETINGS = {
    "450 later": (b"450 later\r\n", "450 later"),
    "554 never": (b"554-no\r\n554 never\r\n", "554 no never"),
    "250 out of place": (b"250 ok\r\n", "250 ok"),
}


@pytest.mark.parametrize(("said", "reply"), GREETINGS.values(), ids=GREETINGS)
def test_a_greeting_that_refuses_us_is_told_in_the_remotes_own_words(said, reply):
    talk = calling()
    talk.tell(Received(2, said), Send(2, QUIT), fails("greeting", "the remote refused us in its greeting", reply))
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))


def test_to_a_remote_that_says_421_nothing_more_is_said():
    talk = calling()
    talk.tell(
        Received(2, b"421 busy\r\n"), Close(2), fails("greeting", "the remote refused us in its greeting", "421 busy")
    )


def test_a_remote_that_never_greets_is_given_up_after_five_minutes():
    talk = calling(config=PATIENT)
    talk.wait(299.9)
    talk.wait(0.1, Close(2), fails("timeout", "the remote was silent for too long while GREETING", ms=300_000))


@pytest.mark.parametrize("fact", [Ended(2), Closed(2, "reset")])
def test_a_remote_that_closes_instead_of_greeting_has_failed_in_its_greeting(fact):
    talk = calling()
    closes = [Close(2)] if isinstance(fact, Ended) else []
    talk.tell(fact, *closes, fails("greeting", "the remote closed the connection while GREETING"))


def test_what_is_no_greeting_is_told_for_what_it_is():
    talk = calling()
    talk.tell(Received(2, b"SSH-2.0-OpenSSH\r\n"), Close(2), fails("greeting", "a line that is no reply"))


# EHLO.


@pytest.mark.parametrize("said", [b"500 what\r\n", b"502 what\r\n", b"504 what\r\n"])
def test_a_remote_that_does_not_know_ehlo_is_greeted_with_helo(said):
    talk = greeted()
    talk.tell(Received(2, said), Send(2, b"HELO out1.example.com\r\n"))
    talk.tell(Received(2, b"250 mx1 hello\r\n"), Send(1, READY + GREETING))
    talk.tell(Received(1, EHLO), Send(1, b"250 mx1\r\n"))


@pytest.mark.parametrize("said", [b"550 no\r\n", b"450 no\r\n", b"251 no\r\n"])
def test_a_remote_that_refuses_ehlo_is_not_asked_again(said):
    talk = greeted()
    talk.tell(Received(2, said), Send(2, QUIT), fails("ehlo", "the remote refused EHLO", said.decode().strip()))


def test_a_remote_that_refuses_helo_too_is_given_up():
    talk = greeted(offer=b"500 what\r\n")
    talk.tell(Received(2, b"502 what\r\n"), Send(2, QUIT), fails("ehlo", "the remote refused HELO", "502 what"))


def test_a_remote_that_leaves_at_ehlo_or_at_helo_has_failed_there():
    greeted().tell(Ended(2), Close(2), fails("ehlo", "the remote closed the connection while EHLO"))
    talk = greeted(offer=b"500 what\r\n")
    talk.tell(Received(2, b"421 bye\r\n"), Close(2), fails("ehlo", "the remote refused HELO", "421 bye"))


@pytest.mark.parametrize(("offer", "state"), [(None, "EHLO"), (b"500 what\r\n", "HELO")])
def test_a_remote_that_never_answers_ehlo_is_given_up_after_five_minutes(offer, state):
    talk = greeted(offer=offer, config=PATIENT)
    talk.wait(299.9)
    talk.wait(0.1, Close(2), fails("timeout", f"the remote was silent for too long while {state}", ms=300_000))


def test_what_a_remote_says_behind_its_ehlo_reply_is_out_of_turn():
    talk = greeted()
    talk.tell(Received(2, PIPELINING + b"250 more\r\n"), Send(1, READY + GREETING), Close(2))


def test_a_reply_that_began_before_ehlo_was_said_is_no_answer_to_it():
    told = fails("ehlo", "a reply before anything was asked")
    talk = calling()
    talk.tell(Received(2, GREETING + PIPELINING), Send(2, EHLO), Close(2), told)
    talk = calling()
    talk.tell(Received(2, GREETING + b"250"), Send(2, EHLO))
    talk.tell(Received(2, b" mx1.example.net\r\n"), Close(2), told)


def test_a_421_right_behind_the_greeting_is_the_remotes_own_word():
    told = fails("ehlo", "the remote refused EHLO", "421 busy")
    calling().tell(Received(2, GREETING + b"421 busy\r\n"), Send(2, EHLO), Close(2), told)


# TLS.


def test_a_220_that_began_before_starttls_was_said_is_no_go_ahead():
    talk = greeted("may")
    told = fails("tls", "a reply before anything was asked")
    talk.tell(Received(2, OFFERS_TLS + b"220 go\r\n"), Send(2, STARTTLS), Close(2), told)


def test_without_tls_none_is_begun_though_it_is_offered():
    greeted("none").tell(Received(2, OFFERS_TLS), Send(1, READY + GREETING))


def test_with_may_tls_is_begun_where_it_is_offered():
    talk = greeted("may", to=HOST)
    talk.tell(Received(2, OFFERS_TLS), Send(2, STARTTLS))
    talk.tell(Received(2, b"220 go\r\n"), Secure(2, False, "mx1.example.net"))
    talk.tell(secured(), Send(2, EHLO))
    talk.tell(Received(2, WITH_TLS), Send(1, with_host(READY_TLS) + GREETING))
    talk.tell(Received(1, EHLO), Send(1, WITH_TLS))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    assert "tls=TLSv1.3 reused=no" in talk.notes[-1]


def test_with_may_a_remote_that_offers_none_is_spoken_to_in_plain_text():
    greeted("may").tell(Received(2, ONE_AT_A_TIME), Send(1, READY + GREETING))


def test_with_may_a_remote_that_refuses_it_is_spoken_to_in_plain_text():
    talk = greeted("may", OFFERS_TLS)
    talk.tell(Received(2, b"454 not now\r\n"), Send(1, READY + GREETING))
    talk.tell(Received(1, EHLO), Send(1, b"250-mx1.example.net\r\n250 DSN\r\n"))


def test_with_may_a_remote_that_says_421_to_starttls_is_not_spoken_to_at_all():
    talk = greeted("may", OFFERS_TLS)
    talk.tell(Received(2, b"421 bye\r\n"), Close(2), fails("tls", "the remote refused STARTTLS", "421 bye"))


def test_with_encrypt_a_remote_that_offers_none_is_given_up():
    talk = greeted("encrypt")
    line = fails("tls", "the remote offers no STARTTLS", "250 mx1.example.net")
    talk.tell(Received(2, ONE_AT_A_TIME), Send(2, QUIT), line)


def test_with_encrypt_a_remote_that_knows_helo_alone_is_given_up():
    talk = greeted("encrypt", b"500 what\r\n")
    talk.tell(Received(2, b"250 mx1\r\n"), Send(2, QUIT), fails("tls", "the remote offers no STARTTLS", "250 mx1"))


def test_with_encrypt_a_remote_that_refuses_it_is_given_up():
    talk = greeted("encrypt", OFFERS_TLS)
    line = fails("tls", "the remote refused STARTTLS", "454 not now")
    talk.tell(Received(2, b"454 not now\r\n"), Send(2, QUIT), line)


def test_a_remote_that_closes_at_starttls_has_failed_in_tls():
    greeted("may", OFFERS_TLS).tell(Ended(2), Close(2), fails("tls", "the remote closed the connection while STARTTLS"))


def test_plain_text_behind_the_reply_to_starttls_is_an_injection():
    talk = greeted("may", OFFERS_TLS)
    told = fails("tls", "plain text came behind the reply to STARTTLS")
    talk.tell(Received(2, b"220 go\r\n250 injected\r\n"), Close(2), told)


def test_with_may_a_handshake_that_fails_is_followed_by_a_fresh_call_in_plain_text_and_only_one():
    talk = securing("may", "192.0.2.5:25")
    talk.tell(SecureFailed(2, "handshake", "wrong version", b""), Close(2), Connect(4, "127.0.0.2", ("192.0.2.5", 25)))
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, OFFERS_TLS), Send(1, READY + GREETING))
    talk.tell(Closed(2, "closed"))


def test_with_may_a_remote_that_breaks_off_the_handshake_is_called_again_in_plain_text():
    talk = securing("may", "192.0.2.5:25")
    talk.tell(Closed(2, "reset"), Connect(4, "127.0.0.2", ("192.0.2.5", 25)))
    talk.tell(connected(4))
    told = failed(
        "greeting",
        "192.0.2.5:25/tls/0,192.0.2.5:25/greeting/0",
        "the remote closed the connection while GREETING",
    )
    talk.tell(Ended(4), Close(4), Send(1, told))


def test_with_encrypt_a_handshake_that_fails_is_the_end():
    talk = securing("encrypt")
    talk.tell(SecureFailed(2, "handshake", "wrong version", b""), Close(2), fails("tls", "wrong version"))
    talk = securing("encrypt")
    talk.tell(Ended(2), Close(2), fails("tls", "the remote closed the connection while SECURING"))


def test_with_verify_a_chain_that_is_not_trusted_is_the_end():
    talk = securing("verify")
    talk.tell(SecureFailed(2, "certificate", "self-signed", b""), Close(2), fails("tls", "self-signed"))


def test_with_verify_a_certificate_of_the_right_name_will_do():
    talk = greeted("verify", OFFERS_TLS, to=HOST)
    talk.tell(Received(2, b"220 go\r\n"), Secure(2, True, "mx1.example.net"))
    talk.tell(secured("other.example", "MX1.example.net"), Send(2, EHLO))
    talk.tell(Received(2, WITH_TLS), Send(1, with_host(READY_VERIFIED) + GREETING))


def test_with_verify_a_certificate_of_another_name_is_the_end_before_anything_is_said():
    talk = securing("verify")
    text = "the certificate is for other.example, a.example, not for mx1.example.net"
    talk.tell(secured("other.example", "a.example"), Close(2), fails("tls", text))
    talk = securing("verify")
    text = "the certificate is for no name, not for mx1.example.net"
    talk.tell(secured(), Close(2), fails("tls", text))


@pytest.mark.parametrize(
    ("names", "server_name"), [("*.example.net", None), ("*.example.net,mx.example.org", "mx.example.org")]
)
def test_the_names_of_the_request_go_before_the_host_and_no_wildcard_is_asked_for(names, server_name):
    talk = calling("verify", HOST, f" tls_names={names}")
    talk.tell(Received(2, GREETING), Send(2, EHLO))
    talk.tell(Received(2, OFFERS_TLS), Send(2, STARTTLS))
    talk.tell(Received(2, b"220 go\r\n"), Secure(2, True, server_name))
    talk.tell(secured("mx9.example.net"), Send(2, EHLO))


def test_on_port_465_tls_comes_before_the_greeting():
    talk = with_mta(CONFIG)
    talk.hear(Received(1, opening(to="192.0.2.5:465/mx1.example.net", tls="may")))
    talk.tell(connected(), Secure(2, False, "mx1.example.net"))
    talk.tell(secured())
    talk.tell(Received(2, GREETING), Send(2, EHLO))
    talk.tell(Received(2, OFFERS_TLS), Send(1, with_host(READY_TLS).replace(b"5:25", b"5:465") + GREETING))


def test_on_port_465_there_is_no_plain_text_to_fall_back_to():
    talk = calling("may", "192.0.2.5:465")
    told = fails("tls", "wrong version", port=465)
    talk.tell(SecureFailed(2, "handshake", "wrong version", b"220 mx1"), Close(2), told)


def test_the_reply_to_starttls_and_the_handshake_have_two_minutes_each():
    talk = greeted("may", OFFERS_TLS, PATIENT)
    talk.wait(119.9)
    talk.wait(0.1, Close(2), fails("timeout", "the remote was silent for too long while STARTTLS", ms=120_000))
    talk = securing("may", "192.0.2.5:25", PATIENT)
    talk.wait(119.9)
    talk.wait(0.1, Close(2), fails("timeout", "the remote was silent for too long while SECURING", ms=120_000))
    talk.tell(SecureFailed(2, "handshake", "closed", b""))


def test_a_handshake_that_succeeds_while_it_is_given_up_changes_nothing():
    talk = securing("may", "192.0.2.5:25", PATIENT)
    talk.wait(120.0, Close(2), fails("timeout", "the remote was silent for too long while SECURING", ms=120_000))
    talk.tell(secured())


# The farewell.


def parting() -> Talk:
    talk = in_session()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, QUIT))
    return talk


def test_behind_quit_the_remote_has_two_seconds():
    talk = parting()
    talk.wait(1.9)
    talk.wait(0.1, Close(2))


def test_whatever_comes_behind_quit_the_connection_is_closed():
    parting().tell(Received(2, b"500 what\r\n"), Close(2))
    parting().tell(Received(2, b"what\r\n"), Close(2))
    parting().tell(Ended(2), Close(2))
    parting().tell(Closed(2, "reset"))


def test_a_remote_that_does_not_close_its_side_is_abandoned_after_ten_seconds():
    talk = parting()
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))
    talk.tell(Received(2, b"and another thing"))
    talk.wait(9.9)
    talk.wait(0.1, Close(2))
    talk.tell(Closed(2, "closed"))
    assert list(talk.proxy.seating.connections) == [1]
