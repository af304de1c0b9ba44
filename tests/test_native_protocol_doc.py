"""docs/native-protocol.md tells the truth: its conversation is held, its vectors are computed, its lines are read."""

import hmac
import re
from collections.abc import Iterator
from hashlib import sha256

import pytest
from tools.house import ROOT

from gaproxy import client as mta
from gaproxy.proto.doors import native_words as words
from gaproxy.proto.doors.credentials import Keyring, certificate_binding, mta_proof, proxy_proof

TEXT = (ROOT / "docs" / "native-protocol.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def said(block: str) -> Iterator[tuple[str, bytes]]:
    """Who says what."""
    for line in block.splitlines():
        who, _, text = line.partition(":")
        assert who in ("M", "P"), line
        yield who, text.removeprefix(" ").encode("ascii")


# The vectors, computed from the text alone.


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, "sha256").digest()


def vectors() -> list[dict[str, str]]:
    return [dict(line.split(maxsplit=1) for line in block.splitlines()) for block in blocks("vector")]


@pytest.mark.parametrize("vector", vectors())
def test_a_vector_is_what_the_formulas_give(vector):
    secret, binding = vector["secret"].encode(), vector["CB"].encode()
    hello, challenge, auth = (vector[name].encode() + b"\r\n" for name in ("H", "C", "A"))
    prk = mac(b"gaproxy auth v1", secret)
    of_mta, of_proxy = mac(prk, b"mta proof\x01"), mac(prk, b"proxy proof\x01")
    assert (prk.hex(), of_mta.hex(), of_proxy.hex()) == (vector["PRK"], vector["K_m"], vector["K_p"])
    hashes = [sha256(hello + challenge + binding), sha256(hello + challenge + auth + binding)]
    assert [one.hexdigest() for one in hashes] == [vector["hash_m"], vector["hash_p"]]
    assert vector["A"] == f"AUTH proof={mac(of_mta, hashes[0].digest()).hex()}"
    assert vector["W"] == mac(of_proxy, hashes[1].digest()).hex()


@pytest.mark.parametrize("vector", vectors())
def test_a_vector_is_what_our_proofs_are(vector):
    secret, binding = vector["secret"], vector["CB"].encode()
    hello, challenge, auth = (vector[name].encode() + b"\r\n" for name in ("H", "C", "A"))
    proof = words.read_auth(auth[:-2])
    assert proof == mta_proof(secret, hello, challenge, binding)
    assert vector["W"] == proxy_proof(secret, hello, challenge, auth, binding)
    assert Keyring((secret,)).judge(hello, challenge, auth, proof, binding).proof == vector["W"]
    words.read_hello(hello[:-2])


def test_there_is_a_vector_for_each_binding_and_for_two_secrets():
    assert [vector["CB"].partition(":")[0] for vector in vectors()] == ["none", "none", "cert-sha256"]
    assert len({vector["secret"] for vector in vectors()}) == 2
    certificate = sha256(b"example DER certificate").hexdigest()
    assert vectors()[2]["CB"].encode() == certificate_binding(certificate)


def test_what_the_document_says_must_be_refused_is_refused():
    first, _, over_tls = vectors()
    hello, challenge = first["H"].encode() + b"\r\n", first["C"].encode() + b"\r\n"
    keys, proof = Keyring((first["secret"],)), words.read_auth(first["A"].encode())
    assert keys.judge(hello, challenge, b"", proof).ok
    assert not keys.judge(hello, challenge, b"", first["W"]).ok
    assert not keys.judge(hello, challenge, b"", proof.upper()).ok
    assert not keys.judge(hello, challenge, b"", proof, over_tls["CB"].encode()).ok


# The conversation, held by our own client.


def answer(client: mta.Client, line: bytes) -> bytes:
    """What our client says where the document says this line."""
    if line.startswith(b"GAPROXY/"):
        return client.hello()
    if line.startswith(b"OPEN "):
        values = dict(words.parse_line(line).values)
        values.pop("id")
        return client.open(**values)
    return client.say(line)


