"""Deadlines: at most one a key, the earliest first, and nothing that was forgotten."""

from weakref import ref

from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.config.directives import TIMEOUTS
from gaproxy.proto.patience import FORGOTTEN_MOST, HOUSE_S, Patience


def waiting(**deadlines: int) -> Patience[str]:
    patience = Patience[str]()
    for key, deadline in deadlines.items():
        patience.wait(key, deadline)
    return patience


def test_nobody_waits_at_first():
    assert waiting().next_deadline() is None
    assert list(waiting().met(10**9)) == []


def test_the_earliest_deadline_is_next_and_is_met_first():
    patience = waiting(a=3, b=1, c=2)
    assert patience.next_deadline() == 1
    assert list(patience.met(2)) == ["b", "c"]
    assert patience.next_deadline() == 3


def test_of_equal_deadlines_the_one_that_was_set_first_is_met_first():
    assert list(waiting(b=1, a=1).met(1)) == ["b", "a"]


def test_a_deadline_that_was_met_is_forgotten():
    patience = waiting(a=1)
    assert list(patience.met(1)) == ["a"]
    assert list(patience.met(1)) == []
    assert "a" not in patience


def test_a_deadline_is_not_met_before_it_comes():
    assert list(waiting(a=2).met(1)) == []


def test_a_deadline_may_be_moved_later_and_earlier():
    patience = waiting(a=1, b=2)
    patience.wait("a", 3)
    assert patience.next_deadline() == 2
    patience.wait("a", 1)
    assert (patience.next_deadline(), patience.deadline("a")) == (1, 1)
    assert list(patience.met(3)) == ["a", "b"]


def test_a_deadline_that_was_forgotten_is_not_met():
    patience = waiting(a=1, b=2)
    patience.forget("a")
    patience.forget("nobody")
    assert "a" not in patience and patience.deadline("a") is None
    assert list(patience.met(2)) == ["b"]


def test_one_that_was_forgotten_may_wait_again():
    patience = waiting(a=1)
    patience.forget("a")
    patience.wait("a", 2)
    assert list(patience.met(1)) == []
    assert list(patience.met(2)) == ["a"]


def test_one_that_was_suspended_has_no_deadline_until_it_waits_again():
    patience = waiting(a=1, b=4)
    patience.suspend("a")
    patience.suspend("nobody")
    assert "a" not in patience and patience.next_deadline() == 4
    patience.wait("a", 2)
    assert list(patience.met(3)) == ["a"]


def test_suspending_for_a_moment_moves_nothing_in_the_heap():
    patience = waiting(a=1)
    for deadline in range(2, 100):
        patience.suspend("a")
        patience.wait("a", deadline)
    assert len(patience._heap) == 1 and patience.deadline("a") == 99


def test_what_is_set_while_others_are_met_may_come_up_too():
    patience, met = waiting(a=1), []
    for key in patience.met(2):
        met.append(key)
        if len(met) == 1:
            patience.wait("b", 2)
            patience.wait("c", 3)
    assert met == ["a", "b"]


def test_however_often_patience_is_renewed_the_heap_stays_small():
    patience = waiting(a=0, b=0)
    for deadline in range(10_000):
        patience.wait("a", deadline)
        patience.next_deadline()
    assert len(patience._heap) <= 3


def test_whoever_was_forgotten_is_let_go_of_long_before_the_deadline():
    class Somebody: ...

    somebody = Somebody()
    gone, patience = ref(somebody), Patience[Somebody | str]()
    patience.wait("a", 1)
    patience.wait(somebody, 10**12)
    patience.forget(somebody)
    del somebody
    assert gone() is None


def test_however_many_come_and_go_the_heap_stays_small():
    patience = waiting(a=1)
    for guest in map(str, range(10_000)):
        patience.wait(guest, 10**12)
        patience.forget(guest)
    assert len(patience._heap) <= 2 + FORGOTTEN_MOST
    assert patience.next_deadline() == 1


KEYS = st.sampled_from("abc")
DOINGS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), KEYS, st.integers(0, 9)),
        st.tuples(st.just("forget"), KEYS, st.just(0)),
        st.tuples(st.just("suspend"), KEYS, st.just(0)),
        st.tuples(st.just("met"), st.just(""), st.integers(0, 9)),
        st.tuples(st.just("crowd"), st.just(""), st.integers(0, 9)),
    ),
    max_size=30,
)


@given(DOINGS)
def test_it_keeps_the_deadlines_that_a_plain_table_would_keep(doings):
    patience, table = Patience[str](), dict[str, int]()
    for doing, key, time in doings:
        if doing == "wait":
            patience.wait(key, time)
            table[key] = time
        elif doing in ("forget", "suspend"):
            getattr(patience, doing)(key)
            table.pop(key, None)
        elif doing == "crowd":
            for guest in map(str, range(FORGOTTEN_MOST)):
                patience.wait(guest, time)
                patience.forget(guest)
        else:
            met = [(table[key], key) for key in patience.met(time)]
            assert [deadline for deadline, _ in met] == sorted(deadline for deadline, _ in met)
            assert {key for _, key in met} == {key for key in table if table[key] <= time}
            table = {key: deadline for key, deadline in table.items() if deadline > time}
        assert patience.next_deadline() == min(table.values(), default=None)
        assert all(patience.deadline(key) == table.get(key) for key in "abc")


def test_no_time_out_has_two_owners():
    assert not set(HOUSE_S) & {timeout.name for timeout in TIMEOUTS}
