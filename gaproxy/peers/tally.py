"""What was sent against what arrived: knows what must hold of every message. Does not know how any of them went."""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from attrs import frozen

from gaproxy.peers.errand import DELIVERED, Letter, Outcome
from gaproxy.peers.mx import Arrival


@frozen
class Tally:
    """`faults`: a sentence for each thing that is not as it must be; `once`: how many letters arrived exactly once."""

    faults: tuple[str, ...]
    once: int


def tally(letters: Iterable[Letter], outcomes: Iterable[Outcome], arrivals: Iterable[Arrival]) -> Tally:
    """Whether every letter arrived exactly once, unchanged, from the address that was asked for, under TLS unless it
    asked for `none`, and whether its MTA was told so.
    """
    arrived: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        arrived.setdefault(arrival.message_id, []).append(arrival)
    told = {outcome.message_id: outcome for outcome in outcomes}
    faults: list[str] = []
    once = 0
    for letter in letters:
        copies = arrived.pop(letter.message_id, [])
        once += len(copies) == 1
        faults += faults_of(letter, told.get(letter.message_id), copies)
    faults += [f"{message_id or 'a message without an id'} arrived, and nobody sent it" for message_id in arrived]
    return Tally(tuple(faults), once)


def faults_of(letter: Letter, outcome: Outcome | None, copies: list[Arrival]) -> Iterator[str]:
    """What is wrong with this letter: how often it came, what its MTA believes, and what each copy is like."""
    name = letter.message_id
    said = f"{outcome.kind} ({outcome.text})" if outcome else "nothing"
    if not copies:
        yield f"{name} never arrived; its MTA was told: {said}"
    elif outcome is None or outcome.kind != DELIVERED:
        yield f"{name} arrived, but its MTA was told: {said}"
    if len(copies) > 1:
        yield f"{name} arrived {len(copies)} times"
    for copy in copies:
        if copy.sha256 != sha256(letter.data).hexdigest():
            yield f"{name} was changed on its way: {len(letter.data)} bytes were sent, {copy.size_bytes} arrived"
        if copy.tls is None and letter.tls != "none":
            yield f"{name} arrived in plain text"
        if copy.source != letter.source:
            yield f"{name} arrived from {copy.source} instead of {letter.source}"
