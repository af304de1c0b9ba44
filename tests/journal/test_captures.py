"""The same dialogue of two MTAs and the remote that they share, captured from real proxies.

Each journal plays again, and nobody could tell the runtimes apart.
"""

import pytest
from tools.real import HELO, SECRET, Mta, RealProxy, Remote

from gaproxy.journal.replayer import open_journal, replay

BODIES = (b"Subject: one\r\n\r\nthe-first-of-two-messages\r\n", b"Subject: two\r\n\r\nthe-second-of-two\r\n" * 20_000)
END = b"\r\n.\r\n"


def send(mta, peer, body):
    """One session with one message, its commands in one packet. Returns what the MTA and the remote were told."""
    heard, commands = [], [b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.net>", b"DATA"]
    mta.say(b"".join(mta.client.say(command) for command in commands))
    told = [peer.line() for _ in commands]
    peer.say(b"250 ok", b"250 ok", b"354 go")
    heard += [mta.reply() for _ in commands]
    mta.say(mta.client.say_body(body))
    told.append(peer.until(END))
    peer.say(b"250 kept")
    heard += [mta.reply(), mta.command(b"QUIT")]
    told.append(peer.line())
    peer.say(b"250 reset")
    return heard, told


def captured(runtime, folder):
    """Two MTAs, a message of each, and one remote. Returns what was heard and told, and the journal."""
    with RealProxy(runtime, folder, f'capture {{ directory "{folder}" }}') as proxy, Remote() as remote:
        with Mta(proxy) as first, Mta(proxy) as second:
            peer = first.is_joined(remote, b"PIPELINING")
            dialogue = [send(first, peer, BODIES[0])]
            second.ask_for(remote.to)
            assert second.ready().uses == 2
            dialogue.append(send(second, peer, BODIES[1]))
        proxy.wait_for("reused=yes uses=2 messages=1")
        filename = proxy.wait_for("capture begun").rpartition("file=")[2]
    return dialogue, filename


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    return {runtime: captured(runtime, tmp_path_factory.mktemp(runtime)) for runtime in ("asyncio", "trio")}


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_a_capture_plays_again_without_a_difference(captures, runtime):
    _, filename = captures[runtime]
    journal = open_journal(filename)
    assert journal.steps > 20
    assert replay(journal) is None


def test_mta_and_remote_cannot_tell_the_runtimes_apart(captures):
    on_asyncio, on_trio = (dialogue for dialogue, _ in captures.values())
    assert on_asyncio == on_trio
    assert [told[4] for _, told in on_asyncio] == [b"RSET", b"RSET"]
    assert [told[3] + END == body + b".\r\n" for (_, told), body in zip(on_asyncio, BODIES, strict=True)] == [
        True,
        True,
    ]


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_a_capture_tells_who_wrote_to_whom_and_neither_secret_nor_content(captures, runtime):
    with open(captures[runtime][1], "rb") as file:
        written = file.read()
    assert all(told in written for told in (b"a@example.com", b"b@example.net", HELO.encode(), b"127.0.0."))
    assert not any(hidden in written for hidden in (SECRET.encode(), b"the-first-of-two", b"the-second-of-two"))
    assert len(written) < len(BODIES[1])
