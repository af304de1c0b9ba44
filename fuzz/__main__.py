"""`python -m fuzz world|mutants|soak`: what is typed. Knows how worlds follow each other; tells which seed failed."""

import secrets
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from random import Random

from fuzz.mutants import mutants
from fuzz.play import Played, play
from fuzz.soak import soak
from gaproxy.proto.actions import Action
from gaproxy.proto.events import Event


def parser() -> ArgumentParser:
    parser = ArgumentParser("fuzz", description="Let chance look for what no test thought of.")
    verbs = parser.add_subparsers(required=True)
    world = verbs.add_parser("world", help="MTAs, remotes and a proxy on a network that is not there")
    world.add_argument("seeds", nargs="*", type=int, help="these and no others, every step shown")
    world.add_argument("--seconds", type=float, default=60.0, help="how long new seeds are tried; default: 60")
    world.set_defaults(verb=worlds)
    planted = verbs.add_parser("mutants", help="faults that are planted, and the tests that must see them")
    planted.set_defaults(verb=lambda arguments: mutants())
    day = verbs.add_parser("soak", help="the same MTAs and remotes on sockets, and a daemon, on each runtime")
    day.add_argument("--seconds", type=float, default=600.0, help="in all; default: 600")
    day.set_defaults(verb=lambda arguments: soak(arguments.seconds))
    return parser


def main() -> int:
    arguments = parser().parse_args()
    code: int = arguments.verb(arguments)
    return code


def worlds(arguments: Namespace) -> int:
    """Play one world after the other. Returns 1 where one of them broke an oath."""
    began, played = time.monotonic(), []
    seeds = arguments.seeds or fresh_seeds(began + arguments.seconds)
    for seed in seeds:
        try:
            played.append(play(Random(seed), onlooker=show if arguments.seeds else None))
        except Exception as fault:
            print(f"seed {seed}: {type(fault).__name__}: {fault}")
            print(f"to see it again, step by step: python -m fuzz world {seed}")
            if arguments.seeds:
                raise
            return 1
    print(summary(played, time.monotonic() - began))
    return 0


def fresh_seeds(until: float) -> Iterator[int]:
    while time.monotonic() < until:
        yield secrets.randbits(48)


def show(event: Event, orders: list[Action]) -> None:
    print(event)
    for order in orders:
        print(f"    {order}")


def summary(played: list[Played], seconds: float) -> str:
    sessions = sum(one.sessions for one in played)
    shared = sum(one.shared for one in played)
    taken = sum(one.taken for one in played)
    told = sum(one.told for one in played)
    told_of = (
        f"{sessions} sessions, {shared} of them on a connection of another's, {taken} messages taken, {told} told so"
    )
    return f"{len(played)} worlds, {told_of}, in {seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
