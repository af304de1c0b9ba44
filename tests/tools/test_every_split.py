"""The tool that all grammars are judged with is judged first."""

import pytest
from tools.every_split import every_split


@pytest.mark.parametrize("cuts", [1, 2, 3])
def test_no_split_loses_or_moves_a_byte(cuts):
    splits = list(every_split(b"MAIL\r\n", cuts))
    assert all(b"".join(pieces) == b"MAIL\r\n" for pieces in splits)
    assert all(piece for pieces in splits for piece in pieces)


def test_the_whole_comes_first_and_byte_by_byte_second():
    first, second, *_ = every_split(b"abc")
    assert first == [b"abc"]
    assert second == [b"a", b"b", b"c"]


def test_every_place_is_cut():
    assert list(every_split(b"abc", 1))[2:] == [[b"a", b"bc"], [b"ab", b"c"]]


def test_two_cuts_are_made_in_every_pair_of_places():
    twice = [pieces for pieces in every_split(b"abcd", 2) if len(pieces) == 3]
    assert twice == [[b"a", b"b", b"cd"], [b"a", b"bc", b"d"], [b"ab", b"c", b"d"]]


def test_one_byte_has_no_cut():
    assert list(every_split(b"a", 3)) == [[b"a"], [b"a"]]
