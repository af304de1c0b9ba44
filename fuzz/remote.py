"""Remotes that are not like each other: six ways to find the end of a message, and many to say yes or no.

Knows SMTP's server side and, of each command, which message it was for: it says so in its reply, behind an `@`. Does
not know that there is a proxy, but what one must never send.
"""

import re
from collections.abc import Mapping
from random import Random

from attrs import define, frozen

from fuzz.bodies import SMUGGLED
from gaproxy.runtime_world.network import Voice
from gaproxy.runtime_world.oaths import Letters, swear

NOBODY = "-"


@frozen
class Kind:
    """What ends a message (all of them take CRLF.CRLF), and what ends a command.

    `eager`: it does not wait for the LF behind a CR, and passes over it when it comes.
    """

    ends: re.Pattern[bytes]
    line: bytes = b"\n"
    eager: bool = False


KINDS: Mapping[str, Kind] = {
    "strict": Kind(re.compile(rb"\r\n\.\r\n"), b"\r\n"),
    "LF.LF": Kind(re.compile(rb"\r\n\.\r\n|\n\.\n")),
    "LF.CRLF": Kind(re.compile(rb"\n\.\r\n")),
    "CRLF.LF": Kind(re.compile(rb"\r\n\.\r?\n")),
    "any": Kind(re.compile(rb"[\r\n]\.[\r\n]"), eager=True),
    "CRLF.CR": Kind(re.compile(rb"\r\n\.\r"), eager=True),
}

NAME = re.compile(rb"[<: ]([0-9]+(?:\.[0-9]+){2}|%b)@" % SMUGGLED.encode("ascii"))
WAY = re.compile(rb"@([^>]+/[^>]+)>")
CODES: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "MAIL": (250, (450, 550, 451)),
    "RCPT": (250, (450, 550, 551)),
    "DATA": (354, (451, 554)),
    "END": (250, (451, 550)),
    "RSET": (250, (450, 500)),
    "NOOP": (250, (500,)),
    "VRFY": (252, (502,)),
}
"""What is said to a verb by a remote that agrees, and by one that does not."""

REFUSES, LEAVES, CLOSES, IS_SILENT = 0.05, 0.01, 0.008, 0.002


@define
class Temper:
    """How one place answers: how it finds ends, whether it lets commands come many at a time, what may go wrong."""

    kind: Kind
    pipelining: bool
    honest: bool  # it neither refuses, nor leaves, nor is silent


