"""A configuration without its secrets: read as it was, and silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.journal.veiled_config import without_secrets
from gaproxy.proto.config.reading import ConfigFaults, read_values

SECRET = "Zq7vXk2WmT9bRn4cYd8fHj3gLp6sQw5eUx1a"  # 36 characters, like no directive


def reading(text):
    """What a house would make of it, but for the secrets themselves."""
    try:
        values, warnings = read_values(text)
    except ConfigFaults as faults:
        return [str(fault) for fault in faults.faults]
    return {name: repr(value) for name, value in values.items()}, [str(warning) for warning in warnings]


@pytest.mark.parametrize(
    "text",
    [
        f'listen "127.0.0.1:807"\nauth_shared_secret "{SECRET}"\n',
        f'listen "127.0.0.1:807"; auth_shared_secret {SECRET}; auth_shared_secret_previous "{SECRET}"',
        f'auth_shared_secret "{SECRET}" "{SECRET}"',
        f"auth_shared_secret {SECRET}, {SECRET}",
        f'auth_shared_secret "{SECRET}',
        f'auth_shared_secret "{SECRET} \r\n\t{SECRET}"',
        f"auth_shared_secret {{ {SECRET} }}",
        f'auth_shared_secret\n"{SECRET}"',
        f"auth_shared_secret\n{SECRET}",
        f"auth_shared_secret = {SECRET}",
        f'auth_shared_secret "é{SECRET}"',
        f'auth_shared_secret "\0{SECRET}"',
        f"auth_shared_secret é{SECRET}",
        f'auth_shared_secret "short"; {SECRET}',
        f'auth_shraed_secret "{SECRET}"',
        f'AUTH_SHARED_SECRET "{SECRET}"',
        f'our_key "{SECRET}"',
        f'timeouts {{ auth_shared_secret "{SECRET}" }}',
        f'throttle a {{ secret "{SECRET}" }}',
        f'throttle a {{ "{SECRET}" }}; reuse_connections {{ {SECRET} 1 }}',
        f'key {{ of {{ ours "{SECRET}" }} }}',
        f'# auth_shared_secret "{SECRET}"',
        f'auth_shared_secret "{"a" * 40}"  # was {SECRET} é\r\n',
        f"secret-{SECRET}",
        f'"secret-{SECRET}" x',
    ],
)
def test_a_secret_is_hidden_wherever_it_was_put(text):
    hidden = without_secrets(text)
    assert SECRET not in hidden and SECRET[:12] not in hidden and SECRET[-12:] not in hidden
    assert len(hidden) == len(text)
    assert reading(hidden) == reading(text)


def test_all_that_is_no_secret_stays():
    text = (
        'listen "127.0.0.1:807"\ncapture { directory "a place"; max_size 4m }\nallow_from 10.0.0.0/8, ::1  # us\n'
        'throttle "[*.]gmail.com" { source 192.0.2.1; max_connections 2 }\nreuse_connections no; messages_per_turn 2\n'
    )
    assert without_secrets(text) == text.replace("# us", "#000")


def test_no_depth_of_blocks_is_too_deep():
    assert without_secrets("a {" * 5000) == "a {" * 5000


PIECES = [
    *("listen", '"127.0.0.1:807"', "auth_shared_secret", "auth_shared_secret_previous", "auth_shared_secrt", "rset"),
    *("timeouts", "connect", "5s", "secret", "my_secret", "capture", "directory", '"x"', "unknown", '"secrets"'),
    *("{", "}", ";", ",", "\n", "\r\n", "#", '"', " ", "é", "\0", "remote_ports", "25", "no-such-thing-at-all-in-here"),
    *("throttle", "source", "max_connections", "reuse_connections", "no", "*", "listen_proxy_protocol", "pool"),
    *(SECRET, f'"{SECRET}"', f'"{"a" * 32}"', f"{SECRET}-secret", f'"{SECRET[:9]}"'),
]


@given(st.lists(st.sampled_from(PIECES)).map(" ".join) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_whatever_is_written_is_read_alike(text):
    hidden = without_secrets(text)
    assert len(hidden) == len(text)
    assert reading(hidden) == reading(text)


@given(st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_no_given_secret_is_told(text):
    values, hidden_values = [], []
    for one, told in ((text, values), (without_secrets(text), hidden_values)):
        try:
            read, _ = read_values(one)
            told += [read[name].reveal() for name in read if "secret" in name and read[name] is not None]
        except ConfigFaults:
            pass
    assert not set(values) & set(hidden_values)
