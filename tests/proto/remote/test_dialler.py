"""Which address comes next, and what the MTA is told of those before it. 1 came in; 2, 4 … are called."""

import pytest
from tools.talk import (
    CONFIG,
    EHLO,
    GREETING,
    PIPELINING,
    QUIT,
    READY,
    SESSION,
    Talk,
    connected,
    failed,
    opening,
    with_mta,
)

from gaproxy.proto.actions import Close, Connect, Send
from gaproxy.proto.events import Closed, ConnectFailed, Ended, Received
from gaproxy.proto.remote.dialler import REFUSALS_KEPT, Refusals

FIRST, SECOND = ("192.0.2.5", 25), ("192.0.2.6", 25)
TWO = "192.0.2.5:25,192.0.2.6:25"
V6 = "[2001:db8::5]:25"


def asked(to: str = TWO, source: str = "127.0.0.2", config: str = CONFIG) -> Talk:
    """A talk in which MTA 1 has asked for one of these; whom we call first is up to the test."""
    talk = with_mta(config)
    talk.hear(Received(1, opening(to=to).replace(b"source=127.0.0.2", b"source=" + source.encode())))
    return talk


def call(id: int, place: tuple[str, int], source: str = "127.0.0.2") -> Connect:
    return Connect(id, source, place)


@pytest.mark.parametrize("kind", ["refused", "timeout", "unreachable", "source_unavailable", "overload"])
def test_an_address_that_cannot_be_reached_is_named_and_the_next_one_is_called(kind):
    talk = asked()
    talk.wait(0.012)
    talk.tell(ConnectFailed(2, kind, "because"), call(4, SECOND))
    talk.wait(0.5)
    told = failed(kind, f"192.0.2.5:25/{kind}/12,192.0.2.6:25/{kind}/500", "because")
    talk.tell(ConnectFailed(4, kind, "because"), Send(1, told))
    assert talk.notes[-1] == (
        f"smtp: session({SESSION}/7): failed kind={kind} client=127.0.0.9:40112 "
        f"tried=192.0.2.5:25/{kind}/12,192.0.2.6:25/{kind}/500 text=because"
    )


def test_the_kind_and_the_reply_are_those_of_the_last_address():
    talk = asked()
    talk.tell(connected(2))
    talk.tell(Received(2, b"450 later\r\n"), Send(2, QUIT), call(4, SECOND))
    told = failed("unreachable", "192.0.2.5:25/greeting/0,192.0.2.6:25/unreachable/0", "no route")
    talk.tell(ConnectFailed(4, "unreachable", "no route"), Send(1, told))


def test_the_next_address_may_be_the_one():
    talk = asked()
    talk.tell(ConnectFailed(2, "refused", "no"), call(4, SECOND))
    talk.tell(connected(4))
    talk.tell(Received(4, GREETING), Send(4, EHLO))
    talk.tell(Received(4, PIPELINING), Send(1, READY.replace(b"5:25", b"6:25") + GREETING))


def test_a_greeting_of_5xx_speaks_for_all_addresses():
    talk = asked()
    talk.tell(connected(2))
    told = failed("greeting", "192.0.2.5:25/greeting/0", "the remote refused us in its greeting", "554 never")
    talk.tell(Received(2, b"554 never\r\n"), Send(2, QUIT), Send(1, told))
    assert "reply=554 never text=" in talk.notes[-1]


def test_a_greeting_of_5xx_speaks_for_its_own_address_if_the_operator_says_so():
    talk = asked(config=CONFIG + "greeting_5xx next\n")
    talk.tell(connected(2))
    talk.tell(Received(2, b"554 never\r\n"), Send(2, QUIT), call(4, SECOND))


def test_a_greeting_that_never_came_speaks_for_its_own_address():
    talk = asked()
    talk.tell(connected(2))
    talk.tell(Ended(2), Close(2), call(4, SECOND))


# Before anybody is called.


def test_an_address_that_refused_is_left_alone_for_five_seconds():
    talk = asked("192.0.2.5:25")
    line = failed("refused", "192.0.2.5:25/refused/0", "Connection refused")
    talk.tell(ConnectFailed(2, "refused", "Connection refused"), Send(1, line))
    talk.wait(1.5)
    text = "it refused a connection a moment ago"
    line = failed("refused", "192.0.2.5:25/refused/0", text, retry_ms=3500, id=8)
    talk.tell(Received(1, opening(8)), Send(1, line))
    talk.wait(3.4999)
    line = failed("refused", "192.0.2.5:25/refused/0", text, retry_ms=1, id=9)
    talk.tell(Received(1, opening(9)), Send(1, line))
    talk.wait(0.0001)
    talk.tell(Received(1, opening(10)), call(4, FIRST))


