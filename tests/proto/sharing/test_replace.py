"""The transparent retry: a connection that others have used dies before it answered, and another takes its place.

MTA 3 has the remote 2, which MTA 1 had before it; 4 is called in its place.
"""

import pytest
from tools.sharing import (
    GO_AHEAD,
    OK,
    ONE_SLOT,
    PARTED,
    RSET,
    SHARING,
    WAS_RESET,
    go_to_rest,
    in_use,
    reused,
    shown,
    with_mtas,
)
from tools.talk import (
    DATA,
    EHLO,
    ENTROPY,
    GOODBYE,
    GREETING,
    MAIL,
    ONE_AT_A_TIME,
    PIPELINING,
    QUIT,
    RCPT,
    SESSION,
    Talk,
    connected,
    opening,
)

from gaproxy.proto.actions import Close, Connect, Relay, Secure, Send
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

DIAL = Connect(4, "127.0.0.2", ("192.0.2.5", 25))
NOOP = b"NOOP\r\n"
CLOSED = "the remote closed the connection"
LACKS = f"{CLOSED}, and offered less when it was dialled again"

DEATHS = {
    "reset": (Closed(2, "reset"), []),
    "end": (Ended(2), [Close(2)]),
    "421": (Received(2, b"421 4.4.2 idle for too long\r\n"), [Close(2)]),
    "desync": (Received(2, b"354 go on\r\n"), [Close(2)]),
    "malformed": (Received(2, b"what?\r\n"), [Close(2)]),
}
DYING = pytest.mark.parametrize("death", DEATHS)


def away(why: str, code: str = "4.4.2", session: str = f"{SESSION}/9") -> bytes:
    return f"421 {code} gaproxy: {why} [{session}]\r\n".encode()


def dies(talk: Talk, death: str = "reset") -> None:
    """The reused remote is lost, and dialled again; the MTA hears nothing."""
    event, orders = DEATHS[death]
    talk.tell(event, *orders, DIAL)


def comes(talk: Talk, offer: bytes = PIPELINING, source: tuple[str, int] = ("127.0.0.2", 40114)) -> list:
    """The one in its place is ready; what is done then."""
    talk.tell(Connected(4, source))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    return talk.hear(Received(4, offer))


def ended(talk: Talk) -> str:
    return talk.last_note(f"smtp: session({SESSION}/9): end")


def without_reset() -> Talk:
    """A talk in which MTA 3 was handed a remote whose RSET is still to be said, with its first command."""
    talk = in_use(ONE_SLOT)
    talk.hear(Received(3, opening(9, more=" wait_ms=20000")))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(3, shown(9, uses=2)))
    return talk


# Who is replaced.


@DYING
def test_one_that_dies_before_anything_was_asked_of_it_is_replaced(death):
    talk = reused()
    dies(talk, death)
    assert comes(talk) == []
    talk.tell(Received(3, MAIL), Send(4, MAIL))
    talk.tell(Received(4, OK), Send(3, OK))


@DYING
def test_one_that_dies_before_it_answered_is_replaced_and_asked_again(death):
    talk = reused()
    talk.tell(Received(3, MAIL + RCPT + DATA), Send(2, MAIL + RCPT + DATA))
    dies(talk, death)
    assert comes(talk) == [Send(4, MAIL + RCPT + DATA)]
    talk.tell(Received(4, OK + OK + GO_AHEAD), Send(3, OK + OK + GO_AHEAD), Relay(3, 4))
    talk.tell(Relayed(3, 100, b"", "dot"))
    talk.tell(Received(4, OK), Send(3, OK))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(4, RSET))


@pytest.mark.parametrize("command", [RCPT, DATA, NOOP, RSET, b"VRFY a\r\n"])
def test_whatever_was_asked_is_asked_again(command):
    talk = reused()
    talk.tell(Received(3, command), Send(2, command))
    dies(talk)
    assert comes(talk) == [Send(4, command)]
    talk.tell(Received(4, b"502 no\r\n"), Send(3, b"502 no\r\n"))


