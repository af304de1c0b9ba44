"""A remote mail server: knows what arrived, from whom, and whether under TLS. Does not know who sent it on its way.

It parses bodies itself, which the proxy never does: a peer may be slow, it must be plain.
"""

import re
from collections.abc import Mapping
from hashlib import sha256

from attrs import define, field, frozen

from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.smtp.commands import Command, cut_command

SIZE_BYTES = 10 * 1024 * 1024

ARRIVED = "ARRIVED"  # nothing was said yet
STRANGER, GREETED, MAILED, ADDRESSED = "STRANGER", "GREETED", "MAILED", "ADDRESSED"  # commands are heard
BODY, SECURING, OVER = "BODY", "SECURING", "OVER"  # and none here
ANY = (STRANGER, GREETED, MAILED, ADDRESSED)
HOME = "HOME"  # whatever a guest is without a transaction: GREETED, or STRANGER who has not said EHLO


@frozen
class Word:
    """What is said to a verb, in which states, and which one follows a 2xx or 3xx (None: the same)."""

    reply: bytes
    heard: tuple[str, ...]
    then: str | None = None


WORDS: Mapping[str, Word] = {
    "EHLO": Word(b"250 mx", ANY, GREETED),
    "HELO": Word(b"250 mx", ANY, GREETED),
    "STARTTLS": Word(b"220 2.0.0 go ahead", (GREETED,), SECURING),
    "MAIL": Word(b"250 2.1.0 sender ok", (GREETED,), MAILED),
    "RCPT": Word(b"250 2.1.5 recipient ok", (MAILED, ADDRESSED), ADDRESSED),
    "DATA": Word(b"354 end with a dot", (ADDRESSED,), BODY),
    "RSET": Word(b"250 2.0.0 forgotten", ANY, HOME),
    "NOOP": Word(b"250 2.0.0 ok", ANY),
    "QUIT": Word(b"221 2.0.0 bye", ANY, OVER),
}

GREETING, TOO_MANY, END_OF_DATA = "greeting", "too many", "end of data"
REPLIES: Mapping[str, bytes] = {
    GREETING: b"220 mx ESMTP",
    TOO_MANY: b"421 4.7.0 too many connections",
    END_OF_DATA: b"250 2.0.0 kept",
    **{verb: word.reply for verb, word in WORDS.items()},
}
"""What is said at each point of a dialogue; an `Mx` may be given others."""

_MESSAGE_ID = re.compile(rb"(?im)^message-id:[ \t]*<([^>\r\n]*)>")


@frozen
class Arrival:
    """One message that was taken in. `connection`: our id of it; `source`: whence it came; `tls`: the version, or None.

    `sha256` and `size_bytes`: of the message without doubled dots and without its end.
    """

    connection: int
    source: str
    tls: str | None
    message_id: str
    sha256: str
    size_bytes: int


@define
class Guest:
    """Somebody who is connected."""

    id: int
    source: str
    state: str = ARRIVED
    tls: str | None = None
    unheard: bytearray = field(factory=bytearray)
    scanned: int = 0  # how much of a body that is under way has no end in it
    due: int | None = None  # when it is attended to, where that takes time


