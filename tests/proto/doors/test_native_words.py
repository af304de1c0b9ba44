"""The native language, both ways: what is a line, what an OPEN may say, and what is answered to nonsense."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tools.every_split import every_split

from gaproxy.proto.asks import Destination, Failed, Opened, Request, Security, Tried
from gaproxy.proto.doors.native_words import (
    GREETING,
    Hello,
    OpenFault,
    WordFault,
    cut_line,
    integer,
    parse_line,
    read_auth,
    read_hello,
    read_open,
    refuses_prefix,
    render,
    render_failed,
    render_ready,
)
from gaproxy.proto.errors import LocalProtocolError, RemoteProtocolError
from gaproxy.proto.smtp.extensions import Offer

OPEN = b"OPEN id=7 source=192.0.2.1 to=203.0.113.5:25 helo=out1.example.com"
NONCE = "0a" * 32
HELLO = f"GAPROXY/1 min=1 node=mta-1 role=smtp nonce={NONCE}".encode()


def opened(words: bytes = b"") -> Request:
    return read_open(parse_line(OPEN + words), "s")[1]


def replaced(old: bytes, new: bytes) -> bytes:
    assert old in OPEN
    return OPEN.replace(old, new)


def fault_of(line: bytes) -> WordFault:
    with pytest.raises(WordFault) as caught:
        read_open(parse_line(line), "s")
    return caught.value


# Cutting.


def test_a_line_is_cut_without_its_end_and_told_with_its_size():
    assert cut_line(b"PING t=1\r\nOPEN", 1024) == (b"PING t=1", 10)


def test_an_empty_line_is_a_line():
    assert cut_line(b"\r\n", 1024) == (b"", 2)


def cut_all(pieces: list[bytes], limit: int) -> list[bytes | str]:
    """What is cut off when bytes come in these pieces, and the fault's code where there is one."""
    buffer = bytearray()
    told: list[bytes | str] = []
    for piece in pieces:
        buffer += piece
        try:
            while (cut := cut_line(buffer, limit)) is not None:
                told.append(cut[0])
                del buffer[: cut[1]]
        except WordFault as fault:
            return [*told, fault.code if fault.fatal else "not fatal"]
    return [*told, bytes(buffer)]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"PING\r\nPONG\r\nPI", [b"PING", b"PONG", b"PI"]),
        (b"123456\r\n", [b"123456", b""]),
        (b"1234567\r\n", ["too_long"]),
        (b"123456\r\n1234567", [b"123456", "too_long"]),
        (b"123456\r\r\n", ["bad_line"]),
        (b"1234567\n", ["too_long"]),
        (b"123456\n", ["bad_line"]),
        (b"PING\n", ["bad_line"]),
        (b"PING\r", [b"PING\r"]),
        (b"PI\rNG\r\n", ["bad_line"]),
        (b"PI\tNG\r\n", ["bad_line"]),
        (b"PI\x00NG\r\n", ["bad_line"]),
        (b"PI\x7fNG\r\n", ["bad_line"]),
        (b"P\xc3\xa9\r\n", ["bad_line"]),
        (b"\n", ["bad_line"]),
        (b"\x16\x03\x01", ["bad_line"]),
    ],
)
def test_a_line_is_cut_alike_however_it_came(data, told):
    for pieces in every_split(data, 2):
        assert cut_all(pieces, 8) == told, pieces


@given(
    st.lists(st.sampled_from([b"A", b" ", b"~", b"\r\n", b"\r", b"\n", b"\x00", b"\xff"]), max_size=14).map(b"".join)
)
@example(b"AAAAAAA\xff")
def test_any_bytes_are_cut_alike_whole_and_byte_by_byte(data):
    whole, *others = [cut_all(pieces, 8) for pieces in every_split(data)] or [[]]
    assert all(other == whole for other in others)


@pytest.mark.parametrize("limit", [1024, 16_384])
def test_the_limit_counts_the_line_end(limit):
    assert cut_line(b"A" * (limit - 2) + b"\r\n", limit) == (b"A" * (limit - 2), limit)
    assert cut_line(b"A" * (limit - 2), limit) is None
    with pytest.raises(WordFault) as caught:
        cut_line(b"A" * (limit - 1), limit)
    assert (caught.value.code, caught.value.fatal) == ("too_long", True)


