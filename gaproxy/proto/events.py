"""The facts: what the edge tells the machine. Knows what happened; does not know what anyone does about it.

Every fact is a past participle. Ids: who came in is odd (the edge counts), whom we called is even (the machine counts).
An address is `(literal IP, port)`. Times never stand in a fact: they are the first argument of `step`.
"""

from attrs import define

Address = tuple[str, int]


@define
class Signalled:
    """The process was signalled: `START` (first of all facts, with 16 bytes of entropy: the run's name), `TERM`, `INT`,
    `HUP`.
    """

    name: str
    entropy: bytes = b""


@define
class ConfigRead:
    """Answers `ReadConfig`: the text of the file, or why there is none (`problem`, one sentence)."""

    text: str
    problem: str = ""


@define
class Prepared:
    """Answers `Prepare`: one sentence for each listener, directory or certificate that is not to be had; none when all
    are ready.

    `certificate_sha256`: fingerprint of the certificate that there is (hex SHA-256 of the DER), or "". `descriptors`:
    how many files the process may have open, or 0 where that is not known.
    """

    problems: tuple[str, ...] = ()
    certificate_sha256: str = ""
    descriptors: int = 0


@define
class Accepted:
    """An MTA connected to `listener` (its name as `Prepare` gave it).

    48 bytes of entropy: nonces and names come from here.
    """

    id: int
    listener: str
    client: Address
    entropy: bytes


@define
class Connected:
    """Answers `Connect`: we are connected, and `source` is the local address that the kernel reports."""

    id: int
    source: Address


@define
class ConnectFailed:
    """Answers `Connect`: there is no connection, and no `Closed` follows.

    Kinds: `refused`, `timeout`, `unreachable`, `source_unavailable` (cannot be bound, or the kernel chose another one),
    `overload` (no descriptor or no port left), `called_off` (`Close` came between).
    """

    id: int
    kind: str
    text: str


@define
class Received:
    """Bytes came from the peer; after `Secured` they are the plain text within."""

    id: int
    data: bytes


@define
class Ended:
    """The peer will send nothing more (FIN, or TLS close_notify). Told behind all its bytes."""

    id: int


@define
class Closed:
    """The connection is gone. Told exactly once for each `Accepted` and each `Connected`.

    Kinds: `closed` (by `Close`, or both directions ended), `reset`, `timeout` (the kernel gave up), `tls` (a broken
    record).
    """

    id: int
    kind: str


@define
class Secured:
    """Answers `Secure`: TLS stands. On a listener with TLS it comes unasked, before the first `Received`.

    `certificate_sha256`: of the certificate that was shown, the peer's or, where we are the server, ours. `names`: DNS
    names of the peer's (SAN; empty unless the chain was `verified`).
    """

    id: int
    version: str
    cipher: str
    certificate_sha256: str
    names: tuple[str, ...]
    verified: bool


@define
class SecureFailed:
    """Answers `Secure`: no TLS, and the connection is good for nothing but `Close`. Unasked as `Secured` is.

    Kinds: `certificate` (the chain was refused), `handshake`, `plain_text` (the listener requires TLS). `seen`: the
    first 64 bytes that came instead.
    """

    id: int
    kind: str
    text: str
    seen: bytes


@define
class Relaying:
    """A relay under way: `size` bytes have been taken from `id` so far, `unsent` of them still wait in our outbox.

    At most every 10 s while it moves. One more, with `at`, comes at once where a look-alike of the end of data begins
    at that offset: it and what follows is not forwarded. And of an `until="end"` relay a last one comes before a
    `Closed` that ends it, be it of `id` or of where its bytes went.
    """

    id: int
    size: int
    unsent: int
    at: int | None = None


@define
class Relayed:
    """Ends a `Relay`, once, unless `Closed(id)` comes first.

    `size`: bytes of the body, terminator included. `rest`: what came behind it. Outcomes: `dot` (CRLF.CRLF), `end` (the
    peer ended an `until="end"` relay), `smuggled` (the literal end behind a look-alike at offset `at`), `cut` (the peer
    ended in the middle of a body). `bare`: a CR or an LF that stood alone was forwarded.
    """

    id: int
    size: int
    rest: bytes
    outcome: str
    at: int | None = None
    bare: bool = False


@define
class Exhausted:
    """No descriptor was left at accept. Accepting pauses until one is free, and is tried again when the alarm rings."""

    what: str


@define
class Dropped:
    """So many notes in all were not written because nobody read the log, which takes lines again now."""

    lines: int


@define
class Elapsed:
    """The alarm rang and `next_deadline` has come."""


Event = (
    Signalled
    | ConfigRead
    | Prepared
    | Accepted
    | Connected
    | ConnectFailed
    | Received
    | Ended
    | Closed
    | Secured
    | SecureFailed
    | Relaying
    | Relayed
    | Exhausted
    | Dropped
    | Elapsed
)
