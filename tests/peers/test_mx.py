"""The remote: each dialogue is a fact, then all the orders that answer it."""

from hashlib import sha256

import pytest
from tools.every_split import every_split

from gaproxy.peers import mx
from gaproxy.peers.mx import Arrival, Mx
from gaproxy.proto.actions import Adopt, Close, Listener, Prepare, Secure, Send
from gaproxy.proto.events import Accepted, Closed, Elapsed, Ended, Prepared, Received, Secured, SecureFailed, Signalled

LISTENER = Listener("mx", ("192.0.2.25", 25))
PLAIN = b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 10485760\r\n250 STARTTLS\r\n"
SECRET = b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 10485760\r\n"
BODY = b"Message-ID: <1@a>\r\n\r\n.one dot\r\n"
SENT = b"Message-ID: <1@a>\r\n\r\n..one dot\r\n.\r\n"


class Talk:
    """A remote that guest 1 has come to, unless it is told not to come."""

    def __init__(self, replies=None, comes=True):
        self.mx = Mx(LISTENER, replies)
        if comes:
            self.tell(Accepted(1, "mx", ("192.0.2.1", 40112), bytes(48)), Send(1, b"220 mx ESMTP\r\n"))

    def tell(self, event, *orders):
        assert self.mx.step(0, event) == list(orders)

    def says(self, said, *replies):
        """The guest says this, and these lines answer it."""
        self.tell(Received(1, said), *(Send(1, reply) for reply in replies))

    def is_greeted(self):
        self.says(b"EHLO out\r\n", PLAIN)
        return self


def arrival(tls=None, body=BODY, message_id="1@a"):
    return Arrival(1, "192.0.2.1", tls, message_id, sha256(body).hexdigest(), len(body))


def test_it_listens_where_it_was_told_to():
    talk = Talk(comes=False)
    talk.tell(Signalled("START", bytes(16)), Prepare((LISTENER,)))
    talk.tell(Prepared(), Adopt())
    talk.tell(Signalled("TERM"))
    assert talk.mx.problems == ()


def test_where_it_cannot_listen_it_says_why():
    talk = Talk(comes=False)
    talk.tell(Prepared(("cannot listen at mx: taken",)))
    assert talk.mx.problems == ("cannot listen at mx: taken",)


def test_a_message_under_tls_is_kept_and_so_is_who_brought_it():
    talk = Talk().is_greeted()
    talk.tell(Received(1, b"STARTTLS\r\n"), Send(1, b"220 2.0.0 go ahead\r\n"), Secure(1, serve=True))
    talk.tell(Secured(1, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "", (), False))
    talk.says(b"EHLO out\r\n", SECRET)
    talk.says(b"MAIL FROM:<a@a>\r\n", b"250 2.1.0 sender ok\r\n")
    talk.says(b"RCPT TO:<b@b>\r\n", b"250 2.1.5 recipient ok\r\n")
    talk.says(b"DATA\r\n", b"354 end with a dot\r\n")
    talk.says(SENT, b"250 2.0.0 kept\r\n")
    assert talk.mx.arrivals == [arrival("TLSv1.3")]
    talk.tell(Received(1, b"QUIT\r\n"), Send(1, b"221 2.0.0 bye\r\n"), Close(1))
    talk.tell(Closed(1, "closed"))
    assert (talk.mx.connections, talk.mx.guests) == (1, {})


def test_two_messages_in_one_stream_are_two_however_it_is_cut():
    envelope = b"MAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\nRCPT TO:<c@c>\r\nDATA\r\n"
    story = b"ehlo out\r\n" + envelope + SENT + envelope + b".\r\nNOOP\r\nQUIT\r\n"
    wanted = None
    for pieces in every_split(story):
        talk = Talk()
        orders = [order for piece in pieces for order in talk.mx.step(0, Received(1, piece))]
        wanted = wanted or orders
        assert orders == wanted
        assert talk.mx.arrivals == [arrival(), arrival(body=b"", message_id="")]
    codes = [order.data[:3] for order in wanted[:-1]]
    assert codes == [b"250", *[b"250", b"250", b"250", b"354", b"250"] * 2, b"250", b"221"]
    assert wanted[-1] == Close(1)


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (b"MAIL FROM:<a@a>\r\n", b"503 5.5.1 not now\r\n"),
        (b"STARTTLS\r\n", b"503 5.5.1 not now\r\n"),
        (b"BDAT 3 LAST\r\n", b"500 5.5.2 what?\r\n"),
        (b"NOOP \0\r\n", b"500 5.5.2 what?\r\n"),
        (b"RSET\r\nMAIL FROM:<a@a>\r\n", b"250 2.0.0 forgotten\r\n503 5.5.1 not now\r\n"),
        (b"HELO out\r\nRCPT TO:<b@b>\r\n", b"250 mx\r\n503 5.5.1 not now\r\n"),
        (b"HELO out\r\nMAIL FROM:<a@a>\r\nDATA\r\n", b"250 mx\r\n250 2.1.0 sender ok\r\n503 5.5.1 not now\r\n"),
        (b"HELO out\r\nMAIL FROM:<a@a>\r\nRSET\r\nRCPT TO:<b@b>\r\n", None),
    ],
)
def test_what_comes_out_of_turn_is_refused(said, reply):
    talk = Talk()
    heard = b"".join(order.data for order in talk.mx.step(0, Received(1, said)))
    assert heard == (reply or b"250 mx\r\n250 2.1.0 sender ok\r\n250 2.0.0 forgotten\r\n503 5.5.1 not now\r\n")


