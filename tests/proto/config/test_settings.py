"""Settings: what a file comes to, and every way in which it can be wrong."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.config.directives import DIRECTIVES, Directive
from gaproxy.proto.config.reading import ConfigFaults, read_values
from gaproxy.proto.config.settings import Settings, read_settings
from gaproxy.proto.config.spelling import effective_lines
from gaproxy.proto.config.values import ListenAddress, Secret

KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
LEAST = f'listen "127.0.0.1:807"; auth_shared_secret "{KEY}"\n'

DOCUMENTED = """
listen "0.0.0.0:807"
allow_from 127.0.0.0/24, 10.0.0.0/8
auth_shared_secret "00000000000000000000000000000000"
log_verbose no
"""

EVERYTHING = f"""
# two places
listen 0.0.0.0:807
listen "[2001:db8::1]:808"
allow_from 192.0.2.7, 2001:db8::/32
auth_shared_secret "{KEY}"
auth_shared_secret_previous "{KEY[::-1]}"
log_verbose yes
source_ips 192.0.2.0/28
remote_ports 25, 587
remote_deny 198.51.100.0/24
remote_allow 127.0.0.0/8
greeting_5xx next
unauthenticated {{ total 20; per_client 4 }}
timeouts {{ connect 250ms; total 2m
    idle 1h }}
