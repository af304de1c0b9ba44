"""Shown, then taken: how a client of the PROXY door comes to a connection that somebody else has opened.

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
    SECRET,
    SESSION,
    START_NS,
    Talk,
    auth,
    hello,
    opening,
    story,
)
from tools.talk import EHLO as EHLO_OF_NATIVE
from tools.talk import LISTENER as NATIVE
from tools.talk import accepted as native_accepted

from gaproxy.proto.actions import Close, Connect, Prepare, Relay, Secure, Send
from gaproxy.proto.events import (
    Accepted,
    Closed,
    Connected,
    ConnectFailed,
    Ended,
    Received,
    Relayed,
    Secured,
    SecureFailed,
    Signalled,
)

PLACE, OTHER_PLACE = "127.0.0.1:5000", "127.0.0.1:5001"
HEADER = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
EHLO, HELO = b"EHLO mta.example.com\r\n", b"HELO mta.example.com\r\n"
EHLO_OTHER = b"EHLO other.example.com\r\n"
OFFERS_TLS = b"250-mx1.example.net at your service\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS\r\n"
AS_SHOWN = b"250-mx1.example.net at your service\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
WITHOUT_TLS = b"250-mx1.example.net\r\n250 PIPELINING\r\n"
STARTTLS, GO, RSET, OK = b"STARTTLS\r\n", b"220 2.0.0 go ahead\r\n", b"RSET\r\n", b"250 ok\r\n"
DIALS_AGAIN = Connect(4, "127.0.0.2", ("192.0.2.5", 25))


def config(options: str = "", more: str = "") -> str:
    return f"""
        listen "{NATIVE}"
        listen_proxy_protocol "{PLACE}" {{ {options} }}
        allow_from 127.0.0.0/8
        auth_shared_secret "{SECRET}"
        remote_allow 192.0.2.0/24
        {more}
    """


def accepted(id: int, place: str = PLACE) -> Accepted:
    return Accepted(id, place, CLIENT, ENTROPY)


def connected(id: int) -> Connected:
    return Connected(id, ("127.0.0.2", 40111 + id))


def secured(id: int) -> Secured:
    return Secured(id, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "ef" * 32, (), False)


def introduced(talk: Talk, remote: int, ehlo: bytes, offer: bytes, tls: bool = False) -> None:
    """The remote that was dialled hears the client's name, and answers; under TLS if it is us who speak it."""
    talk.hear(connected(remote))
    talk.hear(Received(remote, GREETING))
    if tls:
        talk.tell(Received(remote, OFFERS_TLS), Send(remote, STARTTLS))
        talk.tell(Received(remote, GO), Secure(remote, False, None))
        talk.tell(secured(remote), Send(remote, ehlo))
    talk.hear(Received(remote, offer))


def goes(talk: Talk, id: int, remote: int) -> None:
    """The client says QUIT, is gone, and the remote is ready for the next one."""
    talk.tell(Received(id, QUIT), Send(id, GOODBYE), Close(id), Send(remote, RSET))
    talk.tell(Closed(id, "closed"))
    talk.tell(Received(remote, OK))


def resting(options: str = "", more: str = "", ehlo: bytes = EHLO, offer: bytes = OFFERS_TLS) -> Talk:
    """A talk in which the remote 2 rests, opened for the client 1 under this name."""
    talk = Talk(config(options, more))
    talk.tell(accepted(1))
    talk.hear(Received(1, HEADER))
    talk.hear(connected(2))
    talk.tell(Received(2, GREETING), Send(1, GREETING))
    talk.tell(Received(1, ehlo), Send(2, ehlo))
    if "proxy" in options:
        talk.tell(Received(2, OFFERS_TLS), Send(2, STARTTLS))
        talk.tell(Received(2, GO), Secure(2, False, None))
        talk.tell(secured(2), Send(2, ehlo))
    talk.hear(Received(2, offer))
    goes(talk, 1, 2)
    return talk


def is_shown(talk: Talk, id: int = 3, place: str = PLACE) -> None:
    """The next client is shown the greeting of one that rests, on which nothing is said."""
    talk.tell(accepted(id, place))
    talk.tell(Received(id, HEADER), Send(id, GREETING))


