"""The two commands, `gaproxy` and `greenarrow_proxy`: knows which verbs there are. Does not know what any of them does.

Exit codes: 0 done, 1 the answer is no, 2 wrong use.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from gaproxy import __version__

VERBS = (
    "gaproxy.cli.serve",
    "gaproxy.cli.check_config",
    "gaproxy.cli.gen_secret",
    "gaproxy.cli.send",
    "gaproxy.cli.demo",
    "gaproxy.cli.replay",
)


class Parser(argparse.ArgumentParser):
    """A parser that tells a wrong use in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help says more\n")


def main(argv: Sequence[str] | None = None) -> int:
    """`gaproxy VERB …`. Returns the exit code; raises SystemExit after --help, --version and a wrong use."""
    parser = Parser(prog="gaproxy", description="An open egress proxy for mail.")
    parser.add_argument("--version", action="version", version=f"gaproxy {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        import_module(verb).add(verbs)
    arguments = parser.parse_args(argv)
    code: int = arguments.run(arguments)
    return code


def greenarrow_proxy(argv: Sequence[str] | None = None) -> int:
    """`greenarrow_proxy --config-filename=PATH`, as GreenArrow's own service starts it."""
    return main(["serve", *(sys.argv[1:] if argv is None else argv)])