@pytest.mark.parametrize("come", [b"", b"G", b"GAPROXY", b"GAPROXY/", b"GAPROXY/1 min=1", bytearray(b"GAP")])
def test_the_beginning_of_a_greeting_is_waited_for(come):
    assert not refuses_prefix(come)


@pytest.mark.parametrize("place", range(len(GREETING)))
def test_the_first_byte_that_differs_is_refused(place):
    assert refuses_prefix(GREETING[:place] + b"x")
    assert not refuses_prefix(GREETING[:place])


# Words.


def test_a_line_has_a_verb_and_values():
    line = parse_line(b"READY id=7 host=mx%201 empty= sum=1=2")
    assert line.verb == "READY"
    assert line.values == {"id": "7", "host": "mx 1", "empty": "", "sum": "1=2"}
    assert line.wire == b"READY id=7 host=mx%201 empty= sum=1=2"


def test_a_list_is_cut_before_it_is_decoded():
    line = parse_line(b"CAPS all=a%2Cb,c%252Cd,,%C3%A9 none=")
    assert line.items("all") == ("a,b", "c%2Cd", "", "é")
    assert line.items("none") == line.items("missing") == ()


@pytest.mark.parametrize(
    ("line", "verb", "id"),
    [
        (b"", None, None),
        (b" ", None, None),
        (b"ping t=1", None, None),
        (b"PING7 t=1", None, None),
        (b" PING t=1", None, None),
        (b"\xff\xfe t=1", None, None),
        (b"GAPROXY/1 min=1", None, None),
        (b"PING ", "PING", None),
        (b"PING t=1 ", "PING", None),
        (b"PING  t=1", "PING", None),
        (b"PING t", "PING", None),
        (b"PING =1", "PING", None),
        (b"PING T=1", "PING", None),
        (b"PING 9t=1", "PING", None),
        (b"PING t-s=1", "PING", None),
        (b"PING t=1 t=1", "PING", None),
        (b"PING x=1 x=2 t=1", "PING", None),
        (b"PING t=%", "PING", None),
        (b"PING t=%4", "PING", None),
        (b"PING t=%4g", "PING", None),
        (b"PING t=% 41", "PING", None),
        (b"PING t=%C3", "PING", None),
        (b"PING t=%ED%A0%80", "PING", None),
        (b"PING t=%C0%80", "PING", None),
        (b"PING t=%00", "PING", None),
        (b"PING t=a%0D%0AOPEN", "PING", None),
        (b"PING t=%7F", "PING", None),
        (b"PING t=%C2%85", "PING", None),
        (b"PING t=\xff", "PING", None),
        (b"PING id=9 t=%", "PING", "9"),
        (b"OPEN id=7 id=7", "OPEN", None),
        (b"OPEN id=7 id=8 to=%", "OPEN", None),
        (b"OPEN id=% to=1", "OPEN", None),
        (b"OPEN id=0 to=%", "OPEN", None),
        (b"OPEN id=07 to=%", "OPEN", None),
        (b"OPEN id=+7 to=%", "OPEN", None),
        (b"OPEN id=9007199254740992 to=%", "OPEN", None),
        (b"OPEN to=%", "OPEN", None),
    ],
)
def test_a_line_that_breaks_the_grammar_is_a_bad_line_and_not_fatal(line, verb, id):
    fault = fault_of(line)
    assert type(fault) is WordFault
    assert (fault.code, fault.verb, fault.fatal, fault.id) == ("bad_line", verb, False, id)
    assert str(fault)
    assert isinstance(fault, RemoteProtocolError)


@pytest.mark.parametrize("id", [b"", b"0", b"-1", b"+1", b"1.0", b"01", b"x", b"1e3", b"9007199254740992", b"1" * 5000])
def test_an_open_whose_id_cannot_be_read_is_a_bad_line(id):
    fault = fault_of(replaced(b"id=7", b"id=" + id))
    assert type(fault) is WordFault
    assert (fault.code, fault.verb, fault.fatal, fault.id) == ("bad_line", "OPEN", False, None)


def test_an_open_without_id_is_a_bad_line():
    assert type(fault_of(replaced(b"id=7 ", b""))) is WordFault


