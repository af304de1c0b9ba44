"""Messages as MTAs send them, and as nobody should: knows what ends a body, and what lax remotes take for it."""

from random import Random

from gaproxy.proto.wire.body import END

SMUGGLED = "smuggled"
"""Whoever hears a command with this name in it has taken a body for commands."""

_EVIL = b"MAIL FROM:<%b@a.example>\r\nRCPT TO:<%b@b.example>\r\nDATA\r\n" % ((SMUGGLED.encode("ascii"),) * 2)

SANE = (
    *(b"a line\r\n", b"\r\n", b"..\r\n", b"..a dot in front\r\n", b"a dot at the end.\r\n", b"\xc3\xa9\r\n"),
    b"x" * 70 + b"\r\n",
)
LOOKALIKES = (
    *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\r\n.\r\n"),
    *(b"\r.\n", b"\n.\n\r"),
)
ODD = (
    *(b"\r", b"\n", b"\r\n", b".", b"..", b"\r.", b"\n.", b"\r\n.", b"\0", b"a", b"\r\r\n", b"\n\r", b"QUIT\r\n"),
    *LOOKALIKES,
)
"""Pieces of bodies; what lax remotes take for an end is among the odd ones, or a mixture of them."""


def sane_body(dice: Random) -> bytes:
    """A message of whole lines, each dot at their front doubled, with its end."""
    lines = b"".join(dice.choices(SANE, k=int(dice.random() * 6)))
    if dice.random() < 0.02:
        lines += b"y" * int(dice.random() * 30_000) + b"\r\n"
    return lines + (b".\r\n" if not lines else END[2:])


def odd_body(dice: Random) -> bytes:
    """Anything at all, up to the first true end in it; what a lax remote might take for commands stands in it."""
    pieces = [piece for _ in range(1 + int(dice.random() * 6)) for piece in (dice.choice(ODD), dice.choice(SANE + ODD))]
    if dice.random() < 0.7:
        pieces.insert(int(dice.random() * (len(pieces) + 1)), dice.choice(LOOKALIKES) + _EVIL)
    body = b"".join(pieces) + END
    return body[: (b"\r\n" + body).index(END) + len(END) - 2]
