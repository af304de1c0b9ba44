"""The governor under random facts: what must hold whatever joins, leaves, is handed on, moves or is limited anew."""

from collections import Counter
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.throttle.governor import Governor
from gaproxy.throttle.places import GONE, HELD, WAITING, Path, Place

MEMBERS = "abcd"
NAMES = ("leaf", "ip", "group")
PATHS = ((), ("leaf",), ("ip",), ("leaf", "ip"), ("ip", "group"), ("group", "ip"), ("leaf", "ip", "group"))

LENGTH = 30  # at least: nothing much has happened before

numbers = st.integers(0, 1 << 16)
facts = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(MEMBERS), st.sampled_from(PATHS)),
    st.tuples(st.just("join"), st.sampled_from(MEMBERS), st.sampled_from(PATHS)),
    st.tuples(st.just("withdraw"), numbers),
    st.tuples(st.just("release"), numbers),
    st.tuples(st.just("release"), numbers),
    st.tuples(st.just("hand"), numbers, st.none() | numbers, st.booleans()),
    st.tuples(st.just("move"), numbers, st.sampled_from(PATHS)),
    st.tuples(st.just("limit"), st.sampled_from(NAMES), st.none() | st.integers(0, 4)),
    st.tuples(st.just("grants")),
    st.tuples(st.just("grants")),
)
stories = st.tuples(st.tuples(*[st.integers(1, 4)] * len(NAMES)), st.lists(facts, min_size=LENGTH, max_size=80))


class Book:
    """What an onlooker writes down who knows nothing of lines: who waits, who holds what, and each cap in force."""

    def __init__(self, caps: tuple[int, ...]) -> None:
        self.governor = Governor()
        self.caps: dict[str, int | None] = dict(zip(NAMES, caps, strict=True))
        self.places: list[Place] = []
        self.told: list[int] = []
        self.settled = True

    def path(self, names: tuple[str, ...]) -> Path:
        """The path that somebody would join: without the limiters that have no cap."""
        return tuple((name, cap) for name in names if (cap := self.caps[name]) is not None)

    def those(self, state: str) -> list[Place]:
        return [place for place in self.places if place.state == state]

    def used(self, name: str) -> int:
        return sum(name in place.names for place in self.those(HELD))

    def full(self, name: str) -> bool:
        cap = self.caps[name]
        return cap is not None and self.used(name) >= cap

    # What may happen.

    def happen(self, fact: tuple[Any, ...]) -> None:
        """One fact, and the laws of it."""
        before = {name: self.used(name) for name in NAMES}
        getattr(self, fact[0])(*fact[1:])
        for name, cap in self.caps.items():
            assert cap is None or self.used(name) <= max(cap, before[name])
        self.agree()

    def join(self, member: str, names: tuple[str, ...]) -> None:
        place = self.governor.join(self.path(names), member, now=len(self.places))
        assert place.state == WAITING
        self.places.append(place)
        self.settled = self.settled and any(self.full(name) for name in place.names)

    def withdraw(self, number: int) -> None:
        if waiting := self.those(WAITING):
            self.governor.leave(waiting[number % len(waiting)])

    def release(self, number: int) -> None:
        if held := self.those(HELD):
            self.governor.leave(held[number % len(held)])
            self.settled = False

    def hand(self, number: int, to: int | None, keeps: bool) -> None:
        """To whose turn it is, or to anybody who waits."""
        held, waiting = self.those(HELD), self.those(WAITING)
        if not held or not waiting:
            return
        giver = held[number % len(held)]
        taker = self.governor.next_for(giver) if to is None else waiting[to % len(waiting)]
        if taker is None:
            return
        giver_names, kept = giver.names, {name for name in giver.names if name in taker.names}
        used = {name: self.used(name) for name in kept}
        needless = tuple(name for name in giver_names if name not in taker.names) if keeps else ()
        given = self.governor.hand(giver, taker, keeps)
        assert (giver.state, taker.state) == ((HELD if needless else GONE, HELD) if given else (HELD, WAITING))
        assert given or to is not None, "whose turn it is can be handed it"
        assert {name: self.used(name) for name in kept} == used
        assert giver.names == (needless if given and needless else giver_names)
        self.settled = False

    def move(self, number: int, names: tuple[str, ...]) -> None:
        held = self.those(HELD)
        if not held:
            return
        place, path = held[number % len(held)], self.path(names)
        before, fresh = place.path, [name for name, _ in path if name not in place.names]
        room = not any(self.full(name) for name in fresh)
        moved = self.governor.move(place, path)
        assert place.path == (path if moved else before)
        assert moved <= room
        assert moved or not room or not self.settled, "where all is granted that can be nobody is in the way"
        self.settled = False

    def limit(self, name: str, cap: int | None) -> None:
        self.caps[name] = cap
        self.governor.limit(name, cap)
        self.settled = False

    def grants(self) -> None:
        waiting = self.those(WAITING)
        for place in self.governor.grants():
            assert place in waiting and place.state == HELD
            self.told.append(place.number)
        self.settled = True

    # What must hold.

    def agree(self) -> None:
        """What the governor says of now is what the book says."""
        whole = self.path(NAMES)
        assert self.governor.blocked(whole) == tuple(name for name, _ in whole if self.full(name))
        assert self.governor.full(whole) == any(self.full(name) for name, _ in whole)
        assert len(self.governor) == len({name for p in self.those(HELD) + self.those(WAITING) for name in p.names})
        for held in self.those(HELD):
            others = [place for place in self.those(WAITING) if place.member != held.member]
            waited = any(self.full(name) and any(name in place.names for place in others) for name in held.names)
            assert self.governor.waited_for(held) == waited
        if self.settled:
            for place in self.those(WAITING):
                assert any(self.full(name) for name in place.names), "a wake-up was lost"


