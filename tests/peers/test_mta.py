"""The MTA against a proxy that does as the test says: what it sends, and what it believes of each letter."""

import pytest
from tools.every_split import every_split

from gaproxy.client import Client
from gaproxy.peers.errand import Letter, Outcome
from gaproxy.peers.mta import Mta
from gaproxy.proto.actions import Close, Connect, Secure, Send
from gaproxy.proto.doors.credentials import certificate_binding, mta_proof, proxy_proof
from gaproxy.proto.events import (
    Closed,
    Connected,
    ConnectFailed,
    Elapsed,
    Ended,
    Received,
    Secured,
    SecureFailed,
    Signalled,
)

SECRET = "a-secret-of-the-tests-and-of-no-other"
PROXY = ("192.0.2.1", 807)
CHALLENGE = b"CHALLENGE v=1 nonce=%b\r\n" % (b"a" * 64)
READY = (
    b"READY id=%d source=192.0.2.2:40112 remote=192.0.2.25:25 reused=no uses=1 age_ms=0 tls=none\r\n220 mx ESMTP\r\n"
)
BYE = b"221 2.0.0 bye\r\n"


def letter(number):
    data = b"Message-ID: <%d@a>\r\n\r\n.hello\r\n" % number
    return Letter(f"{number}@a", "192.0.2.2", ("192.0.2.25:25",), "out", "may", b"a@a", (b"b@b", b"c@c"), data)


class Talk:
    """An MTA with some letters. `hears` tells it what the proxy says, and which bytes must answer."""

    def __init__(self, letters=1):
        native = Client(SECRET, "mta-1", "f" * 64, agent="test")
        self.hello = native.hello()
        self.mta = Mta(native, PROXY, "192.0.2.9", [letter(number + 1) for number in range(letters)], tls=False)

    def tell(self, event, *orders):
        assert self.mta.step(0, event) == list(orders)

    def hears(self, said, *answers):
        self.tell(Received(2, said), *(Send(2, answer) for answer in answers))

    def is_welcomed(self):
        self.tell(Signalled("START", bytes(16)), Connect(2, "192.0.2.9", PROXY))
        self.tell(Connected(2, ("192.0.2.9", 40112)), Send(2, self.hello))
        auth = b"AUTH proof=%b\r\n" % mta_proof(SECRET, self.hello, CHALLENGE).encode()
        self.hears(CHALLENGE, auth)
        proof = proxy_proof(SECRET, self.hello, CHALLENGE, auth)
        self.hears(f"WELCOME proof={proof} session=00\r\n".encode(), opening(1))
        return self

    def is_at(self, step):
        """In the session of the first letter, so many replies in."""
        self.is_welcomed()
        for said in (READY % 1, *[b"250 ok\r\n"] * 4, b"354 go\r\n", b"250 kept\r\n")[:step]:
            self.mta.step(0, Received(2, said))
        return self


def opening(number):
    return b"OPEN id=%d source=192.0.2.2 to=192.0.2.25:25 helo=out tls=may\r\n" % number


def test_one_letter_after_the_other_goes_through_one_connection():
    talk = Talk(letters=2).is_welcomed()
    for number in (1, 2):
        talk.hears(READY % number, b"EHLO out\r\n")
        talk.hears(b"250-mx\r\n250 SIZE\r\n", b"MAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\nRCPT TO:<c@c>\r\n")
        talk.hears(b"250 ok\r\n")
        talk.hears(b"250 ok\r\n251 elsewhere\r\n", b"DATA\r\n")
        talk.hears(b"354 go\r\n", b"Message-ID: <%d@a>\r\n\r\n..hello\r\n.\r\n" % number)
        talk.hears(b"250 kept\r\n", b"QUIT\r\n")
        if number == 1:
            talk.hears(BYE, opening(2))
    talk.tell(Received(2, BYE), Close(2))
    assert talk.mta.done
    assert talk.mta.outcomes == [Outcome("1@a", "delivered", "250 kept"), Outcome("2@a", "delivered", "250 kept")]
    talk.tell(Closed(2, "closed"))


def test_over_tls_the_proofs_are_bound_to_the_certificate():
    shown = "cd" * 32
    talk = Talk()
    talk.mta.tls = True
    talk.tell(Signalled("START", bytes(16)), Connect(2, "192.0.2.9", PROXY))
    talk.tell(Connected(2, ("192.0.2.9", 40112)), Secure(2))
    talk.tell(Secured(2, "TLSv1.3", "TLS_AES_256_GCM_SHA384", shown, (), False), Send(2, talk.hello))
    proof = mta_proof(SECRET, talk.hello, CHALLENGE, certificate_binding(shown))
    talk.hears(CHALLENGE, b"AUTH proof=%b\r\n" % proof.encode())


