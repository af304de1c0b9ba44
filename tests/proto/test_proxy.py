"""The hall: whose fault a fault is, who is let in, who is held, and what is left when everybody is gone."""

import pytest
from tools.talk import (
    CHALLENGE,
    CONFIG,
    DATA,
    EHLO,
    GOODBYE,
    GREETING,
    LISTENER,
    MAIL,
    ONE_AT_A_TIME,
    PIPELINING,
    QUIT,
    RCPT,
    READY,
    Talk,
    accepted,
    auth,
    calling,
    connected,
    failed,
    hello,
    in_body,
    in_session,
    opening,
    welcome,
    with_mta,
)

from gaproxy.proto.actions import Close, Connect, Hear, Hold, Relay, Send
from gaproxy.proto.doors.credentials import PLAIN_BINDING, Keyring, Verdict
from gaproxy.proto.doors.native import NativeDoor
from gaproxy.proto.errors import LocalProtocolError
from gaproxy.proto.events import Accepted, Closed, ConnectFailed, Ended, Exhausted, Received, Relayed, Relaying, Secured
from gaproxy.proto.remote.caller import Caller
from gaproxy.proto.session import Departure
from gaproxy.proto.turnstile import asked_by, there

OK = b"250 ok\r\n"


# A fault has an owner.


def test_the_fault_of_one_mta_is_nobody_elses():
    talk = with_mta(ids=(1, 3))
    [_, close] = talk.hear(Received(1, b"\xff\r\n"))
    assert close == Close(1)
    talk.tell(Received(3, b"PING t=1\r\n"), Send(3, b"PONG t=1\r\n"))


def test_the_fault_of_a_remote_is_not_its_mtas():
    talk = in_session()
    talk.tell(Received(2, b"nonsense\r\n"), Close(2))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE))
    talk.tell(Received(1, opening(8)), Connect(4, "127.0.0.2", ("192.0.2.5", 25)))


def test_what_was_asked_before_a_fault_in_the_same_segment_still_stands():
    talk = in_session()
    error = b"ERROR code=bad_line fatal=yes text=a%20byte%20that%20is%20no%20visible%20ASCII\r\n"
    talk.tell(Received(1, QUIT + b"\xff\r\n"), Send(1, GOODBYE), Send(2, QUIT), Send(1, error), Close(1))
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))


class BrokenKeyring(Keyring):
    """One that cannot judge: a fault of our own, in the middle of a handshake."""

    def judge(self, hello: bytes, challenge: bytes, auth: bytes, proof: str, binding: bytes = PLAIN_BINDING) -> Verdict:
        if b"node=broken" in hello:
            raise ArithmeticError("no sums today")
        return super().judge(hello, challenge, auth, proof, binding)


def outlived(note: str) -> bool:
    return note.startswith("gaproxy: internal fault session=")


def test_our_own_fault_in_one_handshake_costs_that_connection_and_is_logged():
    talk = Talk(keys=BrokenKeyring(), strict=False)
    talk.hear(accepted(1))
    talk.hear(Received(1, hello(node="broken")))
    talk.tell(Received(1, auth()), Close(1))
    assert outlived(talk.notes[-1])
    assert talk.notes[-1].endswith("ArithmeticError: no sums today | ")
    assert talk.proxy.seating.internal_faults == 1
    talk.hear(accepted(3))
    talk.hear(Received(3, hello()))
    talk.tell(Received(3, auth()), Send(3, welcome()))


def test_our_own_fault_is_raised_where_we_are_strict():
    talk = Talk(keys=BrokenKeyring())
    talk.hear(accepted(1))
    talk.hear(Received(1, hello(node="broken")))
    with pytest.raises(ArithmeticError, match="no sums today"):
        talk.hear(Received(1, auth()))


def lax(talk: Talk) -> Talk:
    """The same talk, from now on with a house that outlives its own faults."""
    talk.proxy.seating.strict = False
    return talk


UNTIMELY = Secured(2, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "00" * 32, (), False)


def test_our_own_fault_in_a_call_is_told_to_the_mta_that_asked_for_it():
    talk = lax(calling())
    talk.tell(Received(2, GREETING), Send(2, EHLO))
    line = failed("internal", "192.0.2.5:25/internal/0", "a fault of the proxy")
    talk.tell(UNTIMELY, Close(2), Send(1, line))
    assert outlived(talk.notes[-2])
    talk.tell(Received(1, b"PING t=1\r\n"), Send(1, b"PONG t=1\r\n"))
    talk.tell(Closed(2, "closed"))


def test_our_own_fault_in_a_relay_closes_both_sides_and_no_other():
    talk = lax(in_session())
    talk.hear(accepted(3))
    talk.tell(Relayed(1, 10, b"", "dot"), Close(1), Close(2))
    assert outlived(talk.notes[-1])
    talk.tell(Received(1, MAIL))
    talk.tell(Received(2, OK))
    talk.tell(Closed(1, "closed"))
    talk.tell(Closed(2, "closed"))
    assert list(talk.proxy.seating.connections) == [3]
    talk.tell(Received(3, hello()), Send(3, CHALLENGE))


def test_our_own_fault_in_a_relay_is_raised_where_we_are_strict():
    with pytest.raises(LocalProtocolError, match="Far cannot turn from NOTHING to END"):
        in_session().hear(Relayed(1, 10, b"", "dot"))


def test_our_own_fault_behind_the_dot_never_makes_a_reply():
    talk = lax(in_body())
    talk.tell(Relayed(1, 100, b"", "dot"))
    talk.tell(Relayed(1, 100, b"", "dot"), Close(1), Close(2))
    talk.tell(Received(2, OK))


