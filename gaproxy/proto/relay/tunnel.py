"""Bytes both ways that nobody here reads: an MTA and a remote that speak TLS end to end, or whatever they like.

Knows how each direction begins, moves and ends; does not know what is said, and holds nothing of it.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from gaproxy.proto.asks import Carry, Drop, End, GiveBack, Leave, Mention
from gaproxy.proto.session import ANY, Cut, Session, State

WAITING, HELLO, CARRYING, ENDED, DONE = "WAITING", "HELLO", "CARRYING", "ENDED", "DONE"

HANDSHAKE = 0x16  # the first byte of TLS: a record of type handshake (RFC 8446 5.1)
FIRST_BYTE = re.compile(rb"\A\x16?(.*)", re.DOTALL)


class Tunnel:
    """What both directions share. `fields` begin the line that the log gets in the end.

    `hello`: each side must begin with TLS, the MTA first. Whatever else comes was put there by somebody in between, or
    said too early by a peer that would take it for protected afterwards (CVE-2011-0411).
    """

    def __init__(self, fields: Mapping[str, str | int], hello: bool) -> None:
        self.fields = fields
        self.ended_by = ""
        self.near = Side(self, HELLO if hello else CARRYING, "mta")
        self.far = Side(self, WAITING if hello else CARRYING, "remote")

    def renew(self) -> None:
        """Something moved: both directions have their time again."""
        for side in (self.near, self.far):
            if side.state == CARRYING:
                side.become(CARRYING)


class Side(Session):
    """One direction: what this peer sends."""

    STATES: ClassVar[Mapping[str, State]] = {
        WAITING: State((HELLO, DONE), {ANY: "inject"}, secret=FIRST_BYTE),
        HELLO: State(
            (CARRYING, DONE), {HANDSHAKE: "begin_tls", ANY: "inject"}, "starttls", "RFC 3207 4", secret=FIRST_BYTE
        ),
        CARRYING: State((CARRYING, ENDED, DONE), {}, "opaque"),
        ENDED: State((DONE,)),
        DONE: State(),
    }

    def __init__(self, tunnel: Tunnel, state: str, who: str) -> None:
        super().__init__(state)
        self.tunnel = tunnel
        self.who = who
        self.sent_before = 0
        self.size = 0

    def cut(self, unheard: bytearray) -> Cut | None:
        """The first byte decides, and goes with the others."""
        return unheard[0], None, 0

    def begin(self) -> None:
        if self.state == CARRYING:
            self.ask(Carry())

    def begin_tls(self, item: None) -> None:
        self.become(CARRYING)
        if self.tunnel.far.state == WAITING:
            self.tunnel.far.become(HELLO)
        self.ask(Carry())

    def inject(self, item: None) -> None:
        self.over("injection")

    def carried(self, size: int) -> None:
        """So many bytes had come before anything could be carried; they went first."""
        self.size = self.sent_before = size

    def relaying(self, size: int, at: int | None) -> None:
        self.size = self.sent_before + size
        self.tunnel.renew()

    def relayed(self, outcome: str, size: int, at: int | None, bare: bool) -> None:
        """This peer has said all; the other one may go on."""
        self.size = self.sent_before + size
        self.tunnel.ended_by = self.tunnel.ended_by or self.who
        self.become(ENDED)
        self.ask(End())
        if self.tunnel.near.state == self.tunnel.far.state == ENDED:
            self.over("mta_ended" if self.tunnel.ended_by == "mta" else "remote_closed")
        else:
            self.tunnel.renew()

    def ended(self) -> None:
        self.lost("closed")

    def lost(self, kind: str) -> None:
        gone = "mta_ended" if kind == "closed" else "mta_gone"
        self.over(gone if self.who == "mta" else f"remote_{kind}")

    def elapsed(self) -> None:
        if self.state == CARRYING:
            self.over("opaque_silent")
        else:
            self.over("mta_silent" if self.who == "mta" else "remote_timeout")

    def over(self, reason: str) -> None:
        """Both are closed; what one had said is still sent to the other. One line for the log."""
        tunnel = self.tunnel
        for side in (tunnel.near, tunnel.far):
            side.become(DONE)
        size = f"{tunnel.near.size}/{tunnel.far.size}"
        told: dict[str, str | int] = {**tunnel.fields, "tls": "opaque", "messages": "-", "bytes": size}
        self.ask(Drop(), Leave(), Mention("smtp_end", {**told, "reason": reason}), GiveBack("opaque"))
