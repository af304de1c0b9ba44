"""`gaproxy replay`: plays captured journals again and tells where this machine would have done something else."""

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaproxy.journal.replayer import Difference, Journal

NO_JOURNAL = 2


def add(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "replay",
        help="play captured journals again and tell the first difference",
        description="Play captured journals again. Exit 1: the orders differ; 2: a file is no journal.",
        epilog="example: gaproxy replay /var/lib/gaproxy/gaproxy-1a2b3c4d.journal",
    )
    parser.add_argument("filenames", metavar="FILE", nargs="+")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    return max(replay_file(filename) for filename in arguments.filenames)


def replay_file(filename: str) -> int:
    """Play one journal, and say what came of it. Returns 0, 1 for a difference, 2 where it is no journal."""
    from gaproxy.journal.page import Damaged
    from gaproxy.journal.replayer import open_journal, replay

    try:
        journal = open_journal(filename)
    except OSError as fault:
        print(f"gaproxy replay: cannot read {filename}: {fault.strerror}", file=sys.stderr)
        return NO_JOURNAL
    except Damaged as fault:
        print(f"gaproxy replay: {filename} is no whole journal: {fault}", file=sys.stderr)
        return NO_JOURNAL
    difference = replay(journal)
    if difference is None:
        print(f"{filename}: {journal.steps} steps, no difference")
        return 0
    for line in tell(journal, difference):
        print(line)
    return 1


def tell(journal: "Journal", difference: "Difference") -> Iterator[str]:
    """Both sides of a difference, order by order."""
    from gaproxy import __version__

    yield f"{journal.filename}: step {difference.step} of {journal.steps} differs"
    yield f"  written by gaproxy {journal.head.gaproxy}, played by gaproxy {__version__}"
    yield f"  fact     {difference.fact}"
    for expected, found in zip_longest(difference.expected, difference.found, fillvalue="–"):
        if expected == found:
            yield f"  both     {expected}"
        else:
            yield f"  written  {expected}"
            yield f"  played   {found}"