def test_our_own_fault_in_a_door_that_waits_for_a_call_takes_the_call_with_it():
    talk = lax(with_mta())
    talk.hear(Received(1, opening()))
    [door] = [one for one in talk.proxy.seating.seats if isinstance(one, NativeDoor)]
    talk.proxy.seating.tell(door, door.opened, "no remote at all")
    talk.tell(Exhausted("descriptors"), Close(1), Close(2))
    talk.tell(ConnectFailed(2, "called_off", "called off"))
    talk.tell(Closed(1, "closed"))
    assert not talk.proxy.seating.seats


# Who is let in.


def test_who_is_not_in_allow_from_is_closed_at_once():
    talk = Talk()
    talk.tell(Accepted(1, LISTENER, ("10.9.8.7", 1), bytes(48)), Close(1), Close(1))
    assert talk.notes[-1] == "listener(127.0.0.1:807): refused client=10.9.8.7 reason=allow_from"
    talk.tell(Received(1, hello()))
    talk.tell(Closed(1, "closed"))
    assert not talk.proxy.seating.connections and not talk.proxy.seating.seats


@pytest.mark.parametrize("client", ["127.0.0.1", "127.255.0.1", "::1", "2001:db8:1::9"])
def test_who_is_in_allow_from_is_heard(client):
    talk = Talk(CONFIG.replace("127.0.0.0/8", "127.0.0.0/8, ::1, 2001:db8::/32"))
    talk.tell(Accepted(1, LISTENER, (client, 1), bytes(48)))


# Back pressure.


def test_an_mta_whose_bytes_nobody_can_hear_yet_is_not_read_beyond_64_kib():
    talk = in_session()
    talk.tell(Received(1, DATA), Send(2, DATA))
    talk.tell(Received(1, b"x" * 65_536))
    talk.tell(Received(1, b"x"), Hold(1))
    talk.tell(Received(2, b"354 go\r\n"), Send(1, b"354 go\r\n"), Close(2), Close(1))


def test_a_stranger_that_failed_and_talks_on_is_not_read_beyond_4_kib():
    talk = Talk()
    talk.hear(accepted())
    talk.hear(Received(1, hello()))
    talk.hear(Received(1, b"AUTH proof=none\r\n"))
    talk.tell(Received(1, b"x" * 4096))
    talk.tell(Received(1, b"x"), Hold(1))


def test_it_is_read_on_once_it_was_heard():
    talk = in_session(offer=ONE_AT_A_TIME)
    command = b"NOOP " + b"a" * 4089 + b"\r\n"
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(1, command * 17), Hold(1))
    talk.tell(Received(2, OK), Send(1, OK), Send(2, command), Hear(1))


def test_what_comes_behind_a_body_is_bounded_too():
    talk = in_body()
    talk.tell(Relayed(1, 100, b"x" * 65_537, "dot"), Hold(1))
    orders = talk.hear(Received(2, OK))
    assert orders[-1] == Close(1)


# Who is whose partner.


def test_two_mtas_with_two_remotes_never_hear_each_others():
    talk = with_mta(ids=(1, 3))
    for mta, remote in ((1, 2), (3, 4)):
        talk.tell(Received(mta, opening()), Connect(remote, "127.0.0.2", ("192.0.2.5", 25)))
        talk.tell(connected(remote))
        talk.tell(Received(remote, GREETING), Send(remote, EHLO))
        talk.tell(Received(remote, PIPELINING), Send(mta, READY + GREETING))
    talk.tell(Received(3, MAIL), Send(4, MAIL))
    talk.tell(Received(1, RCPT), Send(2, RCPT))
    talk.tell(Received(2, b"503 first MAIL\r\n"), Send(1, b"503 first MAIL\r\n"))
    talk.tell(Received(4, OK), Send(3, OK))
    talk.tell(Received(1, DATA), Send(2, DATA))
    talk.tell(Received(2, b"354 go\r\n"), Send(1, b"354 go\r\n"), Relay(1, 2))
    talk.tell(Closed(4, "reset"))
    talk.tell(Relayed(1, 9, b"", "dot"))
    talk.tell(Received(2, OK), Send(1, OK))


def test_facts_that_cross_an_order_of_ours_change_nothing():
    talk = with_mta()
    talk.tell(Ended(1), Close(1))
    talk.tell(Received(1, opening()))
    talk.tell(Relaying(1, 9, 0))
    talk.tell(Relayed(1, 9, b"", "dot"))
    talk.tell(Secured(1, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "00" * 32, (), False))
    talk.tell(Closed(1, "closed"))
    talk.wait(600.0)


def test_everybody_who_came_and_went_is_forgotten():
    talk = in_body()
    talk.tell(Relayed(1, 100, QUIT, "dot"))
    talk.tell(Received(2, OK), Send(1, OK + GOODBYE), Send(2, QUIT))
    talk.tell(Received(2, b"221 bye\r\n"), Close(2))
    talk.tell(Ended(2))
    talk.tell(Closed(2, "closed"))
    talk.tell(Ended(1), Close(1))
    talk.tell(Closed(1, "closed"))
    assert not talk.proxy.seating.connections and not talk.proxy.seating.seats
    assert list(talk.proxy.seating.patience._places) == ["status", "repeats"]


def test_a_lack_of_descriptors_is_logged():
    talk = Talk()
    talk.tell(Exhausted("descriptors"))
    assert talk.notes[-1] == "gaproxy: no descriptor left what=descriptors"


def test_an_ask_for_a_partner_that_is_not_there_is_a_fault_of_the_house():
    assert there("somebody") == "somebody"
    with pytest.raises(LocalProtocolError, match="asked for a partner that is not there"):
        there(None)
    with pytest.raises(LocalProtocolError, match="asked for a partner that is not there"):
        asked_by(Departure(), Caller)