def shown(options: str = "", more: str = "", offer: bytes = OFFERS_TLS) -> Talk:
    """A talk in which 2 rests, and the client 3 was shown its greeting."""
    talk = resting(options, more, offer=offer)
    is_shown(talk)
    return talk


def told(kind: str, words: str, code: str) -> bytes:
    """What we say when there is no remote."""
    return f"421 {code} gaproxy: {kind}: 192.0.2.5:25 from 127.0.0.2: {words} [{SESSION}]\r\n".encode()


def still_rests(talk: Talk, id: int = 7) -> None:
    """Whatever has become of others: who gives the first name takes the remote 2, on which nothing was said."""
    is_shown(talk, id)
    talk.hear(Received(id, EHLO))
    talk.tell(Received(id, MAIL), Send(2, MAIL))


# The same name.


def test_the_greeting_of_one_at_rest_is_shown_and_nothing_is_said_on_it():
    talk = resting()
    talk.tell(accepted(3))
    talk.tell(Received(3, HEADER), Send(3, GREETING))


def test_who_gives_the_same_name_takes_it_and_is_answered_from_memory():
    talk = shown()
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Received(3, MAIL + RCPT + DATA), Send(2, MAIL + RCPT + DATA))
    talk.tell(Received(2, OK + OK + b"354 go\r\n"), Send(3, OK + OK + b"354 go\r\n"), Relay(3, 2))
    talk.tell(Relayed(3, 100, b"", "dot"))
    talk.tell(Received(2, b"250 kept\r\n"), Send(3, b"250 kept\r\n"))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Close(3), Send(2, RSET))
    assert talk.notes[-1] == (
        f"smtp: session({SESSION}): end client=127.0.0.9:40112 source=127.0.0.2:40113 remote=192.0.2.5:25 "
        "tls=none reused=yes uses=2 messages=1 bytes=100 seconds=0.000 reason=quit"
    )


def test_in_any_pieces_the_same_is_shown_and_the_same_is_taken():
    said = HEADER + EHLO + MAIL

    def orders(pieces):
        talk = resting()
        talk.tell(accepted(3))
        return story(order for piece in pieces for order in talk.hear(Received(3, piece)))

    expected = orders([said])
    assert expected == ({3: GREETING + AS_SHOWN, 2: MAIL}, [])
    splits = list(every_split(said, 1))
    assert len(splits) > len(said)
    assert all(orders(pieces) == expected for pieces in splits)


def test_before_its_name_nothing_is_forwarded_and_a_name_that_is_none_is_refused():
    talk = shown()
    talk.tell(Received(3, MAIL), Send(3, b"503 5.5.1 gaproxy: EHLO first\r\n"))
    talk.tell(Received(3, b"EHLO\r\n"), Send(3, b"501 5.5.4 gaproxy: EHLO needs a name\r\n"))
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))


def test_one_whose_reset_is_under_way_is_shown_and_taken_as_well():
    talk = Talk(config())
    talk.hear(accepted(1))
    talk.hear(Received(1, HEADER))
    introduced(talk, 2, EHLO, b"")
    talk.hear(Received(1, EHLO))
    talk.hear(Received(2, OFFERS_TLS))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Close(1), Send(2, RSET))
    is_shown(talk)
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Received(3, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK + b"250 sender ok\r\n"), Send(3, b"250 sender ok\r\n"))


def test_one_that_has_rested_for_long_is_asked_first_whether_it_still_stands():
    talk = shown()
    talk.wait(3.0)
    talk.tell(Received(3, EHLO), Send(2, RSET))
    talk.tell(Received(2, OK), Send(3, AS_SHOWN))


def test_where_it_does_not_the_address_is_dialled_again():
    talk = shown()
    talk.wait(3.0)
    talk.tell(Received(3, EHLO), Send(2, RSET))
    talk.tell(Closed(2, "reset"), DIALS_AGAIN)
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, OFFERS_TLS), Send(3, AS_SHOWN))


