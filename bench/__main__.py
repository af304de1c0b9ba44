"""`python -m bench relay|deliver`: HAProxy and us, side by side, round by round. Knows in which order."""

import os
import resource
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.deliveries import DELIVERIES
from bench.hall import hall_results
from bench.load import listen
from bench.report import Figures, Result, results, write
from bench.rows import ROWS, Figure, Options, Row
from bench.serve import RUNTIMES
from bench.subjects import LOAD_CORE, PROXY_CORE, NoBench, find_haproxy
from gaproxy.cli.serve import raise_file_limit

RESULTS = Path(__file__).parent / "results"
TABLES: Mapping[str, Sequence[Row]] = {"relay": ROWS, "deliver": DELIVERIES}
HALL = "10"  # the row of `relay` in which there is no proxy but the core


def parser() -> ArgumentParser:
    parser = ArgumentParser("bench", description="Measure ourselves beside what people use today.")
    parser.add_argument("verb", choices=tuple(TABLES))
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each figure; default: 1")
    parser.add_argument("--pairs", type=int, default=5000, help="that lie idle; default: 5000")
    parser.add_argument("--runtimes", default=",".join(RUNTIMES), help="default: all")
    parser.add_argument("--rows", default="", help="such as 3,6; default: all")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    return parser


def main() -> int:
    arguments = parser().parse_args()
    try:
        find_haproxy()
        take_our_core()
        found = measure_all(arguments)
    except NoBench as reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 2
    print(found)
    return 0


def take_our_core() -> None:
    """The load has a core to itself, and the proxies another. Raises NoBench."""
    if not {PROXY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise NoBench(f"it needs the cores {PROXY_CORE} and {LOAD_CORE}: one for the proxy, one for the load")
    os.sched_setaffinity(0, {LOAD_CORE})


def measure_all(arguments: Namespace) -> str:
    """All rows that are wanted. Returns the table."""
    raise_file_limit()
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    runtimes = arguments.runtimes.split(",")
    options = Options(arguments.rounds, arguments.seconds, arguments.pairs, runtimes, descriptors)
    table = TABLES[arguments.verb]
    wanted = arguments.rows.split(",") if arguments.rows else [*(row.number for row in table), HALL]
    found: list[Result] = []
    with TemporaryDirectory(prefix="bench-") as folder:
        for row in table:
            if row.number in wanted:
                print(f"row {row.number}: {row.what}", file=sys.stderr)
                figures = measure_row(row, options, Path(folder))
                found += results(row, figures)
    if arguments.verb == "relay" and HALL in wanted:
        found += hall_results(found, options.rounds)
    return write(arguments.out, arguments.verb, options, found)


def measure_row(row: Row, options: Options, folder: Path) -> Figures:
    """Round by round, in each of them one subject after the other."""
    subjects = row.subjects(options, folder)
    figures: dict[str, list[Figure]] = {subject.name: [] for subject in subjects}
    with ExitStack() as standing:
        if not row.fresh:
            for subject in subjects:
                standing.enter_context(subject)
        for _ in range(options.rounds):
            for subject in subjects:
                with subject if row.fresh else nullcontext(), listen() as sink:
                    figures[subject.name].append(row.figure(subject, sink, options))
    return figures


if __name__ == "__main__":
    sys.exit(main())
