"""The PROXY protocol, versions 1 and 2: knows its headers and refuses all that only resembles one.

Does not know who sends it, whether its addresses are served, or what comes behind it. (The specification is HAProxy's
doc/proxy-protocol.txt; where it says that a receiver may be lax, we are not: laxness is how filters are passed by.)
"""

import re
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from attrs import frozen

from gaproxy.proto.errors import RemoteProtocolError

Address = tuple[str, int]

V1_BYTES = 107  # CRLF included: section 2.1
V1_START = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_HEAD_BYTES = 16
V2_LENGTH_MOST = 1024

LOCAL, PROXY = 0, 1
STREAM_OF: dict[int, tuple[int, type[IPv4Address] | type[IPv6Address]]] = {
    0x11: (4, IPv4Address),  # TCP over IPv4: bytes of an address, and what they are
    0x21: (16, IPv6Address),
}
UNSPEC = 0x00
CRC32C_TLV = 0x03
MAPPED = IPv6Network("::ffff:0:0/96")

_FAMILIES: dict[bytes, type[IPv4Address] | type[IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_V1_BYTE = re.compile(rb"[^ -~]")
_HOST = rb"[0-9A-Fa-f.:]+"
_PORT = rb"(?:0|[1-9][0-9]{0,4})"
_V1 = re.compile(rb"(TCP[46]) (%b) (%b) (%b) (%b)" % (_HOST, _HOST, _PORT, _PORT))
_UNKNOWN = re.compile(rb"UNKNOWN(?: .*)?")  # "the receiver must ignore anything presented before the CRLF"
_V1_BEGINNING = re.compile(
    rb"(?:T(?:C(?:P(?:[46](?: (?:%b(?: (?:%b(?: (?:%b(?: (?:%b)?)?)?)?)?)?)?)?)?)?)?" % (_HOST, _HOST, _PORT, _PORT)
    + rb"|U(?:N(?:K(?:N(?:O(?:W(?:N(?: .*)?)?)?)?)?)?)?)?"
)
"""What may still become one of the two."""


@frozen
class Header:
    """A header that is well-formed. `local`: the proxy in front speaks for itself, nobody is behind it.

    `refusal`: why there is nothing to serve: the kind of failure, and one sentence. Addresses that are missing are "".
    """

    source: Address = ("", 0)
    destination: Address = ("", 0)
    local: bool = False
    refusal: tuple[str, str] | None = None


def cut_header(buffer: bytearray | bytes) -> tuple[Header, int] | None:
    """Cut one header off the front: what it says and how many bytes it took, or None while it is not whole.

    Raises RemoteProtocolError for what can no longer become one, at the first byte that shows it.
    """
    if not buffer:
        return None
    return _cut_v2(buffer) if buffer[0] == V2_SIGNATURE[0] else _cut_v1(buffer)


# Version 1: one line of text.


def _cut_v1(buffer: bytearray | bytes) -> tuple[Header, int] | None:
    if not V1_START.startswith(bytes(buffer[: len(V1_START)])):
        raise RemoteProtocolError("no PROXY header")
    stray = _V1_BYTE.search(buffer, 0, V1_BYTES - 1)
    end = min(len(buffer), V1_BYTES - 1) if stray is None else stray.start()
    said, ending = bytes(buffer[len(V1_START) : end]), bytes(buffer[end : end + 2])
    if not _V1_BEGINNING.fullmatch(said):
        raise RemoteProtocolError("a malformed version 1 header")
    if stray is None and end == V1_BYTES - 1:
        raise RemoteProtocolError(f"a version 1 header of more than {V1_BYTES} bytes")
    if stray is None or ending == b"\r":
        return None
    if ending != b"\r\n":
        raise RemoteProtocolError("a version 1 header with a byte that is no visible ASCII")
    return _read_v1(said), end + 2


def _read_v1(said: bytes) -> Header:
    if _UNKNOWN.fullmatch(said):
        return Header(refusal=("bad_request", "the PROXY header says UNKNOWN, so it names no destination"))
    match = _V1.fullmatch(said)
    if match is None:
        raise RemoteProtocolError("a malformed version 1 header")
    family, source, destination, source_port, destination_port = match.groups()
    try:
        host = _FAMILIES[family]
        hosts = [host(text.decode("ascii")) for text in (source, destination)]
    except ValueError:
        raise RemoteProtocolError("a version 1 header with what is no address of its family") from None
    return _header(hosts[0], int(source_port), hosts[1], int(destination_port))


# Version 2: binary.


def _cut_v2(buffer: bytearray | bytes) -> tuple[Header, int] | None:
    """Fixed head, then `len` bytes: addresses and TLVs (section 2.2)."""
    head = bytes(buffer[:V2_HEAD_BYTES])
    if not V2_SIGNATURE.startswith(head[: len(V2_SIGNATURE)]):
        raise RemoteProtocolError("no PROXY header")
    command = _command(head[12]) if len(head) > 12 else LOCAL
    family = _family(head[13], command) if len(head) > 13 else UNSPEC
    if len(head) > 14:
        _refuse_length(head[14:].ljust(2, b"\x00"), command, family, whole=len(head) == V2_HEAD_BYTES)
    if len(head) < V2_HEAD_BYTES:
        return None
    size = V2_HEAD_BYTES + int.from_bytes(head[14:])
    if len(buffer) < size:
        return None
    return _read_v2(command, family, bytes(buffer[:size])), size


def _command(byte: int) -> int:
    """Version in the upper four bits, command in the lower four."""
    if byte >> 4 != 2:
        raise RemoteProtocolError(f"version {byte >> 4} in a version 2 header")
    if byte & 15 not in (LOCAL, PROXY):
        raise RemoteProtocolError(f"command {byte & 15} in a version 2 header")
    return byte & 15


def _family(byte: int, command: int) -> int:
    """LOCAL takes any ("must ignore"), PROXY only TCP, or none at all."""
    if command == PROXY and byte != UNSPEC and byte not in STREAM_OF:
        raise RemoteProtocolError(f"family and protocol 0x{byte:02x} in a version 2 header")
    return byte


def _refuse_length(length: bytes, command: int, family: int, whole: bool) -> None:
    """Refuse a length that cannot be, at its first byte where that shows it."""
    least = 2 * STREAM_OF[family][0] + 4 if command == PROXY and family != UNSPEC else 0
    number = int.from_bytes(length)
    if number > V2_LENGTH_MOST:
        raise RemoteProtocolError(f"a version 2 header of more than {V2_LENGTH_MOST} bytes")
    if whole and number < least:
        raise RemoteProtocolError(f"a version 2 header of {number} bytes, too short for its addresses")


def _read_v2(command: int, family: int, wire: bytes) -> Header:
    if command == LOCAL:
        return Header(local=True)
    if family == UNSPEC:  # then "the receiver should ignore address information", and TLVs begin nobody knows where
        return Header(refusal=("bad_request", "the PROXY header says UNSPEC, so it names no destination"))
    size, host = STREAM_OF[family]
    source, destination, source_port, destination_port = struct.unpack_from(f"!{size}s{size}sHH", wire, V2_HEAD_BYTES)
    _walk_tlvs(wire, V2_HEAD_BYTES + 2 * size + 4)
    return _header(host(source), source_port, host(destination), destination_port)


def _walk_tlvs(wire: bytes, start: int) -> None:
    """Each must end where the header ends, or before; of all of them only the checksum means something to us."""
    for kind, at, length in _tlvs(wire, start):
        if kind != CRC32C_TLV:
            continue
        if length != 4:
            raise RemoteProtocolError(f"a CRC32C of {length} bytes in a version 2 header")
        blank = wire[:at] + bytes(4) + wire[at + 4 :]
        if crc32c(blank) != int.from_bytes(wire[at : at + 4]):
            raise RemoteProtocolError("a version 2 header whose CRC32C is wrong")


def _tlvs(wire: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield type, place and length of each value."""
    while start < len(wire):
        if start + 3 > len(wire):
            raise RemoteProtocolError("a TLV without its length in a version 2 header")
        kind, length = struct.unpack_from("!BH", wire, start)
        start += 3
        if start + length > len(wire):
            raise RemoteProtocolError("a TLV that is longer than its version 2 header")
        yield kind, start, length
        start += length


def _header(
    source: IPv4Address | IPv6Address,
    source_port: int,
    destination: IPv4Address | IPv6Address,
    destination_port: int,
) -> Header:
    """What both versions have in common. The port to leave from is not ours to choose, so 0 is as good as any."""
    if max(source_port, destination_port) > 65_535:
        raise RemoteProtocolError("a port above 65535 in a PROXY header")
    if destination_port == 0:
        raise RemoteProtocolError("destination port 0 in a PROXY header")
    refusals = [
        (kind, f"{host} is an IPv4 address in the disguise of IPv6")
        for kind, host in (("source_denied", source), ("denied", destination))
        if host in MAPPED
    ]
    return Header((str(source), source_port), (str(destination), destination_port), refusal=next(iter(refusals), None))


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC32C = _crc32c_table()


def crc32c(data: bytes) -> int:
    """CRC-32 with Castagnoli's polynomial (RFC 3309 appendix; the specification's section 2.2.3)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
