"""The native language (docs/native-protocol.md): knows its lines, both to read and to write them.

Does not know who speaks, in which order, or what a line leads to.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from attrs import field, frozen

from gaproxy.proto.asks import Destination, Failed, Opened, Request, spell_place
from gaproxy.proto.errors import LocalProtocolError, RemoteProtocolError

GREETING = b"GAPROXY/"

ID_MAX = 2**53 - 1
VERSION_MAX = 255
PORT_MAX = 65_535
GROUP_MAX = 65_535
WAIT_MS_MAX = 120_000
DESTINATIONS = 64
CAPS = 32
VERB_CHARACTERS = 32
AGENT_CHARACTERS = 64
POOL_CHARACTERS = 64
TEXT_CHARACTERS = 512  # of what FAILED says: keeps the longest of these lines under its limit
IMPLICIT_TLS_PORT = 465  # RFC 8314

TLS_POLICIES = ("none", "may", "encrypt", "verify")
REUSES = ("any", "new")
ROLES = ("smtp", "throttle")

Value = str | int | Sequence[str] | None

_FOREIGN = re.compile(rb"[^ -~]")
_VERB = re.compile(r"[A-Z]+")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%(..)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}")
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_NODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HELO = re.compile(r"[!-~]{1,255}")
_GROUP = re.compile(r"[a-z0-9._-]{0,64}")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}")
_TLS_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?(?:{_LABEL}\.)*{_LABEL}")
_PLACE = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*)):([0-9]+)")

_MAPPED = IPv6Network("::ffff:0:0/96")
_YES_NO = ("no", "yes")

S = TypeVar("S")
T = TypeVar("T")


class WordFault(RemoteProtocolError):
    """A line that breaks the grammar. `code` is what ERROR says; `fatal`: the connection cannot go on."""

    def __init__(
        self, code: str, text: str, verb: str | None = None, fatal: bool = False, id: str | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.verb = verb and verb[:VERB_CHARACTERS]  # it is told back, in a line that has its own limit
        self.fatal = fatal
        self.id = id


class OpenFault(WordFault):
    """An OPEN that names its id and is wrong otherwise: it is answered by FAILED of this `kind`, not by ERROR."""

    def __init__(self, text: str, id: str, kind: str = "bad_request") -> None:
        super().__init__("bad_line", text, verb="OPEN", id=id)
        self.kind = kind


@frozen
class Line:
    """One line that keeps the grammar. `values`: name → decoded value; `wire`: the line as cut, without CRLF."""

    verb: str
    values: Mapping[str, str]
    wire: bytes
    _raw: Mapping[str, str] = field(repr=False, eq=False)

    def items(self, name: str) -> tuple[str, ...]:
        """A value read as a list: cut at its commas, then each item decoded. Empty where it is empty or missing."""
        raw = self._raw.get(name)
        return tuple(_decode(item) for item in raw.split(",")) if raw else ()


@frozen
class Hello:
    """Who an MTA says it is: the version it wants and the oldest it can speak, its name, its role."""

    version: int
    minimum: int
    node: str
    role: str
    nonce: str
    agent: str
    caps: tuple[str, ...]


# Lines: cut, read, written.


def cut_line(buffer: bytearray | bytes, limit: int) -> tuple[bytes, int] | None:
    """Cut one line off the front: the line without CRLF, and how many bytes it took; None while it is not whole.

    `limit`: bytes, CRLF included. Raises WordFault, fatal, at the first byte that shows it: `bad_line` for a byte
    outside 0x20-0x7E (a bare CR or LF is one), `too_long`.
    """
    text_bytes = limit - 2
    foreign = _FOREIGN.search(buffer, 0, text_bytes + 1)
    if foreign is None:
        if len(buffer) > text_bytes:
            raise WordFault("too_long", f"a line of more than {limit} bytes", fatal=True)
        return None
    end = foreign.start()
    ending = bytes(buffer[end : end + 2])
    if ending == b"\r\n":
        return bytes(buffer[:end]), end + 2
    if ending == b"\r":
        return None
    raise WordFault("bad_line", "a byte that is no visible ASCII", fatal=True)


def refuses_prefix(buffer: bytearray | bytes) -> bool:
    """Whether what came first is no longer the beginning of `GAPROXY/`."""
    return not GREETING.startswith(bytes(buffer[: len(GREETING)]))


def parse_line(line: bytes) -> Line:
    """Read one line as `cut_line` gave it.

    Raises WordFault `bad_line`, not fatal; of an OPEN whose id can be read, OpenFault.
    """
    verb, *words = line.decode("ascii", "replace").split(" ")
    if not _VERB.fullmatch(verb):
        raise WordFault("bad_line", "a line begins with a verb in capitals")
    try:
        raw = _divide(words)
        values = {name: _decode(value) for name, value in raw.items()}
    except ValueError as fault:
        raise _blame(verb, words, str(fault)) from None
    return Line(verb, values, line, raw)


def _divide(words: Iterable[str]) -> dict[str, str]:
    raw: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and _NAME.fullmatch(name)):
            raise ValueError("behind the verb stand words of the form name=value, one space before each")
        if name in raw:
            raise ValueError(f"{name} stands twice")
        raw[name] = value
    return raw


def _blame(verb: str, words: Sequence[str], text: str) -> WordFault:
    """An OPEN is answered by FAILED if only its id can be told; any other line, and such an OPEN, by ERROR."""
    ids = [word.removeprefix("id=") for word in words if word.startswith("id=")]
    try:
        (raw,) = ids
        id = str(integer(_decode(raw), 1, ID_MAX))
    except ValueError:
        return WordFault("bad_line", text, verb=verb)
    return OpenFault(text, id) if verb == "OPEN" else WordFault("bad_line", text, verb=verb, id=id)


def _decode(raw: str) -> str:
    """Undo percent-encoding, once. Raises ValueError."""
    if _BAD_ESCAPE.search(raw):
        raise ValueError("an escape is a % and two hexadecimal digits")
    try:
        text = _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode("ascii")), raw.encode("ascii")).decode("utf-8")
    except UnicodeError:
        raise ValueError("a value is not UTF-8") from None
    if _CONTROL.search(text):
        raise ValueError("a value has a control character in it")
    return text


def render(verb: str, /, **values: Value) -> bytes:
    """Write one line, CRLF included; a value of None is left out.

    Raises LocalProtocolError for a control character, which no value may have.
    """
    words = [verb]
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, str | int):
            words.append(f"{name}={_encode(str(value))}")
        else:
            words.append(f"{name}={','.join(_encode(item).replace(',', '%2C') for item in value)}")
    return " ".join(words).encode("ascii") + b"\r\n"


def _encode(text: str) -> str:
    if _CONTROL.search(text):
        raise LocalProtocolError(f"a control character in a value: {text!r}")
    return "".join(
        character if "!" <= character <= "~" and character != "%" else _escape(character) for character in text
    )


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))


# The handshake.


def read_hello(line: bytes) -> Hello:
    """Read an MTA's first line. Raises WordFault `auth_failed`, fatal, for any fault; judges no version."""
    try:
        return _hello(line)
    except (ValueError, WordFault):
        raise WordFault("auth_failed", "no first line of the native protocol", fatal=True) from None


