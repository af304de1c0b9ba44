"""`gaproxy serve`: the daemon. Knows how a machine and a runtime are put together; does not know what they say."""

import gc
import resource
import signal
import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from contextlib import suppress
from typing import TYPE_CHECKING

from gaproxy.cli.check_config import ConfigRefused, read_file

if TYPE_CHECKING:
    from gaproxy.sockets.edge import Machine


def add(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "serve",
        help="run the proxy",
        description="Run the proxy until SIGTERM; SIGHUP reads the configuration again.",
        epilog="example: gaproxy serve --config-filename /etc/greenarrow_proxy.conf",
    )
    parser.add_argument("--config-filename", metavar="FILE", required=True)
    parser.add_argument("--runtime", choices=tuple(RUNTIMES), default="asyncio", help="default: asyncio")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Serve, and return the exit code that the machine orders; 1 where its configuration is no use.

    The machine reads the file by itself, at start as at a reload. It is read here too, because what is wrong with it at
    start belongs on standard error, and the machine knows only its log. So does what is not to be had at start.
    """
    # But for the run, until the process ends: before it the file is still to be read, and after it no more.
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        read_file(arguments.config_filename)
    except ConfigRefused as refusal:
        signal.signal(signal.SIGHUP, before)  # there is no run
        print(refusal, file=sys.stderr)
        return 1
    from gaproxy.journal.recorder import Recorder, RecordingKeys
    from gaproxy.proto.doors.credentials import Keyring
    from gaproxy.proto.proxy import Proxy

    raise_file_limit()
    keys = RecordingKeys(Keyring())
    proxy = Proxy(arguments.config_filename, keys)
    recorder = Recorder(proxy, keys)
    try:
        code = RUNTIMES[arguments.runtime](recorder)
    finally:
        recorder.close()
    for problem in proxy.problems:
        print(problem, file=sys.stderr)
    return code


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: every connection is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # macOS says "unlimited" and means a number that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def freeze() -> None:
    """What has been loaded by now stays until the end: no collection need look at it again."""
    gc.collect()
    gc.freeze()


# A run loads its own runtime, and no other verb loads any.


def run_on_asyncio(machine: "Machine") -> int:
    import asyncio

    from gaproxy.runtime_asyncio import driver

    freeze()
    return asyncio.run(driver.run(machine))


def run_on_trio(machine: "Machine") -> int:
    import trio

    from gaproxy.runtime_trio import driver

    freeze()
    return trio.run(driver.run, machine)


RUNTIMES = {"asyncio": run_on_asyncio, "trio": run_on_trio}
