"""PROXY headers: what each version says, every way to cut it, and all that only resembles one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.every_split import every_split

from gaproxy.proto.doors.haproxy_words import V2_SIGNATURE, Header, crc32c, cut_header
from gaproxy.proto.errors import RemoteProtocolError

SOURCE, DESTINATION = ("198.51.100.7", 0), ("203.0.113.5", 25)
V1 = b"PROXY TCP4 198.51.100.7 203.0.113.5 0 25\r\n"
V1_6 = b"PROXY TCP6 2001:db8::1 2001:DB8:0:0::2 4711 25\r\n"
PAIR4 = bytes([198, 51, 100, 7, 203, 0, 113, 5, 0, 0, 0, 25])
PAIR6 = bytes.fromhex("20010db800000000000000000000000120010db800000000000000000000000212670019")
MAPPED = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])


def v2(body: bytes = PAIR4, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return V2_SIGNATURE + struct.pack("!BBH", command, family, size) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def with_crc(body: bytes) -> bytes:
    blank = v2(body + tlv(3, bytes(4)))
    return blank[:-4] + crc32c(blank).to_bytes(4)


SERVED = {
    "v1": (V1, Header(SOURCE, DESTINATION)),
    "v1, IPv6": (V1_6, Header(("2001:db8::1", 4711), ("2001:db8::2", 25))),
    "v1, IPv6 with an IPv4 tail": (
        b"PROXY TCP6 2001:db8::192.0.2.1 2001:db8::2 1 65535\r\n",
        Header(("2001:db8::c000:201", 1), ("2001:db8::2", 65535)),
    ),
    "v1, as long as can be": (
        b"PROXY TCP6 "
        + b" ".join([b"ffff:f...f:ffff".replace(b"f...f", b"ffff:ffff:ffff:ffff:ffff:ffff")] * 2)
        + b" 65535 65535\r\n",
        Header((":".join(["ffff"] * 8), 65535), (":".join(["ffff"] * 8), 65535)),
    ),
    "v2": (v2(), Header(SOURCE, DESTINATION)),
    "v2, IPv6": (v2(PAIR6, family=0x21), Header(("2001:db8::1", 4711), ("2001:db8::2", 25))),
    "v2 with TLVs": (v2(PAIR4 + tlv(2, b"mx.test") + tlv(0xE0, b"") + tlv(5, b"x" * 128)), Header(SOURCE, DESTINATION)),
    "v2 with its checksum": (
        bytes.fromhex("0d0a0d0a000d0a515549540a21110013c6336407cb00710500000019030004db8187c5"),
        Header(SOURCE, DESTINATION),
    ),
    "v2 with a checksum before other TLVs": (with_crc(PAIR4 + tlv(4, b"\0\0")), Header(SOURCE, DESTINATION)),
    "v2, as long as can be": (v2(PAIR4 + tlv(4, bytes(1024 - 12 - 3))), Header(SOURCE, DESTINATION)),
    "v2, LOCAL": (v2(b"", 0x20, 0x00), Header(local=True)),
    "v2, LOCAL with addresses and TLVs of any kind": (v2(b"\xff" * 30, 0x20, 0x31), Header(local=True)),
}


@pytest.mark.parametrize(("wire", "header"), SERVED.values(), ids=SERVED)
def test_a_header_says_where_from_and_where_to(wire, header):
    assert cut_header(wire) == (header, len(wire))


NOT_SERVABLE = {
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", "bad_request", "UNKNOWN"),
    "UNKNOWN with something behind it": (b"PROXY UNKNOWN ffff::1 ~ 1 2\r\n", "bad_request", "UNKNOWN"),
    "UNSPEC": (v2(b"", family=0), "bad_request", "UNSPEC"),
    "UNSPEC with addresses": (v2(b"\1" * 100, family=0), "bad_request", "UNSPEC"),
    "mapped source": (b"PROXY TCP6 ::ffff:127.0.0.1 2001:db8::2 1 25\r\n", "source_denied", "disguise"),
    "mapped destination": (b"PROXY TCP6 2001:db8::2 ::ffff:7f00:1 1 25\r\n", "denied", "disguise"),
    "mapped in v2": (v2(PAIR6[:16] + MAPPED + PAIR6[32:], family=0x21), "denied", "disguise"),
}


@pytest.mark.parametrize(("wire", "kind", "why"), NOT_SERVABLE.values(), ids=NOT_SERVABLE)
def test_a_header_may_be_well_formed_and_yet_nothing_to_serve(wire, kind, why):
    header, size = cut_header(wire)
    told, words = header.refusal
    assert (told, why in words) == (kind, True)
    assert size == len(wire)


def story(pieces: list[bytes]) -> tuple[object, bytes]:
    """What comes of these pieces: a header or a sentence, and what is left."""
    buffer = bytearray()
    for at, piece in enumerate(pieces, 1):
        buffer += piece
        try:
            cut = cut_header(buffer)
        except RemoteProtocolError as fault:
            return str(fault), b""
        if cut is not None:
            return cut[0], bytes(buffer[cut[1] :]) + b"".join(pieces[at:])
    return None, bytes(buffer)


WHOLE = [wire for wire, *_ in (*SERVED.values(), *NOT_SERVABLE.values()) if len(wire) < 200]


@pytest.mark.parametrize("wire", WHOLE)
def test_a_header_may_come_in_any_pieces_and_what_is_behind_it_is_left(wire):
    said = wire + b"EHLO a\r\n"
    expected = story([said])
    assert expected[1] == b"EHLO a\r\n"
    splits = list(every_split(said, 1))
    assert len(splits) > len(said)
    assert all(story(pieces) == expected for pieces in splits)


def test_two_cuts_are_no_more_than_one():
    for wire in (V1, v2()):
        expected = story([wire])
        assert all(story(pieces) == expected for pieces in every_split(wire, 2))


# What only resembles a header.


def line(*words: str, end: str = "\r\n") -> bytes:
    return (" ".join(words) + end).encode("latin-1")


def tcp4(source: str = "198.51.100.7", destination: str = "203.0.113.5", *ports: str) -> bytes:
    return line("PROXY", "TCP4", source, destination, *(ports or ("0", "25")))


def tcp6(source: str = "2001:db8::1", destination: str = "2001:db8::2", *ports: str) -> bytes:
    return line("PROXY", "TCP6", source, destination, *(ports or ("0", "25")))


HOSTILE_4 = [
    "127.1",
    "1",
    "127",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    ".127.0.0.1",
    "127..0.1",
    "1.2.3.4.5",
    "256.0.0.1",
    "1.2.3.999",
    "2130706433",
    "-1.2.3.4",
    "1.2.3.4/32",
    "1.2.3.4%lo",
    "[1.2.3.4]",
    "localhost",
    "a.b.c.d",
    "1.2.3.4\x00",
    "1,2,3,4",
    "+1.2.3.4",
    "1.2.3.0x4",
    "::1",
    "::ffff:1.2.3.4",
    "².2.3.4",
    "1.2.3.4:25",
    "*",
]
HOSTILE_6 = [
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "fe80::1%lo",
    "[::1]",
    "12345::1",
    "g::1",
    "1.2.3.4",
    "::1.2.3",
    "::1.2.3.04",
    "::1.2.3.4.5",
    "::1/128",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    "-1::1",
    "::0x1",
    "1.2.3.4::",
    "::ffff:1.2.3.256",
]
PORTS = [
    "-1",
    "+25",
    "025",
    "00",
    "65536",
    "74861",
    "99999",
    "73786976294838206464",
    "0x19",
    "25.0",
    "2_5",
    "25a",
    "²",
    "1e1",
    "''",
]
V1_HOSTILE = [
    *(tcp4(source=host) for host in HOSTILE_4),
    *(tcp4(destination=host) for host in HOSTILE_4),
    *(tcp6(source=host) for host in HOSTILE_6),
    *(tcp6(destination=host) for host in HOSTILE_6),
    *(tcp4("198.51.100.7", "203.0.113.5", "0", port) for port in PORTS),
    *(tcp4("198.51.100.7", "203.0.113.5", port, "25") for port in PORTS),
    tcp4("198.51.100.7", "203.0.113.5", "0", "0"),
    tcp4("198.51.100.7", "203.0.113.5", "0"),
    tcp4("198.51.100.7", "203.0.113.5", "0", "25", "1"),
    tcp4("198.51.100.7", "203.0.113.5", "0", "25 "),
    tcp4("198.51.100.7", "203.0.113.5", "0", " 25"),
    tcp4(" 198.51.100.7"),
    tcp4("198.51.100.7\t"),
    line("PROXY", "TCP4"),
    line("PROXY", "TCP4 "),
    line("PROXY", ""),
    line("PROXY"),
    line("PROXY", "tcp4", "198.51.100.7", "203.0.113.5", "0", "25"),
    line("PROXY", "TCP", "198.51.100.7", "203.0.113.5", "0", "25"),
    line("PROXY", "TCP5", "198.51.100.7", "203.0.113.5", "0", "25"),
    line("PROXY", "TCP46", "198.51.100.7", "203.0.113.5", "0", "25"),
    line("PROXY", "UDP4", "198.51.100.7", "203.0.113.5", "0", "25"),
    line("PROXY", "UNIX", "a", "b"),
    line("PROXY", "UNKNOWNS"),
    line("PROXY", "unknown"),
    line("PROXY", "UNKNOWN \xa0"),
    line("PROXY", " TCP4", "198.51.100.7", "203.0.113.5", "0", "25"),
    line("proxy", "TCP4", "198.51.100.7", "203.0.113.5", "0", "25"),
    line("Proxy", "TCP4", "198.51.100.7", "203.0.113.5", "0", "25"),
    line(" PROXY", "TCP4", "198.51.100.7", "203.0.113.5", "0", "25"),
    line("PROXY2", "TCP4", "198.51.100.7", "203.0.113.5", "0", "25"),
    b"PROXY\tTCP4 198.51.100.7 203.0.113.5 0 25\r\n",
    V1[:-2] + b"\n",
    V1[:-2] + b"\r\r\n",
    V1[:-2] + b"\n\r",
    V1[:-2] + b"\rX",
    V1[:-2] + b"\0\r\n",
    V1.replace(b" 0 ", b"\x85 "),
    V1.replace(b" ", b"\xa0"),
    b"\xef\xbb\xbf" + V1,
    b"PROXY UNKNOWN " + b"x" * 200,
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY TCP6 " + b":" * 200,
    b"GET / HTTP/1.1\r\n",
    b"EHLO a\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"PROXIED\r\n",
    b"\x16\x03\x01\x02\x00",
    b"\x05\x01\x00",
    b"SSH-2.0-x\r\n",
    b"GAPROXY/1 min=1\r\n",
]

V2_HOSTILE = [
    *(V2_SIGNATURE[:at] + bytes([V2_SIGNATURE[at] ^ 1]) + v2()[at + 1 :] for at in range(1, 12)),
    *(v2(command=version << 4 | 1) for version in (0, 1, 3, 4, 8, 15)),
    *(v2(command=0x20 | command) for command in range(2, 16)),
    *(v2(family=family) for family in (0x01, 0x02, 0x10, 0x12, 0x13, 0x20, 0x22, 0x31, 0x32, 0x41, 0xF1, 0xFF)),
    *(v2(PAIR4[:length]) for length in (0, 1, 4, 8, 11)),
    *(v2(PAIR6[:length], family=0x21) for length in (0, 12, 35)),
    *(v2(PAIR4 + bytes(length - 12)) for length in (1025, 4096, 65535)),
    v2(b"", 0x20, 0, length=1025),
    v2(b"", 0x21, 0, length=0xFFFF),
    *(v2(PAIR4 + tail) for tail in (b"\4", b"\4\0", b"\4\0\1", b"\4\xff\xff", b"\4\0\2x")),
    v2(PAIR4 + tlv(4, b"x") + b"\4\0\1"),
    v2(PAIR4 + tlv(4, b"x") + b"\4"),
    with_crc(PAIR4)[:-1] + b"\0",
    with_crc(PAIR4).replace(PAIR4, PAIR4[:3] + b"\10" + PAIR4[4:]),
    v2(PAIR4 + tlv(3, b"")),
    v2(PAIR4 + tlv(3, bytes(3))),
    v2(PAIR4 + tlv(3, bytes(5))),
    v2(PAIR4 + tlv(3, bytes(4))),
    v2(PAIR4[:-2] + b"\0\0"),
    v2(PAIR6[:-2] + b"\0\0", family=0x21),
    V1.replace(b"PROXY", b"\r\nPROXY"),
    b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
]


def test_there_are_enough_of_them():
    assert len(set(V1_HOSTILE)) >= 80
    assert len(set(V2_HOSTILE)) >= 70


@pytest.mark.parametrize("wire", V1_HOSTILE + V2_HOSTILE)
def test_what_only_resembles_a_header_is_refused_however_it_is_cut(wire):
    expected = story([wire])
    assert isinstance(expected[0], str)
    for pieces in every_split(wire[:150], 1) if len(wire) < 300 else ():
        assert story(pieces) == expected


@pytest.mark.parametrize(("start", "wrong"), [(V1, b"?"), (v2(), b"\xfe")])
def test_nothing_is_waited_for_behind_the_first_wrong_byte(start, wrong):
    """Of version 1 each word is judged by its letters as they come; an address when it is whole."""
    for at in (*range(1, 11), 40) if start == V1 else range(1, 15):
        with pytest.raises(RemoteProtocolError):
            cut_header(start[:at] + wrong)
        assert cut_header(start[:at]) is None
    assert cut_header(b"") is None


def test_a_line_that_can_no_longer_end_in_time_is_refused_before_it_ends():
    assert cut_header(b"PROXY UNKNOWN " + b"x" * 91) is None
    with pytest.raises(RemoteProtocolError, match="107"):
        cut_header(b"PROXY UNKNOWN " + b"x" * 92)


@given(
    st.binary(max_size=150), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V1[:-4], V2_SIGNATURE, v2()[:16], v2()])
)
def test_whatever_comes_it_is_a_header_or_refused_or_waited_for(data, start):
    wire = start + data
    expected = story([wire])
    assert story([wire[i : i + 1] for i in range(len(wire))]) == expected


HOSTS4 = st.ip_addresses(v=4).map(str)
HOSTS6 = st.ip_addresses(v=6).filter(lambda host: host.ipv4_mapped is None).map(str)


@given(st.one_of(st.tuples(HOSTS4, HOSTS4), st.tuples(HOSTS6, HOSTS6)), st.integers(0, 65535), st.integers(1, 65535))
def test_every_pair_of_addresses_can_be_said(hosts, source_port, destination_port):
    family = "TCP6" if ":" in hosts[0] else "TCP4"
    header, _ = cut_header(line("PROXY", family, *hosts, str(source_port), str(destination_port)))
    assert (header.source, header.destination) == ((hosts[0], source_port), (hosts[1], destination_port))


def test_the_checksum_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283
