"""The kinds of values: knows how each is read, what is allowed, and how it is spelled. Does not know a directive."""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import Any

from attrs import field, frozen

Network = IPv4Network | IPv6Network

SECRET_LENGTH = 32  # the least that GreenArrow's documentation allows
HIGHEST_PORT = 65535
LONGEST_S = 24 * 3600.0
TURN_MESSAGES_MOST = 1000
OFF = 0  # what `off` is read as where a number may stand
POOL_CHARACTERS = 64  # as at the native door
UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
UNITS_BYTES = {"m": 1 << 20, "k": 1 << 10}

NUMBER = re.compile(r"[1-9][0-9]{0,8}")
DURATION_WORD = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h)")
SIZE_WORD = re.compile(r"([1-9][0-9]{0,8})([km])")
PREFIX = re.compile(r"[0-9]{1,3}")
POOL = re.compile(rf"[!-~]{{1,{POOL_CHARACTERS}}}")
PATTERN = re.compile(
    r"\* | (?:\*\. | \[\*\.\])? (?=.{1,253}\Z) [a-z0-9_-]+ (?:\. [a-z0-9_-]+)*", re.ASCII | re.IGNORECASE | re.VERBOSE
)
PLACE = re.compile(r"(?:\[([^][]+)\]|([^:]+)):([0-9]+)")


@frozen(repr=False)
class Secret:
    """A shared secret that no log, traceback or debugger shows by accident."""

    _text: str

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"(hidden, {len(self._text)} characters)"


@frozen
class ListenAddress:
    """Where to listen: `name` is the address exactly as the file spells it; two spellings of one are equal."""

    name: str = field(eq=False)
    address: tuple[str, int]

    @property
    def is_public(self) -> bool:
        """Whether others than our neighbours may reach it; every address may be a public one."""
        address = ip_address(self.address[0])
        return address.is_unspecified or not address.is_private


def _sure(text: str) -> str:
    return ""


@frozen
class Kind:
    """What a directive takes. `read` raises ValueError; `doubt` gives a warning's text, or none; `spell` undoes `read`.

    `listed`: several, with commas. `secret`: neither a fault nor `spell` shows it.
    """

    name: str
    allowed: str
    read: Callable[[str], Any]
    spell: Callable[[Any], str] = str
    doubt: Callable[[str], str] = _sure
    listed: bool = False
    secret: bool = False


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    if (match := pattern.fullmatch(text)) is None:
        raise ValueError(pattern.pattern)
    return match


def _within(number: float, lowest: float, highest: float) -> None:
    if not lowest <= number <= highest:
        raise ValueError(number)


def read_count(text: str) -> int:
    return int(_match(NUMBER, text).group())


def read_port(text: str) -> int:
    port = read_count(text)
    _within(port, 1, HIGHEST_PORT)
    return port


def read_duration_s(text: str) -> float:
    match = _match(DURATION_WORD, text)
    duration_s = int(match[1]) * UNITS_MS[match[2]] / 1000
    _within(duration_s, 0.0, LONGEST_S)
    return duration_s


def read_size_bytes(text: str) -> int:
    match = _match(SIZE_WORD, text)
    return int(match[1]) * UNITS_BYTES[match[2]]


def read_network(text: str) -> Network:
    """An address or a network by its prefix; host bits are cut off. Net masks, host masks and scopes are refused."""
    _, slash, prefix = text.partition("/")
    if "%" in text:
        raise ValueError(text)
    if slash:
        _match(PREFIX, prefix)
    return ip_network(text, strict=False)


def read_listen_address(text: str) -> ListenAddress:
    """`ip:port`; an IPv6 address stands in brackets."""
    bracketed, plain, port = _match(PLACE, text).groups()
    address = ip_address(bracketed or plain)
    if (address.version == 6) is not bool(bracketed) or "%" in text:
        raise ValueError(text)
    return ListenAddress(text, (str(address), read_port(port)))