def test_what_was_carried_before_is_taken_off_mailmax():
    offer = b"250-mx1.example.net\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=5\r\n"
    talk = Talk(config())
    talk.hear(accepted(1))
    talk.hear(Received(1, HEADER))
    introduced(talk, 2, EHLO, b"")
    talk.hear(Received(1, EHLO))
    talk.tell(Received(2, offer), Send(1, offer))
    talk.hear(Received(1, MAIL + RCPT + DATA))
    talk.hear(Received(2, OK + OK + b"354 go\r\n"))
    talk.hear(Relayed(1, 100, b"", "dot"))
    talk.hear(Received(2, OK))
    goes(talk, 1, 2)
    is_shown(talk)
    talk.tell(Received(3, EHLO), Send(3, offer.replace(b"MAX=5", b"MAX=4")))
    talk.tell(Received(3, EHLO), Send(3, offer.replace(b"MAX=5", b"MAX=4")))


# Another name, or HELO.


@pytest.mark.parametrize("said", [EHLO_OTHER, HELO, b"HELO other.example.com\r\n"])
def test_another_name_or_helo_leaves_it_at_rest_and_the_address_is_dialled_afresh(said):
    talk = shown()
    talk.tell(Received(3, said), DIALS_AGAIN)
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, said))
    talk.tell(Received(4, PIPELINING), Send(3, PIPELINING))
    talk.tell(Received(3, MAIL), Send(4, MAIL))
    still_rests(talk)


def test_another_name_chooses_among_all_that_rest():
    talk = shown()
    talk.tell(Received(3, EHLO_OTHER), DIALS_AGAIN)
    introduced(talk, 4, EHLO_OTHER, PIPELINING)
    goes(talk, 3, 4)
    is_shown(talk, 5)
    talk.tell(Received(5, EHLO_OTHER), Send(5, PIPELINING))
    talk.tell(Received(5, MAIL), Send(4, MAIL))


def test_one_that_was_greeted_with_helo_is_nobody_elses():
    talk = resting()
    is_shown(talk)
    talk.tell(Received(3, HELO), DIALS_AGAIN)
    introduced(talk, 4, HELO, b"250 mx1\r\n")
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Close(3), Send(4, QUIT))
    assert "not kept source=127.0.0.2 uses=1 messages=0 reason=helo" in talk.last_note("direct_remote_smtp")


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ([ConnectFailed(4, "refused", "Connection refused")], told("refused", "Connection refused", "4.4.1")),
        (
            [connected(4), Closed(4, "reset")],
            told("greeting", "the remote closed the connection while GREETING", "4.4.2"),
        ),
        (
            [connected(4), Received(4, b"554 no\r\n")],
            told("greeting", "the remote refused us in its greeting: 554 no", "4.4.2"),
        ),
        (
            [connected(4), Received(4, GREETING), Received(4, b"421 busy\r\n")],
            told("ehlo", "the remote refused EHLO: 421 busy", "4.4.2"),
        ),
        (
            [connected(4), Received(4, GREETING), Received(4, b"550 who?\r\n")],
            told("ehlo", "the remote refused EHLO: 550 who?", "4.4.2"),
        ),
    ],
)
def test_what_fails_then_is_told_to_the_ehlo_and_then_comes_our_end(facts, line):
    talk = shown()
    talk.tell(Received(3, EHLO_OTHER), DIALS_AGAIN)
    heard = [order for fact in facts for order in talk.hear(fact)]
    assert story(heard)[0][3] == line
    assert Close(3) in heard
    talk.tell(Closed(3, "closed"))
    still_rests(talk)


def test_the_second_dial_too_has_its_time():
    talk = shown()
    talk.tell(Received(3, EHLO_OTHER), DIALS_AGAIN)
    talk.hear(connected(4))
    line = told("timeout", "the time for all addresses is over", "4.4.1")
    talk.wait(32.0, Send(2, QUIT), Close(2))
    talk.wait(28.0, Close(2), Close(4), Send(3, line), Close(3))


def test_who_leaves_while_the_second_dial_is_made_calls_it_off():
    talk = shown()
    talk.tell(Received(3, EHLO_OTHER), DIALS_AGAIN)
    talk.tell(Closed(3, "reset"), Close(4))
    still_rests(talk)


