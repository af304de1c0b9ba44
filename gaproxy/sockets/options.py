"""What every TCP socket here is set to. Knows options and their reasons; does not know what a socket is for."""

import errno
import socket

from gaproxy.proto.events import Address

KEEPALIVE_IDLE_S = 60  # a resting connection through a NAT or a firewall lives longer when it is touched now and then
KEEPALIVE_INTERVAL_S = 20
USER_TIMEOUT_MS = (
    300_000  # above the 3 minutes that RFC 5321 §4.5.3.2.5 gives a block of data: the machine is to judge first
)

STREAM_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS),
)
# The kernel picks the port when it knows the destination, so one port serves many. (Not every Python has its name.)
BIND_ADDRESS_NO_PORT = (socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)

# No descriptor, or no memory for one.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def family_of(address: str) -> socket.AddressFamily:
    """The family of a literal address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def stream_socket(family: socket.AddressFamily) -> socket.socket:
    """A new non-blocking TCP socket with our options. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    for level, name, value in STREAM_OPTIONS:
        sock.setsockopt(level, name, value)
    return sock


def address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """The literal address and the port in a name of the kernel's; an IPv6 zone is left out."""
    return name[0].partition("%")[0], name[1]
