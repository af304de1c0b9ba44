"""The remote's side of a session: what each of its replies answers. Does not know what the MTA may say next."""

from collections.abc import Mapping
from typing import ClassVar

from gaproxy.proto.asks import Failed, Opened, Say, Tunnel
from gaproxy.proto.errors import RemoteProtocolError
from gaproxy.proto.relay.dialogue import Relay
from gaproxy.proto.relay.owed import Owed
from gaproxy.proto.relay.states import (
    CARRYING,
    DATA,
    DONE,
    EARLY,
    END,
    FAR,
    GONE,
    NOTHING,
    OTHER,
    REPLACING,
    STARTTLS,
    UNASKED,
)
from gaproxy.proto.session import Cut, Session, State
from gaproxy.proto.smtp.replies import Reply, cut_reply


class Far(Session):
    """The remote's side."""

    STATES: ClassVar[Mapping[str, State]] = FAR
    PEER = "remote"

    def __init__(self, relay: Relay) -> None:
        super().__init__(NOTHING, relay.asks)
        self.called = relay.name
        self.relay = relay
        relay.far = self
        self.waiting_for: Owed | None = None
        self.began_early = False
        self.followed = False  # whether there is something behind the reply that is heard

    def cut(self, unheard: bytearray) -> Cut | None:
        """A reply counts from its first byte: the rest of one that began too early is no answer to what came since."""
        self.began_early = bool(unheard) and (self.began_early or self.row.hears is UNASKED)
        cut = cut_reply(unheard)
        if cut is None:
            return None
        early, self.began_early = self.began_early, False
        said, size = cut
        self.followed = len(unheard) > size
        return EARLY if early and said.code != 421 else said.code, said, size

    def settle(self) -> None:
        """Wait for the oldest thing that is owed; patience begins anew only when that changes."""
        relay, oldest = self.relay, self.relay.oldest()
        if relay.lost:
            if self.state != GONE:
                self.become(GONE)
        elif self.state != REPLACING and oldest is not self.waiting_for:
            self.waiting_for = oldest
            self.become(NOTHING if oldest is None else oldest.verb if oldest.verb in FAR else OTHER)

    def answered(self, said: Reply) -> None:
        """The reply to the oldest command.

        A code that its verb cannot have means that we no longer know who is where.
        """
        relay, owed = self.relay, self.relay.oldest()
        assert owed is not None
        if said.code // 100 == 3 or (owed.verb == DATA and said.code < 400):
            self.unasked(said)
            return
        if owed.verb == STARTTLS and said.code == 220:
            self.leave_them_alone(said)
            return
        if owed.swallowed:
            self.was_reset(said, owed)
            return
        relay.replaceable = False
        self.look_at(said)
        if owed.instead is not None and said.code != 250:
            relay.lose_remote("4.4.2", "the remote refused RSET", "rset_refused")
            return
        if owed.verb == END:
            relay.transaction = None
            relay.messages += said.code < 300
        elif said.code >= 400:
            relay.refused(owed)
        owed.reply = said.wire if owed.instead is None else owed.instead
        relay.settle()

    def was_reset(self, said: Reply, owed: Owed) -> None:
        """The reply to the RSET that stands between former sessions and this one; nobody is told of it."""
        if said.code != 250:
            self.relay.lose_remote("4.4.2", "the remote refused RSET", "rset_refused")
            return
        self.look_at(said)
        owed.reply = b""
        self.relay.settle()

    def leave_them_alone(self, said: Reply) -> None:
        """220 to the MTA's STARTTLS: from now on they speak TLS end to end. What already follows is no TLS."""
        relay = self.relay
        relay.replaceable = False
        if self.followed:
            relay.lose_remote("4.7.0", "bytes behind the reply to STARTTLS", "injection")
            return
        if relay.draining:
            relay.lose_remote("4.3.2", "shutting down", "draining")
            return
        relay.near.become(DONE)
        self.become(GONE)
        self.ask(Say(said.wire), Tunnel(relay.fields, hello=True))

    def go_ahead(self, said: Reply) -> None:
        """354: the body may come. It is told at once, for nothing else can be owed before it."""
        self.relay.replaceable = False
        self.look_at(said)
        owed = self.relay.owed.pop()
        self.relay.owed_bytes -= len(owed.wire)
        self.waiting_for = None
        self.become(CARRYING)
        self.ask(Say(said.wire))
        self.relay.near.carry()

    def look_at(self, said: Reply) -> None:
        """A reply that is odd is told as it came, and the connection is nobody's afterwards."""
        self.relay.taint = self.relay.taint or (said.taints[0] if said.taints else None)

    def closing(self, said: Reply) -> None:
        self.relay.lose_remote("4.4.2", "the remote closed the session", "remote_421", said.wire)

    def unasked(self, said: Reply) -> None:
        self.relay.lose_remote("4.4.2", f"the remote said {said.code} out of turn", "desync")

    # Another remote in the place of one that was lost.

    def opened(self, outcome: Opened) -> None:
        self.waiting_for, self.began_early = None, False
        self.relay.replaced(outcome)

    def failed(self, outcome: Failed) -> None:
        self.relay.not_replaced(outcome.text)

    # Its end.

    def ended(self) -> None:
        self.lost("closed")

    def lost(self, kind: str) -> None:
        self.relay.lose_remote("4.4.2", "the remote closed the connection", f"remote_{kind}")

    def elapsed(self) -> None:
        self.relay.lose_remote("4.4.2", "the remote was silent for too long", "remote_timeout")

    def faulted(self, fault: RemoteProtocolError) -> None:
        self.relay.lose_remote("4.4.2", f"the remote broke the protocol: {fault}", "desync")