@pytest.mark.parametrize("id", [b"1", b"9007199254740991", b"%37"])
def test_an_id_goes_to_the_last_integer_of_a_double(id):
    assert read_open(parse_line(replaced(b"id=7", b"id=" + id)), "s")[0] == id.decode().replace("%37", "7")


def test_a_verb_is_told_back_cut_short():
    assert fault_of(b"A" * 16_000 + b" x").verb == "A" * 32


VERBS = st.from_regex(r"[A-Z]{1,12}", fullmatch=True)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)


@given(VERBS, st.dictionaries(NAMES.filter(lambda name: name not in ("verb", "self")), TEXTS, max_size=6))
def test_what_is_rendered_is_read_back(verb, values):
    wire = render(verb, **values)
    cut = cut_line(wire, 16_384)
    assert cut is not None
    line = parse_line(cut[0])
    assert (line.verb, dict(line.values), cut[1]) == (verb, values, len(wire))


@given(st.lists(TEXTS, min_size=1, max_size=6).filter(lambda items: items != [""]))
def test_a_list_is_rendered_and_read_back(items):
    assert parse_line(render("CAPS", all=items)[:-2]).items("all") == tuple(items)


def test_an_empty_list_is_an_empty_value_and_none_is_left_out():
    assert render("WELCOME", caps=[], agent=None, ping_ms=5000) == b"WELCOME caps= ping_ms=5000\r\n"


def test_what_is_not_visible_is_escaped_in_capitals():
    assert render("ERROR", text="50 % of é") == b"ERROR text=50%20%25%20of%20%C3%A9\r\n"


def test_half_a_character_is_rendered_as_a_question_mark():
    assert render("ERROR", text="a\ud800b") == b"ERROR text=a%3Fb\r\n"


@pytest.mark.parametrize("text", ["a\r\nb", "\x00", "\x7f", "\x85"])
def test_to_render_a_control_character_is_our_own_fault(text):
    with pytest.raises(LocalProtocolError):
        render("ERROR", text=text)
    with pytest.raises(LocalProtocolError):
        render("ERROR", text=[text])


def told_of(read, line: bytes) -> bytes:
    """What is answered to a line: an ERROR, or nothing."""
    try:
        read(line)
    except WordFault as fault:
        return render("ERROR", code=fault.code, id=fault.id, verb=fault.verb, text=str(fault))
    return b""


@given(st.binary(max_size=200))
@example(b"OPEN id=7 x=\xc3")
def test_whatever_is_wrong_with_a_line_can_be_told_in_one(data):
    for line in (data, b"OPEN id=7 " + data, OPEN + b" " + data, HELLO + data):
        for read in (lambda line: read_open(parse_line(line), "s"), read_hello):
            told = told_of(read, line)
            assert not told or parse_line(told[:-2]).verb == "ERROR"
        assert read_auth(line) == ""


# The handshake.


def test_a_hello_is_read():
    assert read_hello(HELLO) == Hello(1, 1, "mta-1", "smtp", NONCE, "", ())


