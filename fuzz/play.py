"""One world by its dice: some MTAs, some remotes, and a proxy between them that has sworn.

Knows how they are put together, and what must be true in the end.
"""

from collections.abc import Callable
from functools import partial
from random import Random

from attrs import frozen

from fuzz.mta import NATIVE, PROXY, SECRET, Manner, Mta
from fuzz.remote import KINDS, Remote, Temper
from gaproxy.proto.actions import Action
from gaproxy.proto.doors.credentials import PLAIN_BINDING, Verdict
from gaproxy.proto.events import Event
from gaproxy.proto.proxy import Proxy
from gaproxy.runtime_world.driver import World
from gaproxy.runtime_world.oaths import Letters, Sworn, swear

CONFIG = f"""
listen "{NATIVE}"
listen_proxy_protocol "{PROXY}" {{ starttls proxy; level may }}
allow_from 127.0.0.0/8
auth_shared_secret "{SECRET}"
remote_allow 192.0.2.0/24
"""
LIMITS = (
    *("", "", "reuse_connections no", "reuse_connections { messages 2 }", "reuse_connections { total 1 }"),
    *('throttle "*" { max_connections 1 }', 'throttle "*" { source *; max_connections 2 }'),
    'throttle "*" { max_connections 1; messages_per_connection 3 }\nmessages_per_turn 1',
)
"""What a configuration may say of sharing."""

SOURCES = ("127.0.0.2", "127.0.0.3")
NAMES = ("out1.example", "out2.example")
REMOTES = ("192.0.2.5:25", "192.0.2.6:25")
TURNS_MOST = 100_000
IS_TERMINATED = 0.1
LOOKS_EVERY = 5


class Gullible:
    """A keyring that believes everybody: what a proof is worth is tried elsewhere."""

    def keep(self, secrets: tuple[str, ...]) -> None:
        pass

    def judge(self, hello: bytes, challenge: bytes, auth: bytes, proof: str, binding: bytes = PLAIN_BINDING) -> Verdict:
        return Verdict(True, 0, "ef" * 32)


@frozen
class Size:
    """How large a world may be."""

    mtas: int = 4
    sessions: int = 4


@frozen
class Played:
    """What happened in a world."""

    sessions: int
    shared: int  # those that came to a remote on a connection of another's
    taken: int
    told: int
    turns: int


def play(
    dice: Random, size: Size = Size(), onlooker: Callable[[Event, list[Action]], None] | None = None
) -> Played:  # fmt: skip
    """Play one world to its end. Raises BrokenOath, or whatever a fault of ours raises."""
    letters, remotes = Letters(), list[Remote]()
    proxy = Proxy("gaproxy.conf", Gullible(), strict=True)
    sworn = Sworn(proxy, onlooker)
    world = World(sworn, dice, CONFIG + dice.choice(LIMITS) + "\n")
    for remote in REMOTES:
        temper = Temper(dice.choice(list(KINDS.values())), dice.random() < 0.7, dice.random() < 0.3)
        address, _, port = remote.partition(":")
        world.places[address, int(port)] = partial(answer, remotes, temper, dice, letters)
    world.signal("START")
    swear(world.exit_code is None, "the proxy did not start")
    mtas = [come_in(world, number, dice, letters, size) for number in range(1 + int(dice.random() * size.mtas))]
    turns = run(world, proxy, int(dice.random() * 500) if dice.random() < IS_TERMINATED else None)
    if world.exit_code is None:  # at its end the house waits for nobody longer than it must
        sworn.nobody_is_left()
        seating = proxy.seating
        swear(not (seating.connections or seating.seats), f"these have a seat still: {list(seating.seats)}")
    letters.judge()
    found = letters.letters.values()
    told = sum(letter.told == 250 for letter in found)
    shared = sum(remote.handovers for remote in remotes)
    return Played(sum(mta.begun for mta in mtas), shared, sum(letter.taken for letter in found), told, turns)


def answer(remotes: list[Remote], temper: Temper, dice: Random, letters: Letters, source: str) -> Remote:
    """Another connection to this place."""
    remotes.append(Remote(temper, dice, letters, source))
    return remotes[-1]


def run(world: World, proxy: Proxy, doom: int | None) -> int:
    """Until nobody is left; at turn `doom` the process is told to end. Returns how many turns it took."""
    turns = 0
    while world.turn() and (world.links or world.dials or world.network.carriers):
        turns += 1
        swear(turns < TURNS_MOST, "it does not end")
        if turns == doom:
            world.signal("TERM")
        if turns % LOOKS_EVERY == 0:  # what is wrong at rest stays wrong
            for id in resting(proxy):
                look_at_rest(world, id)
    return turns


def resting(proxy: Proxy) -> list[int]:
    """The connections at rest. That a caller was in order when it was put there is what is tried."""
    seats = proxy.seating.seats
    callers = [trunk.caller for trunk in proxy.switchboard.pool.resting]
    return [connection.id for one in callers if one in seats and (connection := seats[one].hears) is not None]


def look_at_rest(world: World, id: int) -> None:
    """Nothing unsafe at rest: once all that we sent has come there, it waits for a MAIL, and for nothing else."""
    link = world.links.get(id)
    if link is not None and not link.outbox and world.sockets[link.fd].quiet():
        remote = world.sockets[link.fd].peer()
        assert isinstance(remote, Remote)
        swear(remote.left or remote.silent or remote.waits_for_mail(), f"{id} rests, and is not at rest: {remote}")


def come_in(world: World, number: int, dice: Random, letters: Letters, size: Size) -> Mta:
    """One more MTA; often it goes the same way as all others who do."""
    listener, sessions = dice.choice((NATIVE, PROXY)), 1 + int(dice.random() * size.sessions)
    ways = (sequence[: 1 + (dice.random() < 0.25)] for sequence in (SOURCES, NAMES, REMOTES))
    manner = Manner(number, listener, sessions, *ways)
    mta = Mta(manner, dice, letters, partial(world.knock, listener, (f"127.0.0.{10 + number}", 40_000)))
    mta.begin()
    return mta