def test_without_the_tls_that_is_due_nothing_is_said():
    talk = Talk()
    talk.mta.tls = True
    talk.mta.step(0, Signalled("START", bytes(16)))
    talk.tell(Connected(2, ("192.0.2.9", 40112)), Secure(2))
    talk.tell(SecureFailed(2, "handshake", "wrong version number", b"220"), Close(2))
    assert talk.mta.outcomes == [Outcome("1@a", "unsent", "no TLS with the proxy: wrong version number")]


def test_what_the_proxy_says_means_the_same_however_it_is_cut():
    for pieces in every_split(READY % 1):
        talk = Talk().is_welcomed()
        said = [order for piece in pieces for order in talk.mta.step(0, Received(2, piece))]
        assert said == [Send(2, b"EHLO out\r\n")]


@pytest.mark.parametrize(
    ("step", "at"), [(1, "EHLO"), (2, "MAIL"), (3, "RCPT"), (4, "RCPT"), (5, "DATA"), (6, "end of data")]
)
def test_a_letter_that_is_refused_is_done_with_and_the_next_one_goes(step, at):
    talk = Talk(letters=2).is_at(step)
    owed = {"MAIL": 2, "RCPT": 4 - step}.get(at, 0)  # what was said behind it gets its reply, too
    talk.hears(b"550 5.7.1 not\r\n" + b"503 5.5.1 bad sequence\r\n" * owed, b"QUIT\r\n")
    assert talk.mta.outcomes == []
    talk.hears(BYE, opening(2))
    assert talk.mta.outcomes == [Outcome("1@a", "refused", f"{at}: 550 5.7.1 not")]


def test_a_letter_without_a_remote_is_done_with_and_the_next_one_goes():
    talk = Talk(letters=2).is_welcomed()
    talk.hears(b"FAILED id=1 kind=refused retry_ms=0 text=no%20one\r\n", opening(2))
    assert talk.mta.outcomes == [Outcome("1@a", "failed", "refused: no one")]


@pytest.mark.parametrize(("step", "kind"), [(0, "lost"), (1, "lost"), (5, "lost"), (6, "unknown"), (7, "delivered")])
def test_a_connection_that_goes_leaves_what_is_known_of_each_letter(step, kind):
    talk = Talk(letters=2).is_at(step)
    talk.tell(Closed(2, "reset"))
    assert talk.mta.done
    text = "250 kept" if kind == "delivered" else "the connection to the proxy is gone: reset"
    assert [(one.kind, one.text) for one in talk.mta.outcomes] == [
        (kind, text),
        ("unsent", "the connection to the proxy is gone: reset"),
    ]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GOAWAY reason=drain\r\n", "the proxy goes away: drain"),
        (b"ERROR code=limit fatal=yes text=enough\r\n", "the proxy refuses: limit: enough"),
        (b"HTTP/1.1 400\r\n", "this is no proxy: "),
    ],
)
def test_a_proxy_that_does_not_want_is_left(said, why):
    talk = Talk(letters=2).is_welcomed()
    talk.tell(Received(2, said), Close(2))
    assert [one.kind for one in talk.mta.outcomes] == ["lost", "unsent"]
    assert all(one.text.startswith(why) for one in talk.mta.outcomes)


def test_a_proxy_that_ends_the_connection_is_left():
    talk = Talk().is_at(3)
    talk.tell(Ended(2), Close(2))
    assert talk.mta.outcomes == [Outcome("1@a", "lost", "the proxy ended the connection")]


def test_without_a_proxy_nothing_is_sent():
    talk = Talk()
    talk.tell(Elapsed())
    talk.tell(Signalled("START", bytes(16)), Connect(2, "192.0.2.9", PROXY))
    talk.tell(ConnectFailed(2, "refused", "Connection refused"))
    assert talk.mta.outcomes == [Outcome("1@a", "unsent", "no proxy: refused: Connection refused")]


def test_without_letters_it_leaves_at_once():
    native = Client(SECRET, "mta-1", "f" * 64)
    mta = Mta(native, PROXY, "192.0.2.9", [])
    assert mta.next_letter() == [Close(2)]
    assert (mta.done, mta.outcomes) == (True, [])
