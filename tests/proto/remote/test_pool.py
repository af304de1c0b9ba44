"""The pool by itself: whatever comes and goes, it never holds more than it may, and finds only what is identical."""

from attrs import evolve, fields
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.asks import Destination, Dial, Request
from gaproxy.proto.patience import SECOND
from gaproxy.proto.remote.caller import Caller
from gaproxy.proto.remote.pool import BANNED_MOST, BANNED_NS, Identity, Limits, Pool, Trunk, identity, is_stale

LIMITS = Limits(messages=10, max_age_ns=60 * SECOND, per_destination=2, total=3)
IDENTITY = Identity("192.0.2.1", "203.0.113.5", 25, None, "may", (), "out1.example.com", "cluster")
OTHERS = {
    "source": "192.0.2.2",
    "address": "203.0.113.6",
    "port": 2525,
    "host": "mx1.example.net",
    "tls": "verify",
    "tls_names": ("mx1.example.net",),
    "helo": "out2.example.com",
    "pool": "apart",
}


def trunk(one: Identity = IDENTITY, ready_at: int = 0, **more: object) -> Trunk:
    to = Destination(one.address, one.port, one.host, 0)
    return Trunk(Caller(Dial("x", one.source, to, one.helo, one.tls, one.tls_names)), one, ready_at, **more)


def test_a_request_has_the_identity_of_what_it_wants_from_where_to_where():
    to = Destination("203.0.113.5", 25, "mx1.example.net", 3)
    wanted = Request("x", ("192.0.2.1", "2001:db8::1"), (to,), "out1.example.com", tls="verify", tls_names=("a",))
    made = identity(wanted, "192.0.2.1", to)
    assert made == evolve(IDENTITY, host="mx1.example.net", tls="verify", tls_names=("a",))
    assert made.place == ("192.0.2.1", "203.0.113.5", 25)


def test_every_part_of_an_identity_counts():
    assert OTHERS.keys() == {one.name for one in fields(Identity)}
    pool = Pool(LIMITS)
    pool.put(trunk(), 0)
    for name, value in OTHERS.items():
        other = evolve(IDENTITY, **{name: value})
        assert pool.find([other], 0) is None
        assert IDENTITY.differs_in(other) == (name,)


def test_without_limits_nobody_may_rest_and_nobody_is_found():
    pool = Pool(LIMITS)
    pool.put(trunk(), 0)
    pool.limits = None
    assert pool.refuses(trunk(), 0) == "off"
    assert pool.find([IDENTITY], 0) is None


def test_who_does_not_rest_is_passed_over_when_it_is_removed():
    pool = Pool(LIMITS)
    pool.remove(trunk())
    assert len(pool) == 0


def test_under_each_limit_the_longest_rest_comes_first_and_nothing_is_kept_of_who_has_gone():
    pool = Pool(LIMITS)
    first, second = trunk(), trunk()
    pool.put(first, 0, ("five", "gmail.com"))
    pool.put(second, 1, ("five",))
    assert {name: list(those) for name, those in pool.under.items()} == {"five": [first, second], "gmail.com": [first]}
    pool.stand(first, ("gmail.com",))
    assert {name: list(those) for name, those in pool.under.items()} == {"five": [second], "gmail.com": [first]}
    pool.remove(first)
    pool.remove(second)
    assert not pool.under and not pool.at


def test_it_is_stale_after_more_than_two_seconds_of_rest():
    rested = trunk()
    assert not is_stale(rested, 100 * SECOND)
    rested.rests_since = 0
    assert not is_stale(rested, 2 * SECOND)
    assert is_stale(rested, 2 * SECOND + 1)


def test_a_count_may_be_limited_by_the_pool_by_a_block_or_by_the_remote():
    pool = Pool(LIMITS)
    assert pool.refuses(trunk(messages=9, mails=99), 0) is None
    assert pool.refuses(trunk(messages=10), 0) == "messages"
    assert pool.refuses(trunk(messages=3, messages_most=3), 0) == "messages"
    assert pool.refuses(trunk(messages=3, messages_most=4, mails=4, mails_most=5), 0) is None
    assert pool.refuses(trunk(mails=5, mails_most=5), 0) == "mailmax"
    assert pool.refuses(trunk(unfit="helo", messages=10), 0) == "helo"
    assert pool.refuses(trunk(), 55 * SECOND) is None
    assert pool.refuses(trunk(), 55 * SECOND + 1) == "max_age"