def play(story: tuple[tuple[int, ...], list[tuple[Any, ...]]], curious: bool = False) -> Book:
    """Let it all happen. Who is `curious` asks all the time who would be next, and whether that is true."""
    caps, happenings = story
    book = Book(caps)
    for fact in [*happenings, ("grants",)]:
        book.happen(fact)
        for held in book.those(HELD) if curious else []:
            coming = book.governor.next_for(held)
            assert coming is None or coming.state == WAITING
            if book.settled:
                compare(book.governor, held, coming)
    return book


def compare(governor: Governor, held: Place, coming: Place | None) -> None:
    """In two other worlds: the one leaves and whoever can is granted; the one hands on, and then the same."""
    left, leaving = deepcopy((governor, held))
    left.leave(leaving)
    told = [place.number for place in left.grants()]
    assert told[:1] == ([coming.number] if coming else [])
    if coming:
        handed, giver, taker = deepcopy((governor, held, coming))
        assert handed.hand(giver, taker)
        assert [place.number for place in handed.grants()] == told[1:]


@given(stories)
def test_nothing_is_granted_beyond_a_cap_and_nobody_waits_who_could_go(story):
    book = play(story)
    for place in book.places:
        book.governor.leave(place)
    assert book.governor.grants() == []
    assert len(book.governor) == 0


@given(stories)
def test_who_would_be_next_is_who_is_next_and_asking_changes_nothing(story):
    assert play(story, curious=True).told == play(story).told


@given(stories)
def test_the_same_facts_give_the_same_grants(story):
    assert play(story).told == play(story).told


class Observer(Book):
    """Takes down every turn in order, and judges each: none twice before another one who waits is served once."""

    def __init__(self, caps: tuple[int, ...]) -> None:
        super().__init__(caps)
        self.since: dict[Place, int] = {}

    def join(self, member: str, names: tuple[str, ...]) -> None:
        super().join(member, names)
        self.since[self.places[-1]] = len(self.told)

    def release(self, number: int) -> None:
        """One at a time, so that each turn is seen in the state in which it is taken."""
        self.grants()
        super().release(number)
        waiting = self.those(WAITING)
        granted = self.governor.grants()
        self.settled = True
        for place in granted:
            self.told.append(place.number)
        if len(granted) == 1:
            self.judge(granted[0], [place for place in waiting if place is not granted[0]])

    def judge(self, taken: Place, waiting: list[Place]) -> None:
        by_number = {place.number: place for place in self.places}
        for other in waiting:
            if len(other.names) != 1 or other.names[0] not in taken.names or other.member == taken.member:
                continue
            (name,) = other.names
            since = [by_number[number] for number in self.told[self.since[other] : -1]]
            here = [place.member for place in since if name in place.names]
            if taken.member in here and other.member not in here:
                held = sum(place.member == other.member and name in place.names for place in self.those(HELD))
                active = {place.member for place in [*self.those(HELD), *waiting] if name in place.names}
                cap = self.caps[name]
                assert cap is not None
                assert held * len(active) > cap, "it was its turn, and it held no more than its share"


