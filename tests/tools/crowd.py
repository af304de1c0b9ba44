"""A crowd of MTAs at both doors and of remotes, of which each does next what dice say, and what their places must show.

Knows what each of them may say next, and whose words a reply answers; does not know why the machine does what it does.
"""

import re
from collections import Counter, deque
from random import Random

from tools.line import everybody_goes
from tools.sharing import SHARING
from tools.talk import CERTIFICATE, ENTROPY, LISTENER, Talk, auth, hello

from gaproxy.proto import actions, events
from gaproxy.proto.patience import SECOND
from gaproxy.throttle.places import HELD

PROXY_PLACE = "127.0.0.1:5000"
DOORS = SHARING + f'listen_proxy_protocol "{PROXY_PLACE}" {{ starttls proxy; level may }}\n'
LIMITS = {
    "*": 'throttle "*" { max_connections %d }\n',
    "five": "throttle five { remote 192.0.2.5; max_connections %d }\n",
}
POOLS = ("", "reuse_connections no\n", "reuse_connections { total 1 }\n", "reuse_connections { idle 4s; messages 2 }\n")
ADDRESSES = ("192.0.2.5", "192.0.2.6")
LONG_S = 7200
OFFERS = (b"250-mx\r\n250-PIPELINING\r\n250 SIZE 1000\r\n", b"250 mx\r\n")


class Mta:
    """One connection of an MTA: what it has said, and which answers it waits for."""

    def __init__(self, id: int, native: bool) -> None:
        self.id, self.native = id, native
        self.state = "idle" if native else "asking"
        self.expects: deque[bytes] = deque()
        self.heard = b""
        self.ended = False
        self.transaction = 0
        self.number = 0

    def next_lines(self, dice: Random) -> bytes:
        """Some lines that it may say now."""
        if self.state == "idle":
            return self.open(dice)
        if self.state == "greeted":
            self.state = "session"
            self.expects.append(b"EHLO")
            return b"EHLO out%d.example.com\r\n" % dice.randint(1, 2)
        if self.state != "session":
            return b""
        said = b""
        for _ in range(dice.randint(1, 4)):
            if self.expects and self.expects[-1] == b"DATA":
                break
            line = self.command(dice)
            said += line
            if line == b"QUIT\r\n":
                self.state = "idle" if self.native else "gone"
                return said + (self.open(dice) if self.native and dice.random() < 0.5 else b"")
        return said

    def tag(self) -> bytes:
        self.number += 1
        return b"%d%04d" % (self.id, self.number)

    def open(self, dice: Random) -> bytes:
        self.state = "asking"
        tag = self.tag()
        self.expects.append(b"OPEN " + tag)
        addresses = dice.sample(ADDRESSES, dice.randint(1, 2))
        to = ",".join(f"{one}:25" for one in addresses)
        more = dice.choice(("", " wait_ms=3000", " wait_ms=20000", " reuse=new", " wait_ms=9000 throttle=gmail.com"))
        name = dice.choice(("out1", "out1", "out2"))
        line = f"OPEN id={tag.decode()} source=127.0.0.2 to={to} helo={name}.example.com tls=none{more}\r\n".encode()
        if dice.random() < 0.3:
            self.expects.append(b"EHLO")
            line += b"EHLO out1.example.com\r\n"
        return line

    def command(self, dice: Random) -> bytes:
        verb = dice.choice((b"MAIL", b"MAIL", b"RCPT", b"DATA", b"DATA", b"RSET", b"NOOP", b"EHLO", b"QUIT"))
        tag = self.tag()
        self.expects.append(verb + b" " + tag if verb in (b"MAIL", b"RCPT", b"NOOP") else verb)
        return {
            b"MAIL": b"MAIL FROM:<%b@example.com>\r\n" % tag,
            b"RCPT": b"RCPT TO:<%b@example.net>\r\n" % tag,
            b"NOOP": b"NOOP %b\r\n" % tag,
            b"EHLO": b"EHLO again.example.com\r\n",
        }.get(verb, verb + b"\r\n")

    def hear(self, data: bytes) -> None:
        """Each line answers the oldest word that waits for an answer; what has a mark has that word's."""
        self.heard += data
        while b"\r\n" in self.heard:
            line, self.heard = self.heard.split(b"\r\n", 1)
            if line[3:4] != b"-":
                self.take(line)

    def take(self, line: bytes) -> None:
        if line.startswith((b"CHALLENGE", b"WELCOME", b"GOAWAY")):
            return
        if not self.expects and line.startswith(b"421 ") and not self.native:
            return
        assert self.expects, (self.id, line)
        word = self.expects.popleft()
        verb, _, tag = word.partition(b" ")
        if verb == b"OPEN":
            assert line.startswith((b"READY id=" + tag, b"FAILED id=" + tag)), (word, line)
            if line.startswith(b"FAILED"):
                self.state = "idle"
                self.expects.clear()
            else:
                self.expects.appendleft(b"GREETING")
                self.state = "session"
            return
        assert line[:3].isdigit(), (word, line)
        if verb == b"GREETING" and not self.native:
            self.state = "greeted" if line.startswith(b"220") else "gone"
        if marked := tag_of(line):
            assert marked == tag if tag else owner(marked) == b"%d" % self.id, (word, line)
        if verb == b"DATA" and line.startswith(b"354"):
            self.expects.appendleft(b"END")


