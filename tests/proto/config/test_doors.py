"""Doors in a configuration: each may be given often, each time with options of its own."""

from ipaddress import ip_network

import pytest

from gaproxy.proto.config.reading import ConfigFaults, read_values
from gaproxy.proto.config.settings import DoorSettings, plain_text_warnings, read_settings
from gaproxy.proto.config.spelling import effective_lines

NATIVE = 'listen "127.0.0.1:807"; auth_shared_secret "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"\n'


def doors(text: str) -> tuple[DoorSettings, ...]:
    found, warnings = read_settings(text)
    assert warnings == ()
    return found.doors


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigFaults) as refused:
        read_settings(text)
    return [str(fault) for fault in refused.value.faults]


def test_a_door_alone_is_a_complete_file_and_needs_no_secret():
    found, _ = read_settings("listen_proxy_protocol 127.0.0.1:5000")
    assert found.doors == (DoorSettings("listen_proxy_protocol", "127.0.0.1:5000", ("127.0.0.1", 5000), None, "mta"),)
    assert found.listeners == found.secrets == ()
    assert list(plain_text_warnings(found)) == []


def test_doors_stand_beside_each_other():
    text = NATIVE + "listen_proxy_protocol 127.0.0.1:5000; listen_proxy_protocol [::1]:5001 { relay opaque }"
    assert [(door.directive, door.name, door.tls) for door in doors(text)] == [
        ("listen", "127.0.0.1:807", ""),
        ("listen_proxy_protocol", "127.0.0.1:5000", "mta"),
        ("listen_proxy_protocol", "[::1]:5001", "opaque"),
    ]


@pytest.mark.parametrize(
    ("options", "tls"),
    [
        ("", "mta"),
        ("starttls mta", "mta"),
        ("relay smtp", "mta"),
        ("starttls proxy", "may"),
        ("starttls proxy; level may", "may"),
        ("level encrypt; starttls proxy", "encrypt"),
        ("relay opaque", "opaque"),
    ],
)
def test_who_speaks_tls_is_said_by_its_options(options, tls):
    assert doors(f"listen_proxy_protocol 127.0.0.1:5000 {{ {options} }}")[0].tls == tls


def test_each_door_may_narrow_who_comes_in():
    (door,) = doors("listen_proxy_protocol 127.0.0.1:5000 { allow_from 10.0.0.0/8, ::1 }")
    assert door.allow_from == (ip_network("10.0.0.0/8"), ip_network("::1"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("listen_proxy_protocol x", '1:23: listen_proxy_protocol: found "x"; allowed: an IP address and a port'),
        ("listen_proxy_protocol", "1:1: listen_proxy_protocol: found 0 values; it takes one:"),
        (
            "listen_proxy_protocol 127.0.0.1:1 { level may }",
            "1:37: listen_proxy_protocol level: needs starttls proxy",
        ),
        (
            "listen_proxy_protocol 127.0.0.1:1 { starttls mta; level may }",
            "1:51: listen_proxy_protocol level: needs starttls proxy",
        ),
        (
            "listen_proxy_protocol 127.0.0.1:1 { relay opaque; starttls mta }",
            "1:51: listen_proxy_protocol starttls: means nothing with relay opaque",
        ),
        (
            "listen_proxy_protocol 127.0.0.1:1 { level may; relay opaque }",
            "1:37: listen_proxy_protocol level: means nothing with relay opaque",
        ),
        (
            "listen_proxy_protocol 127.0.0.1:1 { starttls me }",
            '1:46: listen_proxy_protocol starttls: found "me"; allowed: mta or proxy',
        ),
        (
            "listen_proxy_protocol 127.0.0.1:1 { wait 20s }",
            '1:37: listen_proxy_protocol: found "wait", which is no directive in listen_proxy_protocol; known are ',
        ),
        (
            "listen_proxy_protocol 127.0.0.1:1; listen_proxy_protocol 127.0.0.1:1",
            "1:58: listen_proxy_protocol: the same address as an earlier one",
        ),
        (
            "listen_proxy_protocol 127.0.0.1:1; starttls proxy",
            '1:36: found "starttls", which is no directive; it is an option of listen_proxy_protocol',
        ),
        (
            NATIVE + "listen_proxy_protocol 127.0.0.1:807",
            "2:23: listen_proxy_protocol: the same address as an earlier one",
        ),
        (
            "listen 127.0.0.1:807; listen_proxy_protocol 127.0.0.1:1",
            "1:1: auth_shared_secret: is missing; it takes 32 or more",
        ),
        ('listen_proxy_protocol "127.0.0.1:1', "1:23: listen_proxy_protocol: the string has no closing"),
        ("listen_proxy_protocol 127.0.0.1:1 { allow_from }", "1:37: listen_proxy_protocol allow_from: found no value"),
    ],
)
def test_what_is_wrong_with_a_door_is_told_with_its_place(text, fault):
    (told,) = faults(text)
    assert told.startswith(fault)


@pytest.mark.parametrize(
    "text",
    [
        "listen_proxy_protocol 127.0.0.1:5000",
        NATIVE + "listen_proxy_protocol 127.0.0.1:5000 { starttls proxy; level encrypt; allow_from ::1, 10.0.0.0/8 }",
        "listen_proxy_protocol 127.0.0.1:5000 { relay opaque }; listen_proxy_protocol [::1]:5000",
    ],
)
def test_the_effective_values_are_a_file_that_means_the_same(text):
    lines = [line for line in effective_lines(read_values(text)[0]) if "(hidden" not in line]
    more = [line for line in NATIVE.split("; ") if "secret" in line and NATIVE in text]
    assert read_values("\n".join(lines + more))[0] == read_values(text)[0]


def test_what_a_door_has_not_been_told_is_a_comment():
    assert effective_lines(read_values("listen_proxy_protocol 127.0.0.1:5000")[0])[:8] == (
        "# listen: none",
        'listen_proxy_protocol "127.0.0.1:5000" {',
        "    # allow_from: as for all doors",
        "    # starttls: mta",
        "    # level: may",
        "    relay smtp",
        "    # pool: cluster",
        "}",
    )


@pytest.mark.parametrize(("given", "totals"), [("", (60.0, 25.0)), ("timeouts { total 40s }", (40.0, 40.0))])
def test_a_total_that_is_not_given_is_shorter_where_clients_wait_for_a_greeting(given, totals):
    timeouts = read_settings(f"listen_proxy_protocol 127.0.0.1:5000; {given}")[0].timeouts
    assert (timeouts["total"], timeouts["total_greeting"]) == totals