def test_tls_begins_once():
    talk = Talk().is_greeted()
    talk.tell(Received(1, b"STARTTLS\r\n"), Send(1, b"220 2.0.0 go ahead\r\n"), Secure(1, serve=True))
    talk.tell(Secured(1, "TLSv1.3", "", "", (), False))
    talk.says(b"MAIL FROM:<a@a>\r\n", b"503 5.5.1 not now\r\n")  # what was said before TLS is forgotten
    talk.says(b"EHLO out\r\nSTARTTLS\r\n", SECRET, b"503 5.5.1 not now\r\n")


def test_plain_text_behind_starttls_ends_it():
    talk = Talk().is_greeted()
    talk.tell(Received(1, b"STARTTLS\r\nRSET\r\n"), Send(1, b"220 2.0.0 go ahead\r\n"), Close(1))


def test_a_guest_that_fails_at_tls_or_ends_is_let_go():
    talk = Talk().is_greeted()
    talk.tell(Received(1, b"STARTTLS\r\n"), Send(1, b"220 2.0.0 go ahead\r\n"), Secure(1, serve=True))
    talk.tell(SecureFailed(1, "handshake", "no", b""), Close(1))
    talk = Talk()
    talk.tell(Ended(1), Close(1))
    talk.says(b"NOOP\r\n")


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA", "STARTTLS", "QUIT"])
def test_a_reply_that_refuses_leaves_everything_as_it_was(verb):
    before = {"EHLO": b"", "RCPT": b"MAIL FROM:<a>\r\n", "DATA": b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\n"}
    talk = Talk({verb: b"451 4.3.0 later"})
    talk.mx.step(0, Received(1, (b"" if verb == "EHLO" else b"EHLO out\r\n") + before.get(verb, b"")))
    state = talk.mx.guests[1].state
    talk.says(verb.encode() + b" x\r\n", b"451 4.3.0 later\r\n")
    assert talk.mx.guests[1].state == state


def test_a_greeting_that_refuses_ends_it():
    talk = Talk({mx.GREETING: b"554 5.7.1 not you"}, comes=False)
    came = Accepted(1, "mx", ("192.0.2.1", 40112), bytes(48))
    talk.tell(came, Send(1, b"554 5.7.1 not you\r\n"), Close(1))


def test_a_message_that_is_refused_at_its_end_is_not_kept():
    talk = Talk({mx.END_OF_DATA: b"554 5.7.1 spam"}).is_greeted()
    talk.mx.step(0, Received(1, b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"))
    talk.says(SENT, b"554 5.7.1 spam\r\n")
    talk.says(b"MAIL FROM:<a>\r\n", b"250 2.1.0 sender ok\r\n")
    assert talk.mx.arrivals == []


def test_a_line_without_end_and_a_message_without_end_are_not_borne():
    talk = Talk()
    too_long = Send(1, b"500 5.5.0 a command longer than 4096 bytes\r\n")
    talk.tell(Received(1, b"x" * 4096), too_long, Close(1))
    talk = Talk().is_greeted()
    talk.mx.step(0, Received(1, b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"))
    talk.says(b"x" * mx.SIZE_BYTES)
    too_large = Send(1, b"500 5.5.0 a message of more than 10485760 bytes\r\n")
    talk.tell(Received(1, b"x"), too_large, Close(1))


def test_a_remote_far_away_answers_later_and_all_at_once():
    far = Mx(LISTENER, delay_ns=20)
    assert far.step(100, Accepted(1, "mx", ("192.0.2.1", 40112), bytes(48))) == []
    assert far.next_deadline == 120
    assert far.step(120, Elapsed()) == [Send(1, b"220 mx ESMTP\r\n")]
    assert far.next_deadline is None
    assert far.step(130, Received(1, b"NOOP\r\n")) == far.step(140, Received(1, b"NOOP\r\n")) == []
    assert far.step(150, Elapsed()) == [Send(1, b"250 2.0.0 ok\r\n"), Send(1, b"250 2.0.0 ok\r\n")]
    assert far.step(160, Elapsed()) == []


def test_who_is_one_too_many_is_sent_away_until_somebody_has_left():
    small = Mx(LISTENER, most=1)
    assert small.step(0, Accepted(1, "mx", ("192.0.2.1", 1), bytes(48))) == [Send(1, b"220 mx ESMTP\r\n")]
    refused = [Send(3, b"421 4.7.0 too many connections\r\n"), Close(3)]
    assert small.step(0, Accepted(3, "mx", ("192.0.2.1", 2), bytes(48))) == refused
    small.step(0, Received(1, b"QUIT\r\n"))
    assert small.step(0, Accepted(5, "mx", ("192.0.2.1", 3), bytes(48))) == [Send(5, b"220 mx ESMTP\r\n")]
    assert (small.connections, small.handshakes) == (3, 0)