def test_a_ban_is_over_after_a_minute_and_forgotten_when_asked_for():
    pool, place = Pool(LIMITS), ("203.0.113.5", 25)
    resting = trunk()
    pool.put(resting, 0)
    pool.put(trunk(evolve(IDENTITY, port=2525)), 0)
    assert pool.ban(place, 0) == [resting]
    assert pool.refuses(trunk(ready_at=BANNED_NS - 1), BANNED_NS - 1) == "banned"
    assert pool.refuses(trunk(evolve(IDENTITY, source="192.0.2.2")), 0) == "banned"
    assert pool.refuses(trunk(evolve(IDENTITY, port=2525)), 0) is None
    assert pool.refuses(trunk(ready_at=BANNED_NS), BANNED_NS) is None
    assert pool.banned == {}


def test_of_more_bans_than_are_remembered_the_oldest_go_and_a_new_one_of_the_same_place_is_the_newest():
    pool = Pool(LIMITS)
    for number in range(BANNED_MOST):
        pool.ban(("203.0.113.5", number), 0)
    pool.ban(("203.0.113.5", 0), 1)
    pool.ban(("203.0.113.6", 1), 1)
    assert len(pool.banned) == BANNED_MOST
    assert pool.is_banned(("203.0.113.5", 0), 1) and pool.is_banned(("203.0.113.6", 1), 1)
    assert not pool.is_banned(("203.0.113.5", 1), 1)


def test_fewer_may_rest_than_do():
    pool = Pool(evolve(LIMITS, per_destination=9, total=9))
    here = [trunk() for _ in range(4)]
    there = [trunk(evolve(IDENTITY, port=port)) for port in (26, 27)]
    for one in (*here, *there):
        assert pool.put(one, 0) == []
    pool.limits = evolve(LIMITS, per_destination=2, total=9)
    assert pool.surplus(pool.at) == here[:2]
    pool.limits = evolve(LIMITS, per_destination=2, total=1)
    assert pool.surplus(pool.at) == [*here, there[0]]


# Whatever comes and goes.

IDENTITIES = st.builds(
    evolve,
    st.just(IDENTITY),
    address=st.sampled_from(["203.0.113.5", "203.0.113.6"]),
    helo=st.sampled_from(["out1.example.com", "out2.example.com"]),
    pool=st.sampled_from(["cluster", "apart"]),
)
MOVES = st.lists(
    st.tuples(st.sampled_from(["put", "take", "take any name", "leave"]), IDENTITIES, st.integers(0, 5 * SECOND)),
    max_size=60,
)
SOME = st.builds(
    Limits,
    messages=st.just(10),
    max_age_ns=st.sampled_from([6 * SECOND, 60 * SECOND]),
    per_destination=st.integers(1, 3),
    total=st.integers(1, 4),
)


@given(SOME, MOVES)
def test_never_more_rest_than_may_and_only_what_is_identical_is_found(limits, moves):
    pool, now = Pool(limits), 0
    resting: list[Trunk] = []  # as they came
    for move, wanted, later in moves:
        now += later
        if move == "put":
            resting.append(trunk(wanted, ready_at=now))
            for gone in pool.put(resting[-1], now):
                assert gone in resting[:-1]
                pool.remove(gone)
                resting.remove(gone)
        elif move == "leave" and resting:
            pool.remove(resting.pop(len(resting) // 2))
        else:
            young = [one for one in resting if now - one.ready_at <= limits.max_age_ns - 5 * SECOND]
            if move == "take":
                fit = [one for one in young if one.identity == wanted]
                found = pool.find([wanted], now)
                assert found is next((one for one in fit if not is_stale(one, now)), next(iter(fit), None))
            else:
                found = pool.find_but_for_name([evolve(wanted, helo="")], now)
                fit = [one for one in young if evolve(one.identity, helo=wanted.helo) == wanted]
                assert (found in fit) if fit else (found is None)
            if found is not None:
                pool.remove(found)
                resting.remove(found)
        assert list(pool.resting) == resting and all(one in pool for one in resting) and len(pool) == len(resting)
        assert len(resting) <= limits.total
        places = [one.identity.place for one in resting]
        assert pool.at.keys() == set(places)
        assert all(places.count(place) <= limits.per_destination for place in places)
