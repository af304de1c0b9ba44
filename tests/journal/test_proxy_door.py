"""A session that came by the PROXY door: prelude, door and relay replay as one, and no content is told."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tools.door_world import OPTIONS, World, config
from tools.every_split import every_split
from tools.talk import CLIENT, ENTROPY, GREETING, PIPELINING

from gaproxy.proto.doors.haproxy_words import V2_SIGNATURE
from gaproxy.proto.events import Accepted, Closed, Connected, Ended, Received, Relayed, Secured, SecureFailed

PLACE = "127.0.0.1:5000"
V1 = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
V2 = V2_SIGNATURE + b"\x21\x11\x00\x0c" + bytes([127, 0, 0, 2, 192, 0, 2, 5, 0, 0, 0, 25])
EHLO, STARTTLS, GO = b"EHLO a.example\r\n", b"STARTTLS\r\n", b"220 go\r\n"
MAIL = b"MAIL FROM:<a@example.com>\r\n"
CONTENT = b"the-content-of-a-message"
OFFER = b"250-mx\r\n250 STARTTLS\r\n"
SECURED = Secured(2, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "ef" * 32, (), False)


@pytest.fixture
def begin(tape, capturing, tmp_path):
    """A tape on which somebody, 1, came to the PROXY door and said this."""

    def begun(*said: bytes, options: str = "", run: int = 0):
        door = f'listen_proxy_protocol "{PLACE}" {{ {options} }}\nremote_allow 192.0.2.0/24\n'
        one = tape(door + capturing(tmp_path), run=run)
        one.hear(Accepted(1, PLACE, CLIENT, ENTROPY))
        for piece in said:
            one.hear(Received(1, piece))
        return one

    return begun


def called(one, *facts):
    for fact in (Connected(2, ("127.0.0.2", 40000)), *facts):
        one.hear(fact)


@pytest.mark.parametrize("header", [V1, V2])
def test_prelude_door_and_relay_replay_as_one_however_they_came(begin, header):
    for run, pieces in enumerate(every_split(header + EHLO + MAIL, 1)):
        one = begin(*pieces, run=run)
        called(one, Received(2, GREETING), Received(2, PIPELINING), Received(2, b"250 ok\r\n"))
        one.hear(Received(1, b"DATA\r\n"))
        one.hear(Received(2, b"354 go\r\n"))
        one.hear(Relayed(1, 100, b"", "dot"))
        one.hear(Received(2, b"250 ok\r\n"))
        one.hear(Received(1, b"QUIT\r\n"))
        assert MAIL.strip() in one.written()
        assert one.replayed() is None
    assert run >= len(header)


@pytest.mark.parametrize("header", [V1, V2, V1[:9], V2[:14], V2[:20], b"PROXY X", V2_SIGNATURE + b"\x41", b"\r\n\r\r"])
def test_a_header_that_never_becomes_whole_replays_as_well(begin, header):
    one = begin(header, CONTENT)
    one.hear(Ended(1))
    one.hear(Closed(1, "closed"))
    assert one.replayed() is None


@pytest.mark.parametrize(
    "header", [b"PROXY TCP4 127.1 192.0.2.5 0 25\r\n", V2[:13] + b"\x12" + V2[14:], b"HELO you\r\n"]
)
def test_of_what_is_no_header_only_the_beginning_is_told(begin, header):
    one = begin(header + CONTENT * 50)
    assert CONTENT * 8 not in one.written()
    assert one.replayed() is None


def test_a_message_that_comes_before_its_time_is_not_told(begin):
    one = begin(V1 + CONTENT + b"\r\n")
    called(one, Received(2, GREETING))
    one.hear(Received(1, EHLO + CONTENT + b"\r\n"))
    one.hear(Received(2, PIPELINING))
    assert CONTENT not in one.written()
    assert one.replayed() is None


@pytest.mark.parametrize("later", [b"", b"more of it"])
def test_what_goes_past_us_is_not_told_even_where_it_came_too_early_for_that(begin, later):
    one = begin(V1 + CONTENT, later, options="relay opaque")
    called(one, Relayed(1, 10, b"", "end"), Relayed(2, 10, b"", "end"))
    assert CONTENT not in one.written()
    assert one.replayed() is None


def test_of_tls_end_to_end_only_the_first_byte_is_told(begin):
    one = begin(V1)
    called(one, Received(2, GREETING))
    for id, said in ((1, EHLO), (2, OFFER), (1, STARTTLS), (2, GO), (1, b"\x16\n" + CONTENT), (2, b"\x16")):
        one.hear(Received(id, said))
    one.hear(Closed(2, "reset"))
    assert CONTENT not in one.written()
    assert one.replayed() is None


@pytest.mark.parametrize("fact", [SECURED, SecureFailed(2, "handshake", "no", b"")])
def test_tls_of_ours_replays(begin, fact):
    one = begin(V1, options="starttls proxy")
    called(one, Received(2, GREETING))
    for id, said in ((1, EHLO), (2, OFFER), (2, GO)):
        one.hear(Received(id, said))
    one.hear(fact)
    assert one.replayed() is None


FOREIGN = (
    b"\x16\x03\x01\n" + CONTENT,
    b"\r\n\r\n",
    V2[:20],
    V1[:15],
    b"GET / HTTP/1.1\r\n",
    b"MAIL FROM:<a>\n" + CONTENT,
)
STEPS = st.lists(st.tuples(st.sampled_from(["sensible", "wild", *FOREIGN]), st.integers(0, 999)), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(OPTIONS), STEPS)
def test_whatever_they_say_replays_and_no_content_is_told(tape, capturing, tmp_path, options, steps):
    for old in tmp_path.glob("*.journal"):
        old.unlink()
    one = tape(config(options) + capturing(tmp_path))
    world = World(one, options)
    for what, number in steps:
        if isinstance(what, str):
            world.go_on(what == "wild", number)
        else:
            for mta in [mta for mta in world.mtas() if world.listens(mta.id)][:1]:
                world.say(mta, what)
    assert CONTENT not in one.written()
    assert one.replayed() is None
