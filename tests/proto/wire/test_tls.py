"""Two ends of TLS talk through nothing but bytes, many of them over one pair of buffers, and never mix one."""

import datetime
import hashlib
import ssl
from pathlib import Path

import pytest
import trustme
from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from gaproxy.proto.wire.tls import Bios, Tls, client_context, proxy_context, server_context, server_policy

NOW = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
YEARS = datetime.timedelta(days=36500)
MX = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx.example")])
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


@define
class Town:
    """A trusted authority, and policies to meet in."""

    folder: Path
    authority: trustme.CA = field(factory=trustme.CA)

    def server(self, certificate):
        chain, key = self.folder / "chain.pem", self.folder / "key.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key.write_bytes(certificate.private_key_pem.bytes())
        return server_context(str(chain), str(key))

    def self_signed(self, key, *extensions, passphrase=None):
        """The paths of a certificate that nobody else vouches for, and of its key."""
        builder = x509.CertificateBuilder(MX, MX, key.public_key(), 1, NOW, NOW + YEARS)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        chain, own = self.folder / "self.pem", self.folder / "self.key"
        chain.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(PEM))
        lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        own.write_bytes(key.private_bytes(PEM, PKCS8, lock))
        return str(chain), str(own)

    def verifying(self, roots=None):
        """A verifying client whose roots are this authority's, or those of a file."""
        path = self.folder / "roots.pem"
        path.write_bytes(self.authority.cert_pem.bytes())
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("SSL_CERT_FILE", roots or str(path))
            return client_context(verify=True)


@define(eq=False)
class Pair:
    """A client and a server, and the bytes that are on their way to each."""

    bios: Bios
    client_policy: ssl.SSLContext
    server_policy: ssl.SSLContext
    ends: list = field(init=False)
    ways: list = field(factory=lambda: [bytearray(), bytearray()])  # to the client, to the server
    heard: list = field(factory=lambda: [b"", b""])
    steps: list = field(factory=list)

    def __attrs_post_init__(self):
        self.ends = [
            Tls(self.bios, self.client_policy, server_name="mx.example"),
            Tls(self.bios, self.server_policy, True),
        ]
        self.ways[1] += self.ends[0].start()
        assert self.ends[1].start() == b""

    def say(self, end, plain):
        self.ways[1 - end] += self.ends[end].encrypt(plain)

    def carry(self, end, size):
        """Bring up to `size` bytes to this end."""
        cipher = bytes(self.ways[end][:size])
        del self.ways[end][:size]
        step = self.ends[end].receive(cipher)
        assert (self.bios.incoming.pending, self.bios.outgoing.pending) == (0, 0)
        self.ways[1 - end] += step.send
        self.heard[end] += step.plain
        self.steps.append((end, step))
        return step

    def carry_all(self, size=65536):
        while any(self.ways):
            self.carry(0 if self.ways[0] else 1, size)
        return self

    def faults(self, end):
        return {(step.fault, step.fault_kind) for whose, step in self.steps if whose == end and step.fault}


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    return Town(tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="module")
def certificate(town):
    return town.authority.issue_cert("mx.example", "*.mail.example", "192.0.2.1")


@pytest.fixture(scope="module")
def server(town, certificate):
    return town.server(certificate)


@pytest.fixture(scope="module", params=["TLSv1.2", "TLSv1.3"])
def client(request):
    context = client_context(verify=False)
    context.maximum_version = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[request.param]
    return context


@pytest.mark.parametrize("size", [1, 7, 1024, 65536])
def test_however_the_bytes_are_cut_both_hear_what_was_said(client, server, size):
    pair = Pair(Bios(), client, server).carry_all(size)
    for end in (0, 1):
        assert [step.established for whose, step in pair.steps if whose == end].count(True) == 1
        pair.say(end, b"said by %d " % end * 3000)
    pair.carry_all(size)
    assert pair.heard == [b"said by 1 " * 3000, b"said by 0 " * 3000]
    assert not pair.faults(0) | pair.faults(1)


def test_a_megabyte_goes_each_way(client, server):
    pair = Pair(Bios(), client, server).carry_all()
    for end in (0, 1):
        pair.say(end, memoryview(bytes([65 + end]) * 1_000_000))
    pair.carry_all()
    assert pair.heard == [b"B" * 1_000_000, b"A" * 1_000_000]


def test_what_is_said_in_the_step_that_completes_the_handshake_is_heard_in_it(server):
    pair = Pair(Bios(), client_context(verify=False), server)
    pair.carry(1, 65536)
    pair.carry(0, 65536)
    pair.say(0, b"EHLO a\r\n")
    step = pair.carry(1, 65536)
    assert (step.established, step.plain) == (True, b"EHLO a\r\n")


