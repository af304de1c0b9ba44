"""Draws docs/gaproxy.8 and the tables of docs/running.md from the tables that the house runs on.

Knows how to show a directive, a command, a line of the log; what each line means to an operator stands here, beside the
drawing, since only those two pages tell it. A word between backticks is literal: bold in the manual.
"""

import re
from argparse import SUPPRESS, Action, ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

from gaproxy import __version__
from gaproxy.cli.main import VERBS, Parser
from gaproxy.proto.config.directives import DIRECTIVES, Block, Directive, Door, Entry
from gaproxy.proto.config.values import Kind
from gaproxy.proto.doors import admission, haproxy_words, native
from gaproxy.proto.patience import HOUSE_S, SECOND
from gaproxy.proto.relay.owed import OWED_BYTES_MOST, OWED_MOST
from gaproxy.proto.remote.dialler import REFUSALS_KEPT, REFUSED_REST_S
from gaproxy.proto.remote.pool import BANNED_MOST, BANNED_NS
from gaproxy.proto.report.lines import Counts, status_lines
from gaproxy.proto.report.log import TOPICS, VALUE_CHARACTERS_MOST
from gaproxy.proto.seating import UNHEARD_BYTES_MOST, UNHEARD_BYTES_MOST_OF_A_STRANGER
from gaproxy.sockets.files import CONFIG_BYTES
from gaproxy.sockets.listener import BACKLOG
from gaproxy.sockets.passage import UNSENT_LIMIT_BYTES

DOCS = Path(__file__).resolve().parent
PAGE, MANUAL = DOCS / "running.md", DOCS / "gaproxy.8"
BANNED_S = BANNED_NS // SECOND

Row = tuple[str, str]  # what, and what it means

# What each line means to an operator. A topic without a sentence cannot be drawn.

