"""Dialogues with whoever comes in at the PROXY door, as far as the header, the greeting, or the EHLO. 1, 3 … came in;
2, 4 … were called.
"""

from tools.talk import CLIENT, ENTROPY, GREETING, SESSION, Talk, connected

from gaproxy.proto.actions import Connect, Send
from gaproxy.proto.doors.haproxy_words import V2_SIGNATURE
from gaproxy.proto.events import Accepted, Received, Secured

PLACE = "127.0.0.1:5000"
HEADER = b"PROXY TCP4 127.0.0.2 192.0.2.5 0 25\r\n"
LOCAL = V2_SIGNATURE + b"\x20\x00\x00\x00"
V2 = V2_SIGNATURE + b"\x21\x11\x00\x0c" + bytes([127, 0, 0, 2, 192, 0, 2, 5, 0, 0, 0, 25])
DIAL = Connect(2, "127.0.0.2", ("192.0.2.5", 25))
EHLO, HELO = b"EHLO mta.example.com\r\n", b"HELO mta.example.com\r\n"
OFFERS_TLS = b"250-mx1.example.net at your service\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS\r\n"
SHOWN = b"250-mx1.example.net at your service\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
SECURED = Secured(2, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "ef" * 32, (), False)
STARTTLS, GO = b"STARTTLS\r\n", b"220 2.0.0 go ahead\r\n"
FIRST = b"503 5.5.1 gaproxy: EHLO first\r\n"


def config(options: str = "", more: str = "") -> str:
    return f"""
        listen_proxy_protocol "{PLACE}" {{ {options} }}
        allow_from 127.0.0.0/8
        remote_allow 192.0.2.0/24, 2001:db8::/32
        remote_ports 25, 465
        reuse_connections no
        {more}
    """


def accepted(id: int = 1, client: tuple[str, int] = CLIENT, listener: str = PLACE) -> Accepted:
    return Accepted(id, listener, client, ENTROPY)


def stranger(options: str = "", more: str = "") -> Talk:
    """A talk with somebody, 1, who has connected and said nothing yet."""
    talk = Talk(config(options, more))
    talk.tell(accepted())
    return talk


def dialling(options: str = "", more: str = "") -> Talk:
    """A talk in which the remote 2 is being dialled for 1."""
    talk = stranger(options, more)
    talk.tell(Received(1, HEADER), DIAL)
    return talk


def greeted(options: str = "", more: str = "") -> Talk:
    """A talk in which 1 has been shown the greeting of 2."""
    talk = dialling(options, more)
    talk.tell(connected())
    talk.tell(Received(2, GREETING), Send(1, GREETING))
    return talk


def in_session(options: str = "", offer: bytes = OFFERS_TLS) -> Talk:
    """A talk in which 1 said EHLO itself, and 2 has answered."""
    talk = greeted(options)
    talk.tell(Received(1, EHLO), Send(2, EHLO))
    talk.hear(Received(2, offer))
    return talk


def told(kind: str, words: str, code: str, where: str = "192.0.2.5:25 from 127.0.0.2: ") -> bytes:
    """Our greeting when there is none of the remote's."""
    return f"421 {code} gaproxy: {kind}: {where}{words} [{SESSION}]\r\n".encode()


def logged(talk: Talk) -> str:
    """The last line of the log."""
    return talk.notes[-1]
