"""The table of clients as data: who comes to a PROXY door, in which situations, and what must hold of what was seen.

Knows what is right; does not know a process, a socket, or how anything is found out.
"""

import re
from collections.abc import Iterator, Mapping

from attrs import frozen

SOURCE = "SOURCE"  # what the address is called that a header asks for

MTA, PROXY, IMPATIENT = "starttls mta", "starttls proxy; level encrypt", "timeouts { total 1s }"
KEEPS, REFUSES, SILENT = "keeps", "refuses", "silent"
RESTARTS = "the proxy restarts"
IN_FLIGHT, DOWN, AFTERWARDS = "in flight", "down", "afterwards"

UP, DEAD = "UP", "DOWN"


@frozen
class Situation:
    """What a client meets. `door`: what is configured. `remote`: what it does, or what it greets with. `asks`: what
    the header asks for, where that is not one of our addresses and this remote.

    `tells`: each moment at which the client is asked, and what must stand in its own words. `log`: what must stand in
    the proxy's line about it, as a pattern. `tls`: the remote offers it; `by_client`: the client asks for it.
    """

    what: str
    tells: Mapping[str, str]
    door: str = MTA
    remote: str = REFUSES
    asks: Mapping[str, str] = {}
    log: str = ""
    tls: bool = False
    by_client: bool = False


KEPT = "250 2.0.0 kept from SOURCE"

SITUATIONS: Mapping[str, Situation] = {
    "delivered": Situation(
        "The remote takes the message. A health check is not about a remote: it is asked while the proxy serves.",
        {"": KEPT},
        remote=KEEPS,
        log="end .* tls=none .* messages=1 ",
    ),
    "TLS end to end": Situation(
        "`starttls mta`: the client says STARTTLS, and the remote hears it.",
        {"": f"{KEPT} under TLS"},
        remote=KEEPS,
        log="end .* tls=opaque .* messages=- ",
        tls=True,
        by_client=True,
    ),
    "TLS by the proxy": Situation(
        "`starttls proxy; level encrypt`: the client speaks plain text, the remote is spoken to under TLS.",
        {"": f"{KEPT} under TLS"},
        door=PROXY,
        remote=KEEPS,
        log="end .* tls=TLSv1.* messages=1 ",
        tls=True,
    ),
    "the remote refuses": Situation(
        "Nobody listens there.",
        {"": "421 4.4.1 gaproxy: refused: REMOTE from SOURCE: Connection refused [SESSION]"},
        log="failed kind=refused ",
    ),
    "the remote is silent": Situation(
        "It accepts the connection and says nothing; `timeouts { total 1s }`, so that nobody need wait for 25 s.",
        {"": "421 4.4.1 gaproxy: timeout: REMOTE from SOURCE: "},
        door=IMPATIENT,
        remote=SILENT,
        log="failed kind=timeout ",
    ),
    "the remote says 421": Situation(
        "Its greeting is `421 4.3.2 too busy`.",
        {"": "421 4.3.2 too busy"},
        remote="421 4.3.2 too busy",
        log="failed kind=greeting .*reply=421 ",
    ),
    "the remote says 554": Situation(
        "Its greeting is `554 5.7.1 we do not want you`.",
        {"": "554 5.7.1 we do not want you"},
        remote="554 5.7.1 we do not want you",
        log="failed kind=greeting .*reply=554 ",
    ),
    "the source is not ours": Situation(
        "The header asks for an address that is not in `source_ips`.",
        {"": "421 4.7.1 gaproxy: source_denied: REMOTE from SOURCE: "},
        asks={"source": "127.0.0.77"},
        log="failed kind=source_denied ",
    ),
    "the destination is denied": Situation(
        "The header asks for an address that is not public; that of curl, for a listener of the proxy.",
        {"": "421 4.7.1 gaproxy: denied: "},
        asks={"remote": "10.0.0.1"},
        log="failed kind=denied ",
    ),
    RESTARTS: Situation(
        "SIGTERM comes while a message is *in flight*: the remote has it, and owes its reply. It is finished. Who comes"
        " while the proxy is *down* is refused, and who comes *afterwards*, to another process, is served.",
        {IN_FLIGHT: KEPT, DOWN: "", AFTERWARDS: KEPT},
        remote=KEEPS,
    ),
}

BY_HEADER, BY_OWN_PAIR, BY_CHECK = "header", "own pair", "check"