STATUS_MEANINGS: Mapping[str, str] = {
    "listener": "every 5 seconds: the connections of MTAs that this listener has now",
    "direct_remote_smtp": "every 5 seconds: the connections to remotes, in use and held for reuse (`cached`)",
}
MEANINGS: Mapping[str, str] = {
    "adopted": "this configuration is in force, these are its listeners, this (SHA-256) is their certificate, and so "
    "many `descriptors` may be open: an idle MTA takes one, a session two; once at start, once for each reload",
    "config_refused": "one line for each problem: at a reload nothing has changed, at the start it is the end",
    "config_warning": "this part of the configuration is in force, but it may not mean what was meant",
    "capture_begun": "a journal of this run is being written to this file",
    "capture_ended": "the journal ends here, and why; mail goes on as before",
    "capture_waits": "`capture` came in the middle of a run, and a journal begins with a run: at the next start",
    "draining": "the proxy was told to stop: it accepts nobody, and so many connections are left",
    "drained": "the last line: `cut` transactions ended without their final reply, `unknown` of them behind their dot; "
    "`opaque` sessions of bytes that nobody here reads ended as well, within a message or not",
    "exhausted": "the process may open no more files: nobody is accepted until a connection ends, or seconds later",
    "exhausted_again": "so many times more in the last minute",
    "internal": "a fault of gaproxy itself, with its traceback: that session ended, all others go on; please report it",
    "log_dropped": "so many lines in all were not written, since nobody read the log and mail does not wait for it",
    "client_refused": "this client was closed as soon as it came, for this `reason`",
    "client_refused_again": "the same client, for the same `reason`, so many times more in the last minute",
    "health": "somebody came to `listen_proxy_protocol` without mail to send, for this `reason`; no error",
    "health_again": "the same client, for the same `reason`, so many times more in the last minute",
    "native_authenticated": "an MTA proved that it knows the secret, the `current` or the `previous` one, under this "
    "TLS; `none` is plain text",
    "native_refused": "this connection was closed, for this `reason`",
    "native_refused_again": "the same client, for the same `reason`, so many times more in the last minute",
    "smtp_said": "with `log_verbose yes`: what `mta` or `remote` said, and what was said `to mta` or `to remote`; no "
    "bodies, no credentials",
    "smtp_failed": "an MTA asked for a remote and got none: what was tried, how it failed, after how many milliseconds",
    "smtp_end": "a session is over: from where to where, `messages` taken by the remote, `bytes` of bodies, and why; "
    "with `tls=opaque` nobody counts messages, and `bytes` are all those to the remote / to the MTA",
    "not_kept": "this connection is not held for the next session, for this `reason`; so many sessions used it, and "
    "carried so many messages",
    "let_go": "a connection that was held is closed, for this `reason`",
    "not_reused": "with `log_verbose yes`: a connection rests where this session wants to go, but these parts differ",
}
REASONS: Mapping[str, Mapping[str, str]] = {
    "client_refused": {
        "allow_from": "its address is not in `allow_from`",
        "auth_failed": f"{admission.FAILURES} wrong proofs within {admission.FAILURES_WITHIN_S} s came from there; "
        f"it is let in again {admission.REFUSED_FOR_S} s later",
        "bad_header": "what came at `listen_proxy_protocol` is no PROXY header (`text`); `hint`: what it looks like",
        "header_timeout": "its PROXY header was not there, or not whole, within `timeouts { header }`",
        "connections_max": "there are as many MTA connections as `connections { max … }` allows",
        "connections_per_client": "it has as many connections as `connections { per_client … }` allows",
    },
    "health": {
        "connect": "it connected, said nothing, and left",
        "local": "a PROXY header of version 2 with the command LOCAL: the front asks for itself",
        "own_pair": "a PROXY header that names its own connection, as HAProxy's checks with version 1 do",
    },
    "native_refused": {
        "other_protocol": "its first bytes are not those of the native protocol; `hint` is what they look like",
        "plain_text": "it begins in plain text, and `native_tls` requires TLS",
        "tls": "there is no TLS with it, and why (`text`)",
        "version": "proxy and MTA have no version of the protocol in common; the MTA was told who has to move",
        "bad_handshake": "a line of its handshake cannot be read",
        "no_proof": "something else came where the proof belongs",
        "wrong_proof": "its secret is another one",
        "handshake_timeout": f"its proof was not there within {HOUSE_S['handshake']:g} s",
        "bad_line": "a line with a byte that is no visible ASCII",
        "too_long": "a line without an end",
        "bad_state": "it said what may not be said now, or asked for a role that this version does not serve",
    },
    "smtp_end": {
        "quit": "the MTA said QUIT",
        "mta_ended": "the MTA closed its side without QUIT, when all was said",
        "mta_gone": "the MTA vanished; a body that was not complete did not become a message",
        "mta_silent": "the MTA said nothing for longer than `timeouts` allow",
        "malformed_command": "the MTA sent what is no SMTP command",
        "early_body": "the MTA sent a body before the 354",
        "smuggled": "a body held a look-alike of its own end; the remote never saw it whole",
        "injection": "something came behind STARTTLS, or its reply, that is no TLS: both sides were closed",
        "opaque_silent": "neither side said anything for longer than `timeouts { opaque }`; what they said in the "
        "last ten seconds before may be missing in `bytes`",
        "turn_over": "it had had its turn, and others waited for the connection",
        "lacks": "the remote was lost before it answered, and offered less when it was dialled again",
        "not_replaced": "the remote was lost before it answered, and could not be dialled again",
        "draining": "the proxy is stopping, and the MTA was between two messages",
        "remote_421": "the remote said 421",
        "remote_closed": "the remote closed the connection",
        "remote_reset": "the remote reset the connection",
        "remote_timeout": "the remote was silent for longer than `timeouts` allow, or the network lost it",
        "remote_tls": "the remote broke a TLS record",
        "rset_refused": "the remote refused RSET",
        "desync": "the remote said what no command had asked for",
    },
    # Between them these two are the closed list of what may not be shared: tests/proto/sharing/test_taints.py.
    "not_kept": {
        "bare_eol": "a body had a CR or an LF alone, which not every remote takes for the same",
        "malformed_command": "the MTA sent a CR, an LF or a NUL alone in a command",
        "mta_gone": "the MTA vanished before it heard what became of its message",
        "reply_lf": "the remote ended a line of a reply with LF alone",
        "mixed_codes": "the lines of a reply had different codes",
        "helo": "the MTA chose HELO",
        "fell_back": "it is in plain text since its TLS handshake failed, which must not happen to others too",
        "messages": "it carried `reuse_connections { messages }`, or a block's `messages_per_connection`",
        "mailmax": "it heard as many MAILs as the remote takes (LIMITS MAILMAX, RFC 9422)",
        "max_age": "it is as old as `reuse_connections { max_age }` allows, or nearly",
        "unsolicited": "something came that nobody had asked for",
        "banned": f"within the last {BANNED_S} s a connection to this address said what nobody had asked for",
        "policy_changed": "its source or remote is not allowed any more",
        "drain": "the proxy is stopping",
    },
    "let_go": {
        "idle": "nobody took it within `reuse_connections { idle }`",
        "evicted": "others came to rest, and it had rested longest: `reuse_connections { per_destination }` or `total`",
        "slot_needed": "a connection that could not be shared with it needed its place in a `throttle`",
        "turn_of_another": "whoever was next in line for its place wanted another connection",
        "over_limit": "a reload lowered the `max_connections` of a `throttle`, and there were more",
        "exhausted": "the process may open no more files",
        "off": "a reload said `reuse_connections no`",
        "policy_changed": "a reload does not allow its source or remote any more",
        "drain": "the proxy is stopping",
        "remote_421": "the remote said 421",
        "remote_closed": "the remote closed it",
        "remote_reset": "the remote reset it",
        "remote_timeout": "the network lost it",
        "remote_tls": "the remote sent a TLS alert, or broke a TLS record",
        "unsolicited": f"the remote said something unasked; nothing rests at that address and port for {BANNED_S} s",
        "banned": "another connection to the same address and port was `unsolicited`",
        "rset_refused": "the remote did not answer RSET with 250",
        "rset_timeout": f"the remote did not answer RSET within {HOUSE_S['reset']:g} s",
        "desync": "the remote answered RSET with what is no reply",
        "reply_lf": "the remote ended a line of its answer to RSET with LF alone",
        "mixed_codes": "the lines of its answer to RSET had different codes",
    },
}
SIGNALS: tuple[Row, ...] = (
    ("SIGHUP", "reads the configuration again. With a problem nothing changes; during a reload one more follows"),
    (
        "SIGTERM, SIGINT",
        "stop accepting; let every transaction under way end, for as long as `timeouts { drain }`; turn all others "
        "away with 421 or GOAWAY; then exit 0",
    ),
    ("SIGTERM, SIGINT once more", "close everything at once, and exit 1"),
)
EXITS: tuple[Row, ...] = (
    ("0", "done. `serve`: it was told to stop, and did, whatever `cut=` says"),
    (
        "1",
        "the answer is no. `serve`: the configuration is no use, a listener, a directory or the certificate is not to "
        "be had at the start, or a second signal did not let it wait; `check-config`: there are problems; `send`: not "
        "taken by the remote for every recipient; `demo`: a message did not arrive as it must; `replay`: the orders "
        "differ",
    ),
    ("2", "wrong use, in one sentence. `demo`: something is missing on this machine; `replay`: a file is no journal"),
    ("130", "`demo` was interrupted"),
)
LIMITS: tuple[Row, ...] = (
    ("bytes of one connection that wait to be heard", f"{UNHEARD_BYTES_MOST // 1024} KiB; then it is not read"),
    ("bytes of one connection that wait to be sent", f"about {UNSENT_LIMIT_BYTES // 1024} KiB; then who sends waits"),
    (
        "commands of one session that wait for replies",
        f"{OWED_MOST}, or {OWED_BYTES_MOST // 1024} KiB; then the MTA is not heard",
    ),
    (
        "a line of the native protocol",
        f"{native.LINE_BYTES_BEFORE} bytes before the proof, {native.LINE_BYTES_AFTER} behind it",
    ),
    (
        "a PROXY header",
        f"{haproxy_words.V1_BYTES} bytes in version 1; {haproxy_words.V2_LENGTH_MOST} behind the head of version 2",
    ),
    ("a health check by a PROXY header", f"{HOUSE_S['health']:g} s"),
    ("what an MTA says before a session", f"{UNHEARD_BYTES_MOST_OF_A_STRANGER} bytes; then it is not read"),
    (
        "wrong proofs of one address (IPv6: of one /64)",
        f"{admission.FAILURES} within {admission.FAILURES_WITHIN_S} s; then it is closed at accept for "
        f"{admission.REFUSED_FOR_S} s, unless another connection from there has proved itself",
    ),
    ("addresses whose wrong proofs are remembered", f"{admission.CLIENTS}"),
    (
        "remotes that refused, and are left alone",
        f"for {REFUSED_REST_S} s by the same source address; {REFUSALS_KEPT} are remembered",
    ),
    (
        "remotes that said what nobody had asked for",
        f"nothing rests at that address and port for {BANNED_S} s; {BANNED_MOST} are remembered",
    ),
    ("an MTA between two sessions", f"{HOUSE_S['native_idle']:g} s; then GOAWAY"),
    ("a peer that does not close its end", f"{HOUSE_S['farewell']:g} s"),
    ("clients that wait to be accepted", f"{BACKLOG} for each listener, or what the kernel allows"),
    ("a value in the log", f"{VALUE_CHARACTERS_MOST} characters"),
    ("the configuration file", f"{CONFIG_BYTES // 1024 // 1024} MiB"),
    ("connections in all", "as many files as the process may open: the soft limit is raised to the hard one"),
)

