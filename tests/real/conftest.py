"""Who is there in a real dialogue: a proxy on each runtime, an MTA, and remotes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.real import Mta, RealProxy, Remote


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
