"""Who stands in which line, a letter each: the members of the governor's dialogues."""

from gaproxy.throttle.governor import Governor
from gaproxy.throttle.places import Path, Place

ONE: Path = (("ip/gmail.com", 1),)
TWO: Path = (("ip/gmail.com", 2),)
THREE: Path = (("ip/gmail.com", 3),)


def join(governor: Governor, members: str, path: Path = ONE) -> list[Place]:
    """One place for each letter, in order."""
    return [governor.join(path, member, now=0) for member in members]


def told(governor: Governor) -> str:
    """Whom `grants` tells, a letter each."""
    return "".join(place.member for place in governor.grants())


def drain(governor: Governor, held: list[Place]) -> str:
    """Each that holds leaves, the first one first, until nobody is left; who was granted meanwhile."""
    granted = ""
    while held:
        governor.leave(held.pop(0))
        now = governor.grants()
        granted += "".join(place.member for place in now)
        held += now
    return granted