# The configuration.


def directives() -> Iterator[Directive]:
    """Every directive, those of blocks too."""
    for row in DIRECTIVES:
        yield from (row,) if isinstance(row, Directive) else row.directives


def shared_kinds() -> dict[str, Kind]:
    """The kinds that several directives take: told once, by name."""
    counted = Counter(row.kind.name for row in directives())
    return {row.kind.name: row.kind for row in directives() if counted[row.kind.name] > 1}


def allowed(kind: Kind) -> str:
    """What the kind allows; what a fault shows in quotes is literal here."""
    told = re.sub(r'"([^"]*)"', r"`\1`", kind.allowed)
    return f"{told}{'; several, with commas' if kind.listed else ''}"


def takes(row: Directive) -> str:
    told = row.kind.name if row.kind.name in shared_kinds() else allowed(row.kind)
    return f"{told}, of {row.unit}" if row.kind.name == "count" else told


def default(row: Directive) -> str:
    """What holds where the directive is not given, as the file would spell it."""
    if row.required:
        return "required"
    return row.without if row.default is None else f"`{row.default}`"


def helped(row: Directive) -> str:
    """The table's own help, and what else it says of this directive."""
    more = [row.section] if row.section else []
    more += ["may be given several times"] if row.repeats else []
    more += [] if row.reloads else ["a reload does not change it"]
    return "; ".join([row.help, *more])


