"""`gaproxy check-config`: says all that is wrong with a configuration file, or what it comes to."""

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction

from gaproxy.proto.config.directives import Values
from gaproxy.proto.config.reading import ConfigFaults, read_values
from gaproxy.proto.config.spelling import effective_lines
from gaproxy.sockets.files import read_config


class ConfigRefused(Exception):
    """A configuration file that cannot be read or used: one line for each reason."""


def add(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "check-config",
        help="say every problem of a configuration file, or its effective values",
        description="Say every problem of a configuration file and exit with 1; or print its effective values.",
        epilog="example: gaproxy check-config /etc/greenarrow_proxy.conf",
    )
    parser.add_argument("filename", metavar="FILE")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    try:
        values, warnings = read_file(arguments.filename)
    except ConfigRefused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    for warning in warnings:
        print(warning, file=sys.stderr)
    for line in effective_lines(values):
        print(line)
    return 0


def read_file(filename: str) -> tuple[Values, list[str]]:
    """The effective values of a configuration file, and one line for each warning. Raises ConfigRefused."""
    text, problem = read_config(filename)
    if problem:
        raise ConfigRefused(problem)
    try:
        values, warnings = read_values(text)
    except ConfigFaults as faults:
        raise ConfigRefused("\n".join(f"{filename}:{fault}" for fault in faults.faults)) from faults
    return values, [f"{filename}:{w.line}:{w.column}: warning: {w.directive}: {w.text}" for w in warnings]
