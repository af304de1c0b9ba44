"""The closed list of what may never be shared: each entry has a name in the log, and a dialogue that ends in it."""

from collections.abc import Callable, Mapping
from runpy import run_path

import pytest
from tools.house import ROOT
from tools.sharing import (
    GO_AHEAD,
    OK,
    ONE_SLOT,
    SHARING,
    at_rest,
    calls,
    go_to_rest,
    in_use,
    open_fresh,
    reload,
    send_message,
    status,
    two_at_rest,
    with_mtas,
)
from tools.talk import DATA, ENTROPY, GREETING, MAIL, PIPELINING, QUIT, RCPT, Talk, connected, opening

from gaproxy.proto.actions import Close, Send
from gaproxy.proto.events import (
    Accepted,
    Closed,
    Elapsed,
    Ended,
    Event,
    Exhausted,
    Received,
    Relayed,
    Relaying,
    SecureFailed,
    Signalled,
)

REASONS = run_path(str(ROOT / "docs" / "draw_reference.py"))["REASONS"]
DOOR = "127.0.0.1:5000"
OFFERS_TLS = b"250-mx1.example.net\r\n250 STARTTLS\r\n"
MAILMAX = b"250-mx1.example.net\r\n250 LIMITS MAILMAX=1\r\n"
LF, MIXED = b"250 ok\n", b"250-ok\r\n251 ok\r\n"
FEW = SHARING + "reuse_connections { messages 1; max_age 60s }\n"
NOWHERE = SHARING.replace("192.0.2.0/24", "192.0.2.6/32")


def told(talk: Talk, *facts: Event) -> Talk:
    """The same talk, these facts later."""
    for fact in facts:
        talk.hear(fact)
    return talk


def waited(talk: Talk, seconds: float) -> Talk:
    """The same talk, so much later; nothing happens meanwhile."""
    talk.wait(seconds)
    return talk


def in_body() -> Talk:
    """A talk in which a body is on its way."""
    return told(in_use(), Received(1, MAIL + RCPT + DATA), Received(2, OK + OK + GO_AHEAD))


def answered(mail: bytes) -> Talk:
    """A talk in which the remote has answered MAIL so."""
    return told(in_use(), Received(1, MAIL), Received(2, mail))


def greeted(greeting: bytes, offer: bytes) -> Talk:
    """A talk in which the remote began so."""
    return told(with_mtas(), Received(1, opening()), connected(), Received(2, greeting), Received(2, offer))


def fallen_back() -> Talk:
    """A talk in which TLS failed and would have been nice, so that 4 is in plain text."""
    talk = told(with_mtas(), Received(1, opening(tls="may")), connected(), Received(2, GREETING))
    told(talk, Received(2, OFFERS_TLS), Received(2, b"220 go\r\n"), SecureFailed(2, "handshake", "no", b""))
    return told(talk, Closed(2, "closed"), connected(4), Received(4, GREETING), Received(4, OFFERS_TLS))


def after_a_ban() -> Talk:
    talk = told(at_rest(), Received(2, b"?"), Closed(2, "closed"))
    open_fresh(talk, remote=4, id=8)
    return talk


def after_a_message(config: str) -> Talk:
    talk = in_use(config)
    send_message(talk)
    return talk


def forbidden(talk: Talk, *orders: Send) -> Talk:
    reload(talk, NOWHERE, *orders)
    return talk


def draining() -> Talk:
    return told(in_use(), Received(1, MAIL), Received(2, OK), Signalled("TERM", bytes(16)))


def stock(said: bytes) -> Talk:
    """A talk in which 1 came by the PROXY door, and has said this."""
    talk = Talk(SHARING + f'listen_proxy_protocol "{DOOR}" {{ starttls mta }}\n')
    header = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
    told(talk, Accepted(1, DOOR, ("127.0.0.9", 40112), ENTROPY), Received(1, header), connected())
    return told(talk, Received(2, GREETING), Received(1, said), Received(2, OFFERS_TLS))


GOES = Received(1, QUIT)