def read_source(text: str) -> str:
    """An address as `ipaddress` spells it, or `*`. IPv4 in the disguise of IPv6 is no address to leave from."""
    if text == "*":
        return text
    address = ip_address(text)
    if "%" in text or (address.version == 6 and address.ipv4_mapped):
        raise ValueError(text)
    return str(address)


def read_pattern(text: str) -> str:
    """A name of a `throttle` block in lower case, wildcards and all."""
    return _match(PATTERN, text).group().lower()


def read_turn(text: str) -> int:
    if text == "off":
        return OFF
    messages = read_count(text)
    _within(messages, 1, TURN_MESSAGES_MOST)
    return messages


def read_pool(text: str) -> str:
    return _match(POOL, text).group()


def read_secret(text: str) -> Secret:
    if not (text.isascii() and text.isprintable()):
        raise ValueError
    _within(len(text), SECRET_LENGTH, float("inf"))
    return Secret(text)


def read_string(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def spell_duration(duration_s: float) -> str:
    return _in_largest_unit(round(duration_s * 1000), UNITS_MS)


def spell_size(size_bytes: int) -> str:
    return _in_largest_unit(size_bytes, UNITS_BYTES)


def _in_largest_unit(amount: int, units: dict[str, int]) -> str:
    unit = next(unit for unit, worth in units.items() if amount % worth == 0)
    return f"{amount // units[unit]}{unit}"


def doubt_network(text: str) -> str:
    """Host bits: was the address meant, or its network?"""
    interface = ip_interface(text)
    if interface.ip == interface.network.network_address:
        return ""
    return f"{text} has host bits set; the network {interface.network} holds"


def doubt_secret(text: str) -> str:
    if len(set(text)) > 1:
        return ""
    return "the secret of an example: everybody knows it; `gaproxy gen-secret` makes a fresh one"


def choice(name: str, **meanings: Any) -> Kind:
    """One of these words, each with what it means."""

    def read(text: str) -> Any:
        if text not in meanings:
            raise ValueError(text)
        return meanings[text]

    def spell(value: Any) -> str:
        return next(word for word, meaning in meanings.items() if meaning == value)

    return Kind(name, " or ".join(meanings), read, spell)


LISTEN_ADDRESS = Kind(
    "address",
    'an IP address and a port, such as "0.0.0.0:807" or "[::]:807"',
    read_listen_address,
    lambda listen: f'"{listen.name}"',
)
NETWORKS = Kind(
    "networks",
    "IP addresses or networks, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32",
    read_network,
    doubt=doubt_network,
    listed=True,
)
PORTS = Kind("ports", f"ports from 1 to {HIGHEST_PORT}", read_port, listed=True)
SECRET = Kind(
    "secret",
    f"{SECRET_LENGTH} or more printable ASCII characters",
    read_secret,
    spell=lambda secret: f'"{secret}"',
    doubt=doubt_secret,
    secret=True,
)
STRING = Kind("string", "a string that is not empty", read_string, lambda text: f'"{text}"')
SOURCES = Kind("sources", 'IP addresses, such as 192.0.2.1 or 2001:db8::1; or "*" alone', read_source, listed=True)
THROTTLE_NAME = Kind(
    "throttle name",
    'a name, such as "gmail.com", "*.gmail.com" or "[*.]gmail.com", or "*"',
    read_pattern,
    lambda name: f'"{name}"',
)
TURN = Kind(
    "messages per turn",
    f"a whole number from 1 to {TURN_MESSAGES_MOST}, or off",
    read_turn,
    lambda messages: "off" if messages == OFF else str(messages),
)
POOL_NAME = Kind(
    "pool", f"a name of 1 to {POOL_CHARACTERS} visible ASCII characters", read_pool, lambda name: f'"{name}"'
)
COUNT = Kind("count", "a whole number from 1 to 999999999", read_count)
DURATION = Kind("duration", "250ms, 30s, 5m or 1h and the like, at most 24h", read_duration_s, spell_duration)
SIZE = Kind("size", "64k, 4m and the like", read_size_bytes, spell_size)
SWITCH = choice("switch", yes=True, no=False)