class Mx:
    """The machine. `arrivals`: all that was taken in; `connections`: how many came; `handshakes`: how often TLS began;
    `problems`: why it cannot listen.

    `replies` replaces rows of `REPLIES` (without CRLF): a 4xx or 5xx refuses, and what was asked does not happen.
    `most`: so many guests at a time, others are sent away; `delay_ns`: how far away it is, there and back.
    """

    def __init__(
        self,
        listener: actions.Listener,
        replies: Mapping[str, bytes] | None = None,
        most: int | None = None,
        delay_ns: int = 0,
    ) -> None:
        self.most = most
        self.delay_ns = delay_ns
        self.handshakes = 0
        self.listener = listener
        self.replies = {**REPLIES, **(replies or {})}
        self.arrivals: list[Arrival] = []
        self.connections = 0
        self.problems: tuple[str, ...] = ()
        self.guests: dict[int, Guest] = {}

    @property
    def next_deadline(self) -> int | None:
        return min((guest.due for guest in self.guests.values() if guest.due is not None), default=None)

    def step(self, now: int, event: events.Event) -> list[Action]:
        """Hear a fact, give the orders that answer it; those of a guest's words when they have come all the way."""
        match event:
            case events.Signalled(name="START"):
                return [actions.Prepare((self.listener,))]
            case events.Prepared():
                self.problems = event.problems
                return [] if event.problems else [actions.Adopt()]
            case events.Accepted():
                self.connections += 1
                self.guests[event.id] = Guest(event.id, event.client[0])
                return self.attend(now, self.guests[event.id])
            case events.Received():
                self.guests[event.id].unheard += event.data
                return self.attend(now, self.guests[event.id])
            case events.Elapsed():
                due = [guest for guest in self.guests.values() if guest.due is not None and guest.due <= now]
                return [order for guest in due for order in self.answer(guest)]
            case events.Secured():
                return self.secured(self.guests[event.id], event.version)
            case events.SecureFailed() | events.Ended():
                return self.dismiss(self.guests[event.id])
            case events.Closed():
                del self.guests[event.id]
        return []

    def attend(self, now: int, guest: Guest) -> list[Action]:
        """Something came: answer it, now or as soon as the way there and back takes."""
        if self.delay_ns == 0:
            return self.answer(guest)
        if guest.due is None:
            guest.due = now + self.delay_ns
        return []

    def answer(self, guest: Guest) -> list[Action]:
        guest.due = None
        return self.welcome(guest) if guest.state == ARRIVED else self.listen(guest)

    def welcome(self, guest: Guest) -> list[Action]:
        welcome = [one for one in self.guests.values() if one.state not in (ARRIVED, OVER)]
        greeting = self.replies[GREETING if self.most is None or len(welcome) < self.most else TOO_MANY]
        if greeting.startswith(b"2"):
            guest.state = STRANGER
            return [self.say(guest, greeting), *self.listen(guest)]
        return [self.say(guest, greeting), *self.dismiss(guest)]

    def secured(self, guest: Guest, version: str) -> list[Action]:
        """TLS stands, and all that was said before it is forgotten (RFC 3207 4.2)."""
        guest.state, guest.tls = STRANGER, version
        self.handshakes += 1
        return []

    def dismiss(self, guest: Guest) -> list[Action]:
        guest.state, guest.due = OVER, None
        return [actions.Close(guest.id)]

    def say(self, guest: Guest, reply: bytes) -> Action:
        return actions.Send(guest.id, reply + b"\r\n")

    def listen(self, guest: Guest) -> list[Action]:
        """Hear all that is whole: commands may come many at a time (RFC 2920), and a body in pieces."""
        orders: list[Action] = []
        while guest.state not in (SECURING, OVER):
            try:
                heard = self.take_body(guest) if guest.state == BODY else self.take_command(guest)
            except RemoteProtocolError as fault:
                reply = b"500 5.5.0 %b" % str(fault).encode("ascii")
                return [*orders, self.say(guest, reply), *self.dismiss(guest)]
            if heard is None:
                break
            orders += heard
        return orders

    # Commands.

    def take_command(self, guest: Guest) -> list[Action] | None:
        """Answer one command. None while it is not whole. Raises RemoteProtocolError for a line without end."""
        cut = cut_command(guest.unheard)
        if cut is None:
            return None
        command, size = cut
        del guest.unheard[:size]
        word = WORDS.get(command.verb)
        if word is None or command.fault is not None:
            return [self.say(guest, b"500 5.5.2 what?")]
        if guest.state not in word.heard or (command.verb == "STARTTLS" and guest.tls is not None):
            return [self.say(guest, b"503 5.5.1 not now")]
        reply = self.reply_to(guest, command)
        orders = [self.say(guest, reply)]
        if word.then is not None and reply[:1] in b"23":
            orders += self.become(guest, word.then)
        return orders

    def reply_to(self, guest: Guest, command: Command) -> bytes:
        """What is said to this command: as the table has it, and behind a 250 to EHLO what is offered."""
        reply = self.replies[command.verb]
        if command.verb != "EHLO" or not reply.startswith(b"250 "):
            return reply
        offered = [b"PIPELINING", b"8BITMIME", b"SIZE %d" % SIZE_BYTES]
        if guest.tls is None:
            offered.append(b"STARTTLS")
        *before, last = [reply[4:], *offered]
        return b"".join(b"250-%b\r\n" % line for line in before) + b"250 " + last

    def become(self, guest: Guest, state: str) -> list[Action]:
        """Turn to a state, and order what it needs."""
        if state == HOME:
            state = STRANGER if guest.state == STRANGER else GREETED
        guest.state = state
        if state == OVER:
            return self.dismiss(guest)
        if state == SECURING:
            if guest.unheard:  # plain text that wants to be read as if it were under TLS (RFC 3207 4.2)
                return self.dismiss(guest)
            return [actions.Secure(guest.id, serve=True)]
        return []

    # Bodies.

    def take_body(self, guest: Guest) -> list[Action] | None:
        """Keep one message. None while it is not whole. Raises RemoteProtocolError where it is too large."""
        body = cut_body(guest)
        if body is None:
            return None
        guest.state = GREETED
        reply = self.replies[END_OF_DATA]
        if reply.startswith(b"2"):
            found = _MESSAGE_ID.search(body.partition(b"\r\n\r\n")[0])
            message_id = found[1].decode("ascii", "replace") if found else ""
            self.arrivals.append(
                Arrival(guest.id, guest.source, guest.tls, message_id, sha256(body).hexdigest(), len(body))
            )
        return [self.say(guest, reply)]


def cut_body(guest: Guest) -> bytes | None:
    """Cut a message off the front of what is unheard, dots undoubled (RFC 5321 4.5.2). None while its end is missing.

    Raises RemoteProtocolError where it has more than `SIZE_BYTES`.
    """
    unheard = guest.unheard
    if unheard.startswith(b".\r\n"):
        del unheard[:3]
        return b""
    end = unheard.find(b"\r\n.\r\n", guest.scanned)
    if (len(unheard) if end < 0 else end) > SIZE_BYTES:
        raise RemoteProtocolError(f"a message of more than {SIZE_BYTES} bytes")
    if end < 0:
        guest.scanned = max(0, len(unheard) - 4)
        return None
    lines = bytes(unheard[:end]).split(b"\r\n")
    del unheard[: end + 5]
    guest.scanned = 0
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