NEVER_RESTS: Mapping[str, tuple[str, Callable[[], Talk], Event]] = {
    "a bare LF in a body": (
        "bare_eol",
        lambda: told(in_body(), Relayed(1, 9, b"", "dot", bare=True), Received(2, OK)),
        GOES,
    ),
    "a bare CR in a command": ("malformed_command", lambda: told(in_use(), Received(1, b"NO\rOP\r\n")), GOES),
    "an MTA that left behind its dot": (
        "mta_gone",
        lambda: told(in_body(), Relayed(1, 9, b"", "dot"), Closed(1, "reset")),
        Received(2, OK),
    ),
    "a reply with LF": ("reply_lf", lambda: answered(LF), GOES),
    "a reply of two codes": ("mixed_codes", lambda: answered(MIXED), GOES),
    "a greeting with LF": ("reply_lf", lambda: greeted(b"220 mx1\n", PIPELINING), GOES),
    "an offer of two codes": ("mixed_codes", lambda: greeted(GREETING, b"251-mx1\r\n250 DSN\r\n"), GOES),
    "HELO": ("helo", lambda: stock(b"HELO mta.example.com\r\n"), GOES),
    "plain text after a handshake": ("fell_back", fallen_back, GOES),
    "its last message": ("messages", lambda: after_a_message(FEW), GOES),
    "the last MAIL of a remote": (
        "mailmax",
        lambda: told(in_use(offer=MAILMAX), Received(1, MAIL + QUIT)),
        Received(2, OK),
    ),
    "its age": ("max_age", lambda: waited(in_use(FEW), 60.0), GOES),
    "a second reply": ("unsolicited", lambda: told(in_use(), Received(1, MAIL + QUIT)), Received(2, OK + OK)),
    "the beginning of a reply": ("unsolicited", lambda: told(in_use(), Received(2, b"2")), GOES),
    "a ban": ("banned", after_a_ban, GOES),
    "a reload": ("policy_changed", lambda: forbidden(in_use()), GOES),
    "the end of the house": ("drain", draining, GOES),
}


@pytest.mark.parametrize(("reason", "make", "last"), NEVER_RESTS.values(), ids=NEVER_RESTS)
def test_it_is_told_quit_instead_of_rset(reason, make, last):
    talk = make()
    sent = b"".join(order.data for order in talk.hear(last) if isinstance(order, Send) and order.id % 2 == 0)
    assert sent == QUIT
    assert talk.last_note("direct_remote_smtp: ").endswith(f"reason={reason}")
    assert talk.proxy.seating.counted["not_kept", reason] == 1
    assert status(talk).endswith("cached=0)")


def test_those_are_all_reasons_not_to_keep_one():
    assert {reason for reason, _, _ in NEVER_RESTS.values()} == REASONS["not_kept"].keys()


def asked() -> Talk:
    """A talk in which the RSET of one that goes to rest is under way."""
    return told(in_use(), Received(1, QUIT))


def crowded(limit: str) -> Talk:
    """A talk in which one rests, and another one that is in use has its place there."""
    talk = in_use(SHARING + f"reuse_connections {{ {limit} 1 }}\n")
    open_fresh(talk, mta=3, remote=4, id=9)
    go_to_rest(talk)
    return talk


def waited_for() -> Talk:
    """A talk in which the place of 2 is waited for, by somebody who wants to go elsewhere."""
    return told(in_use(ONE_SLOT), Received(3, opening(9, to="192.0.2.6:25", more=" wait_ms=9000")))


RESTS_NO_LONGER: Mapping[str, tuple[str, Callable[[], Talk], Event | float]] = {
    "nobody came": ("idle", at_rest, 30.0),
    "others at its place": ("evicted", lambda: crowded("per_destination"), Received(3, QUIT)),
    "others at all places": ("evicted", lambda: crowded("total"), Received(3, QUIT)),
    "its slot": ("slot_needed", lambda: at_rest(ONE_SLOT), Received(3, opening(9, more=" reuse=new"))),
    "the line": ("turn_of_another", waited_for, Received(1, QUIT)),
    "no descriptor": ("exhausted", at_rest, Exhausted("descriptors")),
    "the end of the house": ("drain", at_rest, Signalled("TERM", bytes(16))),
    "421": ("remote_421", at_rest, Received(2, b"421 bye\r\n")),
    "421 to RSET": ("remote_421", asked, Received(2, b"421 bye\r\n")),
    "FIN": ("remote_closed", at_rest, Ended(2)),
    "FIN instead of 250": ("remote_closed", asked, Ended(2)),
    "RST": ("remote_reset", at_rest, Closed(2, "reset")),
    "the network": ("remote_timeout", at_rest, Closed(2, "timeout")),
    "an alert": ("remote_tls", at_rest, Closed(2, "tls")),
    "a byte": ("unsolicited", at_rest, Received(2, b"?")),
    "a second reply": ("unsolicited", asked, Received(2, OK + OK)),
    "the byte of another one": ("banned", two_at_rest, Received(2, b"?")),
    "5xx to RSET": ("rset_refused", asked, Received(2, b"500 what\r\n")),
    "silence": ("rset_timeout", asked, 5.0),
    "no reply": ("desync", asked, Received(2, b"what?\r\n")),
    "LF": ("reply_lf", asked, Received(2, LF)),
    "two codes": ("mixed_codes", asked, Received(2, MIXED.replace(b"251 ", b"250 ").replace(b"250-", b"251-"))),
}


