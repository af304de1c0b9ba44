"""A dialogue with the machine: a fact on the left, exactly the orders that answer it on the right."""

from collections.abc import Iterable

from gaproxy import __version__
from gaproxy.proto.actions import Action, Note
from gaproxy.proto.doors.credentials import Keyring, mta_proof, proxy_proof
from gaproxy.proto.events import Accepted, ConfigRead, Elapsed, Event, Prepared, Received, Signalled
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
"""
START_NS = 1_000 * SECOND
ENTROPY = bytes(range(48))
CLIENT = ("127.0.0.9", 40112)
NONCE = "ff" * 32


class Talk:
    """Tells a machine facts and compares all its orders; the notes for the log are collected apart."""

    def __init__(self, config: str = CONFIG) -> None:
        self.proxy = Proxy("gaproxy.conf", Keyring(), strict=True)
        self.now = START_NS
        self.notes: list[str] = []
        self.hear(Signalled("START", bytes(16)))
        self.hear(ConfigRead(config))
        self.hear(Prepared())

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


def auth(secret: str = SECRET, role: str = "smtp", node: str = "mta-1") -> bytes:
    return f"AUTH proof={mta_proof(secret, hello(role, node), CHALLENGE)}\r\n".encode()


def welcome(secret: str = SECRET, role: str = "smtp", node: str = "mta-1") -> bytes:
    proof = proxy_proof(secret, hello(role, node), CHALLENGE, auth(secret, role, node))
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
