"""The house itself: boot, reload, the status lines, and how it closes."""

import pytest
from tools.talk import (
    CERTIFICATE,
    CHALLENGE,
    CLIENT,
    CONFIG,
    DATA,
    ENTROPY,
    GOODBYE,
    GREETING,
    LISTENER,
    MAIL,
    PIPELINING,
    QUIT,
    READY,
    SECRET,
    Talk,
    accepted,
    auth,
    calling,
    hello,
    in_body,
    in_session,
    story,
    welcome,
    with_mta,
)

from gaproxy.proto.actions import Adopt, Certificate, Close, Exit, Hear, Hold, Listener, Note, Prepare, ReadConfig, Send
from gaproxy.proto.doors.credentials import Keyring
from gaproxy.proto.events import Accepted, Closed, ConfigRead, Connected, Event, Prepared, Received, Relayed, Signalled
from gaproxy.proto.patience import SECOND
from gaproxy.proto.proxy import Proxy

OK = b"250 ok\r\n"
HERE = Listener(LISTENER, ("127.0.0.1", 807), "either")
THERE = Listener("127.0.0.1:808", ("127.0.0.1", 808), "either")
START, TERM, INT, HUP = Signalled("START", bytes(16)), Signalled("TERM"), Signalled("INT"), Signalled("HUP")
PREPARED = Prepared((), CERTIFICATE)
A_PEM = Certificate("a.pem", "a.pem", needed=True)
TWO_LISTENERS = CONFIG + f'listen "{THERE.name}"\n'
OTHER_SECRET = "another-secret-of-the-tests-and-no-other"


def prepare(*listeners: Listener, directories: tuple[str, ...] = (), certificate: Certificate | None = None) -> Prepare:
    """What a configuration without a word about TLS comes to."""
    return Prepare(listeners, directories, certificate or Certificate())


def fresh(*facts: Event) -> tuple[Proxy, list[object]]:
    """A house that is told these facts, and all that it answered, notes as their lines."""
    proxy, answers = Proxy("gaproxy.conf", Keyring(), strict=True), []
    for fact in facts:
        answers += proxy.step(SECOND, fact)
    return proxy, [answer.line if isinstance(answer, Note) else answer for answer in answers]


# Boot.


def test_boot_is_a_reload_from_nothing():
    _, answers = fresh(START, ConfigRead(CONFIG), PREPARED)
    assert answers == [
        ReadConfig("gaproxy.conf"),
        prepare(HERE),
        Adopt(),
        f"gaproxy: configuration adopted listeners=127.0.0.1:807 certificate_sha256={CERTIFICATE}",
    ]


def test_why_it_never_opened_is_known_and_what_a_reload_could_not_have_is_not_that():
    proxy, answers = fresh(START, ConfigRead(CONFIG), Prepared(("cannot listen at 127.0.0.1:807: taken",)))
    assert answers[-2:] == ["gaproxy: configuration refused text=cannot listen at 127.0.0.1:807: taken", Exit(1)]
    assert proxy.problems == ("cannot listen at 127.0.0.1:807: taken",)
    proxy, _ = fresh(START, ConfigRead(CONFIG), PREPARED, HUP, ConfigRead(TWO_LISTENERS), Prepared(("taken",)))
    assert proxy.problems == ()


def test_how_many_descriptors_there_may_be_is_told_where_it_is_known():
    _, answers = fresh(START, ConfigRead(CONFIG), Prepared((), CERTIFICATE, 1024))
    assert str(answers[-1]).endswith(f" certificate_sha256={CERTIFICATE} descriptors=1024")


def test_a_journal_that_is_asked_for_is_prepared_and_adopted():
    _, answers = fresh(START, ConfigRead(CONFIG + 'capture { directory "journals"; max_size 1m }\n'), Prepared())
    assert answers[1:3] == [prepare(HERE, directories=("journals",)), Adopt(("journals", 1_048_576))]


def test_without_a_configuration_the_house_does_not_open():
    _, answers = fresh(START, ConfigRead("", "gaproxy.conf: No such file or directory"))
    told = "gaproxy: configuration refused text=gaproxy.conf: No such file or directory"
    assert answers == [ReadConfig("gaproxy.conf"), told, Exit(1)]


