"""Limits that an operator sets, and connections that are shared: what a file says of them, and how it can be wrong."""

from ipaddress import ip_network

import pytest

from gaproxy.proto.config.reading import ConfigFaults, read_values
from gaproxy.proto.config.settings import DoorSettings, Reuse, Settings, read_settings
from gaproxy.proto.config.spelling import effective_lines
from gaproxy.throttle.blocks import Block, Blocks, path

NATIVE = 'listen "127.0.0.1:807"; auth_shared_secret "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"\n'
PROXY = "listen_proxy_protocol 127.0.0.1:5000\n"


def settings(text: str) -> Settings:
    found, warnings = read_settings(NATIVE + text)
    assert warnings == ()
    return found


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigFaults) as refused:
        read_settings(NATIVE + text)
    return [str(fault) for fault in refused.value.faults]


def warnings(text: str) -> list[str]:
    return [str(warning) for warning in read_settings(NATIVE + text)[1]]


# Connections that are shared.


@pytest.mark.parametrize(
    ("text", "reuse"),
    [
        ("", Reuse(30.0, 600.0, 100, 20, 5000)),
        ("reuse_connections { }", Reuse(30.0, 600.0, 100, 20, 5000)),
        (
            "reuse_connections { idle 5s; max_age 1m; messages 2; per_destination 3; total 4 }",
            Reuse(5.0, 60.0, 2, 3, 4),
        ),
        ("reuse_connections { messages 1 }", Reuse(30.0, 600.0, 1, 20, 5000)),
        ("reuse_connections no", None),
        ('reuse_connections "no"', None),
    ],
)
def test_connections_rest_within_bounds_or_not_at_all(text, reuse):
    assert settings(text).reuse == reuse


TAKES = "takes a block in { } and nothing before it, or no in its place"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("reuse_connections", f"2:1: reuse_connections: {TAKES}"),
        ("reuse_connections yes", f"2:1: reuse_connections: {TAKES}"),
        ("reuse_connections no no", f"2:1: reuse_connections: {TAKES}"),
        ("reuse_connections no { }", f"2:1: reuse_connections: {TAKES}"),
        ('reuse_connections "no', '2:19: reuse_connections: the string has no closing " on its line'),
        ("reuse_connections { total 0 }", '2:27: reuse_connections total: found "0"; allowed: a whole number from 1 '),
        ("reuse_connections { idle no }", '2:26: reuse_connections idle: found "no"; allowed: 250ms, 30s, '),
        ("reuse_connections { idle 25h }", '2:26: reuse_connections idle: found "25h"; allowed: 250ms, 30s, '),
        (
            "reuse_connections { per_host 2 }",
            '2:21: reuse_connections: found "per_host", which is no directive in reuse_connections; ',
        ),
        (
            "reuse_connections no\nreuse_connections { }",
            "3:1: reuse_connections: given twice; the first stands on line 2",
        ),
        (
            "reuse_connection no",
            '2:1: found "reuse_connection", which is no directive; did you mean "reuse_connections"?',
        ),
    ],
)
def test_what_is_wrong_with_reuse_is_told_with_its_place(text, fault):
    (told,) = faults(text)
    assert told.startswith(fault)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "reuse_connections { idle 2m; max_age 1m }",
            "2:21: reuse_connections idle: is more than max_age, which holds",
        ),
        (
            "reuse_connections { total 5; per_destination 6 }",
            "2:30: reuse_connections per_destination: is more than total, which holds",
        ),
    ],
)
def test_a_bound_that_a_lower_one_makes_useless_is_a_warning(text, told):
    assert warnings(text) == [told]


def test_a_default_that_a_lower_bound_makes_useless_is_none():
    assert warnings("reuse_connections { total 5; max_age 10s }") == []


# Whose connections, and for how long.


def test_a_door_may_have_a_pool_of_its_own():
    doors = settings(PROXY + "listen_proxy_protocol 127.0.0.1:5001 { pool bulk }").doors
    assert [door.pool for door in doors] == ["cluster", "cluster", "bulk"]


def test_a_pool_means_nothing_where_nothing_is_pooled():
    told = "2:54: listen_proxy_protocol pool: means nothing with relay opaque"
    assert faults("listen_proxy_protocol 127.0.0.1:5000 { relay opaque; pool bulk }") == [told]


