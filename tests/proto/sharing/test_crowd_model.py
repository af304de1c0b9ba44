"""Three MTAs and whatever remotes they get, all at random, under few slots; and what must hold always.

The oaths: no fault of ours; nobody is told another's reply, and no body goes into another's envelope; who rests owes
nothing; never more rest than may; when all have gone, nothing of them is left. The remotes tell whom they answer.
"""

import re
from collections import deque
from collections.abc import Callable
from random import Random

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from tools.sharing import SHARING, with_mtas
from tools.talk import CERTIFICATE, ONE_AT_A_TIME, PIPELINING, QUIT, connected, opening

from gaproxy.proto import actions, events
from gaproxy.proto.actions import Action
from gaproxy.proto.patience import SECOND
from gaproxy.proto.remote.caller import RESTING

MTAS = {1: "mta-1", 3: "mta-2", 5: "mta-3"}
NET = 'throttle "net" { remote 192.0.2.0/24; max_connections 1 }\n'
CONFIGS = (
    SHARING + "log_verbose yes\n",
    SHARING + 'throttle "*" { max_connections 1 }\n',
    SHARING + 'throttle "*" { max_connections 2 }\n',
    SHARING + 'throttle "*" { max_connections 2 }\n' + NET,
    SHARING + "reuse_connections { per_destination 1; total 2; messages 2; idle 3s }\n",
    SHARING + "reuse_connections no\n",
    SHARING.replace("192.0.2.0/24", "192.0.2.6/32"),
)
OFFERS = (PIPELINING, ONE_AT_A_TIME, b"250-mx1.example.net\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=2\r\n")
ODD = (
    b"250 odd\n",
    b"250-odd\r\n251 odd\r\n",
    b"421 bye\r\n",
    b"500 no\r\n",
    b"what?\r\n",
    b"354 go\r\n",
)
WANTED = ("", "", " wait_ms=5000", " reuse=new", " pool=apart")
PLACES = ("192.0.2.5:25", "192.0.2.5:25", "192.0.2.6:25,192.0.2.5:25")
STEPS = 120
IDLE, ASKING, SESSION, LEAVING = "idle", "asking", "session", "leaving"  # what an MTA is about


@define
class Remote:
    """What it owes, oldest first, and who has begun the transaction that is open there."""

    owed: deque[bytes] = field(factory=lambda: deque([b"220 mx1.example.net\r\n"]))
    mail: int = 0

    def hears(self, command: bytes, offer: bytes) -> None:
        who = re.search(rb"<([0-9])>", command)
        assert who is None or self.mail in (0, int(who[1])), "another's transaction"
        if who and command.startswith(b"MAIL"):
            self.mail = int(who[1])
        elif command == b"RSET":
            self.mail = 0
        replies = {b"EHLO": offer, b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}
        self.owed.append(replies.get(command[:4], b"250 to %b\r\n" % who[1] if who else b"250 ok\r\n"))

    def takes_body(self, size: int) -> None:
        self.owed.append(b"250 to %d\r\n" % self.mail)
        self.mail = 0