def test_the_reset_of_a_second_ehlo_is_asked_again_too():
    talk = reused()
    talk.tell(Received(3, MAIL + EHLO), Send(2, MAIL + RSET))
    dies(talk)
    assert comes(talk) == [Send(4, MAIL + RSET)]
    talk.tell(Received(4, OK + WAS_RESET), Send(3, OK + PIPELINING))


def test_what_we_answer_ourselves_keeps_its_place_among_the_replies():
    talk = reused()
    talk.tell(Received(3, MAIL + b"AUTH PLAIN\r\n" + NOOP), Send(2, MAIL + NOOP))
    dies(talk)
    assert comes(talk) == [Send(4, MAIL + NOOP)]
    talk.tell(Received(4, OK + OK), Send(3, OK + b"502 5.5.1 gaproxy: not relayed\r\n" + OK))


def test_what_the_mta_says_meanwhile_waits():
    talk = reused()
    dies(talk)
    talk.tell(Received(3, MAIL + RCPT))
    assert comes(talk) == [Send(4, MAIL + RCPT)]


def test_quit_meanwhile_waits_too_and_the_fresh_one_rests():
    talk = reused()
    dies(talk)
    talk.tell(Received(3, QUIT))
    assert comes(talk) == [Send(3, GOODBYE), Send(4, RSET)]


def test_a_remote_that_takes_one_command_at_a_time_is_replaced_as_well():
    talk = reused(offer=ONE_AT_A_TIME)
    talk.tell(Received(3, MAIL + RCPT), Send(2, MAIL))
    dies(talk)
    assert comes(talk, ONE_AT_A_TIME) == [Send(4, MAIL)]
    talk.tell(Received(4, OK), Send(3, OK), Send(4, RCPT))


@pytest.mark.parametrize(
    "said", [b"251 ok\r\n", b"500 no\r\n", b"451 no\r\n", b"354 go\r\n", b"421 bye\r\n", b"nothing\r\n"]
)
def test_one_that_answers_the_reset_between_two_sessions_with_anything_but_250_is_replaced(said):
    talk = without_reset()
    talk.tell(Received(3, MAIL), Send(2, RSET + MAIL))
    talk.tell(Received(2, said), Close(2), DIAL)
    assert comes(talk) == [Send(4, MAIL)]
    talk.tell(Received(4, OK), Send(3, OK))


def test_one_that_says_250_twice_to_that_reset_is_replaced():
    talk = in_use()
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(2, RSET))
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(2, WAS_RESET + WAS_RESET), Close(2), DIAL)
    assert comes(talk) == []


def test_one_that_dies_while_that_reset_is_still_to_be_said_is_replaced_by_one_that_needs_none():
    talk = without_reset()
    dies(talk)
    assert comes(talk) == []
    talk.tell(Received(3, MAIL), Send(4, MAIL))


def test_one_that_is_silent_until_patience_ends_is_replaced():
    talk = reused(SHARING + "timeouts { rset 1m }\n")
    talk.tell(Received(3, NOOP), Send(2, NOOP))
    talk.wait(60.0, Close(2), DIAL)
    assert comes(talk) == [Send(4, NOOP)]


def test_half_a_reply_of_the_lost_one_is_no_word_of_the_fresh_one():
    talk = reused()
    talk.tell(Received(2, b"4"))
    dies(talk)
    assert comes(talk) == []
    talk.tell(Received(3, MAIL), Send(4, MAIL))
    talk.tell(Received(4, OK), Send(3, OK))


def test_the_fresh_one_keeps_the_slot_of_the_lost_one():
    talk = without_reset()
    talk.tell(Received(1, opening(8, more=" wait_ms=60000")))
    dies(talk)
    assert comes(talk) == []
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(1, shown(8, uses=2).replace(b":40113", b":40114")))