class Remote:
    """One connection to a remote: what it was told and has not answered yet, and whose word was the last."""

    def __init__(self, id: int, address: str) -> None:
        self.id, self.address = id, address
        self.connected = False
        self.owes: deque[bytes] = deque()
        self.tag = b""
        self.clean = True
        self.reads_body = False

    def hear(self, data: bytes) -> None:
        assert not self.reads_body, (self.id, data)
        for line in data.splitlines():
            verb, tag = line[:4], tag_of(line)
            if tag:
                same = owner(tag) == owner(self.tag)
                assert self.clean or same, f"{tag!r} came behind {self.tag!r} without a RSET"
                self.tag, self.clean = tag, False
            if verb == b"RSET":
                self.clean = True
            self.owes.append(b"" if verb == b"QUIT" else verb + b" " + (b"" if self.clean else self.tag))

    def answer(self, dice: Random) -> bytes:
        """Its greeting, or the replies to some of what it was told."""
        said = b""
        for _ in range(dice.randint(1, len(self.owes))):
            word = self.owes.popleft()
            verb, _, tag = word.partition(b" ")
            code = {b"GREE": b"220", b"": b"221", b"DATA": b"354"}.get(verb, b"250")
            if verb in (b"MAIL", b"RCPT", b"DATA", b"END") and dice.random() < 0.1:
                code = b"450"
            elif dice.random() < 0.01:
                code = dice.choice((b"421", b"450", b"354", b"250"))
            said += dice.choice(OFFERS) if verb == b"EHLO" else b"%b ok%b\r\n" % (code, tag and b" <%b>" % tag)
            if verb == b"DATA":
                self.reads_body = code == b"354"
                break
        return said


def tag_of(line: bytes) -> bytes:
    """The mark in a command, or in the reply to it."""
    return line[5:] if line.startswith(b"NOOP") else re.sub(rb"\A[^<]*<?([0-9]*).*", rb"\1", line)


def owner(tag: bytes) -> bytes:
    return tag[:-4]