def test_session_tickets_are_no_plain_text(server):
    pair = Pair(Bios(), client_context(verify=False), server)
    pair.carry(1, 65536)
    pair.carry(0, 65536)
    assert pair.carry(1, 65536).send, "no tickets were sent"
    step = pair.carry(0, 65536)
    assert (step.plain, step.send, step.ended, step.established, step.fault) == (b"", b"", False, False, None)


def test_what_was_agreed_is_told(client, server, certificate):
    pair = Pair(Bios(), client, server)
    for end in pair.ends:
        assert (end.cipher, end.certificate_sha256, end.verified, end.names) == ("", "", False, ())
    pair.carry_all()
    mine, theirs = pair.ends
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    assert mine.version == theirs.version == client.maximum_version.name.replace("_", ".")
    assert mine.cipher == theirs.cipher != ""
    assert (mine.certificate_sha256, theirs.certificate_sha256) == (hashlib.sha256(der).hexdigest(), "")
    assert (mine.verified, mine.names, theirs.verified, theirs.names) == (False, (), False, ())


def test_a_chain_to_a_trusted_root_is_verified_and_its_dns_names_are_told(town, server):
    pair = Pair(Bios(), town.verifying(), server)
    assert not pair.ends[0].verified
    pair.carry_all()
    assert (pair.ends[0].verified, pair.ends[0].names) == (True, ("mx.example", "*.mail.example"))


def refusal(town, policy, server):
    """Why a verifying client refuses this server. The server must hear an alert."""
    pair = Pair(Bios(), policy, server).carry_all()
    assert not pair.ends[0].verified and pair.ends[0].names == ()
    assert {kind for _, kind in pair.faults(1)} == {"handshake"}
    return pair.faults(0)


def test_a_stranger_s_chain_is_refused(town):
    stranger = trustme.CA()
    server = town.server(stranger.issue_cert("mx.example"))
    assert refusal(town, town.verifying(), server) == {("unable to get local issuer certificate", "certificate")}