capture {{
    directory "/var/lib/ga proxy"
    max_size 64k
}}
"""


def settings(text: str) -> Settings:
    found, warnings = read_settings(text)
    assert warnings == ()
    return found


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigFaults) as refused:
        read_settings(text)
    return [str(fault) for fault in refused.value.faults]


def test_greenarrows_four_directives_are_a_complete_file():
    found, warnings = read_settings(DOCUMENTED)
    assert found.listeners == (ListenAddress("0.0.0.0:807", ("0.0.0.0", 807)),)
    assert found.allow_from == (ip_network("127.0.0.0/24"), ip_network("10.0.0.0/8"))
    assert [secret.reveal() for secret in found.secrets] == ["0" * 32]
    assert found.log_verbose is False
    assert [(warning.line, warning.column, warning.directive) for warning in warnings] == [
        (4, 20, "auth_shared_secret")
    ]


def test_what_is_not_given_has_its_default():
    found = settings(LEAST)
    assert found.allow_from == (ip_network("127.0.0.0/8"), ip_network("::1"))
    assert found.log_verbose is False
    assert found.source_ips is None
    assert found.remote_ports == {25}
    assert (found.remote_deny, found.remote_allow) == ((), ())
    assert found.greeting_5xx == "fail"
    assert (found.unauthenticated_total, found.unauthenticated_per_client) == (200, 16)
    assert found.capture is None
    assert found.timeouts == {
        "header": 5.0,
        "connect": 30.0,
        "total": 60.0,
        "total_greeting": 25.0,
        "greeting": 300.0,
        "ehlo": 300.0,
        "starttls": 120.0,
        "mail": 300.0,
        "rcpt": 300.0,
        "data": 120.0,
        "body": 180.0,
        "end": 600.0,
        "rset": 300.0,
        "idle": 300.0,
        "opaque": 600.0,
        "quit": 2.0,
        "drain": 30.0,
    }


def test_what_is_given_holds():
    found = settings(EVERYTHING)
    assert [(one.name, one.address) for one in found.listeners] == [
        ("0.0.0.0:807", ("0.0.0.0", 807)),
        ("[2001:db8::1]:808", ("2001:db8::1", 808)),
    ]
    assert found.allow_from == (ip_network("192.0.2.7"), ip_network("2001:db8::/32"))
    assert found.secrets == (Secret(KEY), Secret(KEY[::-1]))
    assert found.log_verbose is True
    assert found.source_ips == (ip_network("192.0.2.0/28"),)
    assert found.remote_ports == {25, 587}
    assert found.remote_deny == (ip_network("198.51.100.0/24"),)
    assert found.remote_allow == (ip_network("127.0.0.0/8"),)
    assert found.greeting_5xx == "next"
    assert (found.unauthenticated_total, found.unauthenticated_per_client) == (20, 4)
    assert {name: found.timeouts[name] for name in ("connect", "total", "idle", "mail")} == {
        "connect": 0.25,
        "total": 120.0,
        "idle": 3600.0,
        "mail": 300.0,
    }
    assert found.capture == ("/var/lib/ga proxy", 65536)


def test_a_capture_has_a_bound_that_nobody_asked_for():
    assert settings(LEAST + 'capture { directory "/x" }').capture == ("/x", 256 << 20)


def test_host_bits_are_a_warning_and_the_network_holds():
    found, warnings = read_settings(LEAST + "allow_from 10.0.0.1, 192.0.2.9/28")
    assert found.allow_from == (ip_network("10.0.0.1"), ip_network("192.0.2.0/28"))
    assert [str(warning) for warning in warnings] == [
        "2:22: allow_from: 192.0.2.9/28 has host bits set; the network 192.0.2.0/28 holds"
    ]


def value(text: str) -> str:
    """The only fault of a file that is otherwise fine."""
    (told,) = faults(LEAST + text)
    return told


ADDRESS = 'allowed: an IP address and a port, such as "0.0.0.0:807" or "[::]:807"'
NETWORKS = "allowed: IP addresses or networks, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
DURATION = "allowed: 250ms, 30s, 5m or 1h and the like, at most 24h"
COUNT = "allowed: a whole number from 1 to 999999999"
PORTS = "allowed: ports from 1 to 65535"
SIZE = "allowed: 64k, 4m and the like"
ONE = "it takes one: "
HOSTILE = {
    # addresses
    'listen "807"': f'2:8: listen: found "807"; {ADDRESS}',
    'listen ""': f'2:8: listen: found ""; {ADDRESS}',
    'listen "localhost:807"': f'2:8: listen: found "localhost:807"; {ADDRESS}',
    'listen "0.0.0.0"': f'2:8: listen: found "0.0.0.0"; {ADDRESS}',
    'listen "0.0.0.0:"': f'2:8: listen: found "0.0.0.0:"; {ADDRESS}',
    'listen "0.0.0.0:0"': f'2:8: listen: found "0.0.0.0:0"; {ADDRESS}',
    'listen "0.0.0.0:65536"': f'2:8: listen: found "0.0.0.0:65536"; {ADDRESS}',
    'listen "0.0.0.0:0807"': f'2:8: listen: found "0.0.0.0:0807"; {ADDRESS}',
    'listen "0.0.0.0:٨"': f'2:8: listen: found "0.0.0.0:٨"; {ADDRESS}',
    'listen "0.0.0.0:-1"': f'2:8: listen: found "0.0.0.0:-1"; {ADDRESS}',
    'listen "0.0.0.256:807"': f'2:8: listen: found "0.0.0.256:807"; {ADDRESS}',
    'listen "010.0.0.1:807"': f'2:8: listen: found "010.0.0.1:807"; {ADDRESS}',
    'listen "::1:807"': f'2:8: listen: found "::1:807"; {ADDRESS}',
    'listen "[127.0.0.1]:807"': f'2:8: listen: found "[127.0.0.1]:807"; {ADDRESS}',
    'listen "[::1]"': f'2:8: listen: found "[::1]"; {ADDRESS}',
    'listen "[::1:807"': f'2:8: listen: found "[::1:807"; {ADDRESS}',
    'listen "[fe80::1%eth0]:807"': f'2:8: listen: found "[fe80::1%eth0]:807"; {ADDRESS}',
    'listen "*:807"': f'2:8: listen: found "*:807"; {ADDRESS}',
    'listen " 0.0.0.0:807"': f'2:8: listen: found " 0.0.0.0:807"; {ADDRESS}',
    "listen": f"2:1: listen: found 0 values; {ONE}{ADDRESS.removeprefix('allowed: ')}",
    'listen "0.0.0.0:1", "0.0.0.0:2"': f"2:1: listen: found 2 values; {ONE}{ADDRESS.removeprefix('allowed: ')}",
    'listen "0.0.0.0:1" { }': "2:1: listen: takes no block",
    'listen "127.0.0.1:807"': "2:8: listen: the same as an earlier one",
    'listen "0.0.0.0:1"; listen 0.0.0.0:1': "2:28: listen: the same as an earlier one",
    'listen "[::1]:1"; listen "[0::1]:1"': "2:26: listen: the same as an earlier one",
    # networks
    "allow_from localhost": f'2:12: allow_from: found "localhost"; {NETWORKS}',
    "allow_from 10.0.0.0/33": f'2:12: allow_from: found "10.0.0.0/33"; {NETWORKS}',
    "allow_from ::/129": f'2:12: allow_from: found "::/129"; {NETWORKS}',
    "allow_from 10.0.0.0/255.0.0.0": f'2:12: allow_from: found "10.0.0.0/255.0.0.0"; {NETWORKS}',
    "allow_from 10.0.0.0/": f'2:12: allow_from: found "10.0.0.0/"; {NETWORKS}',
    "allow_from 10.0.0.0/-1": f'2:12: allow_from: found "10.0.0.0/-1"; {NETWORKS}',
    "allow_from 10.0.0.0/8/8": f'2:12: allow_from: found "10.0.0.0/8/8"; {NETWORKS}',
    "allow_from 10": f'2:12: allow_from: found "10"; {NETWORKS}',
    "allow_from fe80::1%eth0": f'2:12: allow_from: found "fe80::1%eth0"; {NETWORKS}',
    "allow_from [::1]": f'2:12: allow_from: found "[::1]"; {NETWORKS}',
    'allow_from ""': f'2:12: allow_from: found ""; {NETWORKS}',
    "allow_from ::1, yes": f'2:17: allow_from: found "yes"; {NETWORKS}',
    "allow_from": f"2:1: allow_from: found no value; {NETWORKS}",
    "allow_from ::1 ::2": "2:16: allow_from: a comma belongs before this value",
    "allow_from ::1,": "2:15: allow_from: a comma with no value behind it",
    "allow_from ::1\nallow_from ::2": "3:1: allow_from: given twice; the first stands on line 2",
    "allow_from ::1 { }": "2:1: allow_from: takes no block",
    # secrets
    f'auth_shared_secret "{KEY}"': "2:1: auth_shared_secret: given twice; the first stands on line 1",
    'auth_shared_secret_previous "short"': (
        "2:29: auth_shared_secret_previous: found 5 characters; allowed: 32 or more printable ASCII characters"
    ),
    f'auth_shared_secret_previous "é{KEY}"': (
        "2:29: auth_shared_secret_previous: found 44 characters; allowed: 32 or more printable ASCII characters"
    ),
    # words, numbers, ports
    "log_verbose maybe": '2:13: log_verbose: found "maybe"; allowed: yes or no',
    "log_verbose YES": '2:13: log_verbose: found "YES"; allowed: yes or no',
    "log_verbose": "2:1: log_verbose: found 0 values; it takes one: yes or no",
    "log_verbose yes no": "2:1: log_verbose: found 2 values; it takes one: yes or no",
    "greeting_5xx retry": '2:14: greeting_5xx: found "retry"; allowed: next or fail',
    "remote_ports smtp": f'2:14: remote_ports: found "smtp"; {PORTS}',
    "remote_ports 25, 0": f'2:18: remote_ports: found "0"; {PORTS}',
    "remote_ports 70000": f'2:14: remote_ports: found "70000"; {PORTS}',
    "remote_ports 25-30": f'2:14: remote_ports: found "25-30"; {PORTS}',
    "unauthenticated { total 0 }": f'2:25: unauthenticated total: found "0"; {COUNT}',
    "unauthenticated { total -1 }": f'2:25: unauthenticated total: found "-1"; {COUNT}',
    "unauthenticated { total 1.5 }": f'2:25: unauthenticated total: found "1.5"; {COUNT}',
    "unauthenticated { total 1000000000 }": f'2:25: unauthenticated total: found "1000000000"; {COUNT}',
    "unauthenticated { total 1; total 2 }": "2:28: unauthenticated total: given twice; the first stands on line 2",
    # blocks
    "unauthenticated 20": "2:1: unauthenticated: takes a block in { } and nothing before it",
    "unauthenticated": "2:1: unauthenticated: takes a block in { } and nothing before it",
    "unauthenticated 20 { total 2 }": "2:1: unauthenticated: takes a block in { } and nothing before it",
    "timeouts { connect 5 }": f'2:20: timeouts connect: found "5"; {DURATION}',
    "timeouts { connect 5d }": f'2:20: timeouts connect: found "5d"; {DURATION}',
    "timeouts { connect 0s }": f'2:20: timeouts connect: found "0s"; {DURATION}',
    "timeouts { connect 1.5s }": f'2:20: timeouts connect: found "1.5s"; {DURATION}',
    "timeouts { connect 1h30m }": f'2:20: timeouts connect: found "1h30m"; {DURATION}',
    "timeouts { connect 25h }": f'2:20: timeouts connect: found "25h"; {DURATION}',
    "timeouts { connect 5s\n": "2:10: timeouts: the block has no closing }",
    "timeouts { connect 5s } }": "2:25: a } that closes nothing",
    "capture { }": "2:1: capture directory: is missing; it takes a string that is not empty",
    'capture { directory "" }': '2:21: capture directory: found ""; allowed: a string that is not empty',
    "capture { directory x; max_size 64 }": f'2:33: capture max_size: found "64"; {SIZE}',
    "capture { directory x; max_size 0k }": f'2:33: capture max_size: found "0k"; {SIZE}',
    "capture { directory x; max_size 1g }": f'2:33: capture max_size: found "1g"; {SIZE}',
    # names
    "alow_from ::1": '2:1: found "alow_from", which is no directive; did you mean "allow_from"?',
    "Listen ::1": '2:1: found "Listen", which is no directive; did you mean "listen"?',
    "timeouts { conect 5s }": (
        '2:12: timeouts: found "conect", which is no directive in timeouts; did you mean "connect"?'
    ),
    "unauthenticated { x }": (
        '2:19: unauthenticated: found "x", which is no directive in unauthenticated; known are total, per_client'
    ),
    '"listen" ::1': "2:1: found a quoted string where the name of a directive belongs",
    'timeouts { "idle" 5s }': (
        "2:12: timeouts: found a quoted string where the name of a directive in timeouts belongs"
    ),
    # what the grammar refuses
    'log_verbose "no': '2:13: log_verbose: the string has no closing " on its line',
    "log_verbose n\u043e": "2:14: log_verbose: found U+043E; outside of quotes only printable ASCII is allowed",
    "{ }": "2:1: a { with no directive before it on its line",
    "\x00": "2:1: found U+0000; outside of quotes only printable ASCII is allowed",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_one_fault_is_told_once_with_its_place(text):
    assert value(text) == HOSTILE[text]


@pytest.mark.parametrize("name", ["listen_smtp", "throttle_reconciliation", "user", "resolver"])
def test_what_a_later_version_knows_is_unknown_today(name):
    assert value(f"{name} x").startswith(f'2:1: found "{name}", which is no directive; ')


def test_an_empty_file_lacks_what_every_file_needs():
    assert faults("") == [
        "1:1: auth_shared_secret: is missing; it takes 32 or more printable ASCII characters",
        '1:1: listen: is missing; it takes an IP address and a port, such as "0.0.0.0:807" or "[::]:807"',
    ]


def test_all_faults_are_told_at_once_in_the_order_of_the_file():
    text = (
        f'auth_shared_secret "{KEY}"\nlisten "x:1\nallow_from ::1 y,, z\ntimeouts {{ mail; conect 5s; total 5 }}\n}}\n'
    )
    assert [told.partition(" ")[0] for told in faults(text)] == [
        *("2:8:", "3:16:", "3:16:", "3:18:", "3:20:", "4:12:", "4:18:", "4:35:", "5:1:")
    ]


@pytest.mark.parametrize(
    "text",
    [
        'auth_shared_secret "hunter2"',
        "auth_shared_secret hunter2 hunter2",
        "auth_shared_secret hunter2, hunter2,",
        'auth_shared_secret "hunter2',
        'auth_shared_secret "hunter2\x00"',
        "auth_shared_secret hun;hunter2",
        "auth_shared_secret hun;hunter2,",
        "auth_shared_secret hun}hunter2",
        "auth_shared_secret hun{hunter2",
        "auth_shared_secret hun; log_verbose hunter2",
        "auth_shared_secret=hunter2",
        "auth_shared_secret_previous=abcdefgh-hunter2",
        'auth_shared_sercet "hunter2"',
        "auth_shared_sercet hun;hunter2",
        "secret: hun;hunter2",
        'auth_shared_secret\n"hunter2"',
        f'auth_shared_secret\n"hunter2{KEY}"',
        f"auth_shared_secret\nhunter2{KEY}",
        f"auth_shared_secret\nhunter2{KEY},",
        f'auth_shared_secret\nlisten "hunter2{KEY}"',
        f'timeouts {{ idle "hunter2{KEY}" }}',
        f"timeouts {{ hunter2{KEY} }}",
        f'auth_shared_secret "hunter2{KEY}"; auth_shared_secret "hunter2{KEY}"',
    ],
)
def test_no_fault_repeats_a_secret(text):
    with pytest.raises(ConfigFaults) as refused:
        read_settings(text)
    assert "hunter2" not in repr(refused.value)
    assert "hunter2" not in str(refused.value)


def test_settings_that_are_printed_hide_their_secrets():
    found = settings(EVERYTHING)
    assert KEY not in f"{found}{found!r}{found.secrets}"
    assert str(found.secrets[0]) == "(hidden, 43 characters)"


@pytest.mark.parametrize("text", [LEAST, DOCUMENTED, EVERYTHING])
def test_the_effective_values_are_a_file_that_means_the_same(text):
    before, _ = read_values(text)
    lines = effective_lines(before)
    hidden = f'"{before["auth_shared_secret"]}"'
    assert f"auth_shared_secret {hidden}" in lines
    secrets = {"auth_shared_secret": "1" * 31 + "2", "auth_shared_secret_previous": "1" * 31 + "3"}
    told = "\n".join(f'{line.split()[0]} "{secrets[line.split()[0]]}"' if "(hidden" in line else line for line in lines)
    after, warnings = read_values(told)
    assert warnings == ()
    assert {**after, **dict.fromkeys(secrets)} == {**before, **dict.fromkeys(secrets)}
    assert effective_lines(after)[0] == lines[0]


def test_what_is_absent_is_told_as_a_comment():
    values, _ = read_values(LEAST)
    lines = effective_lines(values)
    assert [line for line in lines if line.strip().startswith("#")] == [
        "# listen_proxy_protocol: none",
        "# auth_shared_secret_previous: none",
        "# tls_certificate: auto where the extra tls is installed, else no TLS and a warning in the log",
        "# tls_key: in the file of the certificate",
        "# source_ips: any local address",
        "# remote_deny: only addresses that are not public",
        "# remote_allow: none",
        "# throttle: none",
        "# messages_per_turn: 1 at `listen`, off elsewhere",
        "    # total: 60s, and 25s at `listen_proxy_protocol`",
        "# capture: none",
    ]


@pytest.mark.parametrize("more", ["", "tls_certificate auto\n", 'tls_certificate "auto"\n'])
def test_a_key_without_a_file_of_its_certificate_is_a_fault(more):
    told = "2:1: tls_key: stands without its certificate: tls_certificate must name a file"
    assert faults(LEAST + 'tls_key "own.key"\n' + more) == [told]


def test_a_key_is_not_blamed_for_a_certificate_that_is_wrong():
    (told,) = faults(LEAST + 'tls_key "own.key"\ntls_certificate ""\n')
    assert told.startswith("3:17: tls_certificate: ")
    (told,) = faults(LEAST + 'tls_key ""\n')
    assert told.startswith("2:9: tls_key: ")


def test_the_files_of_a_certificate_are_told_as_they_stand():
    found = settings(LEAST + 'tls_certificate "/etc/a b.pem"; tls_key own.key; native_tls required\n')
    assert (found.tls_certificate, found.tls_key, found.native_tls) == ("/etc/a b.pem", "own.key", "required")


def all_directives() -> list[Directive]:
    blocks = [row for row in DIRECTIVES if not isinstance(row, Directive)]
    return [row for row in DIRECTIVES if isinstance(row, Directive)] + [one for row in blocks for one in row.directives]


@pytest.mark.parametrize("row", all_directives(), ids=lambda row: row.name)
def test_a_default_is_spelled_as_it_would_be_read(row):
    assert row.help
    assert row.default is None or [row.kind.spell(row.kind.read(text)) for text in row.default.split(", ")] == [
        "1m" if text == "60s" else text for text in row.default.split(", ")
    ]


NAMES = [row.name for row in [*DIRECTIVES, *all_directives()]]
PIECES = st.sampled_from(
    [
        *NAMES,
        *'{};,\n#"',
        " ",
        '"127.0.0.1:807"',
        f'"{KEY}"',
        "::1",
        "10.0.0.1/8",
        "5s",
        "64k",
        "25",
        "192.0.2.1",
        "gmail.com",
        "*",
        "off",
        "no",
        "yes",
        "next",
        "opaque",
        LEAST,
    ]
)
ANY_TEXT = st.one_of(st.text(), st.text(alphabet='lisenatr {};,#" \n\r\t:.019'), st.lists(PIECES).map(" ".join))


@given(ANY_TEXT)
def test_any_text_gives_settings_or_faults_that_stand_in_it(text):
    lines = text.split("\n")
    try:
        found, told = read_settings(text)
    except ConfigFaults as refused:
        told = refused.faults
        assert told
    else:
        assert found.doors
    assert list(told) == sorted(told)
    for fault in told:
        assert 1 <= fault.line <= len(lines)
        assert 1 <= fault.column <= max(1, len(lines[fault.line - 1]))


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters='"')))
def test_a_secret_is_read_as_it_stands_or_refused_by_its_length(text):
    file = f'listen "127.0.0.1:807"\nauth_shared_secret "{text}"'
    if len(text) >= 32:
        assert read_settings(file)[0].secrets == (Secret(text),)
    else:
        (told,) = faults(file)
        assert told.startswith(f"2:20: auth_shared_secret: found {len(text)} characters; ")