def _hello(line: bytes) -> Hello:
    first, space, rest = line.partition(b" ")
    if not first.startswith(GREETING):
        raise ValueError
    version = integer(first.removeprefix(GREETING).decode("ascii"), 1, VERSION_MAX)
    words = parse_line(b"GAPROXY" + space + rest)
    minimum = integer(words.values.get("min", ""), 1, version)
    node = _matching(_NODE, words.values.get("node", ""))
    role = _one_of(ROLES, words.values.get("role", ""))
    nonce = _matching(_HEX_64, words.values.get("nonce", ""))
    agent, caps = words.values.get("agent", ""), words.items("caps")
    if len(agent) > AGENT_CHARACTERS or len(caps) > CAPS:
        raise ValueError
    return Hello(version, minimum, node, role, nonce, agent, caps)


def read_auth(line: bytes) -> str:
    """The proof of an AUTH line; empty for any other line, and for a proof that is not 64 lower-case hex digits."""
    try:
        words = parse_line(line)
    except WordFault:
        return ""
    proof = words.values.get("proof", "")
    return proof if words.verb == "AUTH" and _HEX_64.fullmatch(proof) else ""


# OPEN and its answers.


def read_open(line: Line, session: str, member: str = "") -> tuple[str, Request]:
    """The id and the request of an OPEN by this member; the request is named `session/id`.

    Raises WordFault `bad_line` where the id is missing or cannot be read, OpenFault for any other fault.
    """
    try:
        id = str(integer(line.values.get("id", ""), 1, ID_MAX))
    except ValueError as fault:
        raise WordFault("bad_line", f"id: {fault}", verb="OPEN") from None
    try:
        request = _request(line, f"{session}/{id}", member)
    except ValueError as fault:
        raise OpenFault(str(fault), id) from None
    if "dane" in line.values or "tlsa" in line.values:
        raise OpenFault("dane, tlsa: reserved, this proxy does not verify by DANE", id, kind="tls")
    return id, request


