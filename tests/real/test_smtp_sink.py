"""Postfix's smtp-sink as the remote: with and without pipelining, and refusing at every step in its own words."""

import re

import pytest
from tools.real import SOURCES, Mta

BODY = b"Subject: hello\r\n\r\n.a dot leads this line\r\nthe end\r\n"
ENVELOPE = [b"MAIL FROM:<a@src.test>", b"RCPT TO:<b@dst.test>", b"RCPT TO:<c@dst.test>", b"DATA"]


def joined(mta: Mta, to: str) -> None:
    mta.ask_for(to)
    mta.ready()


def send(mta: Mta) -> list[int]:
    """One message, command by command, until a refusal: the codes."""
    codes = []
    for command in ENVELOPE:
        codes.append(mta.command(command).code)
        if codes[-1] >= 400:
            return codes
    mta.say(mta.client.say_body(BODY))
    return [*codes, mta.reply().code]


def messages(dump) -> list[tuple[str, bytes, int, bytes]]:
    """What smtp-sink wrote down of each transaction: source, sender, how many recipients, the message with LF."""
    found = []
    for text in dump.read_bytes().split(b"X-Client-Addr: ")[1:]:
        envelope, message = re.split(rb"Received: .*\n\t.*\n\t.*\n", text, maxsplit=1)
        source, _, _, sender, *rcpts = envelope.splitlines()
        found.append((source.decode(), sender.removeprefix(b"X-Mail-Args: "), len(rcpts), message.removesuffix(b"\n")))
    return found


def test_several_messages_arrive_in_one_session(mta, sink, tmp_path):
    dump = tmp_path / "dump"
    with sink("-D", str(dump)) as to:
        joined(mta, to)
        assert [send(mta) for _ in range(3)] == [[250, 250, 250, 354, 250]] * 3
        assert mta.command(b"QUIT").code == 221
        joined(mta, to)
        assert send(mta)[-1] == 250
    assert messages(dump) == [(SOURCES[0], b"<a@src.test>", 2, BODY.replace(b"\r\n", b"\n"))] * 4


@pytest.mark.parametrize(("options", "offered"), [([], True), (["-p"], False)])
def test_an_mta_may_pipeline_as_it_likes(mta, sink, options, offered):
    with sink(*options) as to:
        joined(mta, to)
        assert (b"PIPELINING" in mta.command(b"EHLO me").lines) is offered
        for _ in range(3):
            mta.say(b"".join(mta.client.say(command) for command in [b"NOOP", b"RSET", *ENVELOPE]))
            assert [mta.reply().code for _ in range(6)] == [250, 250, 250, 250, 250, 354]
            mta.say(mta.client.say_body(BODY) + mta.client.say(b"NOOP"))
            assert [mta.reply().code for _ in range(2)] == [250, 250]
        assert mta.command(b"QUIT").code == 221


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        (["-f", "CONNECT", "-B", "554 5.7.1 not from there"], "554 5.7.1 not from there"),
        (["-r", "CONNECT", "-b", "450 4.7.1 later"], "450 4.7.1 later"),
        (["-Q", "CONNECT"], "421 4.0.0 Server closing connection"),
        (["-q", "CONNECT"], None),
    ],
)
def test_a_greeting_that_refuses_is_told_in_its_words(mta, sink, options, reply):
    with sink(*options) as to:
        mta.ask_for(to)
        failed = mta.fails()
    assert (failed.kind, failed.reply) == ("greeting", reply)


@pytest.mark.parametrize("options", [["-e"], ["-P"], ["-f", "EHLO"]])
def test_a_remote_that_knows_no_ehlo_gets_helo(mta, sink, options):
    with sink(*options) as to:
        joined(mta, to)
        assert len(mta.command(b"EHLO me").lines) == 1
        assert send(mta)[-1] == 250


@pytest.mark.parametrize(("step", "codes"), [("MAIL", 0), ("RCPT", 1), ("DATA", 3), (".", 4)])
@pytest.mark.parametrize(
    ("option", "words", "reply"), [("-f", "-B", b"550 5.7.1 no"), ("-r", "-b", b"451 4.7.1 later")]
)
def test_a_command_that_is_refused_is_told_in_its_words(mta, sink, step, codes, option, words, reply):
    with sink(option, step, words, reply.decode()) as to:
        joined(mta, to)
        said = [mta.command(command) for command in ENVELOPE[:codes]]
        assert all(one.code < 400 for one in said)
        if step == ".":
            mta.say(mta.client.say_body(BODY))
        else:
            mta.order(ENVELOPE[codes])
        assert mta.reply().wire == reply + b"\r\n"
        assert mta.command(b"RSET").code == 250
        assert mta.command(b"QUIT").code == 221


@pytest.mark.parametrize(("step", "codes"), [("MAIL", 0), ("RCPT", 1), ("DATA", 3), (".", 4)])
@pytest.mark.parametrize(("option", "words"), [("-q", b"4.4.2 gaproxy: "), ("-Q", b"4.0.0 Server closing connection")])
def test_a_remote_that_leaves_is_421_until_quit(mta, sink, step, codes, option, words):
    with sink(option, step) as to:
        joined(mta, to)
        for command in ENVELOPE[:codes]:
            assert mta.command(command).code < 400
        mta.say(mta.client.say_body(BODY) if step == "." else mta.client.say(ENVELOPE[codes]))
        reply = mta.reply()
        assert (reply.code, reply.lines[0][: len(words)]) == (421, words)
        assert (b"outcome unknown" in reply.lines[0]) is (step == "." and option == "-q")
        assert mta.command(b"NOOP").code == 421
        assert mta.command(b"QUIT").code == 221
