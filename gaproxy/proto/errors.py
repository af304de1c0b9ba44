"""Whose fault it was. Knows two owners of a fault; does not know when to blame either of them."""


class RemoteProtocolError(Exception):
    """The peer did what its protocol does not allow. The text says what it did, and while which state."""


class LocalProtocolError(Exception):
    """We did what our own contract does not allow: a bug of this house, never of the peer."""