def test_a_second_dial_that_the_closing_house_calls_off_is_told():
    talk = shown()
    talk.tell(Received(3, EHLO_OTHER), DIALS_AGAIN)
    line = told("shutting_down", "the proxy is shutting down", "4.3.2")
    talk.tell(Signalled("TERM"), Prepare((), ()), Send(2, QUIT), Close(4), Send(3, line), Close(3))


def test_where_a_limit_has_no_other_place_the_one_shown_makes_room():
    talk = shown(more='throttle "*" { max_connections 1 }')
    talk.tell(Received(3, EHLO_OTHER), Send(2, QUIT))
    talk.tell(Received(2, b"221 bye\r\n"), Close(2), DIALS_AGAIN)
    introduced(talk, 4, EHLO_OTHER, PIPELINING)
    talk.tell(Received(3, MAIL), Send(4, MAIL))


# Set aside is not taken.


def test_whoever_gives_the_name_first_takes_it_and_the_other_one_gets_his_own():
    talk = shown()
    is_shown(talk, 5)
    talk.tell(Received(5, EHLO), Send(5, AS_SHOWN))
    talk.tell(Received(3, EHLO), DIALS_AGAIN)
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, OFFERS_TLS), Send(3, AS_SHOWN))
    talk.tell(Received(3, MAIL), Send(4, MAIL))
    talk.tell(Received(5, MAIL), Send(2, MAIL))


def test_if_it_rests_again_by_then_it_is_taken_after_all():
    talk = shown()
    is_shown(talk, 5)
    talk.tell(Received(5, EHLO), Send(5, AS_SHOWN))
    goes(talk, 5, 2)
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Received(3, MAIL), Send(2, MAIL))


def test_where_a_limit_has_no_other_place_the_one_who_comes_second_is_told():
    talk = shown(more='throttle "*" { max_connections 1 }')
    is_shown(talk, 5)
    talk.tell(Received(5, EHLO), Send(5, AS_SHOWN))
    line = told("throttled", "all connections of a limit are in use, retry in 1 s", "4.7.0")
    talk.tell(Received(3, EHLO), Send(3, line), Close(3))


@pytest.mark.parametrize(
    ("goes", "orders", "reason"),
    [
        (Received(2, b"421 4.4.2 idle\r\n"), (Close(2),), "remote_421"),
        (Ended(2), (Close(2),), "remote_closed"),
        (Closed(2, "reset"), (), "remote_reset"),
    ],
)
def test_one_that_leaves_while_it_is_shown_is_missed_by_nobody(goes, orders, reason):
    talk = shown()
    talk.tell(goes, *orders)
    assert talk.notes[-1].endswith(f"uses=1 messages=0 reason={reason}")
    talk.tell(Received(3, EHLO), DIALS_AGAIN)
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, OFFERS_TLS), Send(3, AS_SHOWN))


# Who goes before he has said his name.


def ended_with(talk: Talk, reason: str) -> None:
    """The log tells a session that has carried nothing."""
    begins = f"smtp: session({SESSION}): end client=127.0.0.9:40112 source=127.0.0.2:40113 remote=192.0.2.5:25 tls=none"
    assert talk.last_note("smtp: session").startswith(f"{begins} messages=0 bytes=0 ")
    assert talk.last_note("smtp: session").endswith(f"reason={reason}")


@pytest.mark.parametrize(
    ("fact", "orders", "reason"),
    [
        (Received(3, QUIT), (Send(3, GOODBYE), Close(3)), "quit"),
        (Ended(3), (Close(3),), "mta_ended"),
        (Closed(3, "reset"), (), "mta_gone"),
        (
            Received(3, b"A" * 4096),
            (Send(3, b"500 5.5.2 gaproxy: a command longer than 4096 bytes\r\n"), Close(3)),
            "malformed_command",
        ),
    ],
)
def test_who_goes_without_a_name_leaves_the_one_that_was_shown_at_rest(fact, orders, reason):
    talk = shown()
    talk.tell(fact, *orders)
    ended_with(talk, reason)
    still_rests(talk)


def test_who_is_silent_is_closed_and_the_one_that_was_shown_has_gone_before():
    talk = shown()
    talk.wait(32.0, Send(2, QUIT), Close(2))
    talk.tell(Closed(2, "closed"))
    talk.wait(268.0, Close(3))
    ended_with(talk, "mta_silent")


