"""The orders: what the machine wants done, and which fact answers each. Knows no one who gives or performs them.

Orders to an id that is gone are ignored, and orders are never overtaken: a fact born while orders are performed waits
its turn.
"""

from collections.abc import Mapping

from attrs import define

from gaproxy.proto.events import Address


@define
class Listener:
    """A place to listen at. `name` is the address as the configuration spells it; `Accepted.listener` tells it back.

    `tls`: `none`; `either`: where there is a certificate, the first byte decides (0x16: TLS); `required`: there must be
    a certificate, and whoever begins otherwise is answered by `SecureFailed`.
    """

    name: str
    address: Address
    tls: str = "none"


@define
class Certificate:
    """What listeners with TLS show: the files of a chain and of its key (PEM), or one that the edge makes (`chain` "").

    `needed`: where the edge cannot make one, that is a problem; else there is none.
    """

    chain: str = ""
    key: str = ""
    needed: bool = False


@define
class ReadConfig:
    """Read the configuration file. Answered by one `ConfigRead`."""

    filename: str


@define
class Prepare:
    """Bind these listeners (those that stand already stay as they are), look that the directories exist, and load or
    make the certificate.

    Answered by one `Prepared`. Nothing is accepted on a new listener before `Adopt`, nor is the certificate shown.
    """

    listeners: tuple[Listener, ...]
    directories: tuple[str, ...] = ()
    certificate: Certificate | None = None


@define
class Adopt:
    """What was prepared is in force; listeners that are not in it stop. No fact answers.

    `capture`: where a journal of this run is to be written and how large it may get, or None; a recorder obeys it.
    `log_format`: what is written of each `Note` from now on, its line (`text`) or its fields (`json`).
    """

    capture: tuple[str, int] | None = None
    log_format: str = "text"


@define
class Connect:
    """Dial. Answered by exactly one `Connected` or `ConnectFailed`, even where `Close` comes between."""

    id: int
    source: str
    destination: Address


@define
class Send:
    """Put these bytes behind all that was sent. No fact answers."""

    id: int
    data: bytes


@define
class Secure:
    """Begin TLS. Answered by one `Secured` or `SecureFailed`, unless `Closed` comes first.

    `verify`: the chain must lead to one of the system's roots (names are matched by whoever ordered it). `server_name`:
    SNI. `serve`: we are the server, with the certificate that the edge was lent.
    """

    id: int
    verify: bool = False
    server_name: str | None = None
    serve: bool = False


@define
class Relay:
    """The bytes of `id` go to `to` without the machine, until its end (`until`: "dot" or "end").

    Answered by one `Relayed`, unless `Closed(id)` comes first, and by `Relaying` while it lasts. `to=None` swallows
    them. Where `to` goes, bytes are dropped and the scan goes on.
    """

    id: int
    to: int | None
    until: str = "dot"


@define
class Hold:
    """Stop reading from `id`. No fact answers."""

    id: int


@define
class Hear:
    """Go on reading from `id`. No fact answers."""

    id: int


@define
class End:
    """FIN behind all that was sent; the other direction lives. No fact answers."""

    id: int


@define
class Close:
    """Flush, FIN, then read and drop until the peer's end; a second `Close` abandons at once. Answered by `Closed`.

    On an id that is being dialled: answered by `ConnectFailed(kind="called_off")`.
    """

    id: int


@define
class Note:
    """Write one line of the log; the edge never blocks on it. `fields`: the same, for machines. No fact answers."""

    line: str
    fields: Mapping[str, str | int]


@define
class Exit:
    """Close everything that is left and end the run with this exit code. Nothing answers."""

    code: int


Action = ReadConfig | Prepare | Adopt | Connect | Send | Secure | Relay | Hold | Hear | End | Close | Note | Exit
