"""The way out: knows which address may be a source or a destination, and which two go together; does not dial."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from attrs import Factory, field, frozen

Network = IPv4Network | IPv6Network
Host = IPv4Address | IPv6Address

# Addresses that are no mail exchanger of the internet. `is_global` is not enough: it says True of 224.0.0.1, of
# 64:ff9b::7f00:1 (NAT64 of 127.0.0.1) and of 2002:7f00:1::1 (6to4 of the same).
DENIED: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network (RFC 1122); Linux takes 0.0.0.0 for loopback
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # carrier-grade NAT (RFC 6598)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local (RFC 3927); the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments (RFC 6890)
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "64:ff9b::/96",  # NAT64 (RFC 6052)
        "64:ff9b:1::/48",  # local NAT64 (RFC 8215)
        "100::/64",  # discard (RFC 6666)
        "2001::/23",  # protocol assignments, Teredo (RFC 2928)
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing (RFC 9602)
        "fc00::/7",  # unique local (RFC 4193)
        "fe80::/9",  # link-local, and site-local of old
        "ff00::/8",  # multicast
    )
)
GLOBAL_IPV6 = IPv6Network("2000::/3")  # all that is given out to hosts (RFC 4291); what is outside is denied too

kept = lru_cache(1024)  # the few sources and the busy remotes

_LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_MAPPED = IPv6Network("::ffff:0:0/96")
_BROADCAST = IPv4Address("255.255.255.255")


@frozen
class Policy:
    """Who may be a source and who a destination. Addresses of listeners are literals.

    `source_ips`: None allows every local address. `remote_allow` wins over the table, `remote_deny` and our own other
    addresses, never over `remote_ports` nor a listener. A listener on 0.0.0.0 or :: stands for every address of this
    machine that is known here: loopback and `source_ips`. What else is local the configuration does not tell.
    """

    source_ips: tuple[Network, ...] | None
    remote_ports: frozenset[int]
    remote_allow: tuple[Network, ...] = ()
    remote_deny: tuple[Network, ...] = ()
    listeners: tuple[tuple[str, int], ...] = ()

    # Each session asks several times about the same few: a verdict is kept as long as its policy.
    _of_sources: Callable[[str], str | None] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: kept(self._judge_source), takes_self=True)
    )
    _of_destinations: Callable[[str, int], str | None] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: kept(self._judge_destination), takes_self=True)
    )

    def refuses_source(self, source: str) -> str | None:
        """Why no connection may leave from this address, in one sentence; None if it may."""
        return self._of_sources(source)

    def refuses_destination(self, address: str, port: int) -> str | None:
        """Why this address and port may not be dialled, in one sentence; None if they may."""
        return self._of_destinations(address, port)

    def _judge_source(self, source: str) -> str | None:
        host = _host(source)
        if host is None:
            return "the source is no IP address that can be used"
        if _is_nobody(host):
            return f"source {host} is not the address of one host"
        if self.source_ips is not None and not _within(host, self.source_ips):
            return f"source {host} is not in source_ips"
        return None

    def _judge_destination(self, address: str, port: int) -> str | None:
        host = _host(address)
        if host is None:
            return "the destination is no IP address that can be used"
        if _is_nobody(host):
            return f"destination {host} is not the address of one host"
        if port not in self.remote_ports:
            return f"destination port {port} is not in remote_ports"
        if self._is_listener(host, port):
            return f"destination {host} port {port} is a listener of this proxy"
        if _within(host, self.remote_allow):
            return None
        return self._denies(host)

    def _is_listener(self, host: Host, port: int) -> bool:
        places = [ip_address(address) for address, listening in self.listeners if listening == port]
        return host in places or any(self._is_behind(place, host) for place in places if place.is_unspecified)

    def _is_behind(self, wildcard: Host, host: Host) -> bool:
        # A socket on :: may hear IPv4 as well; one on 0.0.0.0 never hears IPv6.
        return wildcard.version >= host.version and _within(host, _LOOPBACK + (self.source_ips or ()))

    def _denies(self, host: Host) -> str | None:
        network = next((network for network in DENIED + self.remote_deny if host in network), None)
        if network is not None:
            return f"destination {host} is denied ({network})"
        if host.version == 6 and host not in GLOBAL_IPV6:
            return f"destination {host} is denied (outside {GLOBAL_IPV6})"
        if _within(host, self.source_ips or ()) or host in [ip_address(address) for address, _ in self.listeners]:
            return f"destination {host} is denied (our own address)"
        return None


def source_for(sources: Sequence[str], address: str) -> str | None:
    """The first of `sources` that has the family of `address`; None if there is none."""
    return next((source for source in sources if same_family(source, address)), None)


def same_family(a: str, b: str) -> bool:
    """Whether both are IPv4 or both IPv6. What is no address (a name, a zone, IPv4 mapped into IPv6) has no family."""
    first, second = _host(a), _host(b)
    return first is not None and second is not None and first.version == second.version


@kept
def _host(text: str) -> Host | None:
    """The address that `text` spells, or None: not a literal, with a zone, or IPv4 in the disguise of IPv6."""
    try:
        host = ip_address(text)
    except ValueError:
        return None
    return None if "%" in text or host in _MAPPED else host


def _is_nobody(host: Host) -> bool:
    return host.is_unspecified or host.is_multicast or host == _BROADCAST


def _within(host: Host, networks: Sequence[Network]) -> bool:
    return any(host in network for network in networks)
