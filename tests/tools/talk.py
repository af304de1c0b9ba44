"""A dialogue with the machine: a fact on the left, exactly the orders that answer it on the right."""

from collections.abc import Iterable
from string import punctuation
from urllib.parse import quote

from gaproxy import __version__
from gaproxy.proto.actions import Action, Note, Send
from gaproxy.proto.doors.credentials import PLAIN_BINDING, Keyring, Keys, mta_proof, proxy_proof
from gaproxy.proto.events import Accepted, ConfigRead, Connected, Elapsed, Event, Prepared, Received, Signalled
from gaproxy.proto.patience import SECOND
from gaproxy.proto.proxy import Proxy

SECRET = "a-secret-of-the-tests-and-of-no-other"
LISTENER = "127.0.0.1:807"
CONFIG = f"""
listen "{LISTENER}"
allow_from 127.0.0.0/8
auth_shared_secret "{SECRET}"
remote_allow 192.0.2.0/24, 2001:db8::/32
remote_ports 25, 465
reuse_connections no
"""
CERTIFICATE = "cd" * 32  # its fingerprint
START_NS = 1_000 * SECOND
ENTROPY = bytes(range(48))
CLIENT = ("127.0.0.9", 40112)
NONCE = "ff" * 32

GREETING = b"220 mx1.example.net ESMTP\r\n"
PIPELINING = b"250-mx1.example.net\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
ONE_AT_A_TIME = b"250 mx1.example.net\r\n"
READY = b"READY id=7 source=127.0.0.2:40113 remote=192.0.2.5:25 reused=no uses=1 age_ms=0 tls=none\r\n"
EHLO = b"EHLO out1.example.com\r\n"
MAIL, RCPT, DATA = b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<b@example.net>\r\n", b"DATA\r\n"
QUIT, GOODBYE = b"QUIT\r\n", b"221 2.0.0 gaproxy: goodbye\r\n"


class Talk:
    """Tells a machine facts and compares all its orders; the notes for the log are collected apart."""

    def __init__(self, config: str = CONFIG, keys: Keys | None = None, strict: bool = True) -> None:
        self.proxy = Proxy("gaproxy.conf", keys or Keyring(), strict)
        self.now = START_NS
        self.notes: list[str] = []
        self.hear(Signalled("START", bytes(16)))
        self.hear(ConfigRead(config))
        self.hear(Prepared((), CERTIFICATE))

    def hear(self, event: Event) -> list[Action]:
        """Tell a fact; the orders, but for the notes."""
        orders = self.proxy.step(self.now, event)
        self.notes += [order.line for order in orders if isinstance(order, Note)]
        return [order for order in orders if not isinstance(order, Note)]

    def tell(self, event: Event, *orders: Action) -> None:
        """Tell a fact; these orders, all of them and in this order, must answer it."""
        assert self.hear(event) == list(orders)

    def wait(self, seconds: float, *orders: Action) -> None:
        """Let time pass, from one deadline to the next; these orders, all of them, must come in the meantime."""
        until, heard = self.now + round(seconds * SECOND), []
        while (deadline := self.proxy.next_deadline) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            heard += self.hear(Elapsed())
        self.now = until
        assert heard == list(orders)

    def last_note(self, beginning: str) -> str:
        """The newest line of the log that begins so."""
        return next(line for line in reversed(self.notes) if line.startswith(beginning))


def hello(role: str = "smtp", node: str = "mta-1", version: int = 1, minimum: int = 1) -> bytes:
    return f"GAPROXY/{version} min={minimum} node={node} role={role} nonce={NONCE}\r\n".encode()


CHALLENGE = f"CHALLENGE v=1 nonce={ENTROPY[:32].hex()}\r\n".encode()
SESSION = ENTROPY[32:40].hex()


def auth(secret: str = SECRET, role: str = "smtp", node: str = "mta-1", binding: bytes = PLAIN_BINDING) -> bytes:
    return f"AUTH proof={mta_proof(secret, hello(role, node), CHALLENGE, binding)}\r\n".encode()


def welcome(secret: str = SECRET, role: str = "smtp", node: str = "mta-1", binding: bytes = PLAIN_BINDING) -> bytes:
    said = auth(secret, role, node, binding)
    proof = proxy_proof(secret, hello(role, node), CHALLENGE, said, binding)
    return f"WELCOME proof={proof} session={SESSION} agent=gaproxy/{__version__} caps= ping_ms=5000\r\n".encode()


def accepted(id: int = 1, client: tuple[str, int] = CLIENT) -> Accepted:
    return Accepted(id, LISTENER, client, ENTROPY)


def with_mta(config: str = CONFIG, ids: Iterable[int] = (1,)) -> Talk:
    """A talk in which these MTAs have proved who they are."""
    talk = Talk(config)
    for id in ids:
        talk.hear(accepted(id))
        talk.hear(Received(id, hello()))
        talk.hear(Received(id, auth()))
    return talk


def opening(id: int = 7, to: str = "192.0.2.5:25", tls: str = "none", more: str = "") -> bytes:
    source = "127.0.0.2"
    return f"OPEN id={id} source={source} to={to} helo=out1.example.com tls={tls}{more}\r\n".encode()


def connected(id: int = 2) -> Connected:
    return Connected(id, ("127.0.0.2", 40113))


def calling(tls: str = "none", to: str = "192.0.2.5:25", more: str = "", config: str = CONFIG) -> Talk:
    """A talk in which MTA 1 has asked for a remote, and remote 2 took the call."""
    talk = with_mta(config)
    talk.hear(Received(1, opening(to=to, tls=tls, more=more)))
    talk.hear(connected())
    return talk


def in_session(config: str = CONFIG, offer: bytes = PIPELINING) -> Talk:
    """A talk in which MTA 1 has the remote 2 for its own, and was shown its greeting."""
    talk = calling(config=config)
    talk.hear(Received(2, GREETING))
    assert talk.hear(Received(2, offer)) == [Send(1, READY + GREETING)]
    return talk


def in_body(config: str = CONFIG, offer: bytes = PIPELINING) -> Talk:
    """A talk in which the body of a message is on its way from MTA 1 to remote 2."""
    talk = in_session(config, offer)
    for command, said in ((MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n"), (DATA, b"354 go\r\n")):
        talk.hear(Received(1, command))
        talk.hear(Received(2, said))
    return talk


def failed(kind: str, tried: str, text: str, reply: str = "", retry_ms: int = 0, id: int = 7) -> bytes:
    """The FAILED line; `text` and `reply` as people read them."""
    visible = punctuation.replace("%", "")
    told = f" reply={quote(reply, visible)}" if reply else ""
    line = f"FAILED id={id} kind={kind} retry_ms={retry_ms} tried={tried}{told} text={quote(text, visible)}"
    return line.encode("ascii") + b"\r\n"


def story(orders: Iterable[Action]) -> tuple[dict[int, bytes], list[Action]]:
    """What orders come to, however the bytes were grouped: all that each connection was sent, and all other orders."""
    sent: dict[int, bytes] = {}
    others = []
    for order in orders:
        if isinstance(order, Send):
            sent[order.id] = sent.get(order.id, b"") + order.data
        else:
            others.append(order)
    return sent, others
