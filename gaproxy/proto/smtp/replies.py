"""Replies: knows where one ends, what its code is and what is odd about it; does not know which command it answers."""

import re
from collections.abc import Iterator

from attrs import frozen

from gaproxy.proto.errors import LocalProtocolError, RemoteProtocolError

LINE_BYTES = 2048  # RFC 5321 4.5.3.1.5 says 512; remotes that put a URL or two into a 550 exceed it
REPLY_LINES = 100
REPLY_BYTES = 64 * 1024
OUR_LINE_BYTES = 512  # RFC 5321 4.5.3.1.5

_HEAD = re.compile(rb"[2-5](?:[0-9](?:[0-9][- \r\n]?)?)?")  # as much as there is of "250-", "250 " or "250" CRLF
_STRAY = re.compile(rb"\x00|\r(?=[^\n])")  # a CR that is the last byte so far may still become a CRLF
_SPACED = bytes(byte if 0x20 <= byte < 0x7F else 0x20 for byte in range(256))


@frozen
class Reply:
    """One whole reply. `lines`: its texts without code, separator, line end; `wire`: as it came, line ends made CRLF.

    `taints`: `reply_lf` (a line ended in a bare LF), `mixed_codes` (not all lines had one code; the last one's counts).
    """

    code: int
    lines: tuple[bytes, ...]
    wire: bytes
    taints: tuple[str, ...] = ()


def cut_reply(buffer: bytearray | bytes) -> tuple[Reply, int] | None:
    """Cut one reply off the front: the reply and how many bytes it took, or None while its end is not there yet.

    Raises RemoteProtocolError for what can no longer become a reply, at the first byte that shows it (RFC 5321 4.2).
    """
    lines: list[bytes] = []
    taken = 0
    for line in _lines(buffer):
        lines.append(line)
        taken += len(line)
        if line[3:4] != b"-":
            return _whole(lines), taken
        if len(lines) == REPLY_LINES:
            raise RemoteProtocolError(f"a reply of more than {REPLY_LINES} lines")
    return None


def _lines(buffer: bytearray | bytes) -> Iterator[bytes]:
    """Yield the reply lines that are whole, each with its line end; look through what there is of the next one, too."""
    start = 0
    while True:
        stop = min(start + LINE_BYTES, REPLY_BYTES)
        end = buffer.find(b"\n", start, stop)
        line = bytes(buffer[start : stop if end < 0 else end + 1])
        _refuse_odd_bytes(line)
        if end < 0:
            if len(buffer) < stop:
                return
            what = (
                f"reply of more than {REPLY_BYTES}" if stop == REPLY_BYTES else f"reply line of more than {LINE_BYTES}"
            )
            raise RemoteProtocolError(f"a {what} bytes")
        yield line
        start = end + 1


def _refuse_odd_bytes(line: bytes) -> None:
    """Raise RemoteProtocolError unless `line`, or what there is of it, may be a reply line."""
    head = line[:4]
    if head and not _HEAD.fullmatch(head):
        what = "a reply code outside 200-599" if head[:1] in b"016789" else "a line that is no reply"
        raise RemoteProtocolError(what)
    if _STRAY.search(line):
        raise RemoteProtocolError("a NUL or a bare CR in a reply")


def _whole(lines: list[bytes]) -> Reply:
    texts = [line[:-1].removesuffix(b"\r") for line in lines]
    wire = b"\r\n".join([*texts, b""])
    taints = []
    if len(wire) > sum(map(len, lines)):
        taints.append("reply_lf")
    if len({text[:3] for text in texts}) > 1:
        taints.append("mixed_codes")
    return Reply(int(texts[-1][:3]), tuple([text[4:] for text in texts]), wire, tuple(taints))


def words(reply: Reply, limit: int = 512) -> str:
    """The remote's own words in one line of `limit` bytes at most; controls and non-ASCII bytes are made spaces."""
    said = b" ".join([b"%d" % reply.code, *reply.lines])
    return said[:limit].translate(_SPACED).decode("ascii").rstrip(" ")


def reply(code: int, text: str) -> bytes:
    """Render one line of our own. Raises LocalProtocolError for what is no reply of one printable line of 512 bytes."""
    line = f"{code} {text}\r\n"
    if not 200 <= code <= 599 or not (text.isascii() and text.isprintable()) or len(line) > OUR_LINE_BYTES:
        raise LocalProtocolError(f"no reply line: {line!r}")
    return line.encode("ascii")