def beginning(row: Block | Entry) -> tuple[str, str, str]:
    """How a directive with braces begins, what it takes, its default."""
    if isinstance(row, Block):
        takes = "a block, or `no`" if row.switch else "a block"
        return f"`{row.name} {{ … }}`", takes, "none" if row.optional else "as below"
    takes = (
        "an address, and a block where an option is wanted"
        if isinstance(row, Door)
        else f"{allowed(row.kind)}; and a block"
    )
    return f'`{row.name} "{row.unit}" {{ … }}`', takes, "none; may be given several times"


def directive_rows() -> Iterator[tuple[str, str, str, str]]:
    """Name, what it takes, default, meaning; those of a block are indented in its braces."""
    for row in DIRECTIVES:
        if isinstance(row, Directive):
            yield f"`{row.name}`", takes(row), default(row), helped(row)
        else:
            yield *beginning(row), row.help
            for inner in row.directives:
                yield f"`{row.name} {{ {inner.name} }}`", takes(inner), default(inner), helped(inner)


# The commands.


def verbs() -> Mapping[str, ArgumentParser]:
    """Every verb of `gaproxy`, and its parser."""
    adding = Parser(prog="gaproxy").add_subparsers()
    for verb in VERBS:
        import_module(verb).add(adding)
    return adding.choices


def options(parser: ArgumentParser) -> list[Action]:
    """What a verb takes. (The parser has no public list of it.)"""
    return [action for action in parser._actions if action.default != SUPPRESS]


def spelled(action: Action) -> str:
    """`--runtime asyncio|trio`, `--plain`, `FILE`, `FILE…`."""
    if action.nargs == 0:
        return action.option_strings[0]
    choices = "|".join(map(str, action.choices or ()))
    value = str(action.metavar or choices or action.dest.upper())
    return " ".join([*action.option_strings[:1], value]) + ("…" if action.nargs == "+" else "")


def synopsis(name: str, parser: ArgumentParser) -> str:
    words = [spelled(one) if one.required else f"[{spelled(one)}]" for one in options(parser)]
    return " ".join(["gaproxy", name, *words])


def option_rows(parser: ArgumentParser) -> Iterator[Row]:
    for action in options(parser):
        if action.help:
            yield f"`{spelled(action)}`", action.help


def example(parser: ArgumentParser) -> str:
    return (parser.epilog or "").removeprefix("example: ")


# The log.


def abridged(beginning: str) -> str:
    """How a line begins, without what stands in its parentheses."""
    return f"`{re.sub('{[a-z]+}', '…', beginning)}`"


def log_rows() -> Iterator[Row]:
    """How each line begins, and what it means."""
    counts = Counts({"0.0.0.0:807": 965}, active=610, cached=3)
    for line, fields in status_lines(counts):
        yield f"`{line}`", STATUS_MEANINGS[str(fields["event"])]
    for topic, beginning in TOPICS.items():
        yield abridged(beginning), MEANINGS[topic]


def reason_rows() -> Iterator[tuple[str, str, str]]:
    for topic, reasons in REASONS.items():
        for reason, meaning in reasons.items():
            yield abridged(TOPICS[topic]), f"`{reason}`", meaning


