"""What the log gets of one session, and of those who are not let in."""

from tools.talk import CLIENT, CONFIG, SESSION, Talk, accepted, opening, with_mta

from gaproxy.proto.actions import Adopt, Close
from gaproxy.proto.events import Closed, ConfigRead, Connected, Dropped, Prepared, Received, Relayed, Signalled

VERBOSE = CONFIG + "log_verbose yes\n"


def dialogue(talk: Talk) -> list[str]:
    beginning = f"smtp: session({SESSION}/7): "
    return [line.removeprefix(beginning) for line in talk.notes if line.startswith(beginning)]


def session(talk: Talk) -> None:
    """One message, and an AUTH that has no business there."""
    talk.hear(Received(1, opening()))
    talk.hear(Connected(2, ("127.0.0.2", 5000)))
    talk.hear(Received(2, b"220 mx\r\n"))
    talk.hear(Received(2, b"250 mx\r\n"))
    talk.hear(Received(1, b"AUTH PLAIN AGFubgBodW50ZXIy\r\nMAIL FROM:<a@b>\r\n"))
    talk.hear(Received(2, b"250 ok\r\n"))
    talk.hear(Received(1, b"DATA\r\n"))
    talk.hear(Received(2, b"354 go\r\n"))
    talk.hear(Relayed(1, 500, b"QUIT\r\n", "dot"))
    talk.hear(Received(2, b"250 kept\r\n"))


def test_the_dialogue_is_logged_without_body_and_credentials_where_the_operator_wants_it():
    talk = with_mta(VERBOSE)
    session(talk)
    assert dialogue(talk) == [
        "remote: 220 mx",
        "to remote: EHLO out1.example.com",
        "remote: 250 mx",
        "to mta: 220 mx",
        "mta: AUTH",
        "mta: MAIL FROM:<a@b>",
        "to mta: 502 5.5.1 gaproxy: not relayed",
        "to remote: MAIL FROM:<a@b>",
        "remote: 250 ok",
        "to mta: 250 ok",
        "mta: DATA",
        "to remote: DATA",
        "remote: 354 go",
        "to mta: 354 go",
        "remote: 250 kept",
        "to mta: 250 kept",
        "mta: QUIT",
        "to mta: 221 2.0.0 gaproxy: goodbye",
        dialogue(talk)[18],
        "to remote: QUIT",
    ]
    assert dialogue(talk)[18].startswith("end node=mta-1 ")
    assert "hunter" not in str(talk.notes) and "AGFub" not in str(talk.notes)


def test_no_proof_is_ever_logged():
    talk = with_mta(VERBOSE)
    assert "proof" not in str(talk.notes) and "nonce" not in str(talk.notes)


def test_nothing_of_the_dialogue_is_logged_unless_it_is_wanted():
    talk = with_mta()
    session(talk)
    assert [line.split()[0] for line in dialogue(talk)] == ["end"]


def test_the_log_format_is_in_force_with_the_rest_of_the_configuration():
    talk = Talk()
    talk.hear(Signalled("HUP"))
    talk.hear(ConfigRead(CONFIG + "log_format json\n"))
    talk.tell(Prepared(), Adopt(None, "json"))


def test_lines_that_nobody_read_are_told_once_somebody_does():
    talk = Talk()
    talk.tell(Dropped(17))
    assert talk.notes[-1] == "gaproxy: log dropped lines=17"


def test_a_client_that_is_refused_again_and_again_has_two_lines_a_minute():
    talk = Talk()
    for id in range(1, 11, 2):
        talk.hear(accepted(id, ("10.9.8.7", 1024 + id)))
        talk.hear(Closed(id, "closed"))
    refused = "listener(127.0.0.1:807): refused client=10.9.8.7 reason=allow_from"
    again = "listener(127.0.0.1:807): refused again client=10.9.8.7 reason=allow_from repeated=4"
    talk.wait(60)
    assert [line for line in talk.notes if "refused" in line] == [refused, again]
    assert talk.proxy.seating.counted["client_refused", "allow_from"] == 5
    talk.wait(60)
    assert talk.notes.count(again) == 1


def test_one_client_has_no_more_connections_than_it_may():
    talk = Talk(CONFIG + "connections { per_client 2 }\n")
    for id in (1, 3):
        talk.tell(accepted(id))
    talk.tell(accepted(5), Close(5), Close(5))
    assert talk.notes[-1] == f"listener(127.0.0.1:807): refused client={CLIENT[0]} reason=connections_per_client"
    talk.hear(Closed(5, "closed"))  # it was never let in, so nothing is free by that
    talk.tell(accepted(7), Close(7), Close(7))
    talk.tell(accepted(9, ("127.0.0.10", 1024)))
    talk.hear(Closed(1, "reset"))
    talk.tell(accepted(11))


def test_all_clients_have_no_more_connections_than_they_may():
    talk = Talk(CONFIG + "connections { max 1 }\n")
    talk.tell(accepted(1))
    talk.tell(accepted(3, ("127.0.0.10", 1024)), Close(3), Close(3))
    assert talk.notes[-1].endswith("reason=connections_max")
    talk.hear(Closed(1, "reset"))
    talk.tell(accepted(5, ("127.0.0.10", 1025)))