def test_a_hello_may_want_a_later_version_and_have_words_that_we_do_not_know():
    line = HELLO.replace(b"GAPROXY/1", b"GAPROXY/255").replace(b"min=1", b"min=7").replace(b"smtp", b"throttle")
    hello = read_hello(line + b" agent=My%20MTA/1 caps=dane,x%2Cy future=1")
    assert (hello.version, hello.minimum, hello.role) == (255, 7, "throttle")
    assert (hello.agent, hello.caps) == ("My MTA/1", ("dane", "x,y"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GAPROXY/1", b"GAPROXY/"),
        (b"GAPROXY/1", b"GAPROXY/0"),
        (b"GAPROXY/1", b"GAPROXY/01"),
        (b"GAPROXY/1", b"GAPROXY/+1"),
        (b"GAPROXY/1", b"GAPROXY/256"),
        (b"GAPROXY/1", b"GAPROXY/1.1"),
        (b"GAPROXY/1", b"GAPROXY/\xb2"),
        (b"GAPROXY/1", b"gaproxy/1"),
        (b"GAPROXY/1 ", b"GAPROXY/1  "),
        (b"GAPROXY/1 ", b"GAPROXY/1"),
        (b"min=1 ", b""),
        (b"min=1", b"min=0"),
        (b"min=1", b"min=2"),
        (b"min=1", b"min=256"),
        (b"min=1", b"min=1 min=1"),
        (b"node=mta-1 ", b""),
        (b"mta-1", b""),
        (b"mta-1", b"mta%201"),
        (b"mta-1", b"mta/1"),
        (b"mta-1", b"%C3%A9"),
        (b"mta-1", b"a" * 65),
        (b"mta-1", b"a%0A"),
        (b"role=smtp ", b""),
        (b"role=smtp", b"role=SMTP"),
        (b"role=smtp", b"role="),
        (b"nonce=", b"nonce=0"),
        (b"nonce=0a", b"nonce="),
        (b"nonce=0a", b"nonce=0A"),
        (b"nonce=0a", b"nonce=0g"),
        (b"nonce=0a", b"agent=%zz nonce=0a"),
        (b"nonce=0a", b"agent=" + b"a" * 65 + b" nonce=0a"),
        (b"nonce=0a", b"caps=" + b",".join([b"a"] * 33) + b" nonce=0a"),
        (b"nonce=0a", b"node=mta-2 nonce=0a"),
    ],
)
def test_every_fault_of_a_hello_is_the_same_fatal_one(old, new):
    line = HELLO.replace(old, new, 1)
    assert line != HELLO
    with pytest.raises(WordFault) as caught:
        read_hello(line)
    assert (caught.value.code, caught.value.fatal, caught.value.verb) == ("auth_failed", True, None)
    assert str(caught.value) == "no first line of the native protocol"


@pytest.mark.parametrize(
    "words",
    [b" agent=" + b"a" * 64, b" caps=" + b",".join([b"a"] * 32), b" caps=", b" agent="],
)
def test_a_hello_may_fill_its_limits(words):
    assert read_hello(HELLO.replace(b"mta-1", b"a" * 64) + words)


def test_a_proof_is_64_lower_case_hex_digits():
    assert read_auth(b"AUTH proof=" + NONCE.encode()) == NONCE
    assert read_auth(b"AUTH x=1 proof=" + NONCE.encode()) == NONCE


@pytest.mark.parametrize(
    "line",
    [
        b"AUTH",
        b"AUTH proof=",
        b"AUTH proof=" + NONCE.upper().encode(),
        b"AUTH proof=" + NONCE[1:].encode(),
        b"AUTH proof=" + NONCE.encode() + b"0",
        b"AUTH proof=" + NONCE.encode() + b"%0A",
        b"AUTH proof=" + NONCE.encode() + b" proof=" + NONCE.encode(),
        b"OPEN proof=" + NONCE.encode(),
        b"auth proof=" + NONCE.encode(),
        b"\xff",
        b"",
    ],
)
def test_any_other_auth_proves_nothing(line):
    assert read_auth(line) == ""


# OPEN.


def test_an_open_with_its_defaults():
    assert opened() == Request(
        name="s/7",
        sources=("192.0.2.1",),
        to=(Destination("203.0.113.5", 25, None, 65_536),),
        helo="out1.example.com",
        tls="may",
        tls_names=(),
        throttle="",
        pool="cluster",
        reuse="any",
        wait_ms=0,
    )


def test_an_open_that_says_everything():
    id, request = read_open(
        parse_line(
            b"OPEN wait_ms=120000 pool=p%201 reuse=new tls_names=mx1.example.net,*.example.net throttle=gmail.com"
            b" tls=verify helo=out1.example.com future=x id=8"
            b" to=203.0.113.5:25/mx1.example.net,[2001:DB8:0::5]:465/mx2.example.net/10,203.0.113.7:65535/0"
            b" source=192.0.2.1,2001:db8::1"
        ),
        "0123456789abcdef",
    )
    assert id == "8"
    assert request == Request(
        name="0123456789abcdef/8",
        sources=("192.0.2.1", "2001:db8::1"),
        to=(
            Destination("203.0.113.5", 25, "mx1.example.net", 65_536),
            Destination("2001:db8::5", 465, "mx2.example.net", 10),
            Destination("203.0.113.7", 65_535, None, 0),
        ),
        helo="out1.example.com",
        tls="verify",
        tls_names=("mx1.example.net", "*.example.net"),
        throttle="gmail.com",
        pool="p 1",
        reuse="new",
        wait_ms=120_000,
    )


def test_equal_numbers_are_one_group_and_every_other_address_is_its_own():
    line = replaced(b"203.0.113.5:25", b"1.1.1.1:25/5,1.1.1.2:25,1.1.1.3:25/5,1.1.1.4:25,1.1.1.5:25/65535")
    groups = [one.group for one in read_open(parse_line(line), "s")[1].to]
    assert groups == [5, 65_537, 5, 65_539, 65_535]


def test_64_addresses_are_enough():
    many = b",".join([b"203.0.113.5:25"] * 64)
    assert len(read_open(parse_line(replaced(b"203.0.113.5:25", many)), "s")[1].to) == 64
    assert isinstance(fault_of(replaced(b"203.0.113.5:25", many + b",203.0.113.5:25")), OpenFault)


TO, SOURCE, HELO = b"203.0.113.5:25", b"source=192.0.2.1", b"helo=out1.example.com"

HOSTILE_OPENS = [
    # source
    (SOURCE, b"source="),
    (SOURCE + b" ", b""),
    (SOURCE, b"source=192.0.2.1,192.0.2.2"),
    (SOURCE, b"source=192.0.2.1,192.0.2.1"),
    (SOURCE, b"source=192.0.2.1,2001:db8::1,192.0.2.2"),
    (SOURCE, b"source=192.0.2.1,"),
    (SOURCE, b"source=192.0.2.1%2C2001:db8::1"),
    (SOURCE, b"source=192.0.2.1:25"),
    (SOURCE, b"source=[2001:db8::1]"),
    (SOURCE, b"source=192.0.2.01"),
    (SOURCE, b"source=192.0.2"),
    (SOURCE, b"source=3221225985"),
    (SOURCE, b"source=0xc0.0.2.1"),
    (SOURCE, b"source=::ffff:192.0.2.1"),
    (SOURCE, b"source=fe80::1%25eth0"),
    (SOURCE, b"source=out1.example.com"),
    (SOURCE, b"source=%20192.0.2.1"),
    (SOURCE, b"source=%EF%BC%91.2.3.4"),
    # to
    (b" to=" + TO, b""),
    (TO, b""),
    (TO, TO + b","),
    (TO, b"," + TO),
    (TO, b"203.0.113.5"),
    (TO, b"203.0.113.5:"),
    (TO, b"203.0.113.5:0"),
    (TO, b"203.0.113.5:65536"),
    (TO, b"203.0.113.5:+25"),
    (TO, b"203.0.113.5:025"),
    (TO, b"203.0.113.5:25%20"),
    (TO, b"203.0.113.5:smtp"),
    (TO, b"203.0.113.5:%D9%A2%D9%A5"),
    (TO, b"203.0.113.05:25"),
    (TO, b"[203.0.113.5]:25"),
    (TO, b"2001:db8::1:25"),
    (TO, b"[2001:db8::1]25"),
    (TO, b"[2001:db8::1]"),
    (TO, b"[]:25"),
    (TO, b"[2001:db8::1%25eth0]:25"),
    (TO, b"[::ffff:203.0.113.5]:25"),
    (TO, b"mx1.example.net:25"),
    (TO, b"203.0.113.5:25/"),
    (TO, b"203.0.113.5:25//"),
    (TO, b"203.0.113.5:25/mx1/"),
    (TO, b"203.0.113.5:25/mx1/65536"),
    (TO, b"203.0.113.5:25/mx1/01"),
    (TO, b"203.0.113.5:25/mx1/x"),
    (TO, b"203.0.113.5:25/10/mx1"),
    (TO, b"203.0.113.5:25/10/10"),
    (TO, b"203.0.113.5:25/mx1/10/10"),
    (TO, b"203.0.113.5:25/%D9%A2"),
    (TO, b"203.0.113.5:25/mx1..example.net"),
    (TO, b"203.0.113.5:25/mx1.example.net."),
    (TO, b"203.0.113.5:25/-mx1.example.net"),
    (TO, b"203.0.113.5:25/mx%201"),
    (TO, b"203.0.113.5:25/m%C3%BCx"),
    (TO, b"203.0.113.5:25/*.example.net"),
    (TO, b"203.0.113.5:25/" + b"a" * 64),
    (TO, b"203.0.113.5:25/" + b"a." * 127),
    # helo
    (b" " + HELO, b""),
    (HELO, b"helo="),
    (HELO, b"helo=out%201"),
    (HELO, b"helo=%C3%A9"),
    (HELO, b"helo=out1%0D%0AMAIL"),
    (HELO, b"helo=" + b"a" * 256),
    # the rest
    (HELO, HELO + b" tls=MAY"),
    (HELO, HELO + b" tls="),
    (HELO, HELO + b" tls=opportunistic"),
    (HELO, HELO + b" tls=verify"),
    (TO, TO + b"/mx1,203.0.113.6:25 tls=verify"),
    (TO, b"203.0.113.5:465 tls=none"),
    (HELO, HELO + b" tls_names=*"),
    (HELO, HELO + b" tls_names=*.*.example.net"),
    (HELO, HELO + b" tls_names=mx.*.net"),
    (HELO, HELO + b" tls_names=a,,b"),
    (HELO, HELO + b" reuse=no"),
    (HELO, HELO + b" pool="),
    (HELO, HELO + b" pool=" + b"p" * 65),
    (HELO, HELO + b" wait_ms=120001"),
    (HELO, HELO + b" wait_ms=-1"),
    (HELO, HELO + b" wait_ms="),
    (HELO, HELO + b" wait_ms=00"),
    (HELO, HELO + b" wait_ms=1s"),
    (HELO, HELO + b" tls=none tls=none"),
    (HELO, HELO + b" x=1 x=1"),
    (HELO, HELO + b" "),
    (HELO, b" " + HELO),
    (HELO, HELO + b" nonsense"),
    (HELO, HELO + b" throttle=Gmail.com"),
    (HELO, HELO + b" throttle=gmail%20com"),
    (HELO, HELO + b" throttle=gmail.com%2F24"),
    (HELO, HELO + b" throttle=%C3%A9.example"),
    (HELO, HELO + b" throttle=" + b"g" * 65),
    (HELO, HELO + b" throttle=%f"),
    (HELO, HELO + b" throttle=%FF"),
    (HELO, HELO + b" throttle=a%00"),
]


@pytest.mark.parametrize(("old", "new"), HOSTILE_OPENS)
def test_any_other_fault_of_an_open_is_a_bad_request_of_its_id(old, new):
    fault = fault_of(replaced(old, new))
    assert isinstance(fault, OpenFault)
    assert (fault.id, fault.kind, fault.code, fault.verb, fault.fatal) == (
        "7",
        "bad_request",
        "bad_line",
        "OPEN",
        False,
    )
    assert len(render_failed("7", Failed(fault.kind, str(fault)))) < 16_384


@pytest.mark.parametrize("words", [b" dane=yes", b" tlsa=3%201%201%20ab", b" dane= tls=verify tls_names=a.example"])
def test_dane_is_refused_as_a_matter_of_tls(words):
    fault = fault_of(OPEN + words)
    assert isinstance(fault, OpenFault)
    assert (fault.id, fault.kind) == ("7", "tls")


@pytest.mark.parametrize(
    "words",
    [
        b" tls=verify tls_names=mx1.example.net",
        b" tls=encrypt",
        b" tls=none",
        b" pool=" + b"p" * 64,
        b" wait_ms=0",
        b" tls_names=",
        b" throttle=",
        b" throttle=" + b"g" * 64,
        b" throttle=other-mail_2.example",
        b" unknown=1",
    ],
)
def test_what_an_open_may_say(words):
    assert opened(words)


def test_verify_takes_the_names_of_the_hosts_where_every_address_has_one():
    line = replaced(TO, TO + b"/mx1.example.net,203.0.113.6:465/_dc-mx.example.net tls=verify")
    assert [one.host for one in read_open(parse_line(line), "s")[1].to] == ["mx1.example.net", "_dc-mx.example.net"]


def test_a_helo_may_be_255_visible_characters():
    assert len(read_open(parse_line(replaced(HELO, b"helo=" + b"%5B" * 255)), "s")[1].helo) == 255


ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None).map(str)
HOSTS = st.from_regex(r"[a-z](?:[a-z0-9-]{0,5}[a-z0-9])?(?:\.[a-z]{2,5}){0,2}", fullmatch=True)