def test_the_conversation_is_the_one_that_our_client_holds():
    [dialogue] = blocks("dialogue")
    [secret] = re.findall(r"The secret is `([^`]*)`", TEXT)
    first = vectors()[0]
    client = mta.Client(secret, "mta-1", re.findall("nonce=([0-9a-f]{64})", first["H"])[0], agent="example/1.0")
    events: list[mta.Event] = []
    body: list[bytes] | None = None
    for who, line in said(dialogue):
        if who == "P":
            events += client.receive(line + b"\r\n")
            body = [] if line.startswith(b"354") else None
        elif body is not None:
            body.append(line)
            if line == b".":
                assert client.say_body(b"\r\n".join([*body[:-1], b""])) == b"\r\n".join([*body, b""])
        elif line.startswith(b"AUTH"):
            assert events == [mta.Challenged(line + b"\r\n")]
        else:
            assert answer(client, line) == line + b"\r\n"
    kinds = [type(event) for event in events]
    assert kinds == [mta.Challenged, mta.Welcomed, mta.Ready, *[mta.Replied] * 7, mta.Failed]
    assert client.state == mta.IDLE


# The other lines.


def client_that_opened(id: int) -> mta.Client:
    """A client whose OPEN with this id waits for its answer."""
    first = vectors()[0]
    client = mta.Client(first["secret"], "mta-1", "0a" * 32)
    challenge = first["C"].encode() + b"\r\n"
    (challenged,) = client.receive(challenge)
    proof = proxy_proof(first["secret"], client.hello(), challenge, challenged.answer)
    client.receive(words.render("WELCOME", proof=proof))
    for number in range(1, id + 1):
        client.open(source="192.0.2.1", to=["203.0.113.5:25"], helo="a")
        if number < id:
            client.receive(words.render("FAILED", id=number, kind="refused", text=""))
    return client


LINES = [one for block in blocks("lines") for one in said(block)]


@pytest.mark.parametrize(("who", "line"), LINES)
def test_a_line_of_an_example_is_read(who, line):
    parsed = words.parse_line(line)
    if who == "P":
        (event,) = client_that_opened(int(parsed.values.get("id", "1"))).receive(line + b"\r\n")
        assert type(event).__name__ == EVENTS[parsed.verb]
    elif parsed.verb == "OPEN":
        assert words.read_open(parsed, "s")[0] == parsed.values["id"]
    else:
        assert parsed.verb == "PING"


EVENTS = {"ERROR": "Fault", "READY": "Ready", "FAILED": "Failed", "PONG": "Ponged", "GOAWAY": "GoneAway"}


def test_there_is_an_example_of_every_verb():
    verbs = {line.split(b" ")[0].decode("ascii") for _, line in LINES}
    assert verbs == {*EVENTS, "OPEN", "PING"}


@pytest.mark.parametrize(("kind", "line"), [line.split(maxsplit=1) for line in blocks("refused")[0].splitlines()])
def test_a_line_that_the_document_refuses_is_refused(kind, line):
    with pytest.raises(words.WordFault) as caught:
        words.read_open(words.parse_line(line.encode("ascii")), "s")
    assert getattr(caught.value, "kind", caught.value.code) == kind
    assert not caught.value.fatal


# The numbers.


@pytest.mark.parametrize(
    "sentence",
    [
        f"1–{words.ID_MAX}",
        f"1–{words.VERSION_MAX}: the version",
        f"port 1–{words.PORT_MAX}",
        f"`N`, 0–{words.GROUP_MAX}",
        f"0–{words.WAIT_MS_MAX}: how long",
        f"1–{words.DESTINATIONS} items",
        f"at most {words.CAPS} items",
        f"at most {words.AGENT_CHARACTERS} characters",
        f"1–{words.POOL_CHARACTERS} characters",
        f"at most {mta.LINE_BYTES_BEFORE} bytes before `WELCOME` and {mta.LINE_BYTES_AFTER} after",
    ],
)
def test_a_number_of_the_document_is_that_of_the_code(sentence):
    assert sentence in " ".join(TEXT.split())


def test_the_policies_of_the_document_are_those_of_the_code():
    row = re.search(r"^\| `tls` .*$", TEXT, re.MULTILINE)[0]
    assert [word for word in re.findall(r"`(\w+)`", row) if word != "tls"] == ["may", *words.TLS_POLICIES]


def test_every_code_is_fatal_or_not_as_the_table_says():
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \|", TEXT, re.MULTILINE)
    assert {code for code, fatal in rows if fatal == "no"} == {"unknown_verb", "bad_line"}
    for line, limit in ((b"\x00", 9), (b"A" * 9, 9)):
        with pytest.raises(words.WordFault) as caught:
            words.cut_line(line, limit)
        assert (caught.value.code, "yes") in rows
