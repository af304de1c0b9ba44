"""Who is there in a real dialogue: a proxy on each runtime, an MTA, and remotes."""

import getpass
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from socket import create_connection

import pytest
from tools.real import PORT, Mta, RealProxy, Remote, fresh_address


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def runtime(request: pytest.FixtureRequest) -> str:
    """The name of a runtime."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the proxies of a file keep their configurations."""
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def proxy(runtime: str, folder: Path) -> Iterator[RealProxy]:
    """One that serves all tests of a file."""
    with RealProxy(runtime, folder) as proxy:
        yield proxy


@pytest.fixture
def mta(proxy: RealProxy) -> Iterator[Mta]:
    """One that has proved its secret."""
    with Mta(proxy) as mta:
        yield mta


@pytest.fixture
def remote() -> Iterator[Remote]:
    """A remote that waits for calls."""
    with Remote() as remote:
        yield remote


@pytest.fixture
def sink(need: Callable[[str], str]) -> Callable[..., AbstractContextManager[str]]:
    """Postfix's smtp-sink: starts one that has these options. Gives its address and port."""
    program = need("smtp-sink")

    @contextmanager
    def serving(*options: str) -> Iterator[str]:
        address = fresh_address()
        user = ["-u", getpass.getuser()] if os.getuid() == 0 else []  # it does not run as root unless it is told to
        with subprocess.Popen([program, *user, *options, f"{address}:{PORT}", "16"]) as process:
            try:
                wait_until_it_listens(process, address)
                yield f"{address}:{PORT}"
            finally:
                process.terminate()

    return serving


def wait_until_it_listens(process: subprocess.Popen[bytes], address: str) -> None:
    """It does not say when it is ready: knock until somebody opens, or it is dead."""
    for _ in range(1000):
        try:
            create_connection((address, PORT)).close()
        except ConnectionRefusedError:
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"smtp-sink ended with {process.returncode}") from None
        return
    raise AssertionError("smtp-sink does not listen")
