"""The asks: what a session may want of the hall.

Knows "my peer" and "my partner"; does not know an id, a pool or a socket. Beside them stand the values that they carry:
a door's request, and what became of it.
"""

from collections.abc import Mapping

from attrs import define, field, frozen

from gaproxy.proto.smtp.extensions import Offer

Address = tuple[str, int]

MTA, OPAQUE = "mta", "opaque"
"""Of a request's `tls`: it is the MTA that speaks TLS with the remote, or whatever it likes."""

CLEAN, SENT, UNSENT = "clean", "sent", "unsent"
"""What became of the RSET that stands between former sessions on a connection and the next one: it was answered, or not
needed; its reply is still to come; it is still to be said.
"""


def spell_place(address: str, port: int) -> str:
    """`address:port`, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@frozen
class Destination:
    """One address of a request. `host`: the name behind it, where one was given. `group`: its preference group."""

    address: str
    port: int
    host: str | None
    group: int


@frozen
class Request:
    """What every door wants in the end: a connection from one of `sources` to the first of `to` that will have us.

    `tls`: none, may, encrypt or verify; `tls_names`: what the certificate must be good for (empty: the destination's
    host). Of MTAs that speak TLS with the remote themselves: `mta`, or `opaque` where we follow nothing at all.
    `helo` is "" where the MTA is to be shown the remote's greeting before it says its name; `verb`: by which it greets
    where it has said it then. `throttle`: the group of recipient domains; `member`: who stands in line for it, at most
    `wait_ms`. `pool`: whose connections it may share; `reuse`: `any`, or `new`. `refuses`: ports of a destination that
    will not do, and why. `fallback`: it is without TLS because a handshake failed.
    """

    name: str
    sources: tuple[str, ...]
    to: tuple[Destination, ...]
    helo: str
    verb: str = ""
    tls: str = "may"
    tls_names: tuple[str, ...] = ()
    throttle: str = ""
    pool: str = "cluster"
    reuse: str = "any"
    wait_ms: int = 0
    member: str = ""
    refuses: Mapping[int, str] = field(factory=dict)
    fallback: bool = False


@frozen
class Security:
    """What TLS a connection has: protocol version, cipher, and whether the certificate was verified."""

    version: str
    cipher: str
    verified: bool

    def is_covered_by(self, other: "Security | None") -> bool:
        """Whether the other one is no weaker: of no older version, and verified where this one is."""
        return other is not None and (other.version, other.verified) >= (self.version, self.verified)


@frozen
class Tried:
    """One address that was tried, how it failed, and how many milliseconds that took."""

    address: str
    port: int
    kind: str
    after_ms: int


@frozen
class Opened:
    """A remote that is ready for MAIL, or that has greeted and waits for a name: where it is, what it said, how it is
    secured, what was tried before it.

    `said`: its reply to the MTA's own EHLO or HELO, as it may be told; where it was asked in its name. `reused`: it has
    carried others before; `uses` counts this one too; `carried`: their MAILs; `age_ms`: since it was first ready.
    `shown`: it rests, and is no more than an example: who says a name asks anew.
    """

    source: Address
    destination: Destination
    offer: Offer
    security: Security | None
    tried: tuple[Tried, ...] = ()
    reused: bool = False
    uses: int = 1
    carried: int = 0
    age_ms: int = 0
    said: bytes = b""
    shown: bool = False


@frozen
class Declined:
    """The remote refused the name that it was told, in these words; it listens, and may be told another one."""

    wire: bytes


@frozen
class Failed:
    """No remote: the kind and the remote's own words (of the last address), and everything that was tried.

    `after_ms`: how long it took from the call to the failure. `again_plain`: a handshake failed where plain text would
    do, so a fresh connection without TLS may be tried, once. `wire`: the reply with which the remote itself turned us
    away, as it came.
    """

    kind: str
    text: str
    tried: tuple[Tried, ...] = ()
    reply: str | None = None
    retry_ms: int = 0
    again_plain: bool = False
    after_ms: int = 0
    wire: bytes = b""


@define
class Say:
    """To my peer; in a relay always to the MTA."""

    data: bytes


@define
class Pass:
    """To the remote of this relay."""

    data: bytes


@define
class PassBody:
    """What my peer sends goes to the remote, past the machine, until its end. Answered by `relayed`."""


@define
class Open:
    """Find a remote for this request. Answered by `opened` or `failed`."""

    request: Request


@define
class Reuse:
    """A connection that rests and agrees with my request, to one of these destinations from its source.

    Answered by `opened` or, where there is none or it was of no use, by `failed`.
    """

    ways: tuple[tuple[str, Destination], ...]


@define
class Queue:
    """A place for one more connection from this source to this destination, in every limit that it stands under.

    Answered by `granted`; before that, maybe, by `clearing`: the place is mine once somebody else has left it; or by
    `opened`: with a connection that was handed on. Where there is no place: `failed`, or, with `waits`, by nothing yet.
    """

    source: str
    destination: Destination
    waits: bool = False


@define
class Dial:
    """Call this address, with a caller on the line. Answered by `opened` or `failed`.

    `name`: of the session that it is for. `verb`: EHLO or HELO where the MTA has chosen one. `fallback`: without TLS,
    for a handshake failed.
    """

    name: str
    source: str
    destination: Destination
    helo: str
    tls: str
    tls_names: tuple[str, ...]
    pool: str = "cluster"
    verb: str = ""
    fallback: bool = False


@define
class Introduce:
    """Tell the remote that has greeted a name, by this verb. Answered by `opened`, `declined` or `failed`."""

    verb: str
    name: str


@define
class Secure:
    """TLS with my peer. Answered by `secured` or `unsecured`."""

    verify: bool
    server_name: str | None


@define
class Tell:
    """This became of what was asked of me; to whoever asked."""

    outcome: Opened | Declined | Failed


@define
class CallOff:
    """Whatever I opened or am opening is no longer wanted."""


@define
class Part:
    """The remote that has greeted may go: it is told QUIT."""


@define
class Lend:
    """My peer is the relay's until `returned`, with what I kept of its bytes before all others.

    `name` and `fields`: how the session is called, and what the log tells of it. `stock`: the MTA has been shown the
    greeting and has said EHLO; it is told at once when the remote is lost. `starttls`: its own STARTTLS may pass.
    `mails_per_turn`: so many MAILs, and others who wait are next.
    """

    kept: bytes
    name: str
    offer: Offer
    fields: Mapping[str, str | int]
    stock: bool = False
    starttls: bool = False
    mails_per_turn: int | None = None


@define
class Tunnel:
    """My peer and its remote are a tunnel's until `returned`: bytes go both ways, and nobody reads them.

    `fields`: what the log tells of it. `hello`: each side must begin with TLS, the MTA first.
    """

    fields: Mapping[str, str | int]
    hello: bool = False


@define
class Carry:
    """What my peer sends goes to the other side, past the machine, until its end. Answered by `relayed`."""


@define
class End:
    """Nothing more will come: FIN to the other side, which may go on."""


@define
class GiveBack:
    """The relay is over: the MTA returns to its door, the remote to whoever comes next.

    `taint`: why it may not be shared; `messages`: how many ends of data it was sent, `mails`: how many MAILs.
    """

    taint: str | None = None
    messages: int = 0
    mails: int = 0


@define
class HandOn:
    """The same of the remote alone: the MTA stays with me."""

    taint: str | None = None
    messages: int = 0
    mails: int = 0


@define
class Drop:
    """The remote of this relay is closed at once: no more bytes, no terminator, no QUIT."""


@define
class Replace:
    """Another remote like the one that was dropped, freshly dialled. Answered by `opened` or `failed`."""


@define
class Join:
    """The remote that I asked for takes the place of the one that was dropped."""


@define
class Retire:
    """I rested, and may be taken no more: why."""

    reason: str


@define
class Trust:
    """My peer has proved who it is."""


@define
class Distrust:
    """My peer tried to prove who it is, and failed."""


@define
class Leave:
    """Close my peer: behind what was said to it, or at once."""

    at_once: bool = False


@define
class Mention:
    """One line for the log: a topic that `report/log.py` words, and its fields."""

    topic: str
    fields: Mapping[str, str | int] = field(factory=dict)


Ask = (
    Say
    | Pass
    | PassBody
    | Open
    | Reuse
    | Queue
    | Dial
    | Introduce
    | Secure
    | Tell
    | CallOff
    | Part
    | Lend
    | Tunnel
    | Carry
    | End
    | GiveBack
    | HandOn
    | Drop
    | Replace
    | Join
    | Retire
    | Trust
    | Distrust
    | Leave
    | Mention
)