def test_every_fault_of_a_configuration_is_told():
    _, answers = fresh(START, ConfigRead('listen "127.0.0.1:807"\nlitsen "x"\n'))
    lines = [answer for answer in answers if isinstance(answer, str)]
    assert answers[-1] == Exit(1)
    assert len(lines) == 2
    assert all(line.startswith("gaproxy: configuration refused text=gaproxy.conf:") for line in lines)


def test_where_nothing_can_be_listened_at_the_house_does_not_open():
    _, answers = fresh(START, ConfigRead(CONFIG), Prepared(("127.0.0.1:807: Address already in use",)))
    assert answers[2:] == ["gaproxy: configuration refused text=127.0.0.1:807: Address already in use", Exit(1)]


def test_a_warning_is_told_and_keeps_nobody_out():
    _, answers = fresh(START, ConfigRead(CONFIG.replace("127.0.0.0/8", "127.0.0.9/8")))
    assert isinstance(answers[1], str) and answers[1].startswith("gaproxy: configuration warning text=gaproxy.conf:3:")
    assert answers[2] == prepare(HERE)


@pytest.mark.parametrize("signal", [TERM, INT])
def test_a_house_that_is_not_open_yet_closes_at_once(signal):
    _, answers = fresh(START, signal)
    assert answers == [ReadConfig("gaproxy.conf"), Exit(1)]


# Reload.


def test_a_reload_changes_what_is_listened_at():
    talk = Talk()
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    talk.tell(ConfigRead(TWO_LISTENERS), prepare(HERE, THERE))
    talk.tell(PREPARED, Adopt())
    told = "gaproxy: configuration adopted listeners=127.0.0.1:807,127.0.0.1:808 certificate_sha256="
    assert talk.notes[-1] == told + CERTIFICATE


@pytest.mark.parametrize(
    "facts",
    [
        [ConfigRead("", "gaproxy.conf: Permission denied")],
        [ConfigRead("nonsense\n")],
        [ConfigRead(TWO_LISTENERS), Prepared(("127.0.0.1:808: Permission denied",))],
    ],
)
def test_a_reload_that_is_refused_changes_nothing(facts):
    talk = Talk()
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    for fact in facts:
        assert not {Adopt, Exit} & {type(order) for order in talk.hear(fact)}
    assert talk.notes[-1].startswith("gaproxy: configuration refused text=")
    talk.tell(accepted())
    talk.tell(HUP, ReadConfig("gaproxy.conf"))


def test_a_signal_during_a_reload_makes_one_more_and_only_one():
    talk = Talk()
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    talk.tell(HUP)
    talk.tell(ConfigRead(CONFIG), prepare(HERE))
    talk.tell(HUP)
    talk.tell(Prepared(), Adopt(), ReadConfig("gaproxy.conf"))
    talk.tell(ConfigRead(CONFIG), prepare(HERE))
    talk.tell(Prepared(), Adopt())


def test_a_signal_during_a_reload_that_is_refused_makes_one_more_too():
    talk = Talk()
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    talk.tell(HUP)
    talk.tell(ConfigRead("nonsense\n"), ReadConfig("gaproxy.conf"))


def reloaded(talk: Talk, config: str) -> None:
    for fact in (HUP, ConfigRead(config), Prepared()):
        talk.hear(fact)


def test_a_changed_secret_holds_for_the_next_handshake():
    talk = with_mta()
    talk.hear(accepted(3))
    talk.tell(Received(3, hello()), Send(3, CHALLENGE))
    reloaded(talk, CONFIG.replace(SECRET, OTHER_SECRET))
    talk.tell(Received(1, b"PING t=1\r\n"), Send(1, b"PONG t=1\r\n"))
    talk.tell(Received(3, auth(OTHER_SECRET)), Send(3, welcome(OTHER_SECRET)))


def test_a_changed_allow_from_holds_for_the_next_client():
    talk = with_mta()
    reloaded(talk, CONFIG.replace("127.0.0.0/8", "127.0.0.10"))
    talk.tell(Received(1, b"PING t=1\r\n"), Send(1, b"PONG t=1\r\n"))
    talk.tell(accepted(3), Close(3), Close(3))


GOAWAY = Send(1, b"GOAWAY reason=reload\r\n")
MOVED = CONFIG.replace(":807", ":808")


def moved(talk: Talk) -> None:
    """A reload by which the listener goes through which everybody came."""
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    talk.tell(ConfigRead(MOVED), prepare(THERE))
    talk.tell(PREPARED, Adopt())


