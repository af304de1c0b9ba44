"""Strangers: how many are read, who comes next, and who failed too often. Odd ids came in."""

from collections import Counter
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.doors.admission import CLIENTS, Admission, Client
from gaproxy.proto.patience import SECOND

A, B, C = map(ip_address, ("192.0.2.1", "192.0.2.2", "192.0.2.3"))


def full(*clients: Client, total: int = 2, per_client: int = 2) -> Admission:
    """An admission at which ids 1, 3, 5 … arrived from these clients."""
    admission = Admission(total, per_client)
    for place, client in enumerate(clients):
        admission.arrived(2 * place + 1, client)
    return admission


def test_strangers_are_read_up_to_the_total():
    admission = Admission(total=2, per_client=2)
    assert [admission.arrived(id, client) for id, client in ((1, A), (3, B), (5, C))] == [True, True, False]


def test_a_client_is_read_up_to_its_own_limit_and_others_are_read_on():
    admission = Admission(total=9, per_client=1)
    assert [admission.arrived(id, client) for id, client in ((1, A), (3, A), (5, B))] == [True, False, True]


def test_who_waits_is_read_when_a_stranger_leaves():
    admission = full(A, B, C)
    assert admission.left(3) == [5]
    assert admission.left(5) == []


def test_who_waits_is_read_when_a_stranger_proves_itself():
    admission = full(A, B, C)
    assert admission.authenticated(1) == [5]
    assert admission.left(1) == []


def test_of_one_client_the_oldest_comes_first():
    admission = full(A, A, A, A, total=2)
    assert admission.left(1) == [5]
    assert admission.left(5) == [7]


def test_a_client_with_many_keeps_nobody_else_waiting():
    admission = full(A, A, A, A, A, B, C)
    assert admission.left(1) == [11]
    assert admission.left(11) == [13]
    assert admission.left(13) == [5]
    assert admission.left(5) == [7]


def test_a_client_at_its_limit_is_passed_over_until_it_is_below():
    admission = full(A, A, B, total=3, per_client=1)
    assert admission.arrived(7, C)
    assert admission.left(5) == []
    assert admission.left(1) == [3]


def test_a_client_that_may_have_more_gets_them_at_once():
    admission = full(A, A, A, total=9, per_client=1)
    assert admission.limit(9, 3) == [3, 5]


def test_lower_limits_let_those_who_are_read_go_on_and_nobody_in():
    admission = full(A, A, A, B, total=2, per_client=2)
    assert admission.limit(2, 1) == []
    assert admission.left(1) == [7]
    assert admission.left(3) == [5]


def test_one_that_leaves_while_it_waits_is_withdrawn():
    admission = full(A, A, A, A)
    assert admission.left(5) == []
    assert admission.left(1) == [7]


def test_the_last_of_a_client_that_leaves_while_it_waits_takes_its_turn_with_it():
    admission = full(A, A, B, C)
    assert admission.left(5) == []
    assert admission.left(1) == [7]


def test_ids_that_nobody_knows_are_ignored():
    admission = full(A)
    assert admission.left(99) == admission.authenticated(99) == []
    admission.departed(99)
    assert [admission.left(1), admission.left(1)] == [[], []]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8:0:0:ffff::1", "2001:db8::2", True),
        ("2001:db8:0:1::1", "2001:db8::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("0.0.0.1", "::1", False),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_64(one, other, same):
    admission = Admission(total=9, per_client=1)
    assert admission.arrived(1, ip_address(one))
    assert admission.arrived(3, ip_address(other)) is not same


# Failures.


def failing(times_s: list[float], client: Client = A, admission: Admission | None = None) -> Admission:
    admission = admission or Admission(9, 9)
    for time_s in times_s:
        admission.failed(client, int(time_s * SECOND))
    return admission


def test_ten_failures_in_a_minute_are_refused_for_a_minute():
    admission = failing([0, 1, 2, 3, 4, 5, 6, 7, 8])
    assert not admission.refused(A, 8 * SECOND)
    failing([59.9], admission=admission)
    assert admission.refused(A, 60 * SECOND)
    assert admission.refused(A, int(119.8 * SECOND))
    assert not admission.refused(A, int(119.9 * SECOND))


def test_ten_failures_in_more_than_a_minute_are_not():
    assert not failing([0, 1, 2, 3, 4, 5, 6, 7, 8, 60]).refused(A, 60 * SECOND)


def test_the_minute_moves_along():
    admission = failing([0, *range(51, 60), 60.5])
    assert admission.refused(A, 61 * SECOND)


def test_nobody_is_refused_for_another_client():
    assert not failing([0] * 10).refused(B, 0)


def test_a_client_that_never_failed_is_not_refused():
    assert not Admission(9, 9).refused(A, 0)


def test_the_whole_64_fails_together():
    assert failing([0] * 10, ip_address("2001:db8::1")).refused(ip_address("2001:db8::ffff"), 0)


def test_a_client_with_a_proved_connection_is_not_refused_until_its_last_one_departs():
    admission = failing([0] * 10)
    for id in (1, 3):
        admission.arrived(id, A)
        admission.authenticated(id)
    assert not admission.refused(A, 0)
    admission.departed(1)
    assert not admission.refused(A, 0)
    admission.departed(3)
    assert admission.refused(A, 0)


def test_ten_thousand_clients_are_remembered_and_the_one_that_failed_longest_ago_is_forgotten():
    admission = failing([0] * 10, A)
    failing([0] * 10, B, admission)
    failing([1], A, admission)
    for number in range(CLIENTS - 1):
        admission.failed(ip_address(f"2001:db8:{number >> 8:x}:{number & 255:x}::1"), SECOND)
    assert admission.refused(A, SECOND)
    assert not admission.refused(B, SECOND)


@given(
    st.lists(
        st.tuples(st.sampled_from(["arrived", "left", "authenticated", "limit"]), st.integers(0, 9), st.integers(0, 3)),
        max_size=60,
    )
)
def test_nobody_waits_who_may_be_read_and_nobody_is_read_beyond_a_limit(story):
    """A model: the same story, told by counting."""
    admission, client_of, reading, waiting = Admission(3, 2), {}, set(), []
    for deed, number, client in story:
        if deed == "arrived" and number not in client_of:
            client_of[number] = ip_address(f"192.0.2.{client}")
            read_now = [number] if admission.arrived(number, client_of[number]) else []
            waiting += [number]
        elif deed == "limit":
            read_now = admission.limit(3, max(1, client))
        elif deed in ("left", "authenticated"):
            read_now = getattr(admission, deed)(number)
            client_of.pop(number, None)
            reading.discard(number)
            waiting = [one for one in waiting if one != number]
        else:
            continue
        assert all(one in waiting for one in read_now)
        reading |= set(read_now)
        waiting = [one for one in waiting if one not in read_now]
        counts = Counter(client_of[one] for one in reading)
        assert len(reading) <= 3
        assert all(counts[client_of[one]] <= admission.per_client for one in read_now)
        if len(reading) < 3:
            assert all(counts[client_of[one]] >= admission.per_client for one in waiting)
