"""One message on its way: what is said in its session, step by step, and what became of it.

Knows SMTP as far as an MTA speaks it. Does not know a connection, nor who is at its other end.
"""

from collections import deque
from collections.abc import Iterable

from attrs import field, frozen

from gaproxy.proto.smtp.replies import Reply, words

DELIVERED, REFUSED, FAILED, LOST, UNKNOWN, UNSENT = "delivered", "refused", "failed", "lost", "unknown", "unsent"
END_OF_DATA, QUIT = "end of data", "QUIT"


@frozen
class Letter:
    """A message and its way: from which address of the proxy, to which remotes (`address:port` each), under which TLS.

    `data`: the message, every line of it ended by CRLF, no dot doubled. `wait_ms`: how long it waits for a free
    connection.
    """

    message_id: str
    source: str
    to: tuple[str, ...]
    helo: str
    tls: str
    sender: bytes
    recipients: tuple[bytes, ...]
    data: bytes = field(repr=False)
    wait_ms: int = 0


@frozen
class Outcome:
    """What became of a message, and in whose words.

    Kinds: `delivered`, `refused` (by the remote), `failed` (no remote), `lost` (the connection, before the final dot),
    `unknown` (the same, behind it), `unsent`.
    """

    message_id: str
    kind: str
    text: str


@frozen
class Step:
    """One thing to say in a session, and the code of the reply that lets it go on (or one of its hundred).

    `with_next`: what comes next is said without waiting for that reply (RFC 2920).
    """

    name: str
    said: bytes
    code: int
    with_next: bool = False


def steps(letter: Letter) -> list[Step]:
    """A session with one message, but for its QUIT."""
    return [
        Step("greeting", b"", 220),
        Step("EHLO", b"EHLO " + letter.helo.encode("ascii"), 250),
        *envelope(letter),
        Step("DATA", b"DATA", 354),
        Step(END_OF_DATA, letter.data, 250),
    ]


def envelope(letter: Letter) -> list[Step]:
    """From whom and to whom, all in one piece."""
    *before, last = letter.recipients
    return [
        Step("MAIL", b"MAIL FROM:<%b>" % letter.sender, 250, with_next=True),
        *(Step("RCPT", b"RCPT TO:<%b>" % one, 250, with_next=True) for one in before),
        Step("RCPT", b"RCPT TO:<%b>" % last, 250),
    ]


def take_together(ahead: deque[Step]) -> deque[Step]:
    """The next things to say, as many as go without waiting for a reply."""
    taken = deque([ahead.popleft()])
    while taken[-1].with_next:
        taken.append(ahead.popleft())
    return taken


class Errand:
    """The session of one letter. `asked`: what was said, and its reply is owed; `ahead`: what comes then; `told`: what
    became of the letter, as soon as that is known.
    """

    def __init__(self, letter: Letter, steps: Iterable[Step]) -> None:
        self.letter = letter
        self.ahead = deque(steps)
        self.asked = take_together(self.ahead)
        self.told: Outcome | None = None

    def hear(self, reply: Reply) -> Step:
        """The reply to the oldest of what was said. Returns what that was."""
        asked = self.asked.popleft()
        if asked.name == QUIT:
            return asked
        if reply.code // 100 != asked.code // 100:
            self.told = self.told or self.outcome(REFUSED, f"{asked.name}: {words(reply)}")
        elif not self.ahead:
            self.told = self.outcome(DELIVERED, words(reply))
        return asked

    def go_on(self) -> deque[Step]:
        """What is said next, once no reply is owed; QUIT behind the last step, or one that does not let it go on."""
        self.asked = take_together(self.ahead) if self.told is None else deque([Step(QUIT, b"QUIT", 221)])
        return self.asked

    def break_off(self, why: str) -> Outcome:
        """The connection is gone. What is known of the letter then."""
        behind_dot = any(step.name == END_OF_DATA for step in self.asked)
        return self.told or self.outcome(UNKNOWN if behind_dot else LOST, why)

    def outcome(self, kind: str, text: str) -> Outcome:
        return Outcome(self.letter.message_id, kind, text)