@pytest.mark.parametrize(("reason", "make", "last"), RESTS_NO_LONGER.values(), ids=RESTS_NO_LONGER)
def test_it_leaves_its_rest_and_the_log_says_why(reason, make, last):
    talk = make()
    if isinstance(last, float):
        talk.now += round(last * 1e9)
        last = Elapsed()
    talk.hear(last)
    assert talk.last_note("direct_remote_smtp: ").endswith(f"reason={reason}")
    assert talk.proxy.seating.counted["let_go", reason] == 1


RELOADS = {
    "off": (at_rest, SHARING + "reuse_connections no\n"),
    "policy_changed": (at_rest, NOWHERE),
    "over_limit": (two_at_rest, ONE_SLOT),
}


@pytest.mark.parametrize(("reason", "make", "config"), [(reason, *how) for reason, how in RELOADS.items()])
def test_a_reload_ends_a_rest_and_the_log_says_why(reason, make, config):
    talk = make()
    reload(talk, config, Send(2, QUIT))
    assert talk.last_note("direct_remote_smtp: ").endswith(f"reason={reason}")


def test_those_are_all_reasons_to_let_one_go():
    assert {reason for reason, _, _ in RESTS_NO_LONGER.values()} | RELOADS.keys() == REASONS["let_go"].keys()


CLOSED_AT_ONCE: Mapping[str, tuple[str, Callable[[], Talk], Event, tuple[Event, ...]]] = {
    "a look-alike of the end of data": (
        "smuggled",
        in_body,
        Relaying(1, 50, 0, at=10),
        (Relayed(1, 60, QUIT, "smuggled", 10),),
    ),
    "the MTA's end in a body": ("mta_gone", in_body, Closed(1, "reset"), ()),
    "a body before 354": ("early_body", lambda: told(in_use(), Received(1, DATA + b"x")), Received(2, GO_AHEAD), ()),
    "a command without an end": ("malformed_command", in_use, Received(1, b"x" * 5000), ()),
    "a reply to nothing": ("desync", in_use, Received(2, OK), (GOES,)),
    "250 to DATA": ("desync", lambda: told(in_use(), Received(1, DATA)), Received(2, OK), (GOES,)),
    "a reply during a body": ("desync", in_body, Received(2, OK), (Relayed(1, 60, QUIT, "dot"),)),
    "what is no reply": ("desync", in_use, Received(2, b"what?\r\n"), (GOES,)),
    "421": ("remote_421", in_use, Received(2, b"421 bye\r\n"), (GOES,)),
    "FIN": ("remote_closed", in_use, Ended(2), (GOES,)),
    "5xx to our RSET": (
        "rset_refused",
        lambda: told(answered(OK), Received(1, b"EHLO again.example.com\r\n")),
        Received(2, b"500 what\r\n"),
        (GOES,),
    ),
}


@pytest.mark.parametrize(("reason", "make", "fault", "end"), CLOSED_AT_ONCE.values(), ids=CLOSED_AT_ONCE)
def test_in_the_middle_of_a_session_it_is_closed_without_another_word(reason, make, fault, end):
    talk = make()
    orders = talk.hear(fault)
    assert Close(2) in orders
    for fact in end:
        orders += talk.hear(fact)
    assert not any(isinstance(order, Send) and order.id == 2 for order in orders)
    assert talk.last_note("smtp: ").endswith(f"reason={reason}")
    assert status(talk).endswith("cached=0)")
    talk.tell(Received(3, opening(9)), calls(4))


def test_what_nobody_read_is_nobody_elses():
    talk = told(stock(b"EHLO mta.example.com\r\n"), Received(1, b"STARTTLS\r\n"), Received(2, b"220 go\r\n"))
    assert Close(2) in talk.hear(Closed(1, "closed"))
    assert "tls=opaque" in talk.last_note("smtp: ")
    assert status(talk).endswith("cached=0)")
