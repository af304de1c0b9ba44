"""What is there when an operator comes: a proxy on each runtime, and a remote that takes all mail."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ops.daemon import Daemon
from ops.traffic import Sink


@pytest.fixture(params=["asyncio", "trio"], scope="module")
def runtime(request: pytest.FixtureRequest) -> str:
    """The name of a runtime."""
    name: str = request.param
    return name


@pytest.fixture
def daemon(runtime: str, tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(runtime, tmp_path) as daemon:
        yield daemon


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink
