"""Every way in which an MTA may say something, and every way in which it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.every_split import every_split

from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.smtp.commands import TREATMENT, Command, cut_command, spell_message, treatment

# line, verb, argument
NAMED = [
    (b"MAIL FROM:<a@b.example>", "MAIL", b"FROM:<a@b.example>"),
    (b"MAIL FROM:<> SIZE=100 BODY=8BITMIME", "MAIL", b"FROM:<> SIZE=100 BODY=8BITMIME"),
    (b"mail from:<a>", "MAIL", b"from:<a>"),
    (b"RCPT TO:<a> ORCPT=rfc822;a", "RCPT", b"TO:<a> ORCPT=rfc822;a"),
    (b"MAIL FROM:<\xc3\xbc@b.example> SMTPUTF8", "MAIL", b"FROM:<\xc3\xbc@b.example> SMTPUTF8"),
    (b"DATA", "DATA", b""),
    (b"dAtA", "DATA", b""),
    (b"DATA ", "DATA", b""),
    (b"DATA  ", "DATA", b" "),
    (b"DATA now", "DATA", b"now"),
    (b"QUIT", "QUIT", b""),
    (b"QUIT ", "QUIT", b""),
    (b"QUIT now", "QUIT", b"now"),
    (b"EHLO a.example", "EHLO", b"a.example"),
    (b"EHLO  a.example ", "EHLO", b" a.example "),
    (b"EHLO [IPv6:2001:db8::1]", "EHLO", b"[IPv6:2001:db8::1]"),
    (b"EHLO", "EHLO", b""),
    (b"HELO a", "HELO", b"a"),
    (b"LHLO a", "LHLO", b"a"),
    (b"RSET", "RSET", b""),
    (b"NOOP a b", "NOOP", b"a b"),
    (b"STARTTLS", "STARTTLS", b""),
    (b"AUTH PLAIN AGEAYg==", "AUTH", b"PLAIN AGEAYg=="),
    (b"BDAT 5 LAST", "BDAT", b"5 LAST"),
    (b"XCLIENT ADDR=192.0.2.1", "XCLIENT", b"ADDR=192.0.2.1"),
    (b"GET / HTTP/1.1", "GET", b"/ HTTP/1.1"),
    (b"VRFY \t\x1b\x7f", "VRFY", b"\t\x1b\x7f"),
    (b"A" * 4094, "A" * 4094, b""),
]

# lines that begin with no verb; a relay refuses them like any verb it does not know
NAMELESS = [
    b"",
    b" ",
    b" MAIL FROM:<a>",
    b"\tDATA",
    b"MAIL\tFROM:<a>",
    b"MAIL:FROM",
    b"MAIL-FROM",
    b"MAIL_",
    b"MAIL,RCPT",
    b"QUIT;",
    b"QUIT\t",
    b"QUIT\x0b",
    b"QUIT\x0c",
    b"QUIT\x1c",
    b"QUIT\xa0",
    b"QUIT\x85",
    b"\xa0QUIT",
    b"\xefQUIT",
    b"\xef\xbb\xbfQUIT",
    b"Q\xc3\x9cIT",
    b"DATA.",
    b".DATA",
    b".",
    b"..",
    b"250 ok",
    b"1DATA",
    b"DATA1",
    b"DATA\x08",
    b"\x7fDATA",
    b"<MAIL>",
    b"MAIL<a>",
    b"\x16\x03\x01\x02",
    b"\x80",
    b"-",
    b"=?utf-8?q?QUIT?=",
    b"\xff\xf4\xff\xfdQUIT",
    b"DATA/",
    b"'DATA'",
    b"\x04\x01",
]

# lines that end too early for some readers
FAULTY = [
    (b"\r", "bare CR or LF"),
    (b"\n", "bare CR or LF"),
    (b"QUIT\r", "bare CR or LF"),  # QUIT CR CRLF
    (b"QUIT\n", "bare CR or LF"),
    (b"\nQUIT", "bare CR or LF"),
    (b"\rQUIT", "bare CR or LF"),
    (b"RSET\nQUIT", "bare CR or LF"),
    (b"RSET\rQUIT", "bare CR or LF"),
    (b"RSET\n\rQUIT", "bare CR or LF"),
    (b"DATA\n.\n", "bare CR or LF"),
    (b"NOOP\r\r", "bare CR or LF"),
    (b"NOOP\n\n", "bare CR or LF"),
    (b"MAIL FROM:<a\nRCPT TO:<b>", "bare CR or LF"),
    (b"MAIL FROM:<a>\rRCPT TO:<b>", "bare CR or LF"),
    (b"MAIL FROM:<a>\nDATA\n.\nMAIL FROM:<b>", "bare CR or LF"),
    (b"EHLO a\n", "bare CR or LF"),
    (b"STARTTLS\nEHLO a", "bare CR or LF"),
    (b"RSET\0\n", "bare CR or LF"),
    (b"\0", "NUL byte"),
    (b"QUIT\0", "NUL byte"),
    (b"\0QUIT", "NUL byte"),
    (b"QU\0IT", "NUL byte"),
    (b"MAIL FROM:<a\0@b>", "NUL byte"),
    (b"MAIL FROM:<a>\0", "NUL byte"),
]


def told(pieces):
    """What a reader makes of these pieces: commands, then what is left or the fault."""
    buffer, story = bytearray(), []
    for piece in pieces:
        buffer += piece
        try:
            while cut := cut_command(buffer, limit=40):
                story.append(cut[0])
                del buffer[: cut[1]]
        except RemoteProtocolError as fault:
            return [*story, str(fault)]
    return [*story, bytes(buffer)]


@pytest.mark.parametrize(("line", "verb", "argument"), NAMED)
def test_a_command_is_its_verb_and_all_that_stands_behind_one_space(line, verb, argument):
    wire = line + b"\r\n"
    assert cut_command(wire) == (Command(verb, argument, wire, None), len(wire))


@pytest.mark.parametrize("line", NAMELESS)
def test_a_line_that_does_not_begin_with_letters_and_a_space_has_no_verb_and_is_refused(line):
    command, taken = cut_command(line + b"\r\n")
    assert (command, taken) == (Command("", line, line + b"\r\n", None), len(line) + 2)
    assert treatment(command.verb) == "refuse"


@pytest.mark.parametrize(("line", "fault"), FAULTY)
def test_a_line_that_some_readers_would_end_earlier_is_one_command_with_a_fault_and_no_verb(line, fault):
    wire = line + b"\r\n"
    assert cut_command(wire + b"QUIT\r\n") == (Command("", line, wire, fault), len(wire))
    assert treatment("") == "refuse"


@pytest.mark.parametrize(
    "data", [b"", b"Q", b"QUIT", b"QUIT\r", b"QUIT\n", b"QUIT\n\r", b"QUIT\0", b"RSET\nQUIT\n", b"A" * 4095]
)
def test_only_crlf_ends_a_command(data):
    assert cut_command(data) is None


def test_a_command_may_have_4096_bytes_with_its_crlf_and_not_one_more():
    longest = b"NOOP " + b"a" * 4089 + b"\r\n"
    assert cut_command(longest + b"QUIT\r\n") == (Command("NOOP", b"a" * 4089, longest), 4096)
    for data in (b"a" * 4096, b"a" * 4095 + b"\r", b"a" * 4095 + b"\r\n", b"a" * 9000 + b"\r\n", b"\n" * 4096):
        with pytest.raises(RemoteProtocolError, match=r"\Aa command longer than 4096 bytes\Z"):
            cut_command(data)


def test_the_limit_may_be_another_one():
    assert cut_command(b"QUIT\r\n", limit=6) == (Command("QUIT", b"", b"QUIT\r\n"), 6)
    with pytest.raises(RemoteProtocolError, match="longer than 5 bytes"):
        cut_command(b"QUIT\r\n", limit=5)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_command_is_cut_from_bytes_and_from_a_bytearray_and_keeps_no_view_of_either(kind):
    buffer = kind(b"NOOP a\r\nrest")
    command, taken = cut_command(buffer)
    assert (command.wire, taken, buffer) == (b"NOOP a\r\n", 8, b"NOOP a\r\nrest")
    assert {type(command.wire), type(command.argument)} == {bytes}


SPLIT = [
    b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n",
    b"QUIT\r\r\nRSET\nQUIT\r\nNOOP\r\n",
    b"\r\n\r\nQUIT\0\r\nEH",
    b"NOOP\r\n" + b"a" * 45 + b"\r\n",
]


@pytest.mark.parametrize("data", SPLIT)
def test_however_the_bytes_are_cut_the_commands_are_the_same(data):
    stories = [told(pieces) for pieces in every_split(data, 2)]
    assert len(stories[0]) >= 2
    assert all(story == stories[0] for story in stories)


PIECES = st.sampled_from([b"MAIL", b"quit", b" ", b"\t", b":", b"1", b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"a" * 9])


@given(st.lists(PIECES, max_size=40), st.data())
def test_any_bytes_in_any_cut_give_the_same_commands_or_the_same_fault(parts, data):
    whole = b"".join(parts)
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    cut = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    one_by_one = [whole[i : i + 1] for i in range(len(whole))]
    assert told([whole]) == told(parts) == told(cut) == told(one_by_one)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_the_fault_of_the_mta_and_no_byte_is_lost(data):
    *commands, last = told([data])
    wires = b"".join(command.wire for command in commands)
    assert data.startswith(wires)
    assert isinstance(last, str) or wires + last == data


@given(st.binary(max_size=30))
def test_a_verb_is_only_ever_letters_in_upper_case_and_never_stands_beside_a_fault(line):
    command, _ = cut_command(line.replace(b"\r\n", b"") + b"\r\n")
    assert command.verb == "" or (command.verb.isascii() and command.verb.isalpha() and command.verb.isupper())
    assert command.verb == "" or command.fault is None


def test_the_table_of_verbs_is_the_whole_of_what_is_relayed_or_answered():
    assert {verb for verb in TREATMENT if treatment(verb) == "pass"} == {
        "MAIL",
        "RCPT",
        "DATA",
        "RSET",
        "NOOP",
        "VRFY",
        "EXPN",
        "HELP",
    }
    assert {verb for verb in TREATMENT if treatment(verb) == "greet"} == {"EHLO", "HELO"}
    assert (treatment("QUIT"), treatment("STARTTLS")) == ("quit", "starttls")
    assert set(TREATMENT.values()) == {"pass", "greet", "quit", "starttls"}


@pytest.mark.parametrize(
    "verb",
    [
        "BDAT",
        "AUTH",
        "XCLIENT",
        "XFORWARD",
        "ETRN",
        "ATRN",
        "TURN",
        "BURL",
        "LHLO",
        "XEXCH50",
        "SEND",
        "SOML",
        "SAML",
        "GET",
        "POST",
        "mail",
    ],
)
def test_a_verb_outside_the_table_is_refused(verb):
    assert treatment(verb) == "refuse"


@pytest.mark.parametrize(
    ("message", "spelt"),
    [
        (b".a\r\n.\r\nb.\r\n", b"..a\r\n..\r\nb.\r\n.\r\n"),
        (b"no end", b"no end\r\n.\r\n"),
        (b"", b".\r\n"),
    ],
)
def test_a_message_goes_out_with_its_dots_doubled_at_the_beginning_of_lines_only(message, spelt):
    assert spell_message(message) == spelt
