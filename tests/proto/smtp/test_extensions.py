"""What a remote says of itself, and how much of it an MTA is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.smtp.extensions import SHOWN, Offer, mails_taken_off, offer
from gaproxy.proto.smtp.replies import cut_reply


def heard(data):
    cut = cut_reply(data)
    assert cut is not None
    return cut[0]


GREETING = heard(b"220-mx.example ready\r\n220 no spam\r\n")


def offered(*lines, extended=True):
    *before, last = lines
    ehlo = b"".join(b"250-%b\r\n" % line for line in before) + b"250 %b\r\n" % last
    return offer(GREETING, heard(ehlo), extended)


def test_an_offer_is_the_greeting_the_domain_and_the_keywords():
    assert offered(b"mx.example at your service", b"SIZE 1000", b"pipelining", b"Auth PLAIN LOGIN", b"X-A") == Offer(
        greeting=b"220-mx.example ready\r\n220 no spam\r\n",
        domain=b"mx.example",
        keywords={"SIZE": "1000", "PIPELINING": "", "AUTH": "PLAIN LOGIN", "X-A": ""},
        extended=True,
    )


def test_the_greeting_is_kept_with_crlf_line_ends():
    assert offer(heard(b"220 mx\n"), heard(b"250 mx\n"), True).greeting == b"220 mx\r\n"


def test_after_helo_nothing_is_offered_whatever_stands_in_its_reply():
    plain = offered(b"mx.example hello", b"PIPELINING", b"STARTTLS", extended=False)
    assert (plain.keywords, plain.extended, plain.has("PIPELINING")) == ({}, False, False)
    assert plain.ehlo_reply() == plain.ehlo_reply(starttls=True) == plain.helo_reply() == b"250 mx.example\r\n"


def test_a_keyword_is_found_in_any_case():
    found = offered(b"mx", b"StartTLS", b"size")
    assert [found.has(word) for word in ("STARTTLS", "starttls", "SIZE", "PIPELINING", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]


# first line, domain
FIRST_LINES = [
    (b"mx.example", b"mx.example"),
    (b"mx.example Hello [192.0.2.1]", b"mx.example"),
    (b" mx.example", b"mx.example"),
    (b"mx.example\tHello", b"mx.example"),
    (b"[192.0.2.1] hi", b"[192.0.2.1]"),
    (b"", b""),
    (b"  ", b""),
    (b"m\xc3\xbc.example hi", b"m\xc3\xbc.example"),
]


@pytest.mark.parametrize(("line", "domain"), FIRST_LINES)
def test_the_domain_is_the_first_word_of_the_first_line(line, domain):
    assert offered(line, b"SIZE").domain == domain
    assert offered(line, b"SIZE").ehlo_reply() == b"250-" + domain + b"\r\n250 SIZE\r\n"
    assert offered(line, extended=False).helo_reply() == b"250 " + domain + b"\r\n"


def test_the_first_line_is_never_a_keyword():
    assert offered(b"PIPELINING", b"SIZE").keywords == {"SIZE": ""}


MALFORMED = [
    b"",
    b" PIPELINING",
    b"-SIZE",
    b"PIPELINING\t",
    b"SIZE\t1000",
    b"SIZE=1000",
    b"AUTH=LOGIN",
    b"SIZE 10\x1b",
    b"SI_ZE",
    b"S\xc3\x8fZE",
    b"SIZE \xc3\xbc",
    b"SIZE\xa01000",
    b"8BITMIME.",
    b"DSN,",
    b"*",
    b"SIZE \x7f",
]


@pytest.mark.parametrize("line", MALFORMED)
def test_a_line_that_is_malformed_offers_nothing_and_is_not_shown(line):
    found = offered(b"mx", line, b"DSN")
    assert found.keywords == {"DSN": ""}
    assert found.ehlo_reply() == b"250-mx\r\n250 DSN\r\n"


def test_a_keyword_that_is_said_twice_is_heard_once():
    assert offered(b"mx", b"SIZE 10", b"DSN", b"size 20").ehlo_reply() == b"250-mx\r\n250-SIZE 10\r\n250 DSN\r\n"


ALL = "SIZE 10|8BITMIME|HELP|PIPELINING|SMTPUTF8|ENHANCEDSTATUSCODES|DSN|DELIVERBY 240|REQUIRETLS|LIMITS RCPTMAX=9"
ALL += "|FUTURERELEASE 9 2026-01-01T00:00:00Z|MT-PRIORITY MIXER|VRFY|EXPN"


def test_every_keyword_of_the_list_is_shown_in_the_remotes_order_as_sent():
    lines = ALL.encode().split(b"|")
    assert {line.split()[0].decode() for line in lines} == SHOWN
    assert offered(b"mx hello", *lines).ehlo_reply() == (
        b"250-mx\r\n" + b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 EXPN\r\n"
    )


@pytest.mark.parametrize(
    "hidden",
    [
        "CHUNKING",
        "BINARYMIME",
        "AUTH",
        "XCLIENT",
        "XFORWARD",
        "ETRN",
        "ATRN",
        "TURN",
        "BURL",
        "X-ANONYMOUSTLS",
        "XEXCH50",
        "CHECKPOINT",
        "CONPERM",
        "PIPELINING2",
        "STARTTLS",
    ],
)
def test_a_keyword_outside_the_list_is_hidden(hidden):
    found = offered(b"mx", b"SIZE 10", hidden.encode() + b" A B", b"HELP")
    assert found.has(hidden)
    assert found.ehlo_reply() == b"250-mx\r\n250-SIZE 10\r\n250 HELP\r\n"
    assert offered(b"mx", hidden.encode()).ehlo_reply() == b"250 mx\r\n"


def test_starttls_is_shown_in_its_place_where_the_mtas_own_may_pass():
    found = offered(b"mx", b"SIZE 10", b"STARTTLS", b"HELP")
    assert found.ehlo_reply(starttls=True) == b"250-mx\r\n250-SIZE 10\r\n250-STARTTLS\r\n250 HELP\r\n"
    assert offered(b"mx", b"SIZE").ehlo_reply(starttls=True) == b"250-mx\r\n250 SIZE\r\n"


# LIMITS parameters, MAILs carried, MAILs left, parameters shown
LIMITS = [
    (b"MAILMAX=10", 0, 10, b"MAILMAX=10"),
    (b"MAILMAX=10", 3, 7, b"MAILMAX=7"),
    (b"RCPTMAX=5 MAILMAX=10 RCPTDOMAINMAX=1", 9, 1, b"RCPTMAX=5 MAILMAX=1 RCPTDOMAINMAX=1"),
    (b"mailmax=010", 1, 9, b"MAILMAX=9"),
    (b"MAILMAX=10", 11, 0, b"MAILMAX=0"),
    (b"RCPTMAX=5", 3, None, b"RCPTMAX=5"),
    (b"XMAILMAX=10", 3, None, b"XMAILMAX=10"),
    (b"MAILMAX=1x", 3, None, b"MAILMAX=1x"),
    (b"MAILMAX=1234567", 3, None, b"MAILMAX=1234567"),
    (b"MAILMAX=", 3, None, b"MAILMAX="),
]


@pytest.mark.parametrize(("parameters", "carried", "left", "shown"), LIMITS)
def test_what_a_connection_has_carried_is_taken_off_mailmax(parameters, carried, left, shown):
    found = offered(b"mx", b"LIMITS " + parameters, b"HELP")
    assert found.mails_left(carried) == left
    assert found.ehlo_reply(carried=carried) == b"250-mx\r\n250-LIMITS " + shown + b"\r\n250 HELP\r\n"


def test_mailmax_counts_only_under_limits():
    found = offered(b"mx", b"HELP MAILMAX=10")
    assert found.mails_left(3) is None
    assert found.ehlo_reply(carried=3) == b"250-mx\r\n250 HELP MAILMAX=10\r\n"


TEXTS = st.lists(
    st.one_of(
        st.binary(max_size=40).map(lambda text: text.translate(None, b"\r\n\0")),
        st.sampled_from([b"mx.example hi", b"SIZE 1", b"PIPELINING", b"STARTTLS", b"CHUNKING", b"LIMITS MAILMAX=3"]),
    ),
    min_size=1,
    max_size=8,
)


@given(TEXTS, st.booleans(), st.booleans(), st.integers(0, 5))
def test_what_is_shown_is_one_well_formed_250_that_offers_no_more_than_the_remote(texts, extended, starttls, carried):
    found = offered(*texts, extended=extended)
    data = found.ehlo_reply(starttls, carried)
    shown, taken = cut_reply(data)
    assert (shown.code, taken, shown.taints) == (250, len(data), ())
    again = offer(GREETING, shown, True)
    assert again.domain == found.domain
    assert set(again.keywords) <= set(found.keywords) & (SHOWN | {"STARTTLS"})
    assert again.has("STARTTLS") == (starttls and found.has("STARTTLS"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"250 LIMITS MAILMAX=5", b"250 LIMITS MAILMAX=3"),
        (b"250-LIMITS RCPTMAX=9 MAILMAX=5 RCPTDOMAINMAX=1", b"250-LIMITS RCPTMAX=9 MAILMAX=3 RCPTDOMAINMAX=1"),
        (b"250-limits mailmax=1", b"250-limits mailmax=0"),
        (b"250-LIMITS RCPTMAX=9", b"250-LIMITS RCPTMAX=9"),
        (b"250-LIMITS NOMAILMAX=5 MAILMAX=5x", b"250-LIMITS NOMAILMAX=5 MAILMAX=5x"),
        (b"250-HELP MAILMAX=5", b"250-HELP MAILMAX=5"),
    ],
)
def test_of_a_kept_reply_what_was_carried_since_is_taken_off_mailmax_and_nothing_else_changes(line, expected):
    said = b"250-mx MAILMAX=5\r\n%b\r\n250 SIZE\r\n"
    assert mails_taken_off(said % line, 2) == said % expected
    assert mails_taken_off(said % line, 0) == said % line
