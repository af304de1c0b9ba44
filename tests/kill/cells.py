"""The kill table as data: every step, everyone who may vanish and how, what may have come of it, and what is right.

Knows what must hold of each outcome; does not know a socket, a proxy, or how anything is found out.
"""

from collections.abc import Iterator, Mapping

from attrs import frozen

STEPS: Mapping[str, str] = {
    "connected": "the MTA has connected to the proxy",
    "challenged": "the MTA has greeted, and was asked for its proof",
    "accepted": "the MTA has asked for a remote, which has accepted the call and owes its greeting",
    "greeted": "the remote has said 220",
    "EHLO": "the remote has heard EHLO and owes the reply",
    "STARTTLS": "the remote has heard STARTTLS and owes the reply",
    "handshake": "the remote has said 220 to that, and the proxy's ClientHello is there",
    "EHLO again": "TLS stands; the remote has heard the second EHLO and owes the reply",
    "MAIL": "the remote has heard MAIL and owes the reply",
    "RCPT": "the remote has heard RCPT and owes the reply",
    "DATA": "the remote has heard DATA and owes the reply",
    "in the body": "half of the message has come to the remote",
    "after the dot": "the remote has the message and its end, and owes the reply",
    "after 250": "the remote has said 250; where it lives on, the MTA has read that",
    "QUIT": "the MTA has said QUIT, and so has the proxy to the remote, which owes the reply",
}
"""The dialogue, step by step: what has just happened when somebody vanishes."""

BEFORE_A_REMOTE = ("connected", "challenged")
ONLY_IN_TLS = ("STARTTLS", "handshake", "EHLO again")
SAID_BY_THE_REMOTE = ("greeted", "after 250")

FIN, CLOSE, RST, SILENCE, SIGKILL = "FIN", "close", "RST", "silence", "SIGKILL"
WAYS: Mapping[str, str] = {
    FIN: "it ends its own direction and reads on, as Exim does",
    CLOSE: "it closes its socket, as a process does that ends: FIN, and RST to whatever comes then",
    RST: "it is cut off with RST",
    SILENCE: "it neither says nor reads anything any more, and never closes",
    SIGKILL: "the process is killed",
}

PEER_WAYS = (FIN, CLOSE, RST, SILENCE)
PARTIES: Mapping[str, tuple[str, ...]] = {"MTA": PEER_WAYS, "remote": PEER_WAYS, "proxy": (SIGKILL,)}
"""Who may vanish, and in which ways."""

KEPT, NOTHING, UNKNOWN = "250", "nothing", "421 unknown"


@frozen
class Cell:
    """Who vanishes at which step, and how."""

    step: str
    who: str
    way: str

    def __str__(self) -> str:
        return f"{self.step}, {self.who} by {self.way}"


@frozen
class Outcome:
    """What came of one message.

    `told`: what its MTA heard of it, in a few words. `dotted`: the MTA had sent its end. `granted`: how often the
    remote said 250 to it. `copies`: how often the remote had it before the MTA sent it once more (which it does unless
    it was told 250), and `finally_`: afterwards. `log`: what the proxy's log says, `messages`: how many it counted, and
    `log_unknown`: whether it calls the outcome unknown; None: there is no such line.
    """

    told: str
    dotted: bool
    granted: int
    copies: int
    finally_: int
    log: str | None = None
    messages: int | None = None
    log_unknown: bool | None = None

    @property
    def unknown(self) -> bool:
        """Whether the MTA cannot know: it was told so, or it sent the end and was told nothing."""
        return self.told == UNKNOWN or (self.told == NOTHING and self.dotted)

    def __str__(self) -> str:
        copies = str(self.copies) if self.told == KEPT else f"{self.copies} → {self.finally_}"
        return " · ".join([self.told, copies, self.log or "–"])


def cells(secured: bool = True) -> Iterator[Cell]:
    """Every cell, in the order of the table; in plain text there are fewer steps."""
    for who, ways in PARTIES.items():
        for step in STEPS:
            missing = (who == "remote" and step in BEFORE_A_REMOTE) or (not secured and step in ONLY_IN_TLS)
            # A kernel that closes everything of a process does not mind what was said on it.
            missing |= who == "proxy" and not secured
            yield from (Cell(step, who, way) for way in ways if not missing)


def wrongs(outcome: Outcome) -> Iterator[str]:
    """What must not be, each in one sentence."""
    if outcome.told == KEPT and outcome.granted != 1:
        yield "the MTA was told 250, and the remote did not say so"
    if outcome.told == KEPT and outcome.copies != 1:
        yield "the MTA was told 250, and the remote does not have the message once"
    if outcome.told == UNKNOWN and not outcome.dotted:
        yield "the outcome was called unknown before the end of the message was sent"
    if outcome.told != KEPT and not outcome.unknown and outcome.copies:
        yield "the remote has a message that was told to be not accepted"
    if outcome.copies > 1:
        yield "the proxy made a second copy"
    if not outcome.finally_:
        yield "the message is lost"
    if outcome.finally_ > 1 + outcome.unknown:
        yield "the message is there twice, and nobody was told that this might be"
    if outcome.messages is not None and outcome.messages != outcome.granted:
        yield "the log counts other messages than the remote accepted"
    if outcome.log_unknown is not None and outcome.log_unknown != (outcome.told == UNKNOWN):
        yield "the log and the MTA were not told the same"