def test_it_is_left_alone_for_that_source_and_that_port_only():
    talk = asked("192.0.2.5:25")
    talk.hear(ConnectFailed(2, "refused", "Connection refused"))
    talk.tell(Received(1, opening(8).replace(b"source=127.0.0.2", b"source=127.0.0.3")), call(4, FIRST, "127.0.0.3"))
    talk.hear(ConnectFailed(4, "timeout", "no"))
    talk.tell(Received(1, opening(9, to="192.0.2.5:465", tls="may")), call(6, ("192.0.2.5", 465)))


def test_only_a_refusal_is_remembered():
    talk = asked("192.0.2.5:25")
    talk.hear(ConnectFailed(2, "unreachable", "no route"))
    talk.tell(Received(1, opening(8)), call(4, FIRST))


def test_no_more_refusals_are_remembered_than_fit_and_the_oldest_are_forgotten():
    refusals = Refusals()
    pairs = [("127.0.0.2", f"192.0.{place // 250}.{place % 250}", 25) for place in range(REFUSALS_KEPT + 1)]
    for pair in (*pairs[:-1], pairs[0], pairs[-1]):
        refusals.remember(pair, 0)
    assert [refusals.rest_ms(pair, 1) for pair in (pairs[0], pairs[1], pairs[2])] == [5000, 0, 5000]


def test_a_source_that_is_not_ours_ends_the_request_at_once():
    talk = with_mta(CONFIG + "source_ips 127.0.0.3, 127.0.0.4\n")
    told = failed("source_denied", "", "source 127.0.0.2 is not in source_ips")
    talk.tell(Received(1, opening(to=TWO)), Send(1, told))


def test_an_address_that_may_not_be_called_is_passed_over():
    talk = with_mta()
    talk.tell(Received(1, opening(to="10.0.0.1:25,192.0.2.6:25,192.0.2.5:26")), call(2, SECOND))
    tried = "10.0.0.1:25/denied/0,192.0.2.6:25/timeout/0,192.0.2.5:26/denied/0"
    told = failed("denied", tried, "destination port 26 is not in remote_ports")
    talk.tell(ConnectFailed(2, "timeout", "no"), Send(1, told))


def test_an_address_of_a_family_without_a_source_is_passed_over():
    talk = with_mta()
    talk.tell(Received(1, opening(to=f"{V6},192.0.2.6:25")), call(2, SECOND))
    talk = with_mta()
    told = failed("family", f"{V6}/family/0", "no source address of the family of 2001:db8::5")
    talk.tell(Received(1, opening(to=V6)), Send(1, told))


def test_each_family_has_its_own_source_and_one_that_cannot_be_had_does_not_end_the_request():
    talk = with_mta()
    line = opening(to=f"192.0.2.5:25,{V6}").replace(b"source=127.0.0.2", b"source=127.0.0.2,::1")
    talk.tell(Received(1, line), call(2, FIRST))
    fact = ConnectFailed(2, "source_unavailable", "127.0.0.2 cannot be bound")
    talk.tell(fact, call(4, ("2001:db8::5", 25), "::1"))


# All in all.


def test_all_addresses_together_have_a_minute_and_the_last_one_is_charged_for_what_it_took():
    talk = asked()
    talk.wait(30.0, Close(2), call(4, SECOND))
    talk.tell(ConnectFailed(2, "called_off", "called off"))
    talk.wait(10.0)
    talk.tell(connected(4))
    talk.wait(19.9)
    told = failed(
        "timeout", "192.0.2.5:25/timeout/30000,192.0.2.6:25/timeout/30000", "the time for all addresses is over"
    )
    talk.wait(0.1, Close(4), Send(1, told))
    talk.tell(Closed(4, "closed"))
    talk.tell(Received(1, b"PING t=1\r\n"), Send(1, b"PONG t=1\r\n"))


def test_the_minute_is_over_when_a_remote_is_ready():
    talk = asked("192.0.2.5:25")
    talk.wait(29.0)
    talk.hear(connected())
    talk.hear(Received(2, GREETING))
    talk.wait(30.0)
    talk.tell(Received(2, PIPELINING), Send(1, READY + GREETING))
    talk.wait(60.0)


def test_an_address_whose_own_time_ends_with_that_of_all_fails_once():
    talk = asked("192.0.2.5:25", config=CONFIG + "timeouts { connect 60s }\n")
    told = failed("timeout", "192.0.2.5:25/timeout/60000", "the time for all addresses is over")
    talk.wait(60.0, Close(2), Send(1, told))
    talk.tell(ConnectFailed(2, "called_off", "called off"))


def test_where_one_group_is_full_those_of_the_next_one_that_rest_are_still_looked_for():
    limit = 'throttle "*" { max_connections 1 }\n'
    talk = with_mta(CONFIG.replace("reuse_connections no", "") + limit, ids=(1, 3))
    talk.hear(Received(1, opening()))
    full = "192.0.2.5:25/throttled/0,192.0.2.6:25/throttled/0"
    told = failed("throttled", full, "all connections of a limit are in use", retry_ms=1000)
    talk.tell(Received(3, opening(to="192.0.2.5:25/mx1/10,192.0.2.6:25/mx2/20")), Send(3, told))