class Crowd:
    """The edge and everybody behind it; every order is judged as it comes. `dice` decides what happens next."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.talk = with_mtas(dice.choice(CONFIGS[:5]), MTAS.values())
        self.there = set(MTAS)
        self.dialling: set[int] = set()
        self.closing: set[int] = set()
        self.ended: set[int] = set()
        self.bodies: dict[int, int] = {}
        self.remotes: dict[int, Remote] = {}
        self.said = 10
        self.phases = dict.fromkeys(MTAS, IDLE)
        self.behind_quit = dict.fromkeys(MTAS, IDLE)

    # What is ordered, and what may be.

    def hear(self, fact: events.Event) -> None:
        for order in self.talk.hear(fact):
            self.obey(order)
        self.judge()

    def obey(self, order: Action) -> None:
        if isinstance(order, actions.Connect):
            self.dialling.add(order.id)
            self.remotes[order.id] = Remote()
        elif isinstance(order, actions.Close):
            self.closing.add(order.id)
            self.bodies.pop(order.id, None)
        elif isinstance(order, actions.Relay):
            assert order.to is not None and self.remotes[order.to].mail in (0, order.id), "another's envelope"
            self.bodies[order.id] = order.to
        elif isinstance(order, actions.Send) and order.id in MTAS:
            for word in re.findall(rb"(?m)^(READY|FAILED|221) ", order.data):
                self.phases[order.id] = {b"READY": SESSION, b"FAILED": IDLE}.get(word, self.behind_quit[order.id])
            assert all(int(who) == order.id for who in re.findall(rb"250 to ([1-9])", order.data)), "another's reply"
        elif isinstance(order, actions.Send):
            for command in order.data.split(b"\r\n")[:-1]:
                self.remotes[order.id].hears(command, self.dice.choice(OFFERS))

    def judge(self) -> None:
        board = self.talk.proxy.switchboard
        limits, resting = board.pool.limits, list(board.pool.resting)
        assert limits is not None or not resting
        assert limits is None or len(resting) <= limits.total
        assert all(len(here) <= limits.per_destination for here in board.pool.at.values())
        for trunk in resting:
            hears = board.seating.seats[trunk.caller].hears
            assert trunk.caller.state != RESTING or not self.remotes[hears.id].owed, "it rests, and owes"

    # What may happen.

    def some(self, ids: set[int]) -> int | None:
        return self.dice.choice(sorted(ids)) if ids else None

    def time_passes(self) -> None:
        deadline = self.talk.proxy.next_deadline
        self.talk.now += round(self.dice.choice([0.1, 1, 2.5, 10]) * SECOND)
        if deadline is not None and deadline <= self.talk.now:
            self.hear(events.Elapsed())

    def the_operator_reloads(self) -> None:
        config = self.dice.choice(CONFIGS)
        signal = events.Signalled("HUP", bytes(16))
        for fact in (signal, events.ConfigRead(config), events.Prepared((), CERTIFICATE)):
            self.hear(fact)

    def descriptors_run_out(self) -> None:
        self.hear(events.Exhausted("descriptors"))

    def a_call_is_taken(self) -> None:
        id = self.some(self.dialling)
        if id is not None:
            self.dialling.discard(id)
            if id in self.closing or self.dice.random() < 0.1:
                self.hear(events.ConnectFailed(id, self.dice.choice(["refused", "timeout"]), "no"))
            else:
                self.there.add(id)
                self.hear(connected(id))

    def somebody_vanishes(self) -> None:
        id = self.some(self.there)
        if id is not None:
            self.there.discard(id)
            self.bodies.pop(id, None)
            self.hear(events.Closed(id, self.dice.choice(["closed", "reset", "timeout"])))

    def somebody_ends(self) -> None:
        id = self.some(self.there - self.ended - self.bodies.keys())
        if id is not None:
            self.ended.add(id)
            self.hear(events.Ended(id))

    def an_mta_speaks(self) -> None:
        id = self.some((self.there & MTAS.keys()) - self.ended - self.bodies.keys())
        said = b"" if id is None else b"".join(self.words(id) for _ in range(self.dice.randint(1, 3)))
        if id is not None and said:
            self.hear(events.Received(id, said))

    def words(self, id: int) -> bytes:
        """Something that may be said in a session, or the request for one; nothing while that is carried out."""
        self.said += 1
        mail, rcpt, data = b"MAIL FROM:<%d>\r\n" % id, b"RCPT TO:<%d>\r\n" % id, b"DATA\r\n"
        request = opening(self.said, self.dice.choice(PLACES), more=self.dice.choice(WANTED))
        if self.phases[id] == SESSION:
            envelope = (mail, rcpt, data, mail + rcpt + data, mail + rcpt + data)
            said = self.dice.choice((*envelope, QUIT, QUIT + request, b"EHLO a\r\n", b"NOOP\r\n"))
            if said.startswith(QUIT):
                self.phases[id], self.behind_quit[id] = LEAVING, IDLE if said == QUIT else ASKING
            return said
        said = request if self.phases[id] == IDLE else b""
        self.phases[id] = ASKING if said else self.phases[id]
        return said

    def a_body_ends(self) -> None:
        id = self.some(set(self.bodies))
        if id is not None:
            remote = self.remotes[self.bodies.pop(id)]
            if self.dice.random() < 0.1:
                self.ended.add(id)
                self.hear(events.Relayed(id, 100, b"", "cut"))
            else:
                remote.takes_body(100)
                self.hear(events.Relayed(id, 100, self.dice.choice([b"", QUIT]), "dot", bare=self.dice.random() < 0.1))

    def a_remote_answers(self) -> None:
        id = self.some({one for one in self.there - MTAS.keys() - self.ended if self.remotes[one].owed})
        if id is not None:
            owed = self.remotes[id].owed
            said = b"".join(owed.popleft() for _ in range(self.dice.randint(1, len(owed))))
            one_more = not owed and self.dice.random() < 0.05
            self.hear(events.Received(id, said + b"250 one more\r\n" if one_more else said))

    def a_remote_is_odd(self) -> None:
        id = self.some(self.there - MTAS.keys() - self.ended)
        if id is not None:
            if self.remotes[id].owed:
                self.remotes[id].owed.popleft()
            self.hear(events.Received(id, self.dice.choice(ODD)))

    def anything(self) -> None:
        often = [self.an_mta_speaks, self.a_remote_answers, self.a_remote_answers, self.a_call_is_taken]
        rarely: list[Callable[[], None]] = [self.time_passes, self.a_body_ends, self.a_body_ends]
        hardly = [self.the_operator_reloads, self.descriptors_run_out, self.somebody_ends, self.somebody_vanishes]
        self.dice.choice([*often * 12, *rarely * 4, *hardly, self.a_remote_is_odd])()

    def everybody_leaves(self) -> None:
        while self.there:
            self.somebody_vanishes()
        while self.dialling:
            self.closing |= self.dialling
            self.a_call_is_taken()


@settings(deadline=None, max_examples=300)
@given(st.randoms(use_true_random=True))
def test_nobody_gets_what_is_anothers_and_nothing_is_left_of_whoever_went(dice):
    crowd = Crowd(dice)
    for _ in range(STEPS):
        crowd.anything()
    crowd.everybody_leaves()
    board = crowd.talk.proxy.switchboard
    for left in (board.trunks, board.requests, board.places, board.waiting, board.clears, board.pool.at):
        assert not left
    assert not board.line._limiters
    assert not board.seating.seats and not board.seating.connections