def test_whoever_still_waits_ends_the_turn_on_the_fresh_one_and_who_waits_no_longer_does_not():
    talk = without_reset()
    talk.tell(Received(1, opening(8, more=" wait_ms=60000")))
    talk.wait(5.0)
    dies(talk)
    assert comes(talk) == []
    talk.wait(9.999)
    talk.wait(0.001, Send(1, shown(8, uses=2, age_ms=10_000).replace(b":40113", b":40114")))
    talk = without_reset()
    talk.tell(Received(1, opening(8, more=" wait_ms=60000")))
    dies(talk)
    talk.hear(Closed(1, "reset"))
    assert comes(talk) == []
    talk.wait(60.0)


def test_a_turn_that_ends_while_nothing_was_answered_ends_on_the_fresh_one():
    talk = without_reset()
    talk.tell(Received(1, opening(8, more=" wait_ms=60000")))
    talk.tell(Received(3, MAIL), Send(2, RSET + MAIL))
    talk.tell(Received(3, MAIL))
    dies(talk)
    assert comes(talk) == [Send(4, MAIL)]
    over = away("turn over, others wait", "4.3.2")
    told = shown(8, uses=2).replace(b":40113", b":40114")
    talk.tell(Received(4, OK), Send(3, OK + over), Send(1, told))


# Who is not.


@pytest.mark.parametrize("answer", [OK, b"450 later\r\n", b"550 no\r\n"])
def test_one_that_has_answered_mail_is_not_replaced(answer):
    talk = reused()
    talk.hear(Received(3, MAIL))
    talk.tell(Received(2, answer), Send(3, answer))
    talk.tell(Received(3, RSET), Send(2, RSET))
    talk.tell(Closed(2, "reset"), Send(3, away(CLOSED)))


def test_one_that_has_answered_anything_is_not_replaced():
    talk = reused()
    talk.hear(Received(3, NOOP))
    talk.hear(Received(2, OK))
    talk.tell(Closed(2, "reset"))
    talk.tell(Received(3, MAIL), Send(3, away(CLOSED)))


def test_one_that_nobody_has_used_before_is_not_replaced():
    talk = in_use()
    talk.tell(Closed(2, "reset"))
    talk.tell(Received(1, MAIL), Send(1, away(CLOSED, session=f"{SESSION}/7")))


def test_a_fresh_one_that_dies_is_not_replaced_once_more():
    talk = reused()
    talk.hear(Received(3, MAIL))
    dies(talk)
    comes(talk)
    talk.tell(Closed(4, "reset"), Send(3, away(CLOSED)))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE))
    assert ended(talk).endswith("reason=remote_reset")


def test_one_whose_mta_has_said_quit_behind_its_commands_is_not_replaced():
    talk = reused()
    talk.tell(Received(3, NOOP + QUIT), Send(2, NOOP))
    talk.tell(Closed(2, "reset"), Send(3, away(CLOSED) + GOODBYE))


def test_an_address_that_cannot_be_reached_any_more_is_told():
    talk = reused()
    talk.hear(Received(3, MAIL))
    dies(talk)
    talk.tell(ConnectFailed(4, "refused", "Connection refused"), Send(3, away(f"{CLOSED}: Connection refused")))
    talk.tell(Received(3, MAIL), Send(3, away(f"{CLOSED}: Connection refused")))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE))
    assert ended(talk).endswith("reason=not_replaced")


# What the fresh one must offer.


@pytest.mark.parametrize(
    "offer",
    [
        b"250-mx1.example.net\r\n250 SIZE 1000\r\n",
        b"250-mx1.example.net\r\n250 PIPELINING\r\n",
        b"250-mx1.example.net\r\n250-PIPELINING\r\n250 SIZE 999\r\n",
        b"250 mx1.example.net\r\n",
    ],
)
def test_one_that_offers_less_is_not_taken(offer):
    talk = reused()
    talk.hear(Received(3, MAIL))
    dies(talk)
    assert comes(talk, offer) == [Send(3, away(LACKS)), Send(4, QUIT)]
    talk.tell(Received(4, PARTED), Close(4))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE))
    assert ended(talk).endswith("reason=lacks")


