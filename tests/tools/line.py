"""Several MTAs and few places: the limits of the dialogues about them, and what is asked and told there."""

from tools.sharing import ONE_SLOT, SHARING
from tools.talk import Talk, failed, opening

from gaproxy.proto.events import Closed, ConnectFailed

ANY = 'throttle "*" { max_connections %d }\n'
ONE, TWO = ONE_SLOT, SHARING + ANY % 2
AT_FIVE = "throttle five { remote 192.0.2.5; max_connections 1 }\n"
GMAIL = "throttle gmail.com { max_connections 1 }\n"
CROSSED = SHARING + AT_FIVE + GMAIL
THREE = ("mta-1", "mta-2", "mta-3")
FULL = "all connections of a limit are in use"
WAITS = " wait_ms=20000"
TO_TWO = "192.0.2.5:25,192.0.2.6:25"


def throttled(id: int = 9, tried: str = "192.0.2.5:25/throttled/0") -> bytes:
    return failed("throttled", tried, FULL, retry_ms=1000, id=id)


def waiting(id: int = 9, more: str = "", to: str = "192.0.2.5:25") -> bytes:
    return opening(id, to=to, more=WAITS + more)


def by_another_name(said: bytes) -> bytes:
    """The same request of an MTA that calls itself otherwise: nothing that rests or is given back will do for it."""
    return said.replace(b"out1.example.com", b"out2.example.com")


def everybody_goes(talk: Talk) -> None:
    """Whoever is connected goes, one after the other; nothing may be left of any place, or of a claim to one."""
    connections = talk.proxy.seating.connections
    while connections:
        id, connection = next(iter(connections.items()))
        talk.hear(Closed(id, "reset") if connection.connected else ConnectFailed(id, "called_off", "called off"))
    board = talk.proxy.switchboard
    left = board.places, board.waiting, board.crossed, board.clears, board.trunks, board.requests, board.freed
    assert [len(one) for one in (*left, board.line, board.pool)] == [0] * 9
    tenants = board.tenants
    assert not (tenants.limits or tenants.under or tenants.users or tenants.contended or tenants.stirred)
    assert not talk.proxy.seating.seats
