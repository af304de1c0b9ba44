"""The operator's blocks: which of them hold for an attempt, and which limiters they make."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.throttle.blocks import Block, Blocks, messages_per_connection, path, patterns

A, B, C, SIX = "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"
REMOTE, FAR = "203.0.113.5", "198.51.100.1"

BLOCKS = Blocks(
    (
        Block("gmail.com", (A,), max_connections=1),
        Block("*.gmail.com", (A,), max_connections=2),
        Block("[*.]example.com", (A,), max_connections=3),
        Block("*.a.example.com", (A,), max_connections=4),
        Block("gmail.com", (B, C), max_connections=5),
        Block("gmail.com", ("*",), max_connections=6),
        Block("yahoo", max_connections=7, messages_per_connection=70),
        Block("*.example.com", max_connections=8),
        Block("[*.]example.com", max_connections=9),
        Block("com", max_connections=10),
        Block("*", max_connections=11),
        Block("*", (C,), max_connections=12),
        Block("*", (SIX,), messages_per_connection=13),
        Block("a-net", remotes=(ip_network("203.0.113.0/24"), ip_network("2001:db8:1::/48")), max_connections=20),
        Block("a-host", remotes=(ip_network(REMOTE),), messages_per_connection=21),
        Block("a-part", remotes=(ip_network("203.0.113.128/25"),), max_connections=22, messages_per_connection=220),
    )
)


@pytest.mark.parametrize(
    ("source", "name", "limiters"),
    [
        # the source itself and the name itself, before any wildcard
        (A, "gmail.com", (("192.0.2.1/gmail.com", 1),)),
        # a wildcard of the source itself, before any source
        (A, "x.gmail.com", (("192.0.2.1/x.gmail.com", 2),)),
        (A, "x.y.gmail.com", (("192.0.2.1/x.y.gmail.com", 2),)),
        (A, "example.com", (("192.0.2.1/example.com", 3),)),
        (A, "x.example.com", (("192.0.2.1/x.example.com", 3),)),
        (A, "a.example.com", (("192.0.2.1/a.example.com", 3),)),
        # the longest ending
        (A, "x.a.example.com", (("192.0.2.1/x.a.example.com", 4),)),
        # a wildcard begins behind a dot
        (A, "notgmail.com", (("192.0.2.1/notgmail.com", 11),)),
        (A, "gmail.com.org", (("192.0.2.1/gmail.com.org", 11),)),
        # sources that are listed together share one limiter; all sources another
        (B, "gmail.com", (("192.0.2.2,192.0.2.3/gmail.com", 5),)),
        (C, "gmail.com", (("192.0.2.2,192.0.2.3/gmail.com", 5),)),
        ("192.0.2.9", "gmail.com", (("*/gmail.com", 6),)),
        (SIX, "gmail.com", (("*/gmail.com", 6),)),
        # without sources each has its own
        (A, "yahoo", (("192.0.2.1/yahoo", 7),)),
        (B, "yahoo", (("192.0.2.2/yahoo", 7),)),
        # of two wildcards of one ending the narrower
        (B, "x.example.com", (("192.0.2.2/x.example.com", 8),)),
        (B, "example.com", (("192.0.2.2/example.com", 9),)),
        (B, "com", (("192.0.2.2/com", 10),)),
        # any name, also none: but one that lists the source, whatever its wildcard, comes first
        (A, "", (("192.0.2.1/*", 11),)),
        (C, "", (("192.0.2.3/*", 12),)),
        (C, "yahoo", (("192.0.2.3/yahoo", 12),)),
        # each limit by itself: a block without this limit does not hide the next
        (SIX, "elsewhere", (("2001:db8::1/elsewhere", 11),)),
    ],
)
def test_of_the_blocks_that_match_the_most_specific_holds_alone(source, name, limiters):
    assert path(BLOCKS, source, name, FAR) == limiters


@pytest.mark.parametrize(
    ("address", "limiters"),
    [
        ("203.0.113.1", (("a-net", 20),)),
        ("203.0.113.129", (("a-part", 22),)),
        (REMOTE, (("a-net", 20),)),
        ("2001:db8:1::25", (("a-net", 20),)),
        ("2001:db8:2::25", ()),
        (FAR, ()),
    ],
)
def test_a_block_of_remotes_holds_beside_that_of_the_name(address, limiters):
    assert path(BLOCKS, A, "gmail.com", address) == (("192.0.2.1/gmail.com", 1), *limiters)


@pytest.mark.parametrize(
    ("source", "name", "address", "most"),
    [
        (A, "gmail.com", FAR, None),
        (A, "yahoo", FAR, 70),
        (A, "yahoo", REMOTE, 21),
        (A, "yahoo", "203.0.113.200", 70),
        (A, "gmail.com", "203.0.113.200", 220),
        (SIX, "yahoo", FAR, 13),
        (SIX, "gmail.com", FAR, 13),
    ],
)
def test_a_connection_carries_as_many_messages_as_the_lower_of_both_allows(source, name, address, most):
    assert messages_per_connection(BLOCKS, source, name, address) == most


def test_without_blocks_there_is_nothing_to_stand_under():
    assert path(Blocks(), A, "gmail.com", REMOTE) == ()
    assert messages_per_connection(Blocks(), A, "gmail.com", REMOTE) is None


def test_blocks_are_equal_when_they_say_the_same():
    assert Blocks((Block("a"),)) == Blocks((Block("a"),)) != Blocks((Block("b"),))


def test_what_is_looked_up_depends_on_the_name_and_not_on_how_many_blocks_there_are():
    assert list(patterns("a.b.com")) == [
        *("a.b.com", "[*.]a.b.com", "*.b.com", "[*.]b.com", "*.com", "[*.]com", "*"),
    ]
    assert list(patterns("")) == ["*"]


# Against a reference that walks over all blocks and sorts those that match.

LABELS = st.sampled_from(["a", "b", "com"])
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
PATTERNS = st.one_of(NAMES, NAMES.map("*.{}".format), NAMES.map("[*.]{}".format), st.just("*"))
SOURCES = st.sampled_from([(), ("*",), (A,), (B,), (A, B), (SIX, A)])
NETWORKS = st.sampled_from(
    [ip_network(text) for text in ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/31", "10.0.0.1", "::/0", "2001:db8::/32")]
)
LIMITS = st.none() | st.integers(1, 9)
OF_NAMES = st.builds(Block, PATTERNS, SOURCES, st.just(()), LIMITS, LIMITS)
OF_REMOTES = st.builds(Block, NAMES, st.just(()), st.tuples(NETWORKS), LIMITS, LIMITS)


def subjects(block: Block) -> set[object]:
    """What no two blocks may both be for."""
    if block.remotes:
        return set(block.remotes)
    return {(source, block.name) for source in block.sources or ("*",)}


@st.composite
def consistent(draw):
    kept: list[Block] = []
    for block in draw(st.lists(st.one_of(OF_NAMES, OF_REMOTES), max_size=12)):
        if all(subjects(block).isdisjoint(subjects(one)) for one in kept):
            kept.append(block)
    return tuple(kept)


def matches(pattern: str, name: str) -> bool:
    if pattern == "*":
        return True
    if pattern.startswith("[*.]"):
        return f".{name}".endswith("." + pattern.removeprefix("[*.]"))
    if pattern.startswith("*."):
        return name.endswith(pattern.removeprefix("*"))
    return name == pattern


def rank(block: Block, source: str) -> tuple[bool, bool, int, bool]:
    """The greatest is the most specific."""
    ending = block.name.removeprefix("[*.]").removeprefix("*.").removeprefix("*")
    wild = "*" in block.name
    return source in block.sources, not wild, len(ending), not block.name.startswith("[")


def naive(given: tuple[Block, ...], source: str, name: str, address: str, limit: str) -> list[Block]:
    """The block of names that holds, and the block of remotes that does, where there is one."""
    remote = ip_address(address)
    limiting = [block for block in given if getattr(block, limit) is not None]
    named = [
        block
        for block in limiting
        if not block.remotes
        and (not block.sources or source in block.sources or block.sources == ("*",))
        and matches(block.name, name)
    ]
    remotes = [block for block in limiting if any(remote in network for network in block.remotes)]
    return [
        *sorted(named, key=lambda block: rank(block, source))[-1:],
        *sorted(remotes, key=lambda block: block.remotes[0].prefixlen)[-1:],
    ]


@given(
    consistent(),
    st.sampled_from([A, B, C, SIX]),
    NAMES | st.just(""),
    st.sampled_from(["10.0.0.1", "10.0.0.0", "10.1.1.1", "11.0.0.1", "2001:db8::5", "2001:db9::5"]),
)
def test_what_is_found_is_what_a_walk_over_all_of_them_finds(given, source, name, address):
    holding = naive(given, source, name, address, "max_connections")
    assert [cap for _, cap in path(Blocks(given), source, name, address)] == [one.max_connections for one in holding]
    assert [limiter for limiter, _ in path(Blocks(given), source, name, address)] == [
        one.name if one.remotes else f"{','.join(one.sources) or source}/{name or '*'}" for one in holding
    ]
    most = [one.messages_per_connection for one in naive(given, source, name, address, "messages_per_connection")]
    assert messages_per_connection(Blocks(given), source, name, address) == min(most, default=None)
