"""What a journal must not tell: searched for in its bytes, however what was said was cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.every_split import every_split
from tools.talk import CERTIFICATE, CONFIG, SECRET, accepted, auth, hello, opening, welcome

from gaproxy.journal.veil import VEILED, veiled
from gaproxy.proto.doors.credentials import certificate_binding
from gaproxy.proto.doors.haproxy import HaproxyDoor
from gaproxy.proto.doors.native import NativeDoor
from gaproxy.proto.events import Closed, Connected, Ended, Received, Relayed, Relaying, Secured, SecureFailed
from gaproxy.proto.relay.states import NEAR
from gaproxy.proto.relay.tunnel import Side

PROOF = auth().removeprefix(b"AUTH proof=").strip()
OURS = re.search(rb"proof=([0-9a-f]{64})", welcome())[1]
BODY = b"the-content-of-a-message"
MAIL = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"


def pieces_of(data: bytes, size: int = 12) -> set[bytes]:
    """Every piece of it that is long enough to be no accident."""
    return {data[start : start + size] for start in range(len(data) - size + 1)}


def tells(written: bytes, secret: bytes) -> bool:
    return any(piece in written for piece in pieces_of(secret))


def relayed(tape):
    """A tape on which MTA 1 has a line to remote 2."""
    one = tape()
    for fact in (accepted(), Received(1, hello()), Received(1, auth()), Received(1, opening())):
        one.hear(fact)
    one.hear(Connected(2, ("127.0.0.2", 40000)))
    one.hear(Received(2, b"220 mx.example.net\r\n"))
    one.hear(Received(2, b"250-mx.example.net\r\n250 PIPELINING\r\n"))
    return one


def test_neither_secret_nor_proofs_are_told_however_auth_is_cut(tape):
    for number, cut in enumerate(every_split(auth(), 1)):
        one = tape(run=number)
        one.hear(accepted())
        one.hear(Received(1, hello()))
        answers = [order for piece in cut for order in one.hear(Received(1, piece))]
        assert answers[0].data == welcome()
        assert not any(tells(one.written(), secret) for secret in (SECRET.encode(), PROOF, OURS)), cut
        assert one.replayed() is None
    assert number >= len(auth()) - 1


def test_a_handshake_in_one_piece_or_byte_by_byte_is_told_alike(tape):
    whole = hello() + auth() + opening()
    for number, cut in enumerate([[whole], [bytes([byte]) for byte in whole]]):
        one = tape(run=number)
        one.hear(accepted())
        for piece in cut:
            one.hear(Received(1, piece))
        assert not any(tells(one.written(), secret) for secret in (SECRET.encode(), PROOF, OURS))
        assert one.replayed() is None


def test_what_came_instead_of_tls_is_nobodys_business(tape):
    one = tape()
    one.hear(accepted())
    one.hear(SecureFailed(1, "plain_text", "plain text where TLS is required", SECRET.encode()))
    assert one.last_note("native:").endswith(" reason=plain_text")
    assert not tells(one.written(), SECRET.encode())
    assert one.replayed() is None


def test_proofs_over_tls_are_no_more_told_than_others(tape):
    one = tape()
    one.hear(accepted())
    one.hear(Secured(1, "TLSv1.3", "TLS_AES_256_GCM_SHA384", CERTIFICATE, (), False))
    one.hear(Received(1, hello()))
    proof = auth(binding=certificate_binding(CERTIFICATE))
    (answer,) = one.hear(Received(1, proof))
    ours = re.search(rb"proof=([0-9a-f]{64})", answer.data)[1]
    assert not any(tells(one.written(), secret) for secret in (SECRET.encode(), proof[11:-2], ours))
    assert one.replayed() is None


@pytest.mark.parametrize(
    "said",
    [
        f"AUTH secret={SECRET}\r\n",
        f"AUTH {SECRET}\r\n",
        f"auth {SECRET}\r\n",
        f"AUTH\r\n{SECRET}\r\n",
        f"{SECRET}\r\n",
        f"LOGIN {SECRET} = {SECRET}\r\n",
        f"AUTH proof=\0{SECRET}\r\n",
        f"AUTH proof=\t{SECRET}\n{SECRET}\r\n",
        f"AUTH proof={SECRET}\r{SECRET}\r\n",
        f"AUTH proof={SECRET * 40}",
        f"AUTH proof={SECRET}é\r\n",
        f"AUTH proof={SECRET}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_told_either(tape, said):
    one = tape()
    one.hear(accepted())
    one.hear(Received(1, hello()))
    one.hear(Received(1, said.encode()))
    one.hear(Ended(1))
    assert not tells(one.written(), SECRET.encode())
    assert one.replayed() is None


@pytest.mark.parametrize("said", [auth(), f"GET /?{SECRET}\r\n".encode(), f"G{SECRET}".encode(), b"GAPR" + auth()])
def test_who_does_not_greet_is_not_quoted(tape, said):
    for cut in (1, 5):
        one = tape(run=cut)
        one.hear(accepted())
        one.hear(Received(1, said[:cut]))
        one.hear(Received(1, said[cut:]))
        assert not tells(one.written(), SECRET.encode()) and not tells(one.written(), PROOF)
        assert one.replayed() is None


def test_a_proof_that_is_given_again_is_not_told(tape):
    one = tape()
    one.hear(accepted())
    one.hear(Received(1, hello() + auth() + auth()))
    one.hear(Received(1, auth()[:30]))
    one.hear(Received(1, auth()[30:] + opening() + auth()))
    assert not tells(one.written(), PROOF)
    assert one.replayed() is None


def test_what_a_stranger_said_while_unread_is_told_when_it_is_heard(tape, tmp_path, capturing):
    config = CONFIG + capturing(tmp_path) + "unauthenticated { total 1 }\n"
    one = tape(config)
    one.hear(accepted(1))
    one.hear(accepted(3))
    one.hear(Received(3, hello(node="mta-3") + auth(node="mta-3")))
    assert b"mta-3" not in one.written()
    one.hear(Received(1, hello() + auth()))
    assert one.last_note("native: session").count("node=mta-3 ")
    assert b"mta-3" in one.written()
    assert not tells(one.written(), auth(node="mta-3").removeprefix(b"AUTH proof=").strip())
    assert one.replayed() is None


def test_a_body_that_passed_by_is_not_told_and_what_followed_is(tape):
    one = relayed(tape)
    one.hear(Received(1, MAIL))
    one.hear(Received(2, b"250 ok\r\n250 ok\r\n354 go\r\n"))
    one.hear(Relayed(1, len(BODY), b"QUIT\r\n", "dot"))
    one.hear(Received(2, b"250 kept\r\n"))
    assert b'["Reveal",{"step":13,"offset":0,"data":"QUIT\\r\\n"}]' in one.written()
    assert one.replayed() is None


@pytest.mark.parametrize("cut", [1, len(MAIL), len(MAIL) + 9, len(MAIL) + len(BODY)])
def test_a_body_that_came_too_early_is_not_told(tape, cut):
    said = MAIL + BODY + b"\r\n.\r\nQUIT\r\n"
    one = relayed(tape)
    one.hear(Received(1, said[:cut]))
    one.hear(Received(1, said[cut:]))
    one.hear(Received(2, b"250 ok\r\n250 ok\r\n354 go\r\n"))
    assert not tells(one.written(), BODY)
    assert one.replayed() is None


@pytest.mark.parametrize("cut", [1, len(MAIL), len(MAIL) + 9, len(MAIL) + len(BODY)])
def test_behind_a_data_that_was_refused_commands_are_told_and_content_is_not(tape, cut):
    said = MAIL + BODY + b"\r\n.\r\nnoop with care\r\nQUIT\r\n"
    one = relayed(tape)
    one.hear(Received(1, said[:cut]))
    one.hear(Received(1, said[cut:]))
    assert b"noop with care" not in one.written()
    one.hear(Received(2, b"250 ok\r\n250 ok\r\n554 no\r\n"))
    one.hear(Received(2, b"250 noop\r\n"))
    assert b"noop with care" in one.written()
    assert not tells(one.written(), BODY)
    assert one.replayed() is None


def test_what_follows_a_smuggled_end_is_not_told_unless_it_is_quit(tape):
    one = relayed(tape)
    one.hear(Received(1, MAIL))
    one.hear(Received(2, b"250 ok\r\n250 ok\r\n354 go\r\n"))
    one.hear(Relaying(1, 60, 0, 50))
    one.hear(Relayed(1, 99, b"MAIL FROM:<" + BODY + b">\r\nquit\r\n", "smuggled", 50))
    assert not tells(one.written(), BODY)
    assert b"quit\\r\\n" in one.written()
    assert one.replayed() is None


def test_an_ehlo_that_a_door_kept_is_heard_twice_and_told_once(tape):
    one = tape()
    for fact in (
        accepted(),
        Received(1, hello()),
        Received(1, auth()),
        Received(1, opening() + b"EHLO a.example\r\nNO"),
    ):
        one.hear(fact)
    one.hear(Connected(2, ("127.0.0.2", 40000)))
    one.hear(Received(2, b"220 mx.example.net\r\n"))
    one.hear(Received(2, b"250 mx.example.net\r\n"))
    one.hear(Received(1, b"OP\r\n"))
    assert one.written().count(b"EHLO a.example") == 1
    assert b'"offset":' in one.written()
    assert one.replayed() is None


@pytest.mark.parametrize("first", [b"PROXY TCP4 192.0.2.1 ", b"EHLO mta", b"GET / HTTP/1.1", b"\x16\x03\x01\x02"])
def test_of_whoever_is_turned_away_no_more_is_told_than_what_it_looks_like(tape, first):
    one = tape()
    one.hear(accepted())
    one.hear(Received(1, first + b"\r\n" + BODY))
    assert not tells(one.written(), BODY)
    assert one.replayed() is None


def test_what_comes_behind_our_farewell_is_not_told(tape):
    one = tape()
    one.hear(accepted())
    one.hear(Received(1, b"X"))
    one.hear(Received(1, BODY))
    one.hear(Closed(1, "closed"))
    assert not tells(one.written(), BODY)
    assert one.replayed() is None


ROWS = [row for table in (NEAR, NativeDoor.STATES, HaproxyDoor.STATES, Side.STATES) for row in table.values()]


@pytest.mark.parametrize("row", [row for row in ROWS if row.hears], ids=lambda row: "-".join(map(str, row.hears)))
def test_every_row_that_hears_who_came_in_says_what_is_secret(row):
    assert row.secret is not None


@given(st.binary(), st.sampled_from([row.secret for row in ROWS if row.secret]))
def test_what_is_hidden_keeps_its_length_and_its_lines(data, secret):
    hidden = veiled(data, secret)
    assert len(hidden) == len(data)
    assert [byte for byte in hidden if byte in b"\r\n"] == [byte for byte in data if byte in b"\r\n"]
    assert veiled(hidden, secret) == hidden
    assert set(VEILED) == set(b"0\0\r\n\x80")
