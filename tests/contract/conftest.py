"""What a contract test stands on: a stage, on each runtime."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tools.script import RUNTIMES, Stage


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """The name of a runtime."""
    name: str = request.param
    return name


@pytest.fixture
def raise_curtain(runtime: str) -> Iterator[Callable[..., Stage]]:
    """Begins a run of a script; it may be lent a clock or a log."""
    stages = []

    def begin(**lent: Any) -> Stage:
        stages.append(Stage(runtime, **lent))
        return stages[-1]

    yield begin
    for stage in stages:
        stage.leave()


@pytest.fixture
def stage(raise_curtain: Callable[..., Stage]) -> Stage:
    """A script that runs, and waits for its prompts."""
    return raise_curtain()
