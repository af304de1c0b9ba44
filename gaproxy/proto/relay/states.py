"""The tables of a relay: what the MTA may say in which state, and what the remote owes.

Knows rows and the names of the methods that they lead to; does not know what those do.
"""

import re
from collections.abc import Mapping

from gaproxy.proto.session import ANY, State, Word
from gaproxy.proto.smtp.commands import TREATMENT

IDLE, DUE, UNBEGUN, AWAITING, FULL = "IDLE", "DUE", "UNBEGUN", "AWAITING", "FULL"
BODY = "BODY"
LOOKALIKE, SWALLOWING, TURNED_AWAY, DRAINED = "LOOKALIKE", "SWALLOWING", "TURNED_AWAY", "DRAINED"
QUITTING, ORPHANED, DONE = "QUITTING", "ORPHANED", "DONE"

STARTTLS = "STARTTLS"
INJECTED = "injected"  # a STARTTLS with something behind it

METHODS = {"pass": "forward", "greet": "greet", "quit": "quit", "starttls": "starttls", "refuse": "refuse"}
COMMANDS: Mapping[Word, str] = {
    **{verb: METHODS[treatment] for verb, treatment in TREATMENT.items()},
    "MAIL": "mail",
    "DATA": "data",
    "": "malformed",
    INJECTED: "inject",
    ANY: "refuse",
}
"""Every command of an MTA, and the method of `Near` that hears it. A line that is no command has no verb."""

AWAY: Mapping[Word, str] = {"QUIT": "quit", ANY: "turn_away"}

NO_COMMAND = re.compile(rb"\A(?!(?:%b)[ \r])(.*)" % "|".join(TREATMENT).encode("ascii"), re.DOTALL | re.IGNORECASE)
NO_QUIT = re.compile(rb"\A(?!QUIT[ \r])(.*)", re.DOTALL | re.IGNORECASE)
"""What a journal does not tell: a line that is no command may be one of a message."""

LISTENING = (IDLE, DUE, UNBEGUN, AWAITING, FULL)

NEAR: Mapping[str, State] = {
    IDLE: State((*LISTENING, TURNED_AWAY, DONE), COMMANDS, "idle", "RFC 5321 4.5.3.2.7", secret=NO_COMMAND),
    DUE: State((IDLE, AWAITING, FULL, TURNED_AWAY, DONE), COMMANDS, "due", secret=NO_COMMAND),
    UNBEGUN: State((IDLE, AWAITING, FULL, TURNED_AWAY, DONE), COMMANDS, "unbegun", secret=NO_COMMAND),
    AWAITING: State((IDLE, DUE, UNBEGUN, FULL, QUITTING, TURNED_AWAY), COMMANDS, secret=NO_COMMAND),
    FULL: State((IDLE, DUE, UNBEGUN, AWAITING, BODY, TURNED_AWAY, ORPHANED, DONE)),
    BODY: State((BODY, FULL, LOOKALIKE, SWALLOWING), {}, "body", "RFC 5321 4.5.3.2.5"),
    LOOKALIKE: State((TURNED_AWAY, DONE), {}, "lookalike"),
    SWALLOWING: State((SWALLOWING, TURNED_AWAY, DONE), {}, "body", "RFC 5321 4.5.3.2.5"),
    TURNED_AWAY: State((TURNED_AWAY, DRAINED, DONE), AWAY, "idle", "RFC 5321 4.5.3.2.7", secret=NO_QUIT),
    DRAINED: State((DRAINED, DONE), AWAY, "turned_away", secret=NO_QUIT),
    QUITTING: State((DONE,)),
    ORPHANED: State((DONE,)),
    DONE: State(),
}
"""What the MTA may say.

DUE: it has had its turn, others wait, and it is silent; UNBEGUN: others wait, and it does not go on with its turn.
TURNED_AWAY: every command is 421 until QUIT; DRAINED: and so it is while the house closes, which does not wait long.
QUITTING: its last word was heard, replies are owed. ORPHANED: it is gone, its message is not.
"""

NOTHING, MAIL, RCPT, DATA = "NOTHING", "MAIL", "RCPT", "DATA"
RESET, CARRYING, END, OTHER, REPLACING, GONE = "RESET", "CARRYING", "END", "OTHER", "REPLACING", "GONE"

EARLY = "early"  # a reply that began before anything was asked for

ANSWERS: Mapping[Word, str] = {421: "closing", EARLY: "unasked", ANY: "answered"}
UNASKED: Mapping[Word, str] = {421: "closing", ANY: "unasked"}
OWING = (NOTHING, MAIL, RCPT, DATA, OTHER, REPLACING, GONE)  # behind DATA nothing is asked for until it is answered

FAR: Mapping[str, State] = {
    NOTHING: State((RESET, MAIL, RCPT, DATA, OTHER, REPLACING, GONE), UNASKED),
    RESET: State(OWING, ANSWERS, "reset"),
    MAIL: State(OWING, ANSWERS, "mail", "RFC 5321 4.5.3.2.2"),
    RCPT: State(OWING, ANSWERS, "rcpt", "RFC 5321 4.5.3.2.3"),
    DATA: State((NOTHING, CARRYING, REPLACING, GONE), {354: "go_ahead", **ANSWERS}, "data", "RFC 5321 4.5.3.2.4"),
    CARRYING: State((END, GONE), UNASKED),
    END: State((NOTHING, GONE), ANSWERS, "end", "RFC 5321 4.5.3.2.6"),
    OTHER: State(OWING, ANSWERS, "rset", "RFC 5321 4.5.3.2"),
    REPLACING: State((NOTHING, GONE)),
    GONE: State(),
}
"""The oldest thing that the remote owes; CARRYING: a body is on its way, and nothing is owed.

RESET: the reply to the RSET that stands between others and this session, which is owed to us alone.
REPLACING: it was lost before it answered anything, and another one is being dialled.
"""