class Remote:
    """One connection to such a place, from `source`."""

    def __init__(self, temper: Temper, dice: Random, letters: Letters, source: str) -> None:
        self.temper = temper
        self.source = source
        self.name = ""  # by which its caller greeted
        self.pool = ""  # of which sort its first session was
        self.dice = dice
        self.letters = letters
        self.line: Voice
        self.unheard = bytearray()
        self.body: bytearray | None = None
        self.skips_lf = False
        self.silent = False
        self.left = False
        self.session = ""  # whose commands it heard last
        self.refused_reset = False
        self.handovers = 0
        self.resets = 0  # in a row, until now
        self.transaction = NOBODY  # the message that MAIL named
        self.recipients = 0

    # What the network tells.

    def joined(self, line: Voice) -> None:
        self.line = line
        if self.happens(LEAVES):
            self.leave(b"421 full\r\n")
        else:
            line.say(b"220 mx.example ESMTP\r\n")

    def ended(self) -> None:
        self.left = True
        self.line.end()

    def lost(self) -> None:
        self.left = True

    def refused(self) -> None:
        """It calls nobody."""

    def hear(self, data: bytes) -> None:
        if self.left or self.silent:
            return
        self.unheard += data
        while self.unheard and not (self.left or self.silent):
            if self.skips_lf:
                self.skips_lf = False
                if self.unheard.startswith(b"\n"):
                    del self.unheard[:1]
                    continue
            if not (self.take_command() if self.body is None else self.take_body(self.body)):
                break

    # Commands.

    def take_command(self) -> bool:
        """Answer one command; False where it is not whole."""
        end = self.unheard.find(self.temper.kind.line)
        if end < 0:
            return False
        end += len(self.temper.kind.line)
        wire = bytes(self.unheard[:end])
        del self.unheard[:end]
        verb = wire[:4].strip().decode("ascii", "replace").upper()
        found = NAME.search(wire)
        name = found[1].decode("ascii") if found else NOBODY
        self.look_at(verb, name, wire)
        self.look_whose(verb, wire)
        if verb == "QUIT":
            self.leave(b"221 bye\r\n")
        elif verb in ("EHLO", "HELO"):
            self.line.say(self.offer(verb))
        else:
            self.answer(verb, name)
        return True

    def look_at(self, verb: str, name: str, wire: bytes) -> None:
        """What nobody may be sent, however lax it is."""
        swear(name != SMUGGLED, f"a body was heard as a command: {wire!r}")
        nothing_behind = b"QUIT\r\n".startswith(self.unheard)  # who is let go is not waited for
        alone = verb == "QUIT" or (nothing_behind and not self.line.under_way())
        swear(self.temper.pipelining or alone, f"{verb} was pipelined to a remote that does not offer it")
        session = name.rpartition(".")[0]
        if session and session != self.session:
            if self.session:
                self.handed_over(session)
            self.session = session
        self.resets = self.resets + 1 if verb == "RSET" else 0

    def look_whose(self, verb: str, wire: bytes) -> None:
        """What a session asked for, it says in its addresses: the name, whence it comes, and with whom it shares."""
        if verb in ("EHLO", "HELO"):
            self.name = wire[5:].strip().decode("ascii")
        elif found := WAY.search(wire):
            name, source, pool = found[1].decode("ascii").split("/")
            self.pool = self.pool or pool
            asked, had = (name, source, pool), (self.name or name, self.source, self.pool)
            swear(asked == had, f"{wire!r} asked for another way than {had}")

    def handed_over(self, session: str) -> None:
        """This connection was another session's until now: nothing of that may be left.

        Unless we refused the RSET that came with it: whoever sent it does not know yet, and will send no body.
        """
        self.handovers += 1
        owed, former = self.line.under_way(), self.session
        refused = self.resets and self.refused_reset
        swear(refused or self.transaction == NOBODY, f"{session} was given a remote in a transaction of {former}")
        swear(owed.count(b"\r\n") <= self.resets, f"{session} was given a remote that still says {owed!r} to {former}")

    def waits_for_mail(self) -> bool:
        """Whether it has heard all that it was sent, and neither a transaction nor a message has begun."""
        return self.body is None and not self.unheard and self.transaction == NOBODY

    def offer(self, verb: str) -> bytes:
        if verb == "HELO" or not self.temper.pipelining:
            return b"250 mx.example\r\n"
        return b"250-mx.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"

    def answer(self, verb: str, name: str) -> None:
        agrees, refuses = CODES.get(verb, (500, ()))
        if name == NOBODY and verb in ("DATA", "RSET"):
            name = self.transaction
        code = agrees
        if refuses and self.happens(REFUSES):
            code = self.dice.choice(refuses)
        elif not self.in_order(verb, name):
            code = 503
        self.refused_reset = verb == "RSET" and code >= 400
        if code < 400:
            self.turn(verb, name)
        self.say(code, name)

    def in_order(self, verb: str, name: str) -> bool:
        """Whether a verb may come now (RFC 5321 4.1.4)."""
        if verb == "MAIL":
            return self.transaction == NOBODY
        if verb == "RCPT":
            return self.transaction == name
        return verb != "DATA" or self.recipients > 0

    def turn(self, verb: str, name: str) -> None:
        """What was agreed to happens."""
        if verb == "MAIL":
            self.transaction = name
        elif verb == "RCPT":
            self.recipients += 1
        elif verb == "RSET":
            self.transaction, self.recipients = NOBODY, 0
        elif verb == "DATA":
            swear(not self.unheard, f"a body came before its 354: {bytes(self.unheard)!r}")
            self.body = bytearray(b"\r\n")  # as if a line had ended before

    # The body.

    def take_body(self, body: bytearray) -> bool:
        """Take in a message; False where its end is missing."""
        scanned = max(0, len(body) - 4)
        body += self.unheard
        self.unheard.clear()
        found = self.temper.kind.ends.search(body, scanned)
        if found is None:
            return False
        self.unheard += body[found.end() :]
        message = bytes(body[2 : found.end()])
        self.body = None
        if self.temper.kind.eager and message.endswith(b"\r"):
            self.skips_lf = True
            message += b"\n"
            swear(not self.unheard or self.unheard == b"\n", f"{bytes(self.unheard)!r} came behind an end of data")
        else:
            swear(not self.unheard, f"{bytes(self.unheard)!r} came behind an end of data")
        self.take_in(message)
        return True

    def take_in(self, message: bytes) -> None:
        name, self.transaction, self.recipients = self.transaction, NOBODY, 0
        if self.happens(REFUSES):
            self.say(self.dice.choice(CODES["END"][1]), name)
            return
        self.letters.take(name, message)
        self.say(250, name)

    # What is said.

    def happens(self, how_often: float) -> bool:
        return not self.temper.honest and self.dice.random() < how_often

    def say(self, code: int, name: str) -> None:
        """A reply; or none, or another."""
        if self.temper.honest or self.dice.random() > CLOSES + LEAVES + IS_SILENT:
            self.line.say(b"%d @%b\r\n" % (code, name.encode("ascii")))
        elif self.happens(0.5):
            self.leave(b"421 @%b\r\n" % name.encode("ascii") if code >= 400 else b"")
        elif self.happens(0.3):
            self.silent = True
        else:
            self.left = True
            self.line.reset()

    def leave(self, farewell: bytes) -> None:
        self.left = True
        if farewell:
            self.line.say(farewell)
        self.line.end()
