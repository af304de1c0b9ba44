"""Which name of a certificate will do."""

import pytest

from gaproxy.proto.remote.names import acceptable_name

WILL_DO = [
    ("mx.example.net", "mx.example.net"),
    ("MX.Example.net", "mx.example.NET."),
    ("*.example.net", "mx.example.net"),
    ("mx.example.net", "*.example.net"),
    ("*.example.net", "*.example.net"),
    ("localhost", "localhost"),
]

WILL_NOT_DO = [
    ("mx.example.net", "mx.example.org"),
    ("mx.example.net", "example.net"),
    ("*.example.net", "a.mx.example.net"),
    ("a.mx.example.net", "*.example.net"),
    ("*.example.net", "example.net"),
    ("example.net", "*.net"),
    ("*.net", "example.net"),
    ("*", "localhost"),
    ("m*.example.net", "mx.example.net"),
    ("mx.*.net", "mx.example.net"),
    ("", ""),
    ("..", ".."),
]


@pytest.mark.parametrize(("wanted", "shown"), WILL_DO)
def test_these_names_are_the_same(wanted, shown):
    assert acceptable_name([wanted], [shown])


@pytest.mark.parametrize(("wanted", "shown"), WILL_NOT_DO)
def test_these_names_are_not(wanted, shown):
    assert not acceptable_name([wanted], [shown])


def test_one_name_of_either_side_is_enough():
    assert acceptable_name(["a.example", "b.example"], ["c.example", "b.example"])
    assert not acceptable_name([], ["c.example"])
    assert not acceptable_name(["a.example"], [])
