"""The load, as plays: each lets a proxy of its own serve, sees that everything went as it must, and returns figures.

Knows who does what, and how much of it; does not know which figures are good, nor how they are told.
"""

import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic

from attrs import frozen
from load import watch
from load.hands import Remote, Sender, letter, play, proved
from tools.real import WAIT_S, Mta, RealProxy

from gaproxy.peers.errand import Letter
from gaproxy.peers.mx import Arrival
from gaproxy.peers.tally import tally


@contextmanager
def serving(runtime: str, folder: Path, config: str = "") -> Iterator[RealProxy]:
    """A proxy that must be in the end as it was in the beginning, and leave in order when it is told to."""
    with RealProxy(runtime, folder, config) as proxy:
        watch.make_room_for_log(proxy)
        before = watch.files(proxy)
        yield proxy
        watch.returns_to_zero(proxy)
        assert watch.files(proxy) == before
        proxy.process.terminate()
        assert proxy.wait_for("drained").endswith("cut=0 unknown=0")
        assert proxy.process.wait(WAIT_S) == 0


def all_went_well(
    proxy: RealProxy, letters: Sequence[Letter], senders: Sequence[Sender], arrivals: Sequence[Arrival]
) -> None:
    """Every letter is there exactly once, as it was sent; its MTA knows that, and so does the log, a session each."""
    outcomes = [outcome for sender in senders for outcome in sender.mta.outcomes]
    assert tally(letters, outcomes, arrivals).faults == ()
    assert watch.messages(proxy, len(letters)) == [1] * len(letters)


# Many sessions at once.

CROWD = 1000


@frozen
class Crowd:
    """What sessions of one message each cost that were all open at the same time, each from a connection of its own.

    `seconds`: from the first connection to the last QUIT; `cpu_s`: of the proxy; `grown_bytes`: at its peak.
    """

    sessions: int
    at_once: int
    seconds: float
    cpu_s: float
    grown_bytes: int


def let_a_crowd_in(runtime: str, folder: Path, tls: bool) -> Crowd:
    """The MTAs move in turn, a step each: none says MAIL before all have asked for their remotes."""
    with serving(runtime, folder) as proxy, Remote(folder) as remote:
        letters = [letter(number, remote.to, "encrypt" if tls else "none") for number in range(CROWD)]
        began, used = monotonic(), watch.cpu_s(proxy)
        senders = [proved(proxy, [one], tls) for one in letters]
        play(senders)
        seconds, cpu_s = monotonic() - began, watch.cpu_s(proxy) - used
        all_went_well(proxy, letters, senders, remote.arrivals)
        return Crowd(CROWD, remote.most_guests, seconds, cpu_s, proxy.grown_bytes())


# Many sessions, one after the other.

EARLY, LATE = 2000, 20_000
MTAS = 20
SESSIONS_A_CONNECTION = 10


@frozen
class Procession:
    """What sessions of one message each cost that came one after the other, a few on each connection.

    `early_bytes`, `late_bytes`: the proxy's memory behind the first `early` of them, and behind all.
    """

    sessions: int
    seconds: float
    cpu_s: float
    early: int
    early_bytes: int
    late_bytes: int


def let_a_procession_pass(runtime: str, folder: Path) -> Procession:
    """A few MTAs move in turn; each makes a fresh connection behind some sessions."""
    with serving(runtime, folder) as proxy, Remote(folder) as remote:
        letters = [letter(number, remote.to) for number in range(LATE)]
        shares = [letters[at : at + SESSIONS_A_CONNECTION] for at in range(0, LATE, SESSIONS_A_CONNECTION)]
        began, used, early_bytes = monotonic(), watch.cpu_s(proxy), 0
        senders: list[Sender] = []
        for at in range(0, len(shares), MTAS):
            if at * SESSIONS_A_CONNECTION == EARLY:
                early_bytes = watch.resident_bytes(proxy)
            some = [proved(proxy, share) for share in shares[at : at + MTAS]]
            play(some)
            senders += some
        late_bytes = watch.resident_bytes(proxy)
        seconds, cpu_s = monotonic() - began, watch.cpu_s(proxy) - used
        all_went_well(proxy, letters, senders, remote.arrivals)
        return Procession(LATE, seconds, cpu_s, EARLY, early_bytes, late_bytes)


