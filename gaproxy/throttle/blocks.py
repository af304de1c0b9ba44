"""The operator's `throttle` blocks: knows which of them hold for a source, a name and an address.

Does not know who stands in line, nor how a configuration is written.

A name that is matched is what an MTA calls a group of recipient domains, or a recipient domain, in lower case. Blocks
of names match as those of GreenArrow do, and of those that match the most specific holds alone, for each kind of limit
by itself: one that lists the source before one of any source, then the name itself, then its longest ending, then `*`.
A block of remotes is another thing and holds beside these, whatever the name: the smallest network that matches.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address

from attrs import Factory, field, frozen

ANY = "*"
"""As a name: any name, also none. As a source: all sources together."""

BELOW, WITH_BELOW = "*.", "[*.]"
"""What begins a name that stands for all below it; with `WITH_BELOW` for itself too."""

Path = tuple[tuple[str, int], ...]  # the limiters that an attempt stands under: name and cap
Network = IPv4Network | IPv6Network


@frozen
class Block:
    """One block, of a name (`sources`) or of remotes; a limit that it does not have is None.

    `name`: `gmail.com`, `*.gmail.com`, `[*.]gmail.com` or `*`; of remotes: their label.
    `sources`: those that share one limiter, as `ipaddress` spells them; `("*",)`: all share one; none given: each
    source has one of its own.
    """

    name: str
    sources: tuple[str, ...] = ()
    remotes: tuple[Network, ...] = ()
    max_connections: int | None = None
    messages_per_connection: int | None = None

    def limiter(self, source: str, name: str) -> str:
        """The name of the limiter that this block makes for an attempt from this source, to this name."""
        if self.remotes:
            return self.name
        return f"{','.join(self.sources) or source}/{name or ANY}"


def patterns(name: str) -> Iterator[str]:
    """Everything that a block may call itself and match this name, the most specific first; of no name only `*`."""
    if name:
        yield name
        yield WITH_BELOW + name
    _, dot, above = name.partition(".")
    while dot:
        yield BELOW + above
        yield WITH_BELOW + above
        _, dot, above = above.partition(".")
    yield ANY


def _index_names(blocks: "Blocks") -> Mapping[str, Mapping[str, Block]]:
    """Source (or `*`) → name as the block has it → block."""
    index: defaultdict[str, dict[str, Block]] = defaultdict(dict)
    for block in blocks.given:
        for source in () if block.remotes else block.sources or (ANY,):
            index[source][block.name] = block
    return dict(index)


def _index_remotes(blocks: "Blocks") -> tuple[tuple[int, int, Mapping[int, Block]], ...]:
    """Version, length of the host part, its network's other bits → block; the smallest networks first."""
    index: defaultdict[tuple[int, int], dict[int, Block]] = defaultdict(dict)
    for block in blocks.given:
        for network in block.remotes:
            host_bits = network.max_prefixlen - network.prefixlen
            index[network.version, host_bits][int(network.network_address) >> host_bits] = block
    return tuple((*size, index[size]) for size in sorted(index))


@frozen
class Blocks:
    """All blocks of a configuration, found without walking over them. No two may be for the same thing."""

    given: tuple[Block, ...] = ()
    _names: Mapping[str, Mapping[str, Block]] = field(
        init=False, eq=False, repr=False, default=Factory(_index_names, takes_self=True)
    )
    _remotes: tuple[tuple[int, int, Mapping[int, Block]], ...] = field(
        init=False, eq=False, repr=False, default=Factory(_index_remotes, takes_self=True)
    )

    def of_name(self, source: str, name: str) -> Iterator[Block]:
        """The blocks of names that match, the most specific first."""
        for named in (self._names.get(source), self._names.get(ANY)):
            if named:
                yield from (named[pattern] for pattern in patterns(name) if pattern in named)

    def of_remote(self, address: str) -> Iterator[Block]:
        """The blocks of remotes that match, the most specific first."""
        if not self._remotes:
            return
        remote = ip_address(address)
        number = int(remote)
        for version, host_bits, blocks in self._remotes:
            if version == remote.version and (block := blocks.get(number >> host_bits)):
                yield block


def path(blocks: Blocks, source: str, name: str, address: str) -> Path:
    """The limiters of the blocks that an attempt from this source, to this name at this address, stands under.

    `source` and `address` as `ipaddress` spells them; `name` in lower case, empty where there is none.
    """
    holding = _holding(blocks, source, name, address, lambda block: block.max_connections)
    return tuple((block.limiter(source, name), cap) for block, cap in holding)


def messages_per_connection(blocks: Blocks, source: str, name: str, address: str) -> int | None:
    """The most messages that a connection of such an attempt may carry: the lower, where a block of each kind holds."""
    holding = _holding(blocks, source, name, address, lambda block: block.messages_per_connection)
    return min((most for _, most in holding), default=None)


def _holding(
    blocks: Blocks, source: str, name: str, address: str, limit: Callable[[Block], int | None]
) -> Iterator[tuple[Block, int]]:
    """Of either kind of block the one that holds for this limit, and the limit."""
    for matching in (blocks.of_name(source, name), blocks.of_remote(address)):
        for block in matching:
            if (most := limit(block)) is not None:
                yield block, most
                break