def test_a_house_that_closes_tells_who_was_shown_a_greeting_and_lets_the_resting_one_go():
    talk = shown()
    line = told("shutting_down", "the proxy is shutting down", "4.3.2")
    talk.tell(Signalled("TERM"), Prepare((), ()), Send(2, QUIT), Send(3, line), Close(3))
    assert "kind=shutting_down" in talk.last_note("smtp: session")


def test_what_comes_behind_quit_never_reaches_the_one_that_rests():
    talk = shown()
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Received(3, QUIT + MAIL), Send(3, GOODBYE), Close(3), Send(2, RSET))
    talk.tell(Received(3, MAIL))


# We speak TLS.


@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_a_connection_under_our_tls_is_shared_and_shakes_hands_once(level):
    talk = shown(f"starttls proxy; level {level}")
    talk.tell(Received(3, EHLO), Send(3, WITHOUT_TLS))
    talk.tell(Received(3, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(3, OK))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Close(3), Send(2, RSET))
    assert "tls=TLSv1.3 reused=yes uses=2" in talk.notes[-1]


@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_under_another_name_it_begins_anew_and_of_the_envelope_nothing_goes_before_tls(level):
    talk = shown(f"starttls proxy; level {level}")
    talk.tell(Received(3, EHLO_OTHER + MAIL), DIALS_AGAIN)
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO_OTHER))
    talk.tell(Received(4, OFFERS_TLS), Send(4, STARTTLS))
    talk.tell(Received(4, GO), Secure(4, False, None))
    talk.tell(secured(4), Send(4, EHLO_OTHER))
    talk.tell(Received(4, OFFERS_TLS), Send(3, WITHOUT_TLS), Send(4, MAIL))
    still_rests(talk)


def test_helo_is_made_ehlo_for_the_sake_of_tls_and_answered_in_one_line():
    talk = shown("starttls proxy; level encrypt")
    talk.tell(Received(3, HELO), DIALS_AGAIN)
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, OFFERS_TLS), Send(4, STARTTLS))
    talk.tell(Received(4, GO), Secure(4, False, None))
    talk.tell(secured(4), Send(4, EHLO))
    talk.tell(Received(4, OFFERS_TLS), Send(3, b"250 mx1.example.net\r\n"))


def test_what_must_be_encrypted_does_not_take_what_merely_may_be():
    other = f'listen_proxy_protocol "{OTHER_PLACE}" {{ starttls proxy; level encrypt }}'
    talk = resting("starttls proxy; level may", other)
    talk.tell(accepted(3, OTHER_PLACE))
    talk.tell(Received(3, HEADER), DIALS_AGAIN)


def test_where_encryption_fails_on_the_second_dial_the_ehlo_hears_it():
    talk = shown("starttls proxy; level encrypt")
    talk.tell(Received(3, EHLO_OTHER), DIALS_AGAIN)
    talk.hear(connected(4))
    talk.hear(Received(4, GREETING))
    line = told("tls", "the remote offers no STARTTLS: 250 mx1.example.net PIPELINING SIZE 1000", "4.7.5")
    orders = talk.hear(Received(4, PIPELINING))
    assert orders == [Send(4, QUIT), Send(3, line), Close(3)]


def fell_back(talk: Talk, id: int, remote: int) -> None:
    """The handshake with this remote fails, and the next one is dialled without TLS."""
    talk.hear(Received(remote, OFFERS_TLS))
    talk.hear(Received(remote, GO))
    again = Connect(remote + 2, "127.0.0.2", ("192.0.2.5", 25))
    talk.tell(SecureFailed(remote, "handshake", "no", b""), Close(remote), again)
    talk.hear(connected(remote + 2))
    talk.hear(Received(remote + 2, GREETING))
    talk.tell(Received(remote + 2, OFFERS_TLS), Send(id, WITHOUT_TLS))
    talk.tell(Received(id, QUIT), Send(id, GOODBYE), Close(id), Send(remote + 2, QUIT))
    assert talk.notes[-1].endswith("reason=fell_back")


def test_one_that_fell_back_to_plain_text_is_nobody_elses():
    talk = shown("starttls proxy")
    talk.hear(Received(3, EHLO_OTHER))
    talk.hear(connected(4))
    talk.hear(Received(4, GREETING))
    fell_back(talk, 3, 4)


