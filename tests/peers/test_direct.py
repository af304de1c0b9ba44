"""The MTA without a proxy against a remote that does as the test says."""

import pytest
from tools.every_split import every_split

from gaproxy.peers.direct import Direct
from gaproxy.peers.errand import Letter, Outcome
from gaproxy.proto.actions import Close, Connect, Secure, Send
from gaproxy.proto.events import Closed, Connected, ConnectFailed, Elapsed, Received, Secured, SecureFailed, Signalled

REMOTE = ("192.0.2.25", 25)
ENVELOPE = b"MAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\n"
SAID = [
    b"220 mx\r\n",
    b"250-mx\r\n250 STARTTLS\r\n",
    b"220 go\r\n",
    b"250 mx\r\n",
    b"250 ok\r\n250 ok\r\n",
    b"354 go\r\n",
]


def letter(number):
    data = b"Message-ID: <%d@a>\r\n\r\n.hello\r\n" % number
    return Letter(f"{number}@a", "192.0.2.2", ("192.0.2.25:25",), "out", "encrypt", b"a@a", (b"b@b",), data)


class Talk:
    """An MTA with some letters, whose first call was taken."""

    def __init__(self, letters=1):
        self.mta = Direct(REMOTE, [letter(number + 1) for number in range(letters)])
        self.tell(Signalled("START", bytes(16)), Connect(2, "192.0.2.2", REMOTE))
        self.tell(Connected(2, ("192.0.2.2", 40112)))

    def tell(self, event, *orders):
        assert self.mta.step(0, event) == list(orders)

    def hears(self, said, *answers):
        self.tell(Received(2, said), *(Send(2, answer) for answer in answers))

    def is_at(self, step):
        """So many replies in; TLS stands where its time has come."""
        for number, said in enumerate(SAID[:step], 1):
            self.mta.step(0, Received(2, said))
            if number == 3:
                self.mta.step(0, Secured(2, "TLSv1.3", "", "", (), False))
        return self


def test_each_letter_has_a_connection_and_a_handshake_of_its_own():
    talk = Talk(letters=2)
    talk.hears(SAID[0], b"EHLO out\r\n")
    talk.hears(SAID[1], b"STARTTLS\r\n")
    talk.tell(Received(2, SAID[2]), Secure(2))
    talk.tell(Secured(2, "TLSv1.3", "", "", (), False), Send(2, b"EHLO out\r\n"))
    talk.hears(SAID[3], ENVELOPE)
    talk.hears(SAID[4], b"DATA\r\n")
    talk.hears(SAID[5], b"Message-ID: <1@a>\r\n\r\n..hello\r\n.\r\n")
    talk.hears(b"250 kept\r\n", b"QUIT\r\n")
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))
    talk.tell(Closed(2, "closed"), Connect(4, "192.0.2.2", REMOTE))
    assert talk.mta.outcomes == [Outcome("1@a", "delivered", "250 kept")]


def test_behind_the_last_letter_it_is_done():
    talk = Talk().is_at(6)
    talk.hears(b"250 kept\r\n", b"QUIT\r\n")
    talk.tell(Closed(2, "reset"))
    talk.tell(Elapsed())
    assert (talk.mta.done, talk.mta.outcomes) == (True, [Outcome("1@a", "delivered", "250 kept")])


def test_what_the_remote_says_means_the_same_however_it_is_cut():
    for pieces in every_split(SAID[4]):
        talk = Talk().is_at(4)
        assert [order for piece in pieces for order in talk.mta.step(0, Received(2, piece))] == [Send(2, b"DATA\r\n")]


@pytest.mark.parametrize(
    ("step", "at"), [(0, "greeting"), (1, "EHLO"), (2, "STARTTLS"), (5, "DATA"), (6, "end of data")]
)
def test_a_letter_that_is_refused_is_done_with(step, at):
    talk = Talk().is_at(step)
    talk.hears(b"550 5.7.1 not\r\n", b"QUIT\r\n")
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))
    talk.tell(Closed(2, "closed"))
    assert talk.mta.outcomes == [Outcome("1@a", "refused", f"{at}: 550 5.7.1 not")]


@pytest.mark.parametrize(("step", "kind"), [(0, "lost"), (5, "lost"), (6, "unknown")])
def test_a_connection_that_goes_leaves_what_is_known(step, kind):
    talk = Talk().is_at(step)
    talk.tell(Closed(2, "reset"))
    assert talk.mta.outcomes == [Outcome("1@a", kind, "the remote is gone: reset")]


def test_what_is_no_reply_and_no_tls_ends_the_connection():
    Talk().tell(Received(2, b"HTTP/1.1 400\r\n"), Close(2))
    Talk().tell(SecureFailed(2, "handshake", "no", b""), Close(2))


def test_without_a_remote_the_next_letter_goes():
    talk = Talk(letters=2)
    talk.tell(ConnectFailed(2, "refused", "no"), Connect(4, "192.0.2.2", REMOTE))
    assert talk.mta.outcomes == [Outcome("1@a", "lost", "refused: no")]
