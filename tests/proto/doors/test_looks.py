"""What somebody looks like who knocked at the wrong door."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.config.directives import DIRECTIVES
from gaproxy.proto.doors.looks import SERVING, hints

KNOWN = {
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n": "a PROXY header: listen_proxy_protocol serves it",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c": "a PROXY header: listen_proxy_protocol serves it",
    b"GAPROXY/1 min=1": "the native protocol: listen serves it",
    b"\x16\x03\x01\x02\0\x01": "TLS: listen serves it",
    b"\x05\x01\0": "SOCKS5",
    b"\x04\x01\0\x19": "SOCKS4",
    b"GET / HTTP/1.1\r\n": "HTTP",
    b"ehlo mta.example.com\r\n": "SMTP",
    b"QUIT\r\n": "SMTP",
}


@pytest.mark.parametrize("first", KNOWN)
def test_who_knocks_at_the_wrong_door_is_known_by_its_first_bytes(first):
    assert dict(hints(first, "listen_smtp")) == {"hint": KNOWN[first]}


@pytest.mark.parametrize("first", [b"", b"G", b"PROXY", b"QUITTER\r\n", b"\x05\0", b"SSH-2.0-x", b"\r\n\r\n"])
def test_what_may_be_anything_is_not_guessed_at(first):
    assert dict(hints(first, "listen_smtp")) == {}


def test_a_directive_is_named_if_there_is_one_and_only_then():
    doors = {row.name for row in DIRECTIVES if row.name.startswith("listen")}
    assert set(SERVING.values()) == doors


@given(st.binary(max_size=40))
def test_no_more_than_the_first_bytes_are_looked_at(first):
    assert dict(hints(first, "listen_smtp")) == dict(hints(first[:16], "listen_smtp"))


def test_no_door_is_advised_to_itself():
    assert dict(hints(b"PROXY tcp4", "listen_proxy_protocol")) == {"hint": "a PROXY header"}