def test_who_falls_back_keeps_the_only_place_of_a_limit():
    talk = Talk(config("starttls proxy", 'throttle "*" { max_connections 1 }'))
    talk.hear(accepted(1))
    talk.hear(Received(1, HEADER))
    talk.hear(connected(2))
    talk.hear(Received(2, GREETING))
    talk.hear(Received(1, EHLO))
    fell_back(talk, 1, 2)


def test_who_falls_back_does_not_take_what_others_opened_in_plain_text():
    other = f'listen_proxy_protocol "{OTHER_PLACE}" {{ starttls proxy }}'
    talk = Talk(config(more=other))
    native(talk, 1)
    talk.tell(Received(1, opening(tls="none").replace(b"out1", b"mta")), Connect(2, "127.0.0.2", ("192.0.2.5", 25)))
    introduced(talk, 2, EHLO, PIPELINING)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(2, OK))
    talk.hear(accepted(3, OTHER_PLACE))
    talk.tell(Received(3, HEADER), DIALS_AGAIN)
    talk.hear(connected(4))
    talk.hear(Received(4, GREETING))
    talk.hear(Received(3, EHLO))
    fell_back(talk, 3, 4)


# The client speaks TLS itself.


def test_a_client_that_says_starttls_on_a_shared_one_takes_it_with_him_for_good():
    talk = shown()
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Received(3, STARTTLS), Send(2, STARTTLS))
    talk.tell(Received(2, GO), Send(3, GO))
    talk.tell(Received(3, b"\x16\x03"), Send(2, b"\x16\x03"), Relay(3, 2, "end"))
    talk.tell(accepted(5))
    talk.tell(Received(5, HEADER), DIALS_AGAIN)
    talk.tell(Closed(3, "reset"), Close(2))
    assert "tls=opaque reused=yes uses=2" in talk.notes[-1]


def test_starttls_behind_a_reset_that_is_still_to_be_answered_waits_for_its_own_reply():
    talk = handed_on()
    talk.tell(Received(3, STARTTLS), Send(2, STARTTLS))
    talk.tell(Received(2, OK + GO), Send(3, GO))
    talk.tell(Received(3, b"\x16\x03"), Send(2, b"\x16\x03"), Relay(3, 2, "end"))


def test_plain_text_behind_the_reply_to_starttls_ends_it_and_nobody_takes_its_place():
    talk = shown()
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Received(3, STARTTLS), Send(2, STARTTLS))
    line = f"421 4.7.0 gaproxy: bytes behind the reply to STARTTLS [{SESSION}]\r\n".encode()
    talk.tell(Received(2, GO + b"250 evil\r\n"), Close(2), Send(3, line), Close(3))


def test_what_a_client_may_secure_itself_is_none_that_must_stay_plain():
    talk = resting()
    native(talk, 3)
    talk.tell(Received(3, opening(tls="none").replace(b"out1", b"mta")), DIALS_AGAIN)


def handed_on() -> Talk:
    """A talk in which 3 took the remote 2 while the answer to its RSET is still to come."""
    talk = Talk(config())
    talk.hear(accepted(1))
    talk.hear(Received(1, HEADER))
    introduced(talk, 2, EHLO, b"")
    talk.hear(Received(1, EHLO))
    talk.hear(Received(2, OFFERS_TLS))
    talk.hear(Received(1, QUIT))
    is_shown(talk)
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    return talk


# One that is lost before it has answered anything.


def test_one_that_is_lost_before_it_answered_is_replaced_and_hears_again_what_was_said():
    talk = shown()
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Received(3, MAIL), Send(2, MAIL))
    talk.tell(Closed(2, "reset"), DIALS_AGAIN)
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, OFFERS_TLS), Send(4, MAIL))
    talk.tell(Received(4, OK), Send(3, OK))
    talk.hear(Received(3, QUIT))
    assert "reused=no uses=1" in talk.notes[-1]