def test_who_is_idle_when_its_listener_goes_is_sent_away_and_nobody_else():
    talk = with_mta(TWO_LISTENERS)
    talk.hear(Accepted(3, THERE.name, CLIENT, ENTROPY))
    talk.hear(Received(3, hello()))
    talk.hear(Received(3, auth()))
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    talk.tell(ConfigRead(MOVED), prepare(THERE))
    talk.tell(PREPARED, Adopt(), GOAWAY, Close(1))
    talk.tell(Received(3, b"PING t=1\r\n"), Send(3, b"PONG t=1\r\n"))


def test_a_session_ends_as_it_will_though_its_listener_went():
    talk = in_session()
    moved(talk)
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), GOAWAY, Close(1), Send(2, QUIT))


def test_a_remote_that_is_being_dialled_is_given_though_the_listener_went():
    talk = calling()
    moved(talk)
    talk.hear(Received(2, GREETING))
    talk.tell(Received(2, PIPELINING), Send(1, READY + GREETING))


def test_who_gets_no_remote_and_has_no_listener_any_more_is_sent_away_then():
    talk = calling()
    moved(talk)
    sent, others = story(talk.hear(Received(2, b"421 4.3.2 busy\r\n")))
    assert sent[1].startswith(b"FAILED id=7 kind=greeting") and sent[1].endswith(b"\r\n" + GOAWAY.data)
    assert others == [Close(2), Close(1)]


def test_who_proves_itself_when_its_listener_went_is_sent_away_then():
    talk = Talk()
    talk.hear(accepted())
    talk.tell(Received(1, hello()), Send(1, CHALLENGE))
    moved(talk)
    talk.tell(Received(1, auth()), Send(1, welcome()), GOAWAY, Close(1))


def test_who_was_sent_away_by_a_reload_is_told_of_the_end_of_the_house_instead():
    talk = in_session()
    moved(talk)
    talk.hear(TERM)
    talk.tell(Received(1, QUIT), Send(1, GOODBYE), Send(1, b"GOAWAY reason=drain\r\n"), Close(1))


def test_more_room_for_strangers_lets_those_in_who_wait():
    talk = Talk(CONFIG + "unauthenticated { total 1; per_client 1 }\n")
    talk.tell(accepted(1))
    talk.tell(accepted(3), Hold(3))
    talk.hear(HUP)
    talk.hear(ConfigRead(CONFIG))
    talk.tell(Prepared(), Adopt(), Hear(3))


def test_a_changed_time_out_holds_for_the_next_wait():
    talk = in_session()
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    reloaded(talk, CONFIG + "timeouts { mail 1s; rcpt 2s }\n")
    talk.wait(299.0)
    talk.tell(Received(2, OK), Send(1, OK))
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.wait(0.9)
    assert talk.hear(Received(2, OK)) == [Send(1, OK)]


# The certificate.

MADE = "cannot make a certificate for TLS: No module named 'cryptography': pip install 'gaproxy[tls]'"
NO_TLS = (
    "gaproxy: configuration warning text=gaproxy.conf: there is no TLS on `listen`: no tls_certificate is given, "
    "and to make one takes pip install 'gaproxy[tls]'"
)


@pytest.mark.parametrize(
    ("words", "mode", "certificate"),
    [
        ("", "either", Certificate()),
        ("native_tls either", "either", Certificate()),
        ("native_tls required", "required", Certificate(needed=True)),
        ("tls_certificate auto", "either", Certificate(needed=True)),
        ("tls_certificate one.pem", "either", Certificate("one.pem", "one.pem", needed=True)),
        ("tls_certificate a.pem; tls_key a.key; native_tls required", "required", Certificate("a.pem", "a.key", True)),
    ],
)
def test_what_the_configuration_says_of_tls_is_prepared(words, mode, certificate):
    _, answers = fresh(START, ConfigRead(CONFIG + words))
    assert answers[1] == prepare(Listener(HERE.name, HERE.address, mode), certificate=certificate)


def test_without_a_certificate_the_house_opens_in_plain_text_and_says_so():
    _, answers = fresh(START, ConfigRead(CONFIG), Prepared())
    assert answers[2:] == [Adopt(), "gaproxy: configuration adopted listeners=127.0.0.1:807", NO_TLS]