# The page.


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ("---",) * len(head), *rows])


def draw_directives() -> str:
    kinds = "\n".join(f"- *{name}*: {allowed(kind)}" for name, kind in shared_kinds().items())
    return f"{table(('directive', 'takes', 'default', 'meaning'), directive_rows())}\n\n{kinds}"


def draw_commands() -> str:
    return "\n\n".join(
        f"**`{synopsis(name, parser)}`**\n\n{parser.description} Example:\n\n    {example(parser)}"
        for name, parser in verbs().items()
    )


SECTIONS: Mapping[str, Callable[[], str]] = {
    "commands": draw_commands,
    "directives": draw_directives,
    "log": lambda: table(("the line begins", "meaning"), log_rows()),
    "reasons": lambda: table(("line", "`reason=`", "meaning"), reason_rows()),
    "signals": lambda: table(("signal", "what it does"), SIGNALS),
    "exits": lambda: table(("code", "meaning"), EXITS),
    "limits": lambda: table(("what", "at most"), LIMITS),
}
SECTION = re.compile(r"(<!-- (\w+): drawn by `make docs` -->\n).*?(<!-- end -->)", re.DOTALL)


def draw_page(text: str) -> str:
    """The page with each drawn section drawn anew; all else is written by hand."""
    return SECTION.sub(lambda found: f"{found[1]}\n{SECTIONS[found[2]]()}\n\n{found[3]}", text)


# The manual.


def roff(text: str) -> str:
    """A paragraph as roff reads it: literal words are bold, and nothing is taken for a request."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    bold = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", safe)
    return f"\\&{bold}" if bold.startswith((".", "'")) else bold


def items(rows: Iterable[Row]) -> Iterator[str]:
    """A list of terms, each with its meaning."""
    for term, meaning in rows:
        yield f".TP\n{roff(term if '`' in term else f'`{term}`')}\n{roff(meaning)}"


def manual_commands() -> Iterator[str]:
    for name, parser in verbs().items():
        yield f".SS {roff(name)}\n{roff(f'`{synopsis(name, parser)}`')}\n.PP\n{roff(parser.description or '')}"
        yield from items(option_rows(parser))
        yield f".PP\nExample:\n.PP\n.nf\n.RS\n{roff(example(parser))}\n.RE\n.fi"


def manual_directives() -> Iterator[str]:
    yield from items(
        (term, f"{told}. Takes: {kind}. Default: {value}.") for term, kind, value, told in directive_rows()
    )
    yield ".PP\nWhat they take:"
    yield from items((name, allowed(kind)) for name, kind in shared_kinds().items())


def manual_log() -> Iterator[str]:
    yield from items(log_rows())
    for topic, reasons in REASONS.items():
        yield f".PP\n{roff(f'Reasons of {abridged(TOPICS[topic])}:')}"
        yield from items(reasons.items())


GRAMMAR = (
    "One directive a line, or several with `;` between them; lists have commas; `#` begins a comment; a block "
    "stands in braces. The four directives of GreenArrow Proxy (`listen`, `allow_from`, `auth_shared_secret`, "
    "`log_verbose`) are enough."
)
DESCRIPTION = (
    "Dials remote mail servers from its own addresses for several MTAs, and relays their SMTP. It stores nothing, and "
    "logs to standard output. `greenarrow_proxy --config-filename FILE` is the same as `gaproxy serve`."
)


def draw_manual() -> str:
    """The whole manual."""
    parts = [
        '.\\" Drawn by `make docs`; change docs/draw_reference.py, or the tables that it draws.',
        f'.TH GAPROXY 8 "" "gaproxy {__version__}" "System administration"',
        ".SH NAME\ngaproxy, greenarrow_proxy \\- egress proxy for mail",
        ".SH SYNOPSIS",
        *(f"{roff(f'`{synopsis(name, parser)}`')}\n.br" for name, parser in verbs().items()),
        f"{roff('`greenarrow_proxy --config-filename FILE`')}",
        f".SH DESCRIPTION\n{roff(DESCRIPTION)}",
        ".SH COMMANDS",
        *manual_commands(),
        f".SH CONFIGURATION\n{roff(GRAMMAR)}",
        *manual_directives(),
        ".SH LOG",
        *manual_log(),
        ".SH SIGNALS",
        *items(SIGNALS),
        ".SH EXIT STATUS",
        *items(EXITS),
        ".SH LIMITS",
        *items(LIMITS),
        ".SH SEE ALSO\n.BR systemd.service (5)",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(draw_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    MANUAL.write_text(draw_manual(), encoding="utf-8")
