"""What stands on the proxy's core, as a process of its own: `python -m bench.serve bare|proxy RUNTIME WHAT`.

Knows each runtime, uvloop too, for which the daemon has no option; does not know who calls.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping

import trio

from bench.bare import Bare
from gaproxy.cli.serve import freeze, raise_file_limit
from gaproxy.journal.recorder import Recorder, RecordingKeys
from gaproxy.proto.doors.credentials import Keyring
from gaproxy.proto.proxy import Proxy
from gaproxy.runtime_asyncio import driver as asyncio_driver
from gaproxy.runtime_trio import driver as trio_driver
from gaproxy.sockets.edge import Machine


def bare(place: str) -> Machine:
    host, _, port = place.rpartition(":")
    return Bare((host, int(port)))


def proxy(filename: str) -> Machine:
    """As `gaproxy serve` puts it together."""
    keys = RecordingKeys(Keyring())
    return Recorder(Proxy(filename, keys), keys)


def on_asyncio(machine: Machine) -> int:
    return asyncio.run(asyncio_driver.run(machine))


def on_uvloop(machine: Machine) -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio_driver.run(machine))


def on_trio(machine: Machine) -> int:
    return trio.run(trio_driver.run, machine)


MACHINES: Mapping[str, Callable[[str], Machine]] = {"bare": bare, "proxy": proxy}
RUNTIMES: Mapping[str, Callable[[Machine], int]] = {"asyncio": on_asyncio, "uvloop": on_uvloop, "trio": on_trio}


def main() -> int:
    machine, runtime, what = sys.argv[1:]
    raise_file_limit()
    built = MACHINES[machine](what)
    freeze()
    return RUNTIMES[runtime](built)


if __name__ == "__main__":
    sys.exit(main())