quiet = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(MEMBERS), st.sampled_from(PATHS[1:])),
    st.tuples(st.just("release"), numbers),
    st.tuples(st.just("grants")),
)


@given(st.tuples(*[st.integers(1, 4)] * len(NAMES)), st.lists(quiet, min_size=LENGTH, max_size=80))
def test_none_is_served_twice_before_another_who_waits_is_served_once(caps, happenings):
    observer = Observer(caps)
    for fact in happenings:
        observer.happen(fact)


class Memory:
    """One limiter as a page of a book that forgets nobody and looks at everybody: the rule, as slow as it can be."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.time = 0
        self.start: dict[str, int] = {}
        self.rank: dict[str, int] = {}
        self.waiting: list[tuple[str, int]] = []
        self.held: Counter[str] = Counter()
        self.ranks = 0

    def here(self) -> set[str]:
        return {member for member, _ in self.waiting} | {member for member, held in self.held.items() if held}

    def ranked(self, member: str) -> None:
        self.ranks += 1
        self.rank[member] = self.ranks

    def join(self, member: str, number: int) -> None:
        if member not in self.here() and self.start.get(member, 0) <= self.time:
            self.ranked(member)
        if all(member != other for other, _ in self.waiting):
            self.start[member] = max(self.start.get(member, 0), self.time)
        self.waiting.append((member, number))

    def leave(self) -> None:
        """Behind each that leaves: where nobody is left the busy period ends, and nobody is ahead any more."""
        if not self.here():
            self.time = max(self.start.values(), default=0)

    def order(self, waits: tuple[str, int]) -> tuple[int, ...]:
        member, number = waits
        held = self.held[member]
        if held * len(self.here()) > self.cap:
            return (1, held, self.start[member], self.rank[member], number)
        return (0, self.start[member], self.rank[member], number)

    def grants(self) -> list[int]:
        granted = []
        while self.waiting and self.held.total() < self.cap:
            member, number = min(self.waiting, key=self.order)
            self.time = max(self.time, self.start[member])
            self.start[member] = self.time + 1
            self.ranked(member)
            self.held[member] += 1
            self.waiting.remove((member, number))
            granted.append(number)
        return granted


single = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from("abcdef")),
        st.tuples(st.just("join"), st.sampled_from("ab")),
        st.tuples(st.just("leave"), numbers),
        st.tuples(st.just("limit"), st.integers(1, 6)),
    ),
    min_size=LENGTH,
    max_size=100,
)


@given(st.integers(1, 6), single)
def test_to_forget_who_is_gone_changes_no_decision(cap, happenings):
    governor, memory, places = Governor(), Memory(cap), {}
    for what, value in happenings:
        if what == "join":
            place = governor.join((("l", memory.cap),), value, now=0)
            places[place.number] = place
            memory.join(value, place.number)
        elif what == "limit":
            memory.cap = value
            governor.limit("l", value)
        elif places:
            place = places.pop(sorted(places)[value % len(places)])
            if place.state == HELD:
                memory.held[place.member] -= 1
            else:
                memory.waiting.remove((place.member, place.number))
            governor.leave(place)
            memory.leave()
        assert [place.number for place in governor.grants()] == memory.grants()


def contend(members: str, slots: int, turns: int, chosen: Any) -> list[str]:
    """Who is served under one limiter while every member always has somebody waiting."""
    governor, path, served = Governor(), (("l", slots),), []
    for member in members * (slots + 1):
        governor.join(path, member, now=0)
    held = governor.grants()
    for _ in range(turns):
        leaving = held.pop(chosen(len(held)))
        governor.leave(leaving)
        (place,) = governor.grants()
        governor.join(path, place.member, now=0)
        served.append(place.member)
        held.append(place)
    return served


def jain(counts: list[int]) -> float:
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("members", ["ab", "abc", "abcdef"])
def test_equal_members_get_equal_shares_however_long_each_holds_its_slot(members, slots):
    served = Counter(contend(members, slots, 2000, Random(7).randrange))
    assert jain([served[member] for member in members]) >= 0.99


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("members", ["ab", "abc", "abcd", "abcdefg"])
def test_nobody_waits_longer_than_one_turn_of_everybody(members, slots):
    served = contend(members, slots, 200, lambda count: 0)
    for at in range(len(served) - len(members)):
        assert set(served[at : at + len(members)]) == set(members)
