"""Every way in which a remote may say something, and every way in which it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.every_split import every_split

from gaproxy.proto.errors import LocalProtocolError, RemoteProtocolError
from gaproxy.proto.smtp.replies import Reply, cut_reply, reply, words

NO_REPLY, BAD_CODE = "a line that is no reply", "a reply code outside 200-599"
STRAY = "a NUL or a bare CR in a reply"
LONG_LINE, LONG_REPLY = "a reply line of more than 2048 bytes", "a reply of more than 65536 bytes"
MANY_LINES = "a reply of more than 100 lines"

# bytes, code, texts, taints
HEARD = [
    (b"250 ok\r\n", 250, [b"ok"], ()),
    (b"250\r\n", 250, [b""], ()),
    (b"250 \r\n", 250, [b""], ()),
    (b"250  two spaces \r\n", 250, [b" two spaces "], ()),
    (b"200 a\r\n", 200, [b"a"], ()),
    (b"299 a\r\n", 299, [b"a"], ()),
    (b"354 go ahead\r\n", 354, [b"go ahead"], ()),
    (b"421 4.3.2 closing\r\n", 421, [b"4.3.2 closing"], ()),
    (b"599 a\r\n", 599, [b"a"], ()),
    (b"250-a\r\n250 b\r\n", 250, [b"a", b"b"], ()),
    (b"250-\r\n250-\r\n250\r\n", 250, [b"", b"", b""], ()),
    (b"550-5.7.1 see\r\n550 5.7.1 https://a.example\r\n", 550, [b"5.7.1 see", b"5.7.1 https://a.example"], ()),
    (b"250 -dash\r\n", 250, [b"-dash"], ()),
    (b"250--dash\r\n250 b\r\n", 250, [b"-dash", b"b"], ()),
    (b"250 gr\xc3\xbc\xc3\x9fe \xff\r\n", 250, [b"gr\xc3\xbc\xc3\x9fe \xff"], ()),
    (b"250 tab\tand\x1b[31m\x7f\r\n", 250, [b"tab\tand\x1b[31m\x7f"], ()),
    (b"250 ok\n", 250, [b"ok"], ("reply_lf",)),
    (b"250\n", 250, [b""], ("reply_lf",)),
    (b"250-a\n250 b\r\n", 250, [b"a", b"b"], ("reply_lf",)),
    (b"250-a\r\n250 b\n", 250, [b"a", b"b"], ("reply_lf",)),
    (b"250-a\r\n550 b\r\n", 550, [b"a", b"b"], ("mixed_codes",)),
    (b"550-a\r\n250-b\r\n550 c\r\n", 550, [b"a", b"b", b"c"], ("mixed_codes",)),
    (b"250-a\n251 b\n", 251, [b"a", b"b"], ("reply_lf", "mixed_codes")),
    (b"250 " + b"a" * 2042 + b"\r\n", 250, [b"a" * 2042], ()),
    (b"250 " + b"a" * 2043 + b"\n", 250, [b"a" * 2043], ("reply_lf",)),
    (b"250-a\r\n" * 99 + b"250 b\r\n", 250, [b"a"] * 99 + [b"b"], ()),
]
LONG = b"250-" + b"a" * 2042 + b"\r\n"
WHOLE_64K = LONG * 31 + LONG[:3] + b" " + LONG[4:]

# what may still become a reply
UNFINISHED = [
    b"",
    b"2",
    b"25",
    b"250",
    b"250 ",
    b"250-",
    b"250\r",
    b"250 ok",
    b"250 ok\r",
    b"250-\r\n",
    b"250-a\r\n2",
    b"250-a\n250",
    b"250-a\r\n250 b",
    b"250-a\r\n250 b\r",
    b"250 " + b"a" * 2043,
    b"250-a\r\n" * 99,
    LONG * 31 + LONG[:2047],
]

# what can never become one, cut behind the very byte that shows it
REFUSED = [
    (b"\n", NO_REPLY),
    (b"\r", NO_REPLY),
    (b" ", NO_REPLY),
    (b"\0", NO_REPLY),
    (b"\xff", NO_REPLY),
    (b"-", NO_REPLY),
    (b"H", NO_REPLY),  # HTTP
    (b"S", NO_REPLY),  # SSH
    (b"\x15", NO_REPLY),  # a TLS alert
    (b"\x16", NO_REPLY),  # a TLS handshake
    (b"+", NO_REPLY),  # POP
    (b"*", NO_REPLY),  # IMAP
    (b"\xb2", NO_REPLY),  # a digit two to str.isdigit
    (b"\xef", NO_REPLY),  # a byte order mark, or full-width digits
    (b"0", BAD_CODE),
    (b"1", BAD_CODE),
    (b"6", BAD_CODE),
    (b"7", BAD_CODE),
    (b"8", BAD_CODE),
    (b"9", BAD_CODE),
    (b"2 ", NO_REPLY),
    (b"2x", NO_REPLY),
    (b"2\r", NO_REPLY),
    (b"2\n", NO_REPLY),
    (b"2-", NO_REPLY),
    (b"25 ", NO_REPLY),
    (b"25-", NO_REPLY),
    (b"25x", NO_REPLY),
    (b"25\r", NO_REPLY),
    (b"25\n", NO_REPLY),
    (b"25\0", NO_REPLY),
    (b"2500", NO_REPLY),
    (b"250x", NO_REPLY),
    (b"250\t", NO_REPLY),
    (b"250_", NO_REPLY),
    (b"250.", NO_REPLY),
    (b"250+", NO_REPLY),
    (b"250\0", NO_REPLY),
    (b"250\x0b", NO_REPLY),
    (b"250\xa0", NO_REPLY),
    (b"250\x85", NO_REPLY),
    (b"250\r\r", STRAY),
    (b"250\r ", STRAY),
    (b"250\ra", STRAY),
    (b"250 \r\r", STRAY),
    (b"250 a\r\r", STRAY),  # and \n: a reader that strips all line ends lets it through
    (b"250 a\rb", STRAY),
    (b"250 a\r2", STRAY),
    (b"250 a\r\0", STRAY),
    (b"250 \0", STRAY),
    (b"250 a\0", STRAY),
    (b"250-a\r\r", STRAY),
    (b"250-a\0", STRAY),
    (b"250-\r\n\r", NO_REPLY),
    (b"250-a\r\n\n", NO_REPLY),
    (b"250-a\r\n ", NO_REPLY),
    (b"250-a\r\nb", NO_REPLY),
    (b"250-a\r\n-", NO_REPLY),
    (b"250-a\r\n1", BAD_CODE),
    (b"250-a\r\n25\r", NO_REPLY),
    (b"250-a\r\n250x", NO_REPLY),
    (b"250-a\n\r", NO_REPLY),
    (b"250-a\r\n250 b\0", STRAY),
    (b"250-a\r\n250 b\rc", STRAY),
    (b"250 " + b"a" * 2044, LONG_LINE),
    (b"250-" + b"a" * 2044, LONG_LINE),
    (b"250-a\r\n250 " + b"a" * 2044, LONG_LINE),
    (b"250 " + b"a" * 2043 + b"\r", LONG_LINE),
    (b"250-a\r\n" * 100, MANY_LINES),
    (LONG * 32, LONG_REPLY),
    (LONG * 31 + b"250 " + b"a" * 2044, LONG_REPLY),
]


def told(pieces):
    """What a reader makes of these pieces: replies, then what is left or the fault."""
    buffer, story = bytearray(), []
    for piece in pieces:
        buffer += piece
        try:
            while cut := cut_reply(buffer):
                story.append(cut[0])
                del buffer[: cut[1]]
        except RemoteProtocolError as fault:
            return [*story, str(fault)]
    return [*story, bytes(buffer)]


@pytest.mark.parametrize(("data", "code", "texts", "taints"), HEARD)
def test_a_reply_is_heard_with_its_code_its_texts_and_what_is_odd_about_it(data, code, texts, taints):
    wire = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert cut_reply(data) == (Reply(code, tuple(texts), wire, taints), len(data))


def test_a_reply_may_have_64_kib_and_not_a_byte_more():
    assert len(WHOLE_64K) == 64 * 1024
    heard, taken = cut_reply(WHOLE_64K)
    assert (taken, len(heard.lines), heard.wire, heard.taints) == (64 * 1024, 32, WHOLE_64K, ())


@pytest.mark.parametrize("data", UNFINISHED)
def test_what_may_still_become_a_reply_is_waited_for(data):
    assert cut_reply(data) is None


@pytest.mark.parametrize(("data", "fault"), REFUSED)
def test_what_is_no_reply_is_refused_at_the_first_byte_that_shows_it(data, fault):
    assert cut_reply(data[:-1]) is None
    for more in (b"", b"\n", b"\r\n", b"\r\n250 ok\r\n", b"a" * 70_000):
        with pytest.raises(RemoteProtocolError) as refused:
            cut_reply(data + more)
        assert str(refused.value) == fault


@pytest.mark.parametrize("tail", [b"\n", b"\r\n", b"250 next\r\n", b"\0", b"no reply"])
def test_what_stands_behind_a_reply_is_not_looked_at(tail):
    assert cut_reply(b"250-a\r\n250 b\r\n" + tail) == cut_reply(b"250-a\r\n250 b\r\n")


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_reply_is_cut_from_bytes_and_from_a_bytearray_and_keeps_no_view_of_either(kind):
    buffer = kind(b"250-a\r\n250 b\r\nrest")
    heard, taken = cut_reply(buffer)
    assert (heard.wire, taken, buffer) == (b"250-a\r\n250 b\r\n", 14, b"250-a\r\n250 b\r\nrest")
    assert {type(part) for part in (heard.wire, *heard.lines)} == {bytes}


SPLIT = [
    b"250-a\r\n250 b\r\n354 go\r\n",
    b"250-a\n551 b\n250\r\n421 x",
    b"250 a\r\n250 b\r\r\n",
    b"250\r\n250-\r\n1",
    b"220 x\r\n25\0",
]


@pytest.mark.parametrize("data", SPLIT)
def test_however_the_bytes_are_cut_the_replies_are_the_same(data):
    stories = [told(pieces) for pieces in every_split(data, 2)]
    assert len(stories[0]) >= 2
    assert all(story == stories[0] for story in stories)


@pytest.mark.parametrize("data", [LONG * 31 + b"250 " + b"a" * 2044, WHOLE_64K + b"x", b"250-a\r\n" * 101])
def test_large_replies_end_the_same_way_in_every_size_of_piece(data):
    stories = [told(data[i : i + size] for i in range(0, len(data), size)) for size in (len(data), 1999, 97)]
    assert stories[0] == stories[1] == stories[2]


PIECES = st.sampled_from(
    [
        b"2",
        b"5",
        b"0",
        b"1",
        b"250",
        b"250-",
        b"250 ",
        b"421 ",
        b"-",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b"a",
        b"\xff",
        b"a" * 700,
    ]
)


@given(st.lists(PIECES, max_size=40), st.data())
def test_any_bytes_in_any_cut_give_the_same_replies_or_the_same_fault(parts, data):
    whole = b"".join(parts)
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    cut = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    one_by_one = [whole[i : i + 1] for i in range(len(whole))]
    assert told([whole]) == told(parts) == told(cut) == told(one_by_one)


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_the_fault_of_the_remote(data):
    story = told([data])
    assert isinstance(story[-1], (str, bytes))
    assert told([data[i : i + 1] for i in range(len(data))]) == story


CODES = st.integers(200, 599)
TEXTS = st.lists(st.binary(max_size=60).map(lambda text: text.translate(None, b"\r\n\0")), min_size=1, max_size=8)


@given(CODES, TEXTS, st.sampled_from([b"\r\n", b"\n"]))
def test_what_is_rendered_is_heard_again(code, texts, end):
    *before, last = texts
    said = b"".join(b"%d-%b%b" % (code, text, end) for text in before) + b"%d %b%b" % (code, last, end)
    heard, taken = cut_reply(said + b"250")
    assert (heard.code, list(heard.lines), taken) == (code, texts, len(said))
    assert heard.taints == (() if end == b"\r\n" else ("reply_lf",))
    assert cut_reply(heard.wire) == (Reply(code, tuple(texts), heard.wire), len(heard.wire))


# texts, limit, words
SAID = [
    ([b"ok"], 512, "250 ok"),
    ([b""], 512, "250"),
    ([b"a", b"b"], 512, "250 a b"),
    ([b"a", b"", b"b"], 512, "250 a  b"),
    ([b"a\tb\x1b[31m\x7f"], 512, "250 a b [31m"),
    ([b"gr\xc3\xbc\xc3\x9fe"], 512, "250 gr    e"),
    ([b"\xe2\x80\xa8\xe2\x80\xae\x9b!"], 512, "250        !"),
    ([b"a" * 600], 512, "250 " + "a" * 508),
    ([b"abc"], 5, "250 a"),
    ([b"abc"], 4, "250"),
    ([b"a", b"b"], 6, "250 a"),
]


@pytest.mark.parametrize(("texts", "limit", "told_as"), SAID)
def test_the_remotes_words_are_one_printable_line_within_the_limit(texts, limit, told_as):
    assert words(Reply(250, tuple(texts), b""), limit) == told_as


@given(TEXTS)
def test_words_are_printable_ascii_whatever_the_remote_says(texts):
    said = words(Reply(550, tuple(texts), b""))
    assert said.isascii()
    assert said.isprintable()
    assert len(said) <= 512


def test_our_own_reply_is_one_line_that_can_be_heard():
    assert (
        reply(421, "4.3.2 gaproxy: turn over, others wait [x]") == b"421 4.3.2 gaproxy: turn over, others wait [x]\r\n"
    )
    assert len(reply(250, "a" * 506)) == 512
    heard, _ = cut_reply(reply(200, ""))
    assert (heard.code, heard.lines) == (200, (b"",))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (250, "a\r\n250 b"),
        (250, "a\n"),
        (250, "a\0"),
        (250, "a\tb"),
        (250, "ü"),
        (250, "a" * 507),
        (199, "a"),
        (600, "a"),
        (25, "a"),
    ],
)
def test_our_own_reply_is_never_anything_else(code, text):
    with pytest.raises(LocalProtocolError):
        reply(code, text)