@pytest.mark.parametrize("pool", ['""', '"a b"', '"é"', "x" * 65])
def test_a_pool_is_a_name_that_an_mta_can_say(pool):
    (told,) = faults(f"listen_proxy_protocol 127.0.0.1:5000 {{ pool {pool} }}")
    assert told.startswith("2:45: listen_proxy_protocol pool: found ")


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("", [1, None]),
        ("messages_per_turn 1", [1, 1]),
        ("messages_per_turn 1000", [1000, 1000]),
        ("messages_per_turn off", [None, None]),
    ],
)
def test_a_turn_that_is_given_holds_at_every_door(text, turns):
    assert [door.messages_per_turn for door in settings(PROXY + text).doors] == turns


@pytest.mark.parametrize("found", ["0", "1001", "no", "OFF", "1.5", "-1"])
def test_a_turn_has_a_bound_or_is_off(found):
    told = f'2:19: messages_per_turn: found "{found}"; allowed: a whole number from 1 to 1000, or off'
    assert faults(f"messages_per_turn {found}") == [told]


def test_a_door_that_knows_no_options_has_the_pool_of_everybody():
    assert DoorSettings("listen", "127.0.0.1:807", ("127.0.0.1", 807)).pool == "cluster"


# The operator's limits.


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ('throttle "gmail.com" { max_connections 20 }', Block("gmail.com", max_connections=20)),
        ("throttle Gmail.COM { max_connections 20 }", Block("gmail.com", max_connections=20)),
        (
            "throttle gmail.com { source 192.0.2.1; max_connections 20; messages_per_connection 5 }",
            Block("gmail.com", ("192.0.2.1",), (), 20, 5),
        ),
        (
            "throttle *.gmail.com { source 192.0.2.1, 2001:DB8:0::1; max_connections 20 }",
            Block("*.gmail.com", ("192.0.2.1", "2001:db8::1"), max_connections=20),
        ),
        (
            'throttle "[*.]gmail.com" { source *; messages_per_connection 20 }',
            Block("[*.]gmail.com", ("*",), messages_per_connection=20),
        ),
        ("throttle * { max_connections 1 }", Block("*", max_connections=1)),
        ("throttle big_group-1 { max_connections 1 }", Block("big_group-1", max_connections=1)),
        (
            "throttle a-net { remote 203.0.113.0/24, 2001:db8:1::/48; max_connections 5 }",
            Block("a-net", (), (ip_network("203.0.113.0/24"), ip_network("2001:db8:1::/48")), 5),
        ),
    ],
)
def test_a_block_says_what_it_is_for_and_what_it_limits(text, block):
    assert settings(text).blocks == Blocks((block,))


def test_blocks_stand_beside_each_other_and_are_found():
    blocks = settings(
        """
        throttle gmail.com { max_connections 1 }
        throttle gmail.com { source 192.0.2.1; max_connections 2 }
        throttle gmail.com { source 192.0.2.2, 192.0.2.3; max_connections 3 }
        throttle *.gmail.com { max_connections 4 }
        throttle [*.]gmail.com { max_connections 5 }
        throttle * { max_connections 6 }
        throttle gmail.com { remote 203.0.113.0/24; max_connections 7 }
        throttle a-host { remote 203.0.113.5; max_connections 8 }
        """
    ).blocks
    assert len(blocks.given) == 8
    assert path(blocks, "192.0.2.3", "gmail.com", "203.0.113.5") == (
        ("192.0.2.2,192.0.2.3/gmail.com", 3),
        ("a-host", 8),
    )


