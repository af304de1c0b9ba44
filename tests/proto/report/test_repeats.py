"""The same refusal is told once, and a minute later how often it came again."""

from gaproxy.proto.report.repeats import REMEMBERED_MOST, Repeats


def refusal(client: str = "10.0.0.7", reason: str = "allow_from") -> dict[str, str | int]:
    return {"listener": "0.0.0.0:807", "client": client, "reason": reason}


def test_the_first_is_told_and_the_rest_is_summarised():
    repeats = Repeats()
    assert [repeats.told_before("client_refused", refusal()) for _ in range(4)] == [False, True, True, True]
    assert list(repeats.summaries()) == [("client_refused_again", {**refusal(), "repeated": 3})]


def test_what_came_once_is_not_summarised_and_a_new_minute_begins():
    repeats = Repeats()
    assert not repeats.told_before("client_refused", refusal())
    assert list(repeats.summaries()) == []
    assert not repeats.told_before("client_refused", refusal())


def test_another_client_and_another_reason_are_told():
    repeats = Repeats()
    assert not repeats.told_before("client_refused", refusal())
    assert not repeats.told_before("client_refused", refusal(client="10.0.0.8"))
    assert not repeats.told_before("client_refused", refusal(reason="auth_failed"))


def test_the_ports_of_one_client_are_one_client():
    repeats = Repeats()
    for beginning in ("10.0.0.7:{}", "[2001:db8::7]:{}"):
        told = [
            repeats.told_before("native_refused", {"session": "ab", "client": beginning.format(port), "reason": "x"})
            for port in (1024, 1025)
        ]
        assert told == [False, True]
    assert list(repeats.summaries()) == [
        ("native_refused_again", {"client": "10.0.0.7", "reason": "x", "repeated": 1}),
        ("native_refused_again", {"client": "2001:db8::7", "reason": "x", "repeated": 1}),
    ]


def test_what_has_no_client_is_summarised_too():
    repeats = Repeats()
    assert [repeats.told_before("exhausted", {"what": "descriptors"}) for _ in range(3)] == [False, True, True]
    assert list(repeats.summaries()) == [("exhausted_again", {"what": "descriptors", "repeated": 2})]


def test_a_session_is_never_summarised():
    repeats = Repeats()
    end = {"session": "ab/1", "client": "10.0.0.7:1024", "reason": "quit"}
    assert [repeats.told_before("smtp_end", end) for _ in range(2)] == [False, False]


def test_no_more_kinds_are_remembered_than_there_is_room_for():
    repeats = Repeats()
    for number in range(REMEMBERED_MOST):
        assert not repeats.told_before("client_refused", refusal(reason=str(number)))
    late = refusal(reason="one more")
    assert [repeats.told_before("client_refused", late) for _ in range(2)] == [False, False]
    assert repeats.told_before("client_refused", refusal(reason="0"))