def test_one_that_lacks_starttls_does_not_replace_one_that_was_shown_with_it():
    talk = shown()
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Closed(2, "reset"), DIALS_AGAIN)
    talk.hear(connected(4))
    talk.hear(Received(4, GREETING))
    heard = talk.hear(Received(4, PIPELINING))
    assert story(heard)[0][3].startswith(b"421 4.4.2 gaproxy: the remote closed the connection, and offered less")
    assert Close(3) in heard


def test_under_may_one_in_plain_text_does_not_replace_one_under_tls():
    talk = shown("starttls proxy; level may")
    talk.tell(Received(3, EHLO), Send(3, WITHOUT_TLS))
    talk.tell(Closed(2, "reset"), DIALS_AGAIN)
    talk.hear(connected(4))
    talk.hear(Received(4, GREETING))
    heard = talk.hear(Received(4, WITHOUT_TLS))
    assert story(heard)[0][3].startswith(b"421 4.4.2 gaproxy: the remote closed the connection, and offered less")
    assert Close(3) in heard


def test_one_that_is_lost_after_it_answered_is_told_at_once():
    talk = shown()
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))
    talk.tell(Received(3, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(3, OK))
    line = f"421 4.4.2 gaproxy: the remote closed the connection [{SESSION}]\r\n".encode()
    talk.tell(Closed(2, "reset"), Send(3, line), Close(3))


# With whom.


def native(talk: Talk, id: int) -> None:
    """An MTA of the native door has proved who it is."""
    talk.hear(native_accepted(id))
    talk.hear(Received(id, hello()))
    talk.hear(Received(id, auth()))


def test_doors_of_different_pools_share_nothing():
    talk = resting("pool bulk", f'listen_proxy_protocol "{OTHER_PLACE}" {{ }}')
    talk.tell(accepted(3, OTHER_PLACE))
    talk.tell(Received(3, HEADER), DIALS_AGAIN)


def test_doors_of_one_pool_share():
    talk = resting("pool bulk", f'listen_proxy_protocol "{OTHER_PLACE}" {{ pool bulk }}')
    is_shown(talk, 3, OTHER_PLACE)
    talk.tell(Received(3, EHLO), Send(3, AS_SHOWN))


def test_what_a_client_of_this_door_opened_an_mta_of_the_native_door_takes_where_all_agrees():
    talk = resting("starttls proxy; level may")
    native(talk, 3)
    asked = opening(tls="may").replace(b"out1", b"mta")
    [said] = talk.hear(Received(3, asked))
    assert said.data.startswith(b"READY id=7 source=127.0.0.2:40113 remote=192.0.2.5:25 reused=yes uses=2 ")
    assert said.data.endswith(GREETING)
    talk.tell(Received(3, EHLO_OF_NATIVE), Send(3, WITHOUT_TLS))
    talk.tell(Received(3, MAIL), Send(2, MAIL))


def test_what_an_mta_of_the_native_door_opened_is_shown_and_taken_here():
    talk = Talk(config("starttls proxy; level may"))
    native(talk, 1)
    talk.tell(Received(1, opening(tls="may").replace(b"out1", b"mta")), Connect(2, "127.0.0.2", ("192.0.2.5", 25)))
    introduced(talk, 2, EHLO, WITHOUT_TLS, tls=True)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(2, OK))
    is_shown(talk)
    talk.tell(Received(3, EHLO), Send(3, WITHOUT_TLS))
    talk.tell(Received(3, MAIL), Send(2, MAIL))


def test_a_source_of_its_own_shares_with_nobody_else():
    talk = resting()
    talk.tell(accepted(3))
    other = HEADER.replace(b"127.0.0.2", b"127.0.0.3")
    talk.tell(Received(3, other), Connect(4, "127.0.0.3", ("192.0.2.5", 25)))


def test_an_opaque_door_neither_takes_nor_leaves_any():
    talk = resting(more=f'listen_proxy_protocol "{OTHER_PLACE}" {{ relay opaque }}')
    talk.tell(accepted(3, OTHER_PLACE))
    talk.tell(Received(3, HEADER), DIALS_AGAIN)
    talk.tell(connected(4), Relay(3, 4, "end"), Relay(4, 3, "end"))
    talk.tell(Closed(3, "reset"), Close(4))
    talk.tell(Closed(4, "closed"))
    assert talk.now == START_NS
    still_rests(talk)