NAME = 'allowed: a name, such as "gmail.com", "*.gmail.com" or "[*.]gmail.com", or "*"'
SOURCES = 'allowed: IP addresses, such as 192.0.2.1 or 2001:db8::1; or "*" alone'
COUNT = "allowed: a whole number from 1 to 999999999"
NOTHING = "limits nothing; it takes max_connections or messages_per_connection"
HOSTILE = {
    # names
    "throttle { max_connections 1 }": f"2:1: throttle: found 0 values; it takes one: {NAME[9:]}",
    "throttle a b { max_connections 1 }": f"2:1: throttle: found 2 values; it takes one: {NAME[9:]}",
    "throttle a, b { max_connections 1 }": f"2:1: throttle: found 2 values; it takes one: {NAME[9:]}",
    'throttle "" { max_connections 1 }': f'2:10: throttle: found ""; {NAME}',
    "throttle .gmail.com { max_connections 1 }": f'2:10: throttle: found ".gmail.com"; {NAME}',
    "throttle gmail.com. { max_connections 1 }": f'2:10: throttle: found "gmail.com."; {NAME}',
    "throttle gmail..com { max_connections 1 }": f'2:10: throttle: found "gmail..com"; {NAME}',
    "throttle *gmail.com { max_connections 1 }": f'2:10: throttle: found "*gmail.com"; {NAME}',
    "throttle gmail.* { max_connections 1 }": f'2:10: throttle: found "gmail.*"; {NAME}',
    "throttle *.*.com { max_connections 1 }": f'2:10: throttle: found "*.*.com"; {NAME}',
    "throttle [*.] { max_connections 1 }": f'2:10: throttle: found "[*.]"; {NAME}',
    "throttle *. { max_connections 1 }": f'2:10: throttle: found "*."; {NAME}',
    "throttle ** { max_connections 1 }": f'2:10: throttle: found "**"; {NAME}',
    "throttle a/b { max_connections 1 }": f'2:10: throttle: found "a/b"; {NAME}',
    'throttle "a b" { max_connections 1 }': f'2:10: throttle: found "a b"; {NAME}',
    'throttle "bücher.de" { max_connections 1 }': f'2:10: throttle: found "bücher.de"; {NAME}',
    'throttle "\u212aelvin" { max_connections 1 }': f'2:10: throttle: found "\u212aelvin"; {NAME}',
    f"throttle {'x' * 254} {{ max_connections 1 }}": f"2:10: throttle: found 254 characters; {NAME}",
    'throttle "a { max_connections 1 }': '2:10: throttle: the string has no closing " on its line',
    # sources and remotes
    "throttle a { source; max_connections 1 }": f"2:14: throttle source: found no value; {SOURCES}",
    "throttle a { source x; max_connections 1 }": f'2:21: throttle source: found "x"; {SOURCES}',
    "throttle a { source 192.0.2.0/28; max_connections 1 }": f'2:21: throttle source: found "192.0.2.0/28"; {SOURCES}',
    "throttle a { source fe80::1%eth0; max_connections 1 }": f'2:21: throttle source: found "fe80::1%eth0"; {SOURCES}',
    "throttle a { source ::ffff:192.0.2.1; max_connections 1 }": (
        f'2:21: throttle source: found "::ffff:192.0.2.1"; {SOURCES}'
    ),
    "throttle a { source ::1 ::2; max_connections 1 }": "2:25: throttle source: a comma belongs before this value",
    "throttle a { source 192.0.2.1, *; max_connections 1 }": "2:32: throttle source: * is all sources; it stands alone",
    "throttle a { source ::1; source ::2; max_connections 1 }": (
        "2:26: throttle source: given twice; the first stands on line 2"
    ),
    "throttle a { remote x; max_connections 1 }": (
        '2:21: throttle remote: found "x"; allowed: IP addresses or networks, such as 192.0.2.7, 10.0.0.0/8 or '
        "2001:db8::/32"
    ),
    "throttle a { source ::1; remote ::2; max_connections 1 }": (
        "2:26: throttle remote: stands beside source; a block has one or the other"
    ),
    "throttle *.a { remote ::2; max_connections 1 }": (
        "2:10: throttle: with remote this is a label, for any name: no wildcard"
    ),
    "throttle * { remote ::2; max_connections 1 }": (
        "2:10: throttle: with remote this is a label, for any name: no wildcard"
    ),
    # limits
    "throttle a": f"2:1: throttle: {NOTHING}",
    "throttle a { }": f"2:1: throttle: {NOTHING}",
    "throttle a { source ::1 }": f"2:1: throttle: {NOTHING}",
    "throttle a { remote ::1 }": f"2:1: throttle: {NOTHING}",
    "throttle a { max_connections 0 }": f'2:30: throttle max_connections: found "0"; {COUNT}',
    "throttle a { max_connections none }": f'2:30: throttle max_connections: found "none"; {COUNT}',
    "throttle a { messages_per_connection 0 }": f'2:38: throttle messages_per_connection: found "0"; {COUNT}',
    "throttle a { max_connections 1; max_connections 2 }": (
        "2:33: throttle max_connections: given twice; the first stands on line 2"
    ),
    # names of directives; rates come later
    "throttle a { max_rate 60/m }": (
        '2:14: throttle: found "max_rate", which is no directive in throttle; known are source, remote, '
        "max_connections, messages_per_connection"
    ),
    "throttle a { max_conections 5 }": (
        '2:14: throttle: found "max_conections", which is no directive in throttle; did you mean "max_connections"?'
    ),
    "max_connections 5": '2:1: found "max_connections", which is no directive; it is an option of throttle',
    "throttle a { pool b; max_connections 1 }": (
        '2:14: throttle: found "pool", which is no directive in throttle; it is an option of listen_proxy_protocol'
    ),
    "throtle a": '2:1: found "throtle", which is no directive; did you mean "throttle"?',
    # two for the same thing
    "throttle a { max_connections 1 }\nthrottle A { messages_per_connection 1 }": (
        "3:10: throttle: is for the same name and any source as the one on line 2"
    ),
    "throttle a { source *; max_connections 1 }\nthrottle a { max_connections 1 }": (
        "3:10: throttle: is for the same name and any source as the one on line 2"
    ),
    "throttle a { max_connections 1 }\nthrottle a { source *; max_connections 1 }": (
        "3:21: throttle: is for the same name and any source as the one on line 2"
    ),
    "throttle a { source ::1, ::2; max_connections 1 }\nthrottle a { source ::3, 0::2; max_connections 1 }": (
        "3:26: throttle: is for the same name and source as the one on line 2"
    ),
    "throttle a { source ::1, ::1; max_connections 1 }": (
        "2:26: throttle: is for the same name and source as the one on line 2"
    ),
    "throttle a { remote ::1; max_connections 1 }\nthrottle a { remote ::2; max_connections 1 }": (
        "3:10: throttle: has the same label as the one on line 2"
    ),
    "throttle a { remote ::/64; max_connections 1 }\nthrottle b { remote ::9, 0::/64; max_connections 1 }": (
        "3:26: throttle: has the same network as the one on line 2"
    ),
}