@pytest.mark.parametrize("place", ["0.0.0.0:807", "[::]:807", "8.8.8.8:807", "100.64.0.1:807", "[2600::1]:807"])
def test_plain_text_at_a_public_address_is_told_apart(place):
    _, answers = fresh(START, ConfigRead(CONFIG + f'listen "{place}"\n'), Prepared())
    told = f"{place} may be public, and is plain text: what follows the proofs can be read and changed"
    assert answers[-2:] == [NO_TLS, f"gaproxy: configuration warning text=gaproxy.conf: {told}"]


@pytest.mark.parametrize("place", ["10.0.0.1:807", "192.168.0.1:807", "[fd00::1]:807", "[::1]:807", "[fe80::1]:807"])
def test_plain_text_among_neighbours_is_not(place):
    _, answers = fresh(START, ConfigRead(CONFIG + f'listen "{place}"\n'), Prepared())
    assert answers[-1] == NO_TLS


def test_with_a_certificate_a_public_address_is_nothing_to_warn_of():
    _, answers = fresh(START, ConfigRead(CONFIG + 'listen "8.8.8.8:807"\n'), PREPARED)
    assert "warning" not in str(answers)


def test_a_certificate_that_is_needed_and_cannot_be_made_keeps_the_house_shut():
    _, answers = fresh(START, ConfigRead(CONFIG + "native_tls required\n"), Prepared((MADE,)))
    assert answers[2:] == [f"gaproxy: configuration refused text={MADE}", Exit(1)]


def test_a_reload_takes_a_renewed_certificate():
    talk = Talk()
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    renewed = "ef" * 32
    talk.tell(ConfigRead(CONFIG + "tls_certificate a.pem"), prepare(HERE, certificate=A_PEM))
    talk.tell(Prepared((), renewed), Adopt())
    assert talk.notes[-1].endswith(f" certificate_sha256={renewed}")


def test_a_reload_with_a_certificate_that_cannot_be_used_changes_nothing():
    talk = Talk()
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    talk.tell(ConfigRead(CONFIG + "tls_certificate a.pem"), prepare(HERE, certificate=A_PEM))
    problem = "cannot use the certificate a.pem with the key a.pem: key values mismatch"
    talk.tell(Prepared((problem,)))
    assert talk.notes[-1] == f"gaproxy: configuration refused text={problem}"
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    talk.tell(ConfigRead(CONFIG), prepare(HERE))


# The status lines.


def status(talk: Talk, seconds: float) -> list[str]:
    """The status lines of the next seconds."""
    before = len(talk.notes)
    talk.wait(seconds)
    return [line for line in talk.notes[before:] if "connections=" in line]


def test_the_status_is_told_every_five_seconds():
    talk = Talk()
    lines = ["listener(127.0.0.1:807): open_connections=0", "direct_remote_smtp: connections=0(active=0 cached=0)"]
    assert status(talk, 4.9) == []
    assert status(talk, 0.1) == lines
    assert status(talk, 10.0) == lines * 2


def test_the_status_counts_who_came_in_and_who_was_called():
    talk = in_session()
    talk.wait(1.0)
    talk.hear(accepted(3))
    lines = ["listener(127.0.0.1:807): open_connections=2", "direct_remote_smtp: connections=1(active=1 cached=0)"]
    assert status(talk, 4.0) == lines


def test_the_status_counts_nobody_at_a_listener_that_went():
    talk = in_session()
    reloaded(talk, CONFIG.replace(":807", ":808"))
    lines = ["listener(127.0.0.1:808): open_connections=0", "direct_remote_smtp: connections=1(active=1 cached=0)"]
    assert status(talk, 5.0) == lines


def test_a_reload_does_not_put_the_status_off():
    talk = Talk()
    talk.wait(4.0)
    reloaded(talk, CONFIG)
    assert status(talk, 1.0) != []


# The end.


def test_an_empty_house_closes_at_once():
    talk = Talk()
    talk.tell(TERM, Prepare(()), Exit(0))
    assert talk.notes[-1] == "gaproxy: drained cut=0 unknown=0"


def test_a_house_that_is_told_to_stop_listens_no_more_and_closes_behind_the_last_one():
    talk = with_mta()
    talk.tell(TERM, Prepare(()), Send(1, b"GOAWAY reason=drain\r\n"), Close(1))
    assert talk.notes[-1] == "gaproxy: draining connections=1"
    talk.tell(Prepared(), Adopt())
    talk.tell(Closed(1, "closed"), Exit(0))
    assert talk.notes[-1] == "gaproxy: drained cut=0 unknown=0"


