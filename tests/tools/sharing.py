"""Two MTAs and a remote that they share: how a dialogue begins about connections that carry many sessions."""

from collections.abc import Iterable

from tools.talk import (
    CERTIFICATE,
    CONFIG,
    DATA,
    EHLO,
    GOODBYE,
    GREETING,
    MAIL,
    PIPELINING,
    QUIT,
    RCPT,
    Talk,
    accepted,
    auth,
    connected,
    hello,
    opening,
)

from gaproxy.proto.actions import Action, Adopt, Connect, Prepare, ReadConfig, Relay, Send
from gaproxy.proto.events import ConfigRead, Prepared, Received, Relayed, Signalled

SHARING = CONFIG.replace("reuse_connections no\n", "")
OK, GO_AHEAD = b"250 ok\r\n", b"354 go\r\n"
RSET, WAS_RESET = b"RSET\r\n", b"250 reset\r\n"
PARTED = b"221 bye\r\n"
LET_GO = "direct_remote_smtp: remote(192.0.2.5:25): let go source=127.0.0.2"
NOT_KEPT = LET_GO.replace("let go", "not kept")
PATIENT = SHARING + "reuse_connections { idle 10m }\n"
ONE_SLOT = SHARING + 'throttle "*" { max_connections 1 }\n'


def with_mtas(config: str = SHARING, nodes: Iterable[str] = ("mta-1", "mta-2")) -> Talk:
    """A talk in which these MTAs have proved who they are, as 1, 3, 5 and so on."""
    talk = Talk(config)
    for id, node in zip(range(1, 99, 2), nodes, strict=False):
        talk.hear(accepted(id))
        talk.hear(Received(id, hello(node=node)))
        talk.hear(Received(id, auth(node=node)))
    return talk


def ready(id: int = 7, uses: int = 1, age_ms: int = 0, remote: str = "192.0.2.5:25", tls: str = "none") -> bytes:
    """The READY line of a connection that has carried `uses` sessions, this one too."""
    reused = "yes" if uses > 1 else "no"
    told = f"reused={reused} uses={uses} age_ms={age_ms} tls={tls}"
    return f"READY id={id} source=127.0.0.2:40113 remote={remote} {told}\r\n".encode()


def shown(id: int = 7, uses: int = 1, age_ms: int = 0, remote: str = "192.0.2.5:25") -> bytes:
    """What an MTA hears when it has got a remote: READY, and the remote's greeting."""
    return ready(id, uses, age_ms, remote) + GREETING


def open_fresh(
    talk: Talk, mta: int = 1, remote: int = 2, said: bytes | None = None, offer: bytes = PIPELINING, id: int = 7
) -> None:
    """This MTA asks for a remote (or says what it says), and gets one that is dialled for it."""
    [call] = talk.hear(Received(mta, said or opening(id)))
    assert isinstance(call, Connect) and call.id == remote
    answer(talk, mta, remote, offer)


def answer(talk: Talk, mta: int = 1, remote: int = 2, offer: bytes = PIPELINING) -> None:
    """A remote that is being called takes the call, and is ready for this MTA."""
    talk.tell(connected(remote))
    [introduction] = talk.hear(Received(remote, GREETING))
    assert isinstance(introduction, Send) and introduction.data.startswith(b"EHLO ")
    [told] = talk.hear(Received(remote, offer))
    assert isinstance(told, Send) and told.id == mta and b" reused=no " in told.data


def send_message(talk: Talk, mta: int = 1, remote: int = 2) -> None:
    """One whole message of this MTA, taken by the remote."""
    for command, said in ((MAIL, OK), (RCPT, OK)):
        talk.tell(Received(mta, command), Send(remote, command))
        talk.tell(Received(remote, said), Send(mta, said))
    talk.tell(Received(mta, DATA), Send(remote, DATA))
    talk.tell(Received(remote, GO_AHEAD), Send(mta, GO_AHEAD), Relay(mta, remote))
    talk.tell(Relayed(mta, 100, b"", "dot"))
    talk.tell(Received(remote, OK), Send(mta, OK))


def go_to_rest(talk: Talk, mta: int = 1, remote: int = 2) -> None:
    """This MTA says QUIT, and the remote rests."""
    talk.tell(Received(mta, QUIT), Send(mta, GOODBYE), Send(remote, RSET))
    talk.tell(Received(remote, WAS_RESET))


def in_use(config: str = SHARING, offer: bytes = PIPELINING, said: bytes | None = None) -> Talk:
    """A talk in which MTA 1 has the remote 2 for its own; MTA 3 looks on."""
    talk = with_mtas(config)
    open_fresh(talk, offer=offer, said=said)
    return talk


def at_rest(config: str = SHARING, offer: bytes = PIPELINING, said: bytes | None = None) -> Talk:
    """A talk in which the remote 2 rests after a session of MTA 1, which had no message."""
    talk = in_use(config, offer, said)
    go_to_rest(talk)
    return talk


def reused(config: str = SHARING, offer: bytes = PIPELINING) -> Talk:
    """A talk in which MTA 3 has the remote 2 that MTA 1 had before."""
    talk = at_rest(config, offer)
    talk.tell(Received(3, opening(9)), Send(3, shown(9, uses=2)))
    talk.tell(Received(3, EHLO), Send(3, offer))
    return talk


def two_at_rest(config: str = SHARING) -> Talk:
    """A talk in which 2 and 4 rest at the same place, 2 for a second longer."""
    talk = in_use(config)
    open_fresh(talk, mta=3, remote=4, id=9)
    go_to_rest(talk, mta=1, remote=2)
    talk.wait(1.0)
    go_to_rest(talk, mta=3, remote=4)
    return talk


def calls(id: int, address: str = "192.0.2.5") -> Connect:
    """The order to call an address."""
    return Connect(id, "127.0.0.2", (address, 25))


def reload(talk: Talk, config: str, *orders: Action) -> None:
    """The operator changes the configuration; these orders come with it."""
    talk.tell(Signalled("HUP", bytes(16)), ReadConfig("gaproxy.conf"))
    [prepare] = talk.hear(ConfigRead(config))
    assert isinstance(prepare, Prepare)
    talk.tell(Prepared((), CERTIFICATE), Adopt(), *orders)


def status(talk: Talk) -> str:
    """The status line of the moment."""
    talk.proxy.caretaker.tell_status()
    return talk.proxy.seating.orders[-1].line