@pytest.mark.parametrize("text", HOSTILE)
def test_one_fault_is_told_once_with_its_place(text):
    assert faults(text) == [HOSTILE[text]]


def test_blocks_that_cannot_be_read_are_not_compared():
    assert [told.partition(": ")[0] for told in faults("throttle a/ { source x; remote y }\n" * 2)] == [
        *("2:1", "2:10", "2:22", "2:25", "2:32", "3:1", "3:10", "3:22", "3:25", "3:32")
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "throttle a { remote 203.0.113.5/24; max_connections 1 }",
            "2:21: throttle remote: 203.0.113.5/24 has host bits set; the network 203.0.113.0/24 holds",
        ),
        (
            "throttle a { source 192.0.2.1, 192.0.2.99; max_connections 1 }; source_ips 192.0.2.0/28",
            "2:32: throttle source: is not in source_ips: nothing leaves from there",
        ),
        (
            "throttle a { messages_per_connection 1; max_connections 1 }; reuse_connections no",
            "2:14: throttle messages_per_connection: means nothing with reuse_connections no",
        ),
        (
            "throttle a { messages_per_connection 101 }",
            "2:14: throttle messages_per_connection: is more than messages of reuse_connections, which holds",
        ),
        (
            "throttle * { max_connections 1 }\nthrottle a { max_connections 1 }; throttle b { max_connections 1 }\n"
            + PROXY,
            "3:10: throttle: holds at listen alone, as all that name something do: at listen_proxy_protocol no name "
            "is known",
        ),
    ],
)
def test_what_has_no_effect_is_a_warning(text, told):
    assert warnings(text) == [told]


@pytest.mark.parametrize(
    "text",
    [
        "throttle a { source *; max_connections 1 }; source_ips 192.0.2.0/28",
        "throttle a { messages_per_connection 100 }",
        "throttle * { max_connections 1 }; throttle a { remote ::1; max_connections 1 }\n" + PROXY,
    ],
)
def test_what_has_an_effect_is_none(text):
    assert warnings(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "reuse_connections no; messages_per_turn off",
        "reuse_connections { idle 5s; max_age 1m; messages 2; per_destination 3; total 4 }; messages_per_turn 7",
        "throttle gmail.com { source 192.0.2.1, ::1; max_connections 20; messages_per_connection 5 }\n"
        "throttle [*.]gmail.com { source *; max_connections 3 }; throttle * { messages_per_connection 2 }\n"
        "throttle a-net { remote 203.0.113.0/24, ::1; max_connections 5 }",
        "listen_proxy_protocol 127.0.0.1:5000 { pool bulk }",
    ],
)
def test_the_effective_values_are_a_file_that_means_the_same(text):
    lines = [line for line in effective_lines(read_values(NATIVE + text)[0]) if "secret" not in line]
    lines.append(NATIVE.partition("; ")[2])
    assert read_values("\n".join(lines))[0] == read_values(NATIVE + text)[0]


def test_a_block_is_spelled_with_what_holds_where_it_says_nothing():
    lines = effective_lines(read_values(NATIVE + "throttle Gmail.com { source 0::1; max_connections 2 }")[0])
    begin = lines.index('throttle "gmail.com" {')
    assert lines[begin : begin + 6] == (
        'throttle "gmail.com" {',
        "    source ::1",
        "    # remote: none",
        "    max_connections 2",
        "    # messages_per_connection: none",
        "}",
    )