@frozen
class Client:
    """Somebody who comes to the door. `programs`: what must be installed. `comes`: what its header can say.

    `options`: of its kind, see `clients.play`.
    """

    what: str
    programs: tuple[str, ...] = ()
    comes: str = BY_HEADER
    options: tuple[str, ...] = ()


CLIENTS: Mapping[str, Client] = {
    "swaks, v1": Client("swaks with `--proxy 'TCP4 …'`", ("swaks",), options=("1",)),
    "swaks, v2": Client("swaks with `--proxy-version 2 …`", ("swaks",), options=("2",)),
    "smtplib, v1": Client("Python's smtplib, which says the header before it listens"),
    "curl behind HAProxy, v1": Client(
        "curl without a header; HAProxy in front of us names source and remote (`tcp-request connection set-src`,"
        " `set-dst`) and has `send-proxy`",
        ("curl", "haproxy"),
        options=("send-proxy",),
    ),
    "curl behind HAProxy, v2": Client("the same with `send-proxy-v2`", ("curl", "haproxy"), options=("send-proxy-v2",)),
    "curl, v1": Client(
        "curl with `--haproxy-protocol`: its header tells the addresses of its own connection, and can tell no others",
        ("curl",),
        BY_OWN_PAIR,
    ),
    "check, v1": Client(
        "HAProxy's health check `check`, with `send-proxy`", ("haproxy",), BY_CHECK, options=("send-proxy",)
    ),
    "check, v2": Client("the same with `send-proxy-v2`", ("haproxy",), BY_CHECK, options=("send-proxy-v2",)),
    "smtpchk, v1": Client(
        "HAProxy's health check with `option smtpchk EHLO lb.example.com` and `send-proxy`: do not use it",
        ("haproxy",),
        BY_CHECK,
        options=("send-proxy", "option smtpchk EHLO lb.example.com"),
    ),
    "smtpchk, v2": Client(
        "the same with `send-proxy-v2`",
        ("haproxy",),
        BY_CHECK,
        options=("send-proxy-v2", "option smtpchk EHLO lb.example.com"),
    ),
}

EXIST: Mapping[str, tuple[str, ...]] = {
    BY_HEADER: tuple(SITUATIONS),
    BY_OWN_PAIR: ("the destination is denied", RESTARTS),
    BY_CHECK: ("delivered", RESTARTS),
}
"""What can be met by whom; all else needs a remote that was named."""


@frozen
class Cell:
    """One client in one situation."""

    client: str
    situation: str

    def __str__(self) -> str:
        return f"{self.client}, {self.situation}"


@frozen
class Told:
    """What a client reported: how it ended, and what it showed of why, with names instead of addresses."""

    ended: str
    shown: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.shown)

    @property
    def granted(self) -> bool:
        """Whether it takes its message for delivered."""
        return self.ended in ("exit 0", "returns")


@frozen
class Outcome:
    """What came of a cell. `told`: at each moment. `kept`: what the remote has: from where, and whether under TLS.

    `log`: the line of the proxy's log; None: it was not asked for.
    """

    told: Mapping[str, Told]
    kept: tuple[tuple[str, bool], ...] = ()
    log: str | None = None


def cells() -> Iterator[Cell]:
    """Every cell that can be, situation by situation."""
    for situation in SITUATIONS:
        yield from (Cell(name, situation) for name, client in CLIENTS.items() if situation in EXIST[client.comes])


def wrongs(cell: Cell, outcome: Outcome) -> Iterator[str]:
    """What must not be, each in one sentence."""
    comes, situation = CLIENTS[cell.client].comes, SITUATIONS[cell.situation]
    granted = [told for told in outcome.told.values() if told.granted]
    if outcome.kept != ((SOURCE, situation.tls),) * len(granted):
        yield "the remote does not have each message once, from the asked address"
    if comes == BY_HEADER:
        yield from untold(situation, outcome)
    if outcome.told.get(DOWN) in granted:
        yield "it was served by a proxy that was down"


def untold(situation: Situation, outcome: Outcome) -> Iterator[str]:
    """What must have been told to a client that names a remote."""
    if outcome.told.keys() != situation.tells.keys():
        yield "it was not asked at each moment"
    if situation.log and not re.search(situation.log, outcome.log or ""):
        yield f"the log does not tell: {situation.log}"
    for moment, told in outcome.told.items():
        words = situation.tells[moment]
        if words not in told.text:
            yield f"it does not show: {words}"
        if told.granted != (KEPT in words):
            yield "its exit says something else than the reply"