class Crowd:
    """All of them around one machine. `caps`: limits in force; `lowered`: those that may be exceeded for a while."""

    def __init__(self, seed: int, strict: bool = True) -> None:
        self.dice = Random(seed)
        self.lowered: set[str] = set()
        self.talk = Talk(self.config(), strict=strict)
        self.caps = self.wanted
        self.mtas: dict[int, Mta] = {}
        self.remotes: dict[int, Remote] = {}
        self.bodies: dict[int, int | None] = {}
        self.closes: Counter[int] = Counter()
        self.came = -1
        self.exited = False
        self.silent = False

    def config(self) -> str:
        self.wanted = {name: self.dice.choice((None, 1, 1, 2)) for name in LIMITS}
        limits = "".join(LIMITS[name] % cap for name, cap in self.wanted.items() if cap)
        return DOORS + self.dice.choice(POOLS) + limits

    # What happens.

    def tell(self, event: events.Event) -> None:
        for order in self.talk.hear(event):
            self.perform(order)
        if not self.exited:
            self.look()

    def perform(self, order: actions.Action) -> None:
        match order:
            case actions.Connect(id, _, (address, _)):
                self.remotes[id] = Remote(id, address)
                self.remotes[id].owes.append(b"GREE")
            case actions.Send(id, data):
                assert not self.closes[id], (id, data)
                (self.mtas.get(id) or self.remotes[id]).hear(data)
            case actions.Relay(id, to, _):
                self.bodies[id] = to
            case actions.Close(id):
                self.closes[id] += 1
            case actions.Exit():
                self.exited = True

    def gone(self, id: int, kind: str) -> None:
        """This connection is closed, whoever wanted it."""
        remote = self.remotes.pop(id, None)
        self.mtas.pop(id, None)
        self.bodies.pop(id, None)
        if remote is None or remote.connected:
            self.tell(events.Closed(id, kind))
        else:
            self.tell(events.ConnectFailed(id, "called_off" if self.closes[id] else "refused", "no"))

    # What they do.

    def go_on(self) -> None:
        dice = self.dice
        chance = dice.random()
        if chance < 0.002:
            self.tell(events.Signalled(dice.choice(("HUP",) * 6 + ("TERM",)), bytes(16)))
            if not self.exited:
                self.reload()
        elif chance < 0.004:
            self.tell(events.Exhausted("accept"))
        elif chance < 0.06 and len(self.mtas) < 4:
            self.come()
        elif chance < 0.16:
            self.pass_time(dice.choice((0.1, 0.5, 1.0, 3.0, 12.0)))
        elif chance < 0.2 and self.closes:
            self.close_one()
        elif chance < 0.6 and self.mtas:
            self.mta_goes_on(dice.choice(list(self.mtas.values())))
        elif self.remotes:
            self.remote_goes_on(dice.choice(list(self.remotes.values())))

    def reload(self) -> None:
        if self.talk.proxy.caretaker.stopping:
            return
        self.tell(events.ConfigRead(self.config()))
        self.caps, self.lowered = self.wanted, set(LIMITS)
        self.tell(events.Prepared((), CERTIFICATE))

    def come(self) -> None:
        self.came += 2
        native = self.dice.random() < 0.7
        mta = self.mtas[self.came] = Mta(self.came, native)
        client = (f"127.0.0.{self.came % 5 + 3}", 40000)
        self.tell(events.Accepted(self.came, LISTENER if native else PROXY_PLACE, client, ENTROPY))
        if self.closes[self.came]:
            return
        if native:
            node = f"mta-{self.came % 3}"
            for line in (hello(node=node), auth(node=node)):
                mta.expects.clear()
                self.told(mta, line)
        else:
            mta.expects.append(b"GREETING")
            address = self.dice.choice(ADDRESSES).encode()
            self.told(mta, b"PROXY TCP4 127.0.0.2 %b 0 25\r\n" % address)

    def told(self, mta: Mta, data: bytes) -> None:
        if data and not mta.ended and mta.id not in self.bodies:
            self.tell(events.Received(mta.id, data))

    def close_one(self) -> None:
        """Whoever was told to close does so, at last where he is abandoned; a call that was called off is over."""
        id = self.dice.choice(list(self.closes))
        if id in self.mtas or id in self.remotes:
            self.gone(id, "closed")

    def pass_time(self, seconds: float) -> None:
        talk, until = self.talk, self.talk.now + round(seconds * SECOND)
        while not self.exited and (deadline := talk.proxy.next_deadline) is not None and deadline <= until:
            talk.now = max(talk.now, deadline)
            self.tell(events.Elapsed())
            self.abandon()
        talk.now = until

    def abandon(self) -> None:
        """A second Close, or one of a call, is obeyed at once."""
        for id in [*self.mtas, *self.remotes]:
            called = id in self.remotes and not self.remotes[id].connected
            if self.closes[id] > 1 or (called and self.closes[id]):
                self.gone(id, "closed")

    def mta_goes_on(self, mta: Mta) -> None:
        dice, id = self.dice, mta.id
        if self.closes[id]:
            return
        if dice.random() < 0.02:
            self.gone(id, dice.choice(("reset", "closed", "timeout")))
        elif dice.random() < 0.01 and id not in self.bodies and not mta.ended:
            mta.ended = True
            self.tell(events.Ended(id))
        elif id in self.bodies:
            outcome = dice.choice(("dot",) * 8 + ("cut", "more"))
            if outcome == "more":
                self.tell(events.Relaying(id, 5000, 0, dice.choice((None, 100))))
                return
            self.end_body(id, outcome)
        elif not mta.ended:
            self.told(mta, mta.next_lines(dice))

    def end_body(self, id: int, outcome: str) -> None:
        remote = self.remotes.get(self.bodies.pop(id) or 0)
        if outcome == "cut":
            self.mtas[id].ended = True
        elif remote is not None and not self.closes[remote.id]:
            remote.reads_body = False
            remote.owes.append(b"END " + (b"" if remote.clean else remote.tag))
        self.tell(events.Relayed(id, 100, b"", outcome, None))

    def remote_goes_on(self, remote: Remote) -> None:
        dice, id = self.dice, remote.id
        if self.closes[id]:
            return
        if not remote.connected:
            if dice.random() < 0.15:
                self.gone(id, "")
            else:
                remote.connected = True
                self.tell(events.Connected(id, ("127.0.0.2", 40113)))
        elif dice.random() < 0.03:
            self.gone(id, dice.choice(("reset", "closed")))
        elif dice.random() < 0.02 and not remote.owes:
            self.tell(events.Received(id, dice.choice((b"421 bye\r\n", b"250 what\r\n", b"42", b"\n"))))
        elif dice.random() < 0.01:
            self.tell(events.Ended(id))
        elif remote.owes:
            self.tell(events.Received(id, remote.answer(dice)))

    # What must hold whenever a step is done.

    def look(self) -> None:
        board = self.talk.proxy.switchboard
        line, seats = board.line, self.talk.proxy.seating.seats
        held: Counter[str] = Counter()
        for session, place in board.places.items():
            assert session in seats or session in board.clears.values(), session
            if place.state == HELD:
                held.update(place.names)
        assert held == {name: one.slots.used for name, one in line._limiters.items() if one.slots.used}
        for place in board.waiting:
            full = line.blocked(place.path)
            assert full, "somebody waits where there is room"
            idle = [any(name in board.places[trunk.caller].names for trunk in board.pool.resting) for name in full]
            assert not all(idle) or any(line.excess(name) for name in full), "somebody waits where others only rest"
        assert not board.freed and not board.tenants.stirred
        assert set(board.trunks) <= set(seats)
        assert all(trunk.caller in board.trunks for trunk in board.pool.resting)
        for trunk in board.pool.resting:
            assert trunk.caller.state in ("RESETTING", "RESTING"), trunk.caller.state
        for name in line._limiters.keys() | board.pool.under.keys():
            idle_there = [trunk for trunk in board.pool.resting if name in board.places[trunk.caller].names]
            assert set(board.pool.under.get(name, ())) == set(idle_there)
        self.count()

    def count(self) -> None:
        cap = self.caps["five"]
        if cap is None:
            return
        there = sum(one.address == ADDRESSES[0] and not self.closes[one.id] for one in self.remotes.values())
        if there <= cap and not any(b"" in one.owes for one in self.remotes.values()):
            self.lowered.discard("five")
        assert there <= cap or "five" in self.lowered, f"{there} connections where {cap} may be"

    # The end.

    def leave(self) -> None:
        """All hang up; or all fall silent, and time alone ends everything."""
        if self.exited:
            return
        if self.dice.random() < 0.5:
            self.pass_time(LONG_S)
        if not self.exited:
            everybody_goes(self.talk)