def test_without_roots_every_chain_is_refused(town, server, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.touch()
    (fault,) = refusal(town, town.verifying(str(empty)), server)
    assert fault == ("unable to get local issuer certificate", "certificate")


def test_an_expired_certificate_is_refused(town):
    server = town.server(town.authority.issue_cert("mx.example", not_before=NOW, not_after=NOW))
    assert refusal(town, town.verifying(), server) == {("certificate has expired", "certificate")}


def test_names_that_are_no_text_are_no_names(town):
    alternatives = x509.UnrecognizedExtension(x509.OID_SUBJECT_ALTERNATIVE_NAME, b"\x30\x03\x82\x01\xe9")
    chain, key = town.self_signed(ec.generate_private_key(ec.SECP256R1()), alternatives)
    pair = Pair(Bios(), town.verifying(chain), server_context(chain, key)).carry_all()
    assert (pair.ends[0].verified, pair.ends[0].names) == (True, ())


def test_a_small_old_key_is_better_than_plain_text(town):
    chain, key = town.self_signed(rsa.generate_private_key(65537, 1024))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.set_ciphers("AES128-SHA:@SECLEVEL=0")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(chain, key)
    pair = Pair(Bios(), client_context(verify=False), old).carry_all()
    assert (pair.ends[0].established, pair.ends[0].cipher) == (True, "AES128-SHA")


@pytest.mark.parametrize(("verify", "fault"), [(False, None), (True, "unsafe legacy renegotiation disabled")])
def test_a_server_from_before_rfc_5746_is_better_than_plain_text(verify, fault):
    caller = Tls(Bios(), client_context(verify))
    caller.start()
    hello = b"\x03\x03" + bytes(32) + b"\x00" + b"\xc0\x2f" + b"\x00"  # ECDHE-RSA-AES128-GCM-SHA256, no extension
    assert caller.receive(b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26" + hello).fault == fault


def test_nobody_renegotiates(server):
    for context in (server, client_context(verify=False), client_context(verify=True)):
        assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("name", ["", ".example", "a" * 64 + ".example", "mx\0.example", "192.0.2.1", "2001:db8::1"])
def test_a_server_name_that_is_no_host_name_is_left_out(server, name):
    seen = []
    server.sni_callback = lambda _, name, __: seen.append(name)
    one, two = Tls(Bios(), client_context(verify=False), server_name=name), Tls(Bios(), server, True)
    assert two.receive(one.start()).send
    server.sni_callback = None
    assert seen == [None]


def test_a_server_name_is_shown_to_the_server(server):
    seen = []
    server.sni_callback = lambda _, name, __: seen.append(name)
    Pair(Bios(), client_context(verify=False), server).carry_all()
    server.sni_callback = None
    assert seen == ["mx.example"]


@pytest.mark.parametrize("end", [0, 1])
def test_who_has_ended_can_still_hear_and_the_other_still_say(client, server, end):
    pair = Pair(Bios(), client, server).carry_all()
    other = 1 - end
    pair.say(end, b"QUIT\r\n")
    pair.ways[other] += pair.ends[end].finish()
    last = pair.carry(other, 65536)
    assert (last.plain, last.ended, last.send, last.fault) == (b"QUIT\r\n", True, b"", None)
    pair.say(other, b"221 bye\r\n")
    answer = pair.carry(end, 65536)
    assert (answer.plain, answer.ended) == (b"221 bye\r\n", False)
    pair.ways[end] += pair.ends[other].finish()
    farewell = pair.carry(end, 65536)
    assert (farewell.plain, farewell.ended, farewell.fault) == (b"", True, None)


def test_an_end_is_said_once_and_nothing_behind_it(client, server):
    pair = Pair(Bios(), client, server).carry_all()
    assert pair.ends[0].finish() != b""
    assert pair.ends[0].finish() == b""
    with pytest.raises(AssertionError):
        pair.ends[0].encrypt(b"more")


def test_what_comes_behind_an_end_is_dropped(client, server):
    pair = Pair(Bios(), client, server).carry_all()
    pair.ways[1] += pair.ends[0].finish() + b"garbage"
    assert pair.carry(1, 65536).ended
    pair.ways[1] += b"more garbage"
    step = pair.carry(1, 65536)
    assert (step.plain, step.ended, step.fault) == (b"", True, None)


def test_before_the_handshake_there_is_nothing_to_end_and_nothing_can_be_said(client):
    tls = Tls(Bios(), client)
    tls.start()
    assert tls.finish() == b""
    with pytest.raises(AssertionError):
        tls.encrypt(b"early")


def test_saying_nothing_sends_nothing(client, server):
    assert Pair(Bios(), client, server).carry_all().ends[0].encrypt(b"") == b""


@pytest.mark.parametrize("text", [b"220 mx.example ESMTP\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x05\x01\x00" * 9])
@pytest.mark.parametrize("server_side", [False, True])
def test_a_peer_that_does_not_speak_tls_is_a_fault_for_good(client, server, text, server_side):
    tls = Tls(Bios(), server if server_side else client, server_side)
    tls.start()
    step = tls.receive(text)
    assert (step.fault_kind, step.plain, step.established) == ("handshake", b"", False)
    again = tls.receive(text)
    assert (again.fault, again.fault_kind, again.send) == (step.fault, "handshake", b"")
    assert (tls.finish(), tls.version == "" or tls.version.startswith("TLS"), tls.cipher) == (b"", True, "")


def test_an_alert_instead_of_a_handshake_is_told_in_words(client):
    for alert, words in [
        (b"\x02\x28", "sslv3 alert handshake failure"),
        (b"\x01\x00", "close notify instead of a handshake"),
    ]:
        tls = Tls(Bios(), client)
        tls.start()
        step = tls.receive(b"\x15\x03\x03\x00\x02" + alert)
        assert (step.fault, step.fault_kind, step.ended) == (words, "handshake", False)


def test_what_was_said_before_a_broken_record_is_heard(client, server):
    pair = Pair(Bios(), client, server).carry_all()
    pair.say(0, b"before")
    pair.ways[1] += b"\x17\x03\x03\x00\x20" + bytes(32)
    step = pair.carry(1, 65536)
    assert (step.plain, step.fault_kind, bool(step.send)) == (b"before", "tls", True)
    assert pair.ends[1].encrypt(b"after") == pair.ends[1].finish() == b""


@given(st.binary(min_size=1), st.booleans(), st.booleans())
def test_whatever_comes_is_a_fault_at_most(server, garbage, server_side, established):
    pair = Pair(Bios(), client_context(verify=False), server)
    if established:
        pair.carry_all()
    pair.ways[server_side] = bytearray(garbage)
    step = pair.carry(server_side, 65536)
    assert (step.plain, step.established, step.ended) == (b"", False, False)
    assert step.fault_kind in (None, "tls" if established else "handshake")


@given(st.integers(0, 1200), st.integers(1, 255))
def test_a_flight_with_one_wrong_byte_is_a_fault_if_it_is_looked_at(server, place, difference):
    pair = Pair(Bios(), client_context(verify=False), server)
    pair.carry(1, 65536)
    pair.ways[0][place % len(pair.ways[0])] ^= difference
    step = pair.carry(0, 65536)
    assert (step.plain, step.ended, step.fault_kind in (None, "handshake")) == (b"", False, True)
    if step.established:  # the version that a record tells "MUST be ignored for all purposes" (RFC 8446 5.1)
        assert not pair.carry_all().faults(1)


STEPS = st.tuples(
    st.integers(0, 3),
    st.integers(0, 1),
    st.sampled_from(["say", "carry", "carry", "garbage", "end"]),
    st.integers(1, 3000),
)


@given(st.lists(STEPS, max_size=60))
def test_many_connections_over_one_pair_of_buffers_never_mix_a_byte(server, schedule):
    bios, policy = Bios(), client_context(verify=False)
    pairs = [Pair(bios, policy, server) for _ in range(4)]
    said = [[b"", b""] for _ in pairs]
    for number, end, action, size in schedule:
        pair, tls = pairs[number], pairs[number].ends[end]
        if action == "carry":
            pair.carry(end, size)
        elif action == "garbage" and number == 0:
            pair.ways[end] += b"\xff" * size  # only the first connection meets it
        elif action == "say" and tls.established and not tls.finished:
            text = b"%d.%d " % (number, end) * size
            said[number][end] += text
            pair.say(end, text)
        elif action == "end":
            pair.ways[1 - end] += tls.finish()
    while any(any(pair.ways) for pair in pairs):  # in turn, as the network would
        for pair in pairs:
            for end in (0, 1):
                pair.carry(end, 777)
    for pair, texts in zip(pairs[1:], said[1:], strict=True):
        assert pair.heard == texts[::-1]
        assert not pair.faults(0) | pair.faults(1)
        assert all(tls.established for tls in pair.ends)
        assert [tls.ended for tls in pair.ends] == [tls.finished for tls in pair.ends[::-1]]
    for heard, text in zip(pairs[0].heard, said[0][::-1], strict=True):
        assert text.startswith(heard)


def test_tls_1_1_is_refused_by_both_sides(server):
    hello = b"\x03\x02" + bytes(32) + b"\x00"
    asked = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29" + hello + b"\x00\x02\x00\x2f\x01\x00"
    answered = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26" + hello + b"\x00\x2f\x00"
    assert Tls(Bios(), server, True).receive(asked).fault == "unsupported protocol"
    for verify in (False, True):
        caller = Tls(Bios(), client_context(verify))
        caller.start()
        assert caller.receive(answered).fault == "unsupported protocol"


def test_a_certificate_that_cannot_be_used_is_an_os_error(town, tmp_path):
    one, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain, _ = town.self_signed(one)
    empty = tmp_path / "empty.pem"
    empty.touch()
    for certificate_path, key_path in [(chain, str(empty)), (str(empty), chain), (chain, str(tmp_path / "none"))]:
        with pytest.raises(OSError):
            server_context(certificate_path, key_path)
    (tmp_path / "chain.pem").write_bytes((town.folder / "self.pem").read_bytes())
    _, another = town.self_signed(other)
    with pytest.raises(OSError):
        server_context(str(tmp_path / "chain.pem"), another)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(town):
    with pytest.raises(OSError):
        server_context(*town.self_signed(ec.generate_private_key(ec.SECP256R1()), passphrase=b"secret"))


# What a server shows.


def test_a_policy_tells_the_certificate_that_a_client_sees(town, certificate):
    town.server(certificate)  # which leaves its files here
    policy = server_policy(str(town.folder / "chain.pem"), str(town.folder / "key.pem"))
    leaf = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    assert policy.certificate_sha256 == hashlib.sha256(leaf).hexdigest()
    bios = Bios()
    client, server = Tls(bios, proxy_context()), Tls(bios, policy.context, True, own_sha256=policy.certificate_sha256)
    said = client.start()
    while not server.established:
        said = server.receive(client.receive(server.receive(said).send).send).send
    assert server.certificate_sha256 == client.certificate_sha256 == policy.certificate_sha256


def test_a_certificate_with_which_nobody_could_agree_is_refused(town):
    with pytest.raises(OSError, match="no handshake is possible with it: no shared cipher"):
        server_policy(*town.self_signed(ec.generate_private_key(ec.SECP256K1())))


def test_an_mta_may_show_its_proxy_no_trust_and_yet_wants_tls_of_today():
    context = proxy_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