@pytest.mark.parametrize("size", [b"SIZE 1001", b"SIZE 0", b"SIZE"])
def test_one_that_offers_more_is_taken(size):
    talk = reused()
    talk.hear(Received(3, MAIL))
    dies(talk)
    assert comes(talk, b"250-mx1.example.net\r\n250-DSN\r\n250-%b\r\n250 PIPELINING\r\n" % size) == [Send(4, MAIL)]
    talk.tell(Received(4, OK), Send(3, OK))
    talk.tell(Received(3, RSET + EHLO), Send(4, RSET))


TLS_OFFER = b"250-mx1.example.net\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
IN_TLS = b"250-mx1.example.net\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"


def secured(id: int, version: str = "TLSv1.3", verified: bool = False) -> Secured:
    return Secured(id, version, "TLS_AES_256_GCM_SHA384", "ef" * 32, ("mx1.example.net",), verified)


def begins_tls(talk: Talk, id: int) -> None:
    talk.tell(Connected(id, ("127.0.0.2", 40111 + id)))
    talk.tell(Received(id, GREETING), Send(id, EHLO))
    talk.tell(Received(id, TLS_OFFER), Send(id, b"STARTTLS\r\n"))
    talk.tell(Received(id, b"220 go\r\n"), Secure(id, False, None))


def reused_in_tls(version: str = "TLSv1.2") -> Talk:
    """The same, of a connection that the proxy has secured."""
    talk = with_mtas()
    talk.hear(Received(1, opening(7, tls="may")))
    begins_tls(talk, 2)
    talk.tell(secured(2, version), Send(2, EHLO))
    talk.hear(Received(2, IN_TLS))
    go_to_rest(talk)
    talk.hear(Received(3, opening(9, tls="may")))
    talk.tell(Received(3, MAIL), Send(2, MAIL))
    return talk


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_tls_that_is_as_strong_will_do_and_the_log_tells_which(version):
    talk = reused_in_tls()
    dies(talk)
    begins_tls(talk, 4)
    talk.tell(secured(4, version), Send(4, EHLO))
    talk.tell(Received(4, IN_TLS), Send(4, MAIL))
    talk.hear(Received(4, OK))
    talk.hear(Received(3, QUIT))
    assert f" tls={version} reused=no uses=1 " in ended(talk)


def test_tls_of_an_older_version_will_not_do():
    talk = reused_in_tls("TLSv1.3")
    dies(talk)
    begins_tls(talk, 4)
    talk.hear(secured(4, "TLSv1.2"))
    talk.tell(Received(4, IN_TLS), Send(3, away(LACKS)), Send(4, QUIT))


def test_plain_text_will_not_do_where_there_was_tls():
    talk = reused_in_tls()
    dies(talk)
    assert comes(talk, IN_TLS) == [Send(3, away(LACKS)), Send(4, QUIT)]


def test_plain_text_behind_a_handshake_that_failed_will_not_do_either():
    talk = reused_in_tls()
    dies(talk)
    begins_tls(talk, 4)
    talk.tell(SecureFailed(4, "handshake", "no", b""), Close(4), Connect(6, "127.0.0.2", ("192.0.2.5", 25)))
    talk.tell(connected(6))
    talk.tell(Received(6, GREETING), Send(6, EHLO))
    talk.tell(Received(6, IN_TLS), Send(3, away(LACKS)), Send(6, QUIT))


# Meanwhile.


def test_an_mta_that_vanishes_meanwhile_calls_the_dial_off():
    talk = reused()
    talk.hear(Received(3, MAIL))
    dies(talk)
    talk.tell(Closed(3, "reset"), Close(4))
    assert ended(talk).endswith("reason=mta_gone")
    talk.tell(ConnectFailed(4, "called_off", "called off"))
    assert len(talk.proxy.switchboard.places) == 0


def test_an_mta_that_vanishes_before_it_said_anything_calls_the_dial_off_too():
    talk = reused()
    dies(talk)
    talk.tell(Connected(4, ("127.0.0.2", 40114)))
    talk.tell(Closed(3, "reset"), Close(4))
    assert ended(talk).endswith("reason=mta_gone")
    assert len(talk.proxy.switchboard.places) == 0