def spelled(one: Destination) -> str:
    place = f"[{one.address}]:{one.port}" if ":" in one.address else f"{one.address}:{one.port}"
    return "/".join([place] + [one.host] * (one.host is not None) + [str(one.group)] * (one.group < 65_536))


@st.composite
def destinations(draw):
    count = draw(st.integers(1, 5))
    return tuple(
        Destination(
            draw(ADDRESSES),
            draw(st.integers(1, 65_535)),
            draw(st.none() | HOSTS),
            draw(st.integers(0, 9) | st.just(65_536 + i)),
        )
        for i in range(count)
    )


GROUPS = st.text("abyz.-_09", max_size=64)


@given(destinations(), st.text("abc.-[]:!~", min_size=1, max_size=255), GROUPS, st.integers(1, 2**53 - 1))
def test_a_request_is_rendered_and_read_back(to, helo, throttle, id):
    request = Request(f"s/{id}", ("192.0.2.1", "2001:db8::1"), to, helo, throttle=throttle, wait_ms=5)
    wire = render(
        "OPEN", id=id, source=request.sources, to=[spelled(one) for one in to], helo=helo, throttle=throttle, wait_ms=5
    )
    assert read_open(parse_line(wire[:-2]), "s") == (str(id), request)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "١", "1" * 17, "-0", "0x1", "1_0"])
def test_an_integer_has_one_spelling(text):
    with pytest.raises(ValueError):
        integer(text, 0, 10**18)


# READY and FAILED.

OFFER = Offer(b"220 mx\r\n", b"mx", {}, True)


def test_ready_tells_all_of_a_shared_connection():
    ready = Opened(
        source=("192.0.2.1", 40_112),
        destination=Destination("203.0.113.5", 25, "mx1.example.net", 0),
        offer=OFFER,
        security=Security("TLSv1.3", "TLS_AES_256_GCM_SHA384", False),
        reused=True,
        uses=17,
        age_ms=4210,
    )
    assert render_ready("7", ready) == (
        b"READY id=7 source=192.0.2.1:40112 remote=203.0.113.5:25 host=mx1.example.net reused=yes uses=17 age_ms=4210"
        b" tls=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 verified=no\r\n"
    )


def test_ready_of_a_fresh_plain_connection_without_a_host():
    ready = Opened(("2001:db8::1", 40_112), Destination("2001:db8::5", 25, None, 0), OFFER, None)
    assert render_ready("8", ready) == (
        b"READY id=8 source=[2001:db8::1]:40112 remote=[2001:db8::5]:25 reused=no uses=1 age_ms=0 tls=none\r\n"
    )


def test_failed_tells_every_address_and_the_last_ones_own_words():
    failed = Failed(
        "greeting",
        "203.0.113.5 said 554",
        tried=(Tried("2001:db8::5", 25, "timeout", 30_000), Tried("203.0.113.5", 25, "greeting", 12)),
        reply="554 5.7.1 go\taway, ü",
        retry_ms=1000,
    )
    assert render_failed("7", failed) == (
        b"FAILED id=7 kind=greeting retry_ms=1000 tried=[2001:db8::5]:25/timeout/30000,203.0.113.5:25/greeting/12"
        b" reply=554%205.7.1%20go%20away,%20%C3%BC text=203.0.113.5%20said%20554\r\n"
    )


def test_failed_before_anything_was_tried():
    assert render_failed("7", Failed("source_denied", "no")) == (
        b"FAILED id=7 kind=source_denied retry_ms=0 tried= text=no\r\n"
    )


def test_the_longest_failed_is_a_line():
    tried = (Tried("2001:db8:1111:1111:1111:1111:1111:1111", 65_535, "source_unavailable", 120_000),) * 64
    wire = render_failed("9007199254740991", Failed("refused", "\U0001f4a9" * 9999, tried, "%" * 9999, 3_600_000))
    cut = cut_line(wire, 16_384)
    assert cut is not None
    assert re.fullmatch(r"\U0001f4a9{512}", parse_line(cut[0]).values["text"])
