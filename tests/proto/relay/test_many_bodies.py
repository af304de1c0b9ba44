"""Twenty thousand ordinary messages of two MTAs, through the scanner of bodies and over one connection.

Nothing is held back, changed or called odd, and the connection is as good in the end as it was in the beginning.
"""

from random import Random

from tools.talk import (
    CONFIG,
    DATA,
    EHLO,
    GOODBYE,
    GREETING,
    MAIL,
    PIPELINING,
    QUIT,
    RCPT,
    Received,
    connected,
    opening,
    with_mta,
)

from gaproxy.proto.actions import Relay, Send
from gaproxy.proto.events import Relayed
from gaproxy.proto.wire.body import EndOfData

MESSAGES, OF_A_SESSION = 20_000, 50
DICE = Random(11)
LINES = [
    b"",
    b"..",
    b"..x",
    b"From: a@src.test",
    b"\xe4\xf6\xfc",
    b"=20",
    b"x" * 998,
    b"\x00",
    b"..\t.",
    b"QUIT",
]
CONFIG = CONFIG.replace("reuse_connections no", "reuse_connections { messages 1000000 }")
ENVELOPE, AGREED = MAIL + RCPT + DATA, b"250 ok\r\n250 ok\r\n354 go\r\n"


def a_body() -> bytes:
    """Lines that end in CRLF, those that begin with a dot with one more of them; and the end."""
    lines = DICE.choices(LINES, k=DICE.randrange(12))
    return b"".join(line + b"\r\n" for line in lines) + b".\r\n"


def scanned(body: bytes) -> tuple[bytes, EndOfData]:
    """The body as it leaves, of pieces as they may come."""
    scanner, left, forwarded, outcome = EndOfData(), body, b"", None
    while left:
        size = DICE.randrange(1, 700)
        one = scanner.scan(left[:size])
        forwarded, outcome, left = forwarded + one.forward, one.outcome, left[size:]
        assert outcome is None or (outcome, one.rest, left) == ("dot", b"", b"")
    assert outcome == "dot"
    return forwarded, scanner


def test_twenty_thousand_ordinary_bodies_pass_unchanged_over_one_shared_connection():
    talk = with_mta(CONFIG, (1, 3))
    talk.hear(Received(1, opening()))
    for fact in (connected(), Received(2, GREETING), Received(2, PIPELINING)):
        talk.hear(fact)
    talk.hear(Received(1, EHLO))
    for number in range(MESSAGES):
        session = number // OF_A_SESSION
        mta, other = (1, 3) if session % 2 == 0 else (3, 1)
        body = a_body()
        forwarded, scanner = scanned(body)
        assert (forwarded, scanner.size, scanner.bare) == (body, len(body), False)
        talk.tell(Received(mta, ENVELOPE), Send(2, ENVELOPE))
        talk.tell(Received(2, AGREED), Send(mta, AGREED), Relay(mta, 2))
        talk.tell(Relayed(mta, scanner.size, b"", "dot", None, scanner.bare))
        talk.tell(Received(2, b"250 kept\r\n"), Send(mta, b"250 kept\r\n"))
        if number % OF_A_SESSION == OF_A_SESSION - 1:
            talk.tell(Received(mta, QUIT), Send(mta, GOODBYE), Send(2, b"RSET\r\n"))
            [ready] = talk.hear(Received(other, opening(id=session + 10)))
            assert f" reused=yes uses={session + 2} ".encode() in ready.data
            talk.tell(Received(2, b"250 reset\r\n"))
            talk.hear(Received(other, EHLO))
    assert all(line.endswith("reason=quit") for line in talk.notes if ": end " in line)