def test_a_client_that_came_in_just_before_is_sent_away():
    talk = with_mta()
    talk.hear(TERM)
    talk.tell(accepted(3))
    talk.tell(Received(3, hello()), Send(3, CHALLENGE))
    talk.tell(Received(3, auth()), Send(3, welcome()), Send(3, b"GOAWAY reason=drain\r\n"), Close(3))


def test_a_message_under_way_is_waited_for():
    talk = in_body()
    talk.tell(TERM, Prepare(()))
    talk.tell(Relayed(1, 100, QUIT, "dot"))
    talk.tell(Received(2, OK), Send(1, OK), Close(2), Send(1, GOODBYE), Send(1, b"GOAWAY reason=drain\r\n"), Close(1))
    talk.tell(Closed(2, "closed"))
    talk.tell(Closed(1, "closed"), Exit(0))
    assert talk.notes[-1] == "gaproxy: drained cut=0 unknown=0"


def test_nobody_is_waited_for_longer_than_thirty_seconds():
    talk = in_body()
    talk.tell(TERM, Prepare(()))
    talk.wait(29.9)
    talk.wait(0.1, Exit(0))
    assert talk.notes[-1] == "gaproxy: drained cut=1 unknown=0"


def test_a_message_whose_dot_was_sent_is_counted_as_unknown():
    talk = in_body()
    talk.tell(Relayed(1, 100, b"", "dot"))
    talk.tell(TERM, Prepare(()))
    talk.wait(30.0, Exit(0))
    assert talk.notes[-1] == "gaproxy: drained cut=1 unknown=1"


def test_a_session_without_a_transaction_is_not_counted():
    talk = in_session()
    talk.tell(Received(1, MAIL), Send(2, MAIL))
    talk.tell(Received(2, b"550 no\r\n"), Send(1, b"550 no\r\n"))
    talk.tell(Received(1, DATA), Send(2, DATA))
    talk.hear(TERM)
    talk.hear(TERM)
    assert talk.notes[-1] == "gaproxy: drained cut=0 unknown=0"


def test_tunnels_that_are_cut_are_counted_by_themselves():
    talk = Talk('listen_proxy_protocol "127.0.0.1:5000" { relay opaque }; remote_allow 192.0.2.0/24')
    for id in (1, 3):
        talk.hear(Accepted(id, "127.0.0.1:5000", CLIENT, ENTROPY))
        talk.hear(Received(id, b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"))
        talk.hear(Connected(id + 1, ("127.0.0.2", 40113)))
    talk.hear(Relayed(1, 100, b"", "end"))  # one of them is half over
    talk.tell(TERM, Prepare(()))
    talk.wait(30.0, Exit(0))
    assert talk.notes[-1] == "gaproxy: drained cut=0 unknown=0 opaque=2"


@pytest.mark.parametrize("second", [TERM, INT])
def test_a_second_signal_closes_at_once(second):
    talk = in_body()
    talk.tell(INT, Prepare(()))
    talk.tell(second, Exit(1))
    assert talk.notes[-1] == "gaproxy: drained cut=1 unknown=0"
    assert talk.proxy.caretaker.exit_code == 1
    talk.tell(second)


def test_a_house_that_closes_reads_no_configuration():
    talk = in_body()
    talk.hear(TERM)
    talk.tell(HUP)


@pytest.mark.parametrize("read", [ConfigRead(TWO_LISTENERS), ConfigRead("nonsense\n"), ConfigRead("", "gone")])
def test_a_configuration_that_comes_when_the_house_is_closing_opens_no_listener(read):
    talk = in_body()
    talk.tell(HUP, ReadConfig("gaproxy.conf"))
    talk.tell(TERM, Prepare(()))
    talk.tell(read)
    talk.tell(Prepared(), Adopt())


def test_listeners_that_were_being_prepared_when_the_house_closes_are_let_go():
    talk = in_body()
    talk.hear(HUP)
    talk.tell(ConfigRead(TWO_LISTENERS), prepare(HERE, THERE))
    talk.tell(TERM, Prepare(()))
    talk.tell(Prepared(), Adopt())
    talk.tell(Prepared(), Adopt())
