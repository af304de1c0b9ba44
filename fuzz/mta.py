"""MTAs that send whatever comes to their mind, at both doors, many commands at a time or one, not always to the end.

Knows SMTP's client side, and which reply is owed to what it said. Does not know what its proxy is doing.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from attrs import define, field, frozen

from fuzz.bodies import odd_body, sane_body
from gaproxy.proto.doors.credentials import mta_proof
from gaproxy.runtime_world.network import Peer, Voice
from gaproxy.runtime_world.oaths import Letters, swear

NATIVE, PROXY = "127.0.0.1:807", "127.0.0.1:2525"  # the doors
HELLO = b"GAPROXY/1 min=1 node=mta-%d role=smtp nonce=" + b"ab" * 32 + b"\r\n"
SECRET = "only-for-the-worlds-that-never-were"

GREETING, EHLO, MAIL, RCPT, DATA, END = "greeting", "EHLO", "MAIL", "RCPT", "DATA", "end of data"
RSET, NOOP, QUIT, ODD = "RSET", "NOOP", "QUIT", "odd"
OURS = (GREETING, EHLO, QUIT)  # what is answered without a remote, and need not be a refusal
OPTIONS = ("", "", "", " wait_ms=20000", " reuse=new", " pool=news")

SIGNATURE = re.compile(rb"@([0-9.]+|-)")
VANISHES, IS_ODD_BODY, INTERRUPTS, GOES_ON = 0.06, 0.25, 0.2, 0.3


@frozen
class Said:
    """One command, or a body: its bytes, which reply it is owed, and which message it is about ("": none)."""

    kind: str
    wire: bytes
    name: str = ""


@frozen
class Manner:
    """How one MTA is: its number, its door, how many sessions it will have, and where it sends from and to."""

    number: int
    listener: str
    sessions: int
    sources: Sequence[str]
    names: Sequence[str]
    remotes: Sequence[str]


@define(eq=False)
class Mta:
    """One MTA. `knock` is how it comes to its door; `sessions`: how many it has asked for, `begun`: that it had."""

    manner: Manner
    dice: Random
    letters: Letters
    knock: Callable[[Peer], None]
    sessions: int = 0
    begun: int = 0
    messages: int = 0
    native: bool = False
    line: Voice | None = None
    unread: bytes = b""
    reply: bytes = b""
    smtp: bool = False
    gone: bool = True
    parted: bool = False  # it has said its end
    opening: bool = False  # an OPEN is not answered yet
    owed: deque[Said] = field(factory=deque)
    ahead: deque[list[Said]] = field(factory=deque)
    asked: str = ""  # name, address and pool, of the newest session that was asked for
    way: str = ""  # and of this one
    open: bool = False  # a MAIL was said, and no body since
    standing: str = ""  # the message whose MAIL was agreed to, and nothing has ended its transaction since
    sane: bool = True  # the message under way holds nothing odd

    def begin(self) -> None:
        """Come in, if there is anything left to send."""
        if self.gone and self.sessions < self.manner.sessions:
            self.native = self.manner.listener == NATIVE
            self.gone = self.smtp = self.parted = self.opening = False
            self.unread = self.reply = b""
            self.owed.clear()
            self.knock(self)

    # What the network tells.

    def joined(self, line: Voice) -> None:
        self.line = line
        if self.native:
            line.say(self.hello())
            return
        source, remote = self.dice.choice(self.manner.sources), self.dice.choice(self.manner.remotes)
        header = f"PROXY TCP4 {source} {remote.partition(':')[0]} 0 {remote.partition(':')[2]}\r\n"
        self.smtp = True
        self.plan(source)
        line.say(header.encode("ascii"))

    def ended(self) -> None:
        assert self.line is not None
        self.line.end()
        self.leave()

    def lost(self) -> None:
        self.leave()

    def refused(self) -> None:
        """The door is shut, and stays so."""
        self.gone, self.sessions = True, self.manner.sessions

    def leave(self) -> None:
        """This connection is over; the next one may begin."""
        assert self.line is not None
        self.line.leave()
        self.gone, self.line = True, None
        self.begin()

    def hear(self, data: bytes) -> None:
        *lines, self.unread = (self.unread + data).split(b"\r\n")
        for line in lines:
            if self.line is None:
                return
            if self.parted and line.startswith(b"GOAWAY "):  # our end was a QUIT without a word
                return
            if self.smtp:
                swear(line[:3].isdigit(), f"{line!r} was told as a reply")
                self.reply += line + b"\r\n"
                if line[3:4] != b"-":
                    reply, self.reply = self.reply, b""
                    self.hear_reply(int(line[:3]), reply)
            else:
                self.hear_line(line)

    # The native door.

    def hello(self) -> bytes:
        return HELLO % self.manner.number

    def hear_line(self, line: bytes) -> None:
        word = line.partition(b" ")[0]
        if word == b"CHALLENGE":
            proof = mta_proof(SECRET, self.hello(), line + b"\r\n")
            self.say(f"AUTH proof={proof}\r\n".encode("ascii"))
        elif word == b"WELCOME":
            self.say(self.open_line())
        elif word == b"READY":
            self.smtp, self.opening = True, False
            self.plan()
        elif word == b"FAILED" and self.sessions < self.manner.sessions:
            self.say(self.open_line())
        else:
            self.hang_up()

    def open_line(self) -> bytes:
        self.sessions += 1
        self.opening = True
        manner, dice = self.manner, self.dice
        to = ",".join(dice.sample(manner.remotes, k=1 + int(dice.random() * len(manner.remotes))))
        source, helo = dice.choice(manner.sources), dice.choice(manner.names)
        more = "".join(sorted({dice.choice(OPTIONS), dice.choice(OPTIONS)}))
        self.asked = f"{helo}/{source}/{'news' if 'news' in more else 'cluster'}"
        return f"OPEN id={self.sessions} source={source} to={to} helo={helo} tls=none{more}\r\n".encode("ascii")

    # A session.

    def plan(self, source: str = "") -> None:
        """What will be said, group by group: a group is sent in one piece."""
        dice = self.dice
        name = dice.choice(self.manner.names)
        if not self.native:
            self.sessions += 1
            self.asked = f"{name}/{source}/cluster"
        self.way = self.asked
        self.open = False
        self.owed.append(Said(GREETING, b""))
        self.ahead = deque([[Said(EHLO, b"EHLO %b\r\n" % name.encode("ascii"))]])
        for _ in range(1 + (dice.random() < GOES_ON)):
            said = self.transaction()
            if dice.random() < INTERRUPTS:
                said.insert(int(dice.random() * len(said)), self.interruption(said[0].name))  # never behind DATA
            self.ahead += [said] if dice.random() < 0.6 else [[one] for one in said]
        self.ahead.append([Said(QUIT, b"QUIT\r\n")])

    def transaction(self) -> list[Said]:
        self.messages += 1
        name = f"{self.manner.number}.{self.sessions}.{self.messages}"
        wire = name.encode("ascii")
        said = [Said(MAIL, b"MAIL FROM:<%b@%b>\r\n" % (wire, self.way.encode("ascii")), name)]
        said += [Said(RCPT, b"RCPT TO:<%b@b.example>\r\n" % wire, name)] * (1 + (self.dice.random() < 0.2))
        return [*said, Said(DATA, b"DATA\r\n", name)]

    def interruption(self, name: str) -> Said:
        """Something in between; a second EHLO and a RSET end the transaction."""
        wire = name.encode("ascii")
        return self.dice.choice(
            (
                Said(RSET, b"RSET\r\n", name),
                Said(NOOP, b"NOOP :%b@\r\n" % wire, name),
                Said(NOOP, b"VRFY :%b@\r\n" % wire, name),
                Said(EHLO, b"EHLO again.example\r\n"),
                Said(ODD, b"BDAT 5\r\n"),
                Said(ODD, b"NO\rOP\r\n"),
                Said(ODD, b"QUIT now\r\n"),
                Said(ODD, b"STARTTLS\r\n"),
            )
        )

    def go_on(self) -> None:
        """Say the next group; or vanish."""
        if self.dice.random() < VANISHES:
            self.vanish()
            return
        group = self.ahead.popleft()
        if any(one.kind == MAIL for one in group):
            if self.open:
                self.ahead.appendleft(group)
                group = [Said(RSET, b"RSET\r\n")]
            self.open = not self.open
        self.owed += group
        said = b"".join(one.wire for one in group)
        if group[-1].kind == QUIT and self.native and self.sessions < self.manner.sessions:
            said += self.open_line()
        self.say(said)

    def say_body(self, name: str) -> None:
        """354 was heard: all of the message, and perhaps what comes behind; or a part of it, and never the rest."""
        dice = self.dice
        self.sane = dice.random() > IS_ODD_BODY
        body = sane_body(dice) if self.sane else odd_body(dice)
        self.letters.write(name, body)
        self.open = False
        if dice.random() < VANISHES / 2:
            self.say(body[: int(dice.random() * len(body))])
            self.vanish()
            return
        self.letters.finish(name)
        self.owed.append(Said(END, b"", name))
        if self.ahead and dice.random() < 0.2:
            group = self.ahead.popleft()
            self.open = any(one.kind == MAIL for one in group)
            self.owed += group
            body += b"".join(one.wire for one in group)
        self.say(body)
        if dice.random() < VANISHES:
            self.vanish()

    def vanish(self) -> None:
        """Be gone: by a FIN, which leaves time to hear what is owed, or by a reset."""
        line = self.line
        assert line is not None
        if self.dice.random() < 0.5:
            self.parted = True
            line.end()
        else:
            line.reset()
            self.leave()

    def hang_up(self) -> None:
        assert self.line is not None
        self.parted = True
        self.line.end()

    def say(self, data: bytes) -> None:
        assert self.line is not None
        self.line.say(data)

    # Replies.

    def hear_reply(self, code: int, reply: bytes) -> None:
        """The reply to the oldest thing that was said, and to nothing else."""
        if not self.owed:
            swear(code == 421, f"{self.manner.number} was told {reply!r} unasked")
            return
        said = self.owed.popleft()
        self.judge(said, code, reply)
        if said.kind == QUIT:
            self.smtp = False
            if not self.native or (self.sessions >= self.manner.sessions and not self.opening):
                self.hang_up()
            elif not self.opening:
                self.say(self.open_line())
        elif said.kind == DATA and code == 354:
            self.say_body(said.name)
        elif code == 421 or (said.kind == RSET and code >= 400):
            self.ahead = deque([[Said(QUIT, b"QUIT\r\n")]])
            self.go_on_when_heard()
        else:
            self.go_on_when_heard()

    def go_on_when_heard(self) -> None:
        if not self.owed and self.ahead:
            self.go_on()

    def judge(self, said: Said, code: int, reply: bytes) -> None:
        """Nothing of another's, and no yes that no remote said to this."""
        signed = {signature.decode("ascii") for signature in SIGNATURE.findall(reply)} - {"-"}
        if said.kind == RSET or (said.kind == EHLO and code == 421):  # it was to end any of this session's
            ours = f"{self.manner.number}.{self.sessions}."
            swear(all(name.startswith(ours) for name in signed), f"{reply!r} was told to {said.kind} of {ours}")
        else:
            swear(signed <= {said.name}, f"{reply!r} was told to {said.kind} of {said.name or self.manner.number}")
        if said.kind == END:
            self.judge_outcome(said, code, reply, next(iter(signed), None))
        elif said.kind == QUIT:  # at a stock door a 421 that nobody asked for may cross it
            swear(code == 221 or (code == 421 and not self.native), f"{reply!r} to QUIT")
        elif said.kind == ODD:
            swear(code >= 400, f"{reply!r} to what must be refused")
        elif said.kind not in (*OURS, RSET):
            swear(code >= 400 or bool(signed), f"{reply!r} to {said.kind}, which no remote said")
        if code < 400:
            self.follow(said, reply)

    def judge_outcome(self, said: Said, code: int, reply: bytes, signature: str | None) -> None:
        swear(not self.sane or b"lone dot" not in reply, f"{said.name} has nothing odd in it: {reply!r}")
        self.letters.tell(said.name, code, signature, b"outcome unknown" in reply)

    def follow(self, said: Said, reply: bytes) -> None:
        """In which transaction a yes leaves us (RFC 5321 4.1.4), and where there can be none."""
        if said.kind == GREETING:
            self.begun += 1
        elif said.kind == MAIL:
            self.standing = said.name
        elif said.kind in (RCPT, DATA):
            swear(self.standing == said.name, f"{reply!r} to {said.kind}, and no transaction stands")
        elif said.kind in (RSET, EHLO, END):
            self.standing = ""
