"""Every directive, once: knows its name, kind, default, unit, help and RFC section. Does not know a file.

The parser of values, `check-config` and the reference page are made from this table.
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from gaproxy.proto.config.values import (
    COUNT,
    DURATION,
    LISTEN_ADDRESS,
    NETWORKS,
    POOL_NAME,
    PORTS,
    SECRET,
    SIZE,
    SOURCES,
    STRING,
    SWITCH,
    THROTTLE_NAME,
    TURN,
    Kind,
    choice,
)


@frozen
class Directive:
    """One directive. `default`: as a file would spell it; None: there is none, and `without` says what that means.

    `required`: in its file, or in its block where the block is given. `reloads`: a reload may change it.
    """

    name: str
    kind: Kind
    help: str
    default: str | None = None
    without: str = "none"
    unit: str = ""
    section: str = ""
    repeats: bool = False
    required: bool = False
    reloads: bool = True


@frozen
class Block:
    """A directive whose values stand in braces, each under its own name.

    `optional`: absent unless given. `switch`: `no` in place of the braces turns it off.
    """

    name: str
    help: str
    directives: tuple[Directive, ...]
    optional: bool = False
    switch: bool = False


@frozen
class Entry:
    """A directive that is given once for each thing that it names: its value, and its options in braces."""

    name: str
    kind: Kind
    help: str
    directives: tuple[Directive, ...]
    unit: str = ""


@frozen
class Door(Entry):
    """An entry that is a place to listen at, by another protocol than ours."""


def _timeout(name: str, default: str | None, help: str, section: str = "", without: str = "none") -> Directive:
    return Directive(name, DURATION, help, default, without, unit="seconds", section=section)


CLUSTER = "cluster"  # the pool of everybody
AUTO = "auto"  # as a tls_certificate: one of our own making

TOTALS = {"total": "60s", "total_greeting": "25s"}
"""What `timeouts { total }` is where it is not given: of a request, and at doors whose clients wait for a greeting."""

TIMEOUTS = (
    _timeout("header", "5s", "from accept to the whole header, at `listen_proxy_protocol`"),
    _timeout("connect", "30s", "one attempt to connect to one address"),
    _timeout(
        "total",
        None,
        "all addresses of one request, up to the remote's last EHLO; at `listen_proxy_protocol` all before the "
        "greeting; it cuts those below",
        without=f"{TOTALS['total']}, and {TOTALS['total_greeting']} at `listen_proxy_protocol`",
    ),
    _timeout("greeting", "5m", "the remote's 220", "RFC 5321 4.5.3.2.1"),
    _timeout("ehlo", "5m", "the reply to EHLO or HELO (no figure of its own: as the greeting)", "RFC 5321 4.5.3.2"),
    _timeout(
        "starttls", "2m", "the reply to STARTTLS, and the handshake (no figure of its own: as DATA)", "RFC 3207 4"
    ),
    _timeout("mail", "5m", "the reply to MAIL", "RFC 5321 4.5.3.2.2"),
    _timeout("rcpt", "5m", "the reply to RCPT", "RFC 5321 4.5.3.2.3"),
    _timeout("data", "2m", "the 354 to DATA", "RFC 5321 4.5.3.2.4"),
    _timeout("body", "3m", "a body that does not move", "RFC 5321 4.5.3.2.5"),
    _timeout("end", "10m", "the reply to the end of a body", "RFC 5321 4.5.3.2.6"),
    _timeout(
        "rset", "5m", "the reply to RSET, and to any other command (no figure of its own: as MAIL)", "RFC 5321 4.5.3.2"
    ),
    _timeout("idle", "5m", "the MTA's next command", "RFC 5321 4.5.3.2.7"),
    _timeout("opaque", "10m", "silence of both sides, where we cannot see what they say"),
    _timeout("quit", "2s", "the remote's 221; we close then"),
    _timeout("drain", "30s", "transactions in flight when the proxy is told to stop"),
)

REST_IDLE = "30s"  # `reuse_connections { idle }`, which is the patience of whoever rests

NATIVE = "listen"
PROXY_PROTOCOL = "listen_proxy_protocol"
REUSE = "reuse_connections"
THROTTLE = "throttle"

Row = Directive | Block | Entry
Values = Mapping[str, Any]  # "listen" or "timeouts connect" → what its kind reads; None where there is none

DIRECTIVES: tuple[Row, ...] = (
    Directive(
        NATIVE,
        LISTEN_ADDRESS,
        "where MTAs of the native protocol connect; one line for each address; not needed, nor is a secret, where "
        "there is another door",
        unit="ip:port",
        repeats=True,
        required=True,
    ),
    Door(
        PROXY_PROTOCOL,
        LISTEN_ADDRESS,
        "where stock MTAs connect that begin with a PROXY header (version 1 or 2): its source is the address to leave "
        "from, its destination the remote",
        (
            Directive(
                "allow_from",
                NETWORKS,
                "clients of this door; they stand in both lists",
                without="as for all doors",
            ),
            Directive(
                "starttls",
                choice("who", mta="mta", proxy="proxy"),
                "who speaks TLS with the remote: the MTA, end to end, or the proxy, which then hides STARTTLS",
                without="mta",
            ),
            Directive(
                "level",
                choice("level", may="may", encrypt="encrypt"),
                "with `starttls proxy`: whether a remote without TLS will do",
                without="may",
            ),
            Directive(
                "relay",
                choice("how", smtp="smtp", opaque="opaque"),
                "follow the SMTP dialogue, or carry bytes and count them",
                "smtp",
            ),
            Directive(
                "pool",
                POOL_NAME,
                "clients share connections with whoever has the same pool; at `listen` an MTA names its own",
                without=CLUSTER,
            ),
        ),
        unit="ip:port",
    ),
    Directive("allow_from", NETWORKS, "clients that may connect; others are closed at once", "127.0.0.0/8, ::1/128"),
    Directive("auth_shared_secret", SECRET, "the secret that proxy and MTAs share", unit="characters", required=True),
    Directive(
        "auth_shared_secret_previous", SECRET, "a secret that is accepted too, while secrets rotate", unit="characters"
    ),
    Directive(
        "tls_certificate",
        STRING,
        f"the certificate of `listen`: a file (PEM, its chain behind it), or `{AUTO}`: made in memory at the start; "
        "MTAs may trust it because the proofs of both sides are bound to it",
        without=f"{AUTO} where the extra tls is installed, else no TLS and a warning in the log",
    ),
    Directive("tls_key", STRING, "the file of its key (PEM, no passphrase)", without="in the file of the certificate"),
    Directive(
        "native_tls",
        choice("mode", either="either", required="required"),
        "whether MTAs may still speak plain text on `listen`, where there is a certificate",
        "either",
    ),
    Directive("log_verbose", SWITCH, "log the SMTP dialogue, without bodies", "no"),
    Directive(
        "log_format",
        choice("format", text="text", json="json"),
        "how an event stands in the log: as a line in GreenArrow's manner, or as a JSON object with the same fields",
        "text",
    ),
    Directive("source_ips", NETWORKS, "addresses that MTAs may send from", without="any local address"),
    Directive("remote_ports", PORTS, "ports that may be dialled", "25"),
    Directive(
        "remote_deny", NETWORKS, "destinations that may not be dialled", without="only addresses that are not public"
    ),
    Directive("remote_allow", NETWORKS, "destinations that may be dialled all the same, public or not"),
    Directive(
        "greeting_5xx",
        choice("word", next="next", fail="fail"),
        "what a remote's 5xx greeting does: try the next address, or fail the request",
        "fail",
    ),
    Block(
        REUSE,
        "connections to remotes that are held open behind a session, for whoever asks for the same one next; `no` in "
        "place of the block: none is held",
        (
            Directive("idle", DURATION, "how long one rests", REST_IDLE, unit="seconds"),
            Directive(
                "max_age",
                DURATION,
                "since it was ready; none rests, or is taken, in its last 5 s",
                "10m",
                unit="seconds",
            ),
            Directive("messages", COUNT, "that one carries in all", "100", unit="messages"),
            Directive("per_destination", COUNT, "at rest, of one source, address and port", "20", unit="connections"),
            Directive("total", COUNT, "at rest; beyond it the idlest goes", "5000", unit="connections"),
        ),
        switch=True,
    ),
    Entry(
        THROTTLE,
        THROTTLE_NAME,
        "the operator's limits of what MTAs name at OPEN (`throttle=`): the name itself, `*.` all below it, `[*.]` "
        "both, `*` any name, or none; each name has limits of its own; of the blocks that match the most specific "
        "holds alone: one that lists the source before one of any, then the name itself, then its longest ending",
        (
            Directive(
                "source",
                SOURCES,
                "addresses to leave from, which share one limit; `*`: all share one",
                without="any, each with a limit of its own",
            ),
            Directive(
                "remote",
                NETWORKS,
                "a block of another sort: remotes in these networks share one limit, whatever the name and the source, "
                "beside those of the name; the block's own name is a label",
            ),
            Directive("max_connections", COUNT, "dialled, in use and at rest", unit="connections"),
            Directive(
                "messages_per_connection",
                COUNT,
                f"that one connection carries, where `{REUSE} {{ messages }}` is not lower",
                unit="messages",
            ),
        ),
        unit="name",
    ),
    Directive(
        "messages_per_turn",
        TURN,
        "how many messages a session may send while another MTA waits for its connection; a value given holds at every "
        "door",
        without="1 at `listen`, off elsewhere",
        unit="messages",
    ),
    Block(
        "connections",
        "connections of MTAs; beyond these they are closed at once",
        (
            Directive("max", COUNT, "of all clients", "10000", unit="connections"),
            Directive("per_client", COUNT, "of one client address", "5000", unit="connections"),
        ),
    ),
    Block(
        "unauthenticated",
        "clients that have not proved the secret; beyond these they are accepted but not read until one is done",
        (
            Directive("total", COUNT, "of all clients", "200", unit="connections"),
            Directive("per_client", COUNT, "of one client address", "16", unit="connections"),
        ),
    ),
    Block("timeouts", "how long each state of a session may last", TIMEOUTS),
    Block(
        "capture",
        "write a journal of this run, for `gaproxy replay`",
        (
            Directive("directory", STRING, "where; it must exist", required=True),
            Directive("max_size", SIZE, "the journal stops there", "256m", unit="bytes"),
        ),
        optional=True,
    ),
)