# Many who do nothing.

RESTING, RESTING_IN_TLS, IN_SESSION = 5000, 1000, 2000
FILES_MOST, SPARED_FILES = 1 << 20, 500
AT_A_TIME = 100
NO_LIMITS = "connections { max 20000; per_client 20000 }"


@frozen
class Rest:
    """What it costs to hold those who do nothing: MTAs that have proved themselves, and sessions that are open.

    Bytes are those that the proxy grew by for each. `idle_cpu_s`: of the proxy, while all were there for `idle_s`.
    `session_s`: how long a session with a message then took, from connecting to QUIT.
    """

    resting: int
    bytes_each: float
    resting_in_tls: int
    bytes_each_in_tls: float
    in_session: int
    bytes_each_in_session: float
    idle_s: float
    idle_cpu_s: float
    session_s: float


def let_all_rest(runtime: str, folder: Path) -> Rest:
    """Fewer where a process may have fewer files: each connection of an MTA, or to a remote, is one here and there."""
    with (
        all_files() as files,
        serving(runtime, folder, NO_LIMITS) as proxy,
        Remote(folder) as remote,
        ExitStack() as guests,
    ):
        share = (files - SPARED_FILES) // 8
        resting, in_tls, in_session = min(RESTING, 5 * share), min(RESTING_IN_TLS, share), min(IN_SESSION, 2 * share)
        grown = [watch.resident_bytes(proxy)]
        mtas = [guests.enter_context(Mta(proxy)) for _ in range(resting)]
        grown.append(watch.resident_bytes(proxy))
        begin_sessions(mtas[:in_session], remote)
        grown.append(watch.resident_bytes(proxy))
        for _ in range(in_tls):
            guests.enter_context(Mta(proxy, tls=True))
        grown.append(watch.resident_bytes(proxy))
        idle_s, idle_cpu_s = idle(proxy, (resting + in_tls, in_session))
        session_s = one_more(proxy, remote)
        guests.close()
        assert sorted(watch.messages(proxy, in_session + 1)) == [0] * in_session + [1]
    plain, sessions, secured = (after - before for before, after in pairwise(grown))
    return Rest(
        resting=resting,
        bytes_each=plain / resting,
        resting_in_tls=in_tls,
        bytes_each_in_tls=secured / in_tls,
        in_session=in_session,
        bytes_each_in_session=sessions / in_session,
        idle_s=idle_s,
        idle_cpu_s=idle_cpu_s,
        session_s=session_s,
    )


@contextmanager
def all_files() -> Iterator[int]:
    """Open as many files as there may be, as a proxy does. Gives how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard if hard != resource.RLIM_INFINITY else FILES_MOST
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def begin_sessions(mtas: Sequence[Mta], remote: Remote) -> None:
    """A session for each, a few at a time: a remote that all call at once has no room for them in its backlog."""
    for at in range(0, len(mtas), AT_A_TIME):
        for mta in mtas[at : at + AT_A_TIME]:
            mta.ask_for(remote.to)
        for mta in mtas[at : at + AT_A_TIME]:
            mta.ready()


def idle(proxy: RealProxy, connections: tuple[int, int]) -> tuple[float, float]:
    """How long two rounds of status lines took to come, and what they, and all else, cost the proxy."""
    assert watch.next_status(proxy) == connections
    began, used = monotonic(), watch.cpu_s(proxy)
    assert [watch.next_status(proxy) for _ in range(2)] == [connections] * 2
    return monotonic() - began, watch.cpu_s(proxy) - used


def one_more(proxy: RealProxy, remote: Remote) -> float:
    """How long a session takes, from its connection to its QUIT, in seconds."""
    began, one = watch.undisturbed_s(proxy), letter(len(remote.arrivals), remote.to)
    sender = proved(proxy, [one])
    play([sender])
    took = watch.undisturbed_s(proxy) - began
    assert tally([one], sender.mta.outcomes, remote.arrivals[-1:]).faults == ()
    return took