def _request(line: Line, name: str, member: str) -> Request:
    def word(named: str, default: str, read: Callable[[str], T]) -> T:
        return _explain(named, read, line.values.get(named, default))

    request = Request(
        name=name,
        sources=_explain("source", _sources, line.items("source")),
        to=_explain("to", _destinations, line.items("to")),
        helo=word("helo", "", lambda text: _matching(_HELO, text)),
        tls=word("tls", "may", lambda text: _one_of(TLS_POLICIES, text)),
        tls_names=_explain("tls_names", _tls_names, line.items("tls_names")),
        throttle=word("throttle", "", lambda text: _matching(_GROUP, text)),
        pool=word("pool", "cluster", _pool),
        reuse=word("reuse", "any", lambda text: _one_of(REUSES, text)),
        wait_ms=word("wait_ms", "0", lambda text: integer(text, 0, WAIT_MS_MAX)),
        member=member,
    )
    if request.tls == "none" and any(one.port == IMPLICIT_TLS_PORT for one in request.to):
        raise ValueError("tls: port 465 is TLS from the first byte, none cannot be had there")
    if request.tls == "verify" and not request.tls_names and not all(one.host for one in request.to):
        raise ValueError("tls: verify needs tls_names, or a host at every address")
    return request


def _explain(named: str, read: Callable[[S], T], value: S) -> T:
    """Read a value; its fault begins with the name of the word."""
    try:
        return read(value)
    except ValueError as fault:
        raise ValueError(f"{named}: {fault}") from None


def _sources(items: tuple[str, ...]) -> tuple[str, ...]:
    addresses = [_address(item) for item in items]
    families = {address.version for address in addresses}
    if not addresses or len(families) != len(addresses):
        raise ValueError("one IPv4 address, one IPv6 address, or both")
    return tuple(str(address) for address in addresses)


def _destinations(items: tuple[str, ...]) -> tuple[Destination, ...]:
    if not 1 <= len(items) <= DESTINATIONS:
        raise ValueError(f"1 to {DESTINATIONS} addresses")
    # An address without a number is a group of its own: numbers that nobody can write are given out from here.
    return tuple(_destination(item, GROUP_MAX + 1 + place) for place, item in enumerate(items))


def _destination(item: str, own_group: int) -> Destination:
    place, *rest = item.split("/")
    address, port = _place(place)
    group = integer(rest.pop(), 0, GROUP_MAX) if rest and rest[-1].isdecimal() else own_group
    host = _matching(_HOST, rest.pop(0)) if rest else None
    if rest or (host and host.isdecimal()):
        raise ValueError("an address is address:port[/host][/N]")
    return Destination(str(address), port, host, group)


def _place(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    place = _PLACE.fullmatch(text)
    if place is None:
        raise ValueError("an address is address:port, or [address]:port for IPv6")
    bracketed, bare, port = place.groups()
    address = _address(bare if bracketed is None else bracketed)
    if (address.version == 6) != (bracketed is not None):
        raise ValueError("IPv6 stands in brackets, IPv4 does not")
    return address, integer(port, 1, PORT_MAX)


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text) if "%" not in text else None
    if address is None or (address.version == 6 and address in _MAPPED):
        raise ValueError(f"{text!r} is no address: no zone, no IPv4 mapped into IPv6")
    return address


def _tls_names(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_matching(_TLS_NAME, item) for item in items)


def _pool(text: str) -> str:
    if not 1 <= len(text) <= POOL_CHARACTERS:
        raise ValueError(f"1 to {POOL_CHARACTERS} characters")
    return text


def render_ready(id: str, opened: Opened) -> bytes:
    """READY: the connection is SMTP from the next byte on."""
    security = opened.security
    return render(
        "READY",
        id=id,
        source=spell_place(*opened.source),
        remote=spell_place(opened.destination.address, opened.destination.port),
        host=opened.destination.host,
        reused=_YES_NO[opened.reused],
        uses=opened.uses,
        age_ms=opened.age_ms,
        tls=security.version if security else "none",
        cipher=security.cipher if security else None,
        verified=_YES_NO[security.verified] if security else None,
    )


def render_failed(id: str, failed: Failed) -> bytes:
    """FAILED: no remote, and the next OPEN may come. Controls in what a remote said are made spaces."""
    return render(
        "FAILED",
        id=id,
        kind=failed.kind,
        retry_ms=failed.retry_ms,
        tried=[f"{spell_place(one.address, one.port)}/{one.kind}/{one.after_ms}" for one in failed.tried],
        reply=None if failed.reply is None else _CONTROL.sub(" ", failed.reply)[:TEXT_CHARACTERS],
        text=_CONTROL.sub(" ", failed.text)[:TEXT_CHARACTERS],
    )


# What a value may be: each reader raises ValueError with a text that says what it wants.


def integer(text: str, least: int, most: int) -> int:
    """A decimal integer in its range. Raises ValueError."""
    if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError(f"an integer from {least} to {most}, without sign or leading zero")
    return int(text)


def _one_of(words: Sequence[str], text: str) -> str:
    if text not in words:
        raise ValueError(f"one of {', '.join(words)}")
    return text


def _matching(form: re.Pattern[str], text: str) -> str:
    if not form.fullmatch(text):
        raise ValueError(f"{text!r} is not of its form")
    return text