def test_an_mta_that_ends_its_side_meanwhile_hears_the_answers_to_what_it_said():
    talk = reused()
    talk.hear(Received(3, NOOP))
    dies(talk)
    talk.tell(Ended(3))
    assert comes(talk) == [Send(4, NOOP)]
    talk.tell(Received(4, OK), Send(3, OK), Close(3), Send(4, RSET))


@pytest.mark.parametrize("said", [[MAIL], []])
def test_a_house_that_closes_meanwhile_calls_the_dial_off(said):
    talk = reused()
    for command in said:
        talk.hear(Received(3, command))
    dies(talk)
    closes = away("shutting down", "4.3.2")
    _, *orders = talk.hear(Signalled("TERM", bytes(16)))
    assert orders == [Send(1, b"GOAWAY reason=drain\r\n"), Close(1), Close(4), *(Send(3, closes) for _ in said)]
    talk.tell(Received(3, MAIL), Send(3, closes))
    talk.tell(Received(3, QUIT), Send(3, GOODBYE), Send(3, b"GOAWAY reason=drain\r\n"), Close(3))


def test_a_house_that_closes_replaces_nothing():
    talk = reused()
    talk.hear(Received(3, MAIL))
    talk.hear(Signalled("TERM", bytes(16)))
    talk.tell(Closed(2, "reset"), Send(3, away(CLOSED)))


# What the log tells, and the other door.


def test_the_log_tells_of_the_fresh_one():
    talk = reused()
    talk.hear(Received(3, MAIL))
    dies(talk)
    comes(talk)
    talk.hear(Received(4, OK))
    talk.hear(Received(3, QUIT))
    assert " source=127.0.0.2:40114 remote=192.0.2.5:25 tls=none reused=no uses=1 messages=0 " in ended(talk)


PLACE = "127.0.0.1:5000"
NAME = ENTROPY[32:40].hex()


def stock(offer: bytes = PIPELINING) -> Talk:
    """A talk in which MTA 3, a stock one, has the remote 2 that MTA 1 had before."""
    talk = Talk(SHARING + f'listen_proxy_protocol "{PLACE}" {{ starttls proxy }}\n')
    header = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
    for id in (1, 3):
        talk.hear(Accepted(id, PLACE, ("127.0.0.9", 40113), ENTROPY))
    talk.hear(Received(1, header))
    talk.hear(connected(2))
    talk.hear(Received(2, GREETING))
    talk.hear(Received(1, EHLO))
    talk.tell(Received(2, offer), Send(1, offer))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Close(1), Send(2, RSET))
    talk.tell(Received(2, WAS_RESET))
    talk.tell(Received(3, header), Send(3, GREETING))
    talk.tell(Received(3, EHLO), Send(3, offer))
    return talk


@DYING
def test_a_stock_mta_hears_nothing_of_it_either(death):
    talk = stock()
    talk.tell(Received(3, MAIL), Send(2, MAIL))
    dies(talk, death)
    assert comes(talk) == [Send(4, MAIL)]
    talk.tell(Received(4, OK), Send(3, OK))


def test_a_stock_mta_whose_remote_dies_while_it_is_silent_hears_nothing():
    talk = stock()
    dies(talk)
    assert comes(talk) == []
    talk.tell(Received(3, MAIL), Send(4, MAIL))


@pytest.mark.parametrize("said", [[MAIL], []])
def test_a_stock_mta_is_told_at_once_and_let_go_where_there_is_none_to_take_its_place(said):
    told = away(f"{CLOSED}: no route", session=NAME)
    talk = stock()
    for command in said:
        talk.hear(Received(3, command))
    dies(talk)
    talk.tell(ConnectFailed(4, "unreachable", "no route"), Send(3, told), Close(3))
    told = away(LACKS, session=NAME)
    talk = stock()
    for command in said:
        talk.hear(Received(3, command))
    dies(talk)
    assert comes(talk, ONE_AT_A_TIME) == [Send(3, told), Close(3), Send(4, QUIT)]
