"""Which addresses may be a source, which may be dialled, and how hostile spellings of them fare."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.remote.route import DENIED, GLOBAL_IPV6, Policy, same_family, source_for


def networks(*spelled):
    return tuple(ip_network(network) for network in spelled)


ANY = Policy(source_ips=None, remote_ports=frozenset({25}))
OURS = Policy(
    source_ips=networks("192.0.2.0/28", "2001:db8:1::/64", "198.41.0.4/32"),
    remote_ports=frozenset({25, 2525}),
    remote_allow=networks("127.0.0.0/8", "10.1.0.0/16", "fd00:1::/32", "192.0.2.0/28"),
    remote_deny=networks("8.8.8.0/24", "2600:1::/32"),
    listeners=(("0.0.0.0", 2525), ("10.1.0.1", 25), ("9.9.9.9", 26)),
)
EVERYTHING = Policy(None, frozenset({25}), remote_allow=networks("0.0.0.0/0", "::/0"))

# The ends of each network of the table, then addresses of each by hand; many of them is_global lets through.
DENIED_ADDRESSES = [
    *(str(network[place]) for network in DENIED for place in (0, 1, -2, -1)),
    *[
        "0.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.0.0.53",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.9",
        "192.0.2.1",
    ],
    *[
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
    ],
    *[
        "255.255.255.254",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.4.4",
        "::FFFF:0:0",
    ],
    *[
        "64:ff9b::7f00:1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::8.8.4.4",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:1::1",
        "2001:db8::1",
    ],
    *[
        "2002:7f00:1::1",
        "2002:a00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
    *[
        "100:0:0:1::1",
        "64:ff9b:2::1",
        "1fff:ffff::1",
        "4000::1",
        "8000::1",
        "::ffff:0:127.0.0.1",
        "::1:0:0:0",
        "e000::1",
    ],
]

# the addresses on the far side of each border
FREE_ADDRESSES = [
    *[
        "1.0.0.0",
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
    ],
    *[
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.1.255",
        "192.0.3.0",
        "192.88.98.255",
    ],
    *[
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
    ],
    *[
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::",
        "2001:200::1",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
    ],
    *["2001:ffff::1", "2a00:1450:4001:81b::1a", "2607:f8b0::1", "3ffe:ffff::1", "3fff:1000::1", "3fff:ffff::1"],
]

NO_ADDRESSES = [
    *[
        "a.example",
        "localhost",
        "127.1",
        "1",
        "2130706433",
        "0x7f.0.0.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.01",
        "01.1.1.1",
        "1.1.1",
        "1.1.1.1.1",
    ],
    *[
        "1.1.1.256",
        "1.1.1.-1",
        "+1.1.1.1",
        "1.1.1.1/32",
        "1.1.1.1:25",
        "[1.1.1.1]",
        "[2001:200::1]",
        "2001:200::1/64",
        "1.1.1.1.",
        ".1.1.1.1",
        "1..1.1",
    ],
    *[
        "2001:200::1%eth0",
        "fe80::1%1",
        "2001:200::1%",
        "::1%lo",
        ":::",
        "2001::200::1",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::1",
        "g::1",
    ],
    *[
        "1:2:3:4:5:6:7:1.1.1.1",
        "2001:200::1.1.1",
        "2001:200::01.1.1.1",
        "１.1.1.1",
        "1。1。1。1",
        "١.1.1.1",
        "2001:200::１",
    ],
    *["::ffff:1.1.1.1", "::ffff:101:101", "0:0:0:0:0:ffff:1.1.1.1", "0000:0000:0000:0000:0000:FFFF:0101:0101"],
    *(
        "",
        " ",
        " 1.1.1.1",
        "1.1.1.1 ",
        "1.1.1.1\n",
        "1.1.1.1\r\n",
        "1.1.1.1\0",
        "1.1. 1.1",
        "2001:200::1\n",
        "1.1.1.1,1.1.1.2",
    ),
    *("1.1.1.1\0.example", "\x1b[31m", "a" * 5000),
]

NOBODY = ["0.0.0.0", "::", "224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "255.255.255.255"]


@pytest.mark.parametrize("address", DENIED_ADDRESSES)
def test_an_address_of_the_table_is_never_dialled(address):
    refusal = ANY.refuses_destination(address, 25)
    assert refusal is not None
    assert refusal.startswith(("destination ", "the destination "))


@pytest.mark.parametrize("address", FREE_ADDRESSES)
def test_an_address_beside_the_table_may_be_dialled(address):
    assert ANY.refuses_destination(address, 25) is None


# address, the network that it is denied with
TOLD = [
    ("::7f00:1", "::/96"),
    ("64:ff9b::7f00:1", "64:ff9b::/96"),
    ("64:ff9b:1::1", "64:ff9b:1::/48"),
    ("100::1", "100::/64"),
    ("2001::1", "2001::/23"),
    ("5f00::1", "5f00::/16"),
    ("fe80::1", "fe80::/9"),
    ("169.254.169.254", "169.254.0.0/16"),
    ("240.0.0.1", "224.0.0.0/3"),
    ("64:ff9b:2::1", "outside 2000::/3"),
]


@pytest.mark.parametrize(("address", "network"), TOLD)
def test_a_refusal_tells_the_network(address, network):
    assert ANY.refuses_destination(address, 25) == f"destination {address} is denied ({network})"


@given(st.ip_addresses())
def test_nothing_is_dialled_that_is_not_global_unicast(host):
    if ANY.refuses_destination(str(host), 25) is None:
        assert host.is_global
        assert not host.is_multicast
        assert host.version == 4 or host in GLOBAL_IPV6
        assert not any(host in network for network in DENIED)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_plain_address_is_neither_source_nor_destination_and_is_not_echoed(text):
    assert EVERYTHING.refuses_destination(text, 25) == "the destination is no IP address that can be used"
    assert EVERYTHING.refuses_source(text) == "the source is no IP address that can be used"
    assert not same_family(text, "1.1.1.1")
    assert not same_family("2001:200::1", text)
    assert source_for(["1.1.1.1", "2001:200::1", text], text) is None


@pytest.mark.parametrize("address", NOBODY)
def test_what_is_not_one_host_is_neither_source_nor_destination_whatever_is_allowed(address):
    assert EVERYTHING.refuses_source(address) == f"source {address} is not the address of one host"
    assert EVERYTHING.refuses_destination(address, 25) == f"destination {address} is not the address of one host"
    everywhere = Policy(networks("0.0.0.0/0", "::/0"), frozenset({25}))
    assert everywhere.refuses_source(address) is not None


@pytest.mark.parametrize("port", [0, 1, 22, 24, 26, 465, 587, 65_535, 74_861, 65_561, -1, 2**66])
def test_a_port_outside_remote_ports_is_never_dialled_whatever_is_allowed(port):
    for policy in (ANY, EVERYTHING):
        assert policy.refuses_destination("1.1.1.1", port) == f"destination port {port} is not in remote_ports"


# source, why not
SOURCES = [
    ("192.0.2.0", None),
    ("192.0.2.15", None),
    ("192.0.2.16", "source 192.0.2.16 is not in source_ips"),
    ("192.0.1.255", "source 192.0.1.255 is not in source_ips"),
    ("198.41.0.4", None),
    ("198.41.0.5", "source 198.41.0.5 is not in source_ips"),
    ("2001:db8:1::5", None),
    ("2001:DB8:1:0:0::5", None),
    ("2001:db8:1:1::5", "source 2001:db8:1:1::5 is not in source_ips"),
    ("2001:DB8:2:0:0::5", "source 2001:db8:2::5 is not in source_ips"),
    ("127.0.0.1", "source 127.0.0.1 is not in source_ips"),
    ("::c000:201", "source ::c000:201 is not in source_ips"),
]


@pytest.mark.parametrize(("source", "why_not"), SOURCES)
def test_a_source_is_one_of_source_ips(source, why_not):
    assert OURS.refuses_source(source) == why_not


@pytest.mark.parametrize("source", ["127.0.0.1", "::1", "10.0.0.1", "1.1.1.1", "2001:db8::1", "fe80::1"])
def test_without_source_ips_any_local_address_may_be_the_source_and_with_an_empty_list_none(source):
    assert ANY.refuses_source(source) is None
    assert Policy((), frozenset({25})).refuses_source(source) == f"source {source} is not in source_ips"


# destination, port, why not
DESTINATIONS = [
    ("1.1.1.1", 25, None),
    ("127.0.0.1", 25, None),  # allowed, and no listener of ours at this port
    ("127.0.0.1", 2525, "destination 127.0.0.1 port 2525 is a listener of this proxy"),
    ("127.255.0.9", 2525, "destination 127.255.0.9 port 2525 is a listener of this proxy"),
    ("192.0.2.3", 2525, "destination 192.0.2.3 port 2525 is a listener of this proxy"),
    ("192.0.2.3", 25, None),  # our own, and allowed
    ("198.41.0.4", 2525, "destination 198.41.0.4 port 2525 is a listener of this proxy"),
    ("198.41.0.4", 25, "destination 198.41.0.4 is denied (our own address)"),
    ("9.9.9.9", 25, "destination 9.9.9.9 is denied (our own address)"),
    ("9.9.9.9", 26, "destination port 26 is not in remote_ports"),
    ("10.1.0.1", 25, "destination 10.1.0.1 port 25 is a listener of this proxy"),
    ("10.1.0.1", 2525, None),  # nobody knows that it is local too
    ("10.1.0.2", 25, None),
    ("10.2.0.1", 25, "destination 10.2.0.1 is denied (10.0.0.0/8)"),
    ("8.8.8.8", 25, "destination 8.8.8.8 is denied (8.8.8.0/24)"),
    ("8.8.9.8", 25, None),
    ("2600:1::1", 25, "destination 2600:1::1 is denied (2600:1::/32)"),
    ("2600:2::1", 25, None),
    ("fd00:1::1", 25, None),
    ("fd00:2::1", 25, "destination fd00:2::1 is denied (fc00::/7)"),
    ("4000::1", 25, "destination 4000::1 is denied (outside 2000::/3)"),
    ("2001:db8:1::1", 25, "destination 2001:db8:1::1 is denied (2001:db8::/32)"),
    ("::1", 2525, "destination ::1 is denied (::/96)"),  # 0.0.0.0 hears no IPv6
    ("::ffff:127.0.0.1", 25, "the destination is no IP address that can be used"),
    ("::ffff:10.1.0.2", 25, "the destination is no IP address that can be used"),
]


@pytest.mark.parametrize(("address", "port", "why_not"), DESTINATIONS)
def test_what_may_be_dialled_is_decided_by_port_then_listeners_then_what_is_allowed_then_what_is_denied(
    address, port, why_not
):
    assert OURS.refuses_destination(address, port) == why_not


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "1.2.3.4", "2600::5", "2600:0::0:5"])
def test_a_listener_on_all_ipv6_addresses_may_hear_ipv4_too(address):
    own = networks("1.2.3.4/32", "2600::/64")
    policy = Policy(own, frozenset({25}), remote_allow=networks("0.0.0.0/0", "::/0"), listeners=(("::", 25),))
    refusal = policy.refuses_destination(address, 25)
    assert refusal is not None
    assert refusal.endswith("is a listener of this proxy")
    assert policy.refuses_destination("1.2.3.5", 25) is None


def test_without_source_ips_a_listener_on_all_addresses_stands_for_loopback_only():
    policy = Policy(None, frozenset({25}), remote_allow=networks("0.0.0.0/0"), listeners=(("0.0.0.0", 25),))
    assert policy.refuses_destination("127.0.0.2", 25) is not None
    assert policy.refuses_destination("1.2.3.4", 25) is None


@pytest.mark.parametrize("spelled", ["2600::5", "2600:0:0:0:0:0:0:5", "2600::0.0.0.5", "2600:0000::0005"])
def test_a_listener_is_known_in_every_spelling(spelled):
    policy = Policy(None, frozenset({25}), remote_allow=networks("::/0"), listeners=(("2600:0::5", 25),))
    assert policy.refuses_destination(spelled, 25) == "destination 2600::5 port 25 is a listener of this proxy"


# sources, address, the one that goes with it
PAIRS = [
    (["1.1.1.1"], "8.8.8.8", "1.1.1.1"),
    (["1.1.1.1", "1.1.1.2"], "8.8.8.8", "1.1.1.1"),
    (["2600::1", "1.1.1.2"], "8.8.8.8", "1.1.1.2"),
    (["1.1.1.1", "2600::1"], "2600::2", "2600::1"),
    (["1.1.1.1", "2600:0::1"], "2600::2", "2600:0::1"),
    (["1.1.1.1"], "2600::2", None),
    (["2600::1"], "8.8.8.8", None),
    (["::ffff:1.1.1.1"], "8.8.8.8", None),
    (["::ffff:1.1.1.1"], "2600::2", None),
    (["mx.example", "1.1.1.1"], "8.8.8.8", "1.1.1.1"),
    (["1.1.1.1"], "mx.example", None),
    ([], "8.8.8.8", None),
]


@pytest.mark.parametrize(("sources", "address", "source"), PAIRS)
def test_the_source_is_the_first_one_of_the_destinations_family(sources, address, source):
    assert source_for(sources, address) == source


@given(st.text(max_size=50), st.integers())
def test_no_text_raises_anything_and_every_refusal_can_stand_in_a_reply(text, port):
    for refusal in (OURS.refuses_source(text), OURS.refuses_destination(text, port)):
        assert (refusal or "").isascii()
        assert (refusal or "").isprintable()
    assert same_family(text, text) == (source_for([text], text) is not None)


@given(st.ip_addresses(), st.ip_addresses())
def test_two_addresses_are_of_one_family_or_of_two(a, b):
    mapped = any(host.version == 6 and host.ipv4_mapped for host in (a, b))
    assert same_family(str(a), str(b)) == (a.version == b.version and not mapped)


def test_a_verdict_that_was_kept_is_that_of_its_own_policy():
    strict, lenient = Policy((), frozenset({25})), Policy(None, frozenset({25}), remote_allow=networks("10.0.0.0/8"))
    for _ in range(2):
        assert strict.refuses_source("192.0.2.1") and not lenient.refuses_source("192.0.2.1")
        assert strict.refuses_destination("10.0.0.1", 25) and not lenient.refuses_destination("10.0.0.1", 25)
        assert lenient.refuses_destination("10.0.0.1", 26)
    assert strict == Policy((), frozenset({25}))
