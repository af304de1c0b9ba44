"""What every test may lean on: real programs where they are installed, and no socket that outlives its file."""

import gc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from tools.programs import find, miss

PACKAGES = {
    "smtp-sink": "postfix",
    "smtp-source": "postfix",
    "exim4": "exim4-daemon-light",
    "groff": "groff-base",
    "systemd-analyze": "systemd",
}
"""The Debian package of a program, where it is not called like it."""

# A machine that is busy is no fault of a grammar: examples are judged by what comes out, not by how soon.
settings.register_profile("house", deadline=None, print_blob=True)
settings.register_profile("quick", settings.get_profile("house"), max_examples=15)
settings.load_profile("house")


@pytest.fixture
def need() -> Callable[[str], str]:
    """Where a real program is; the test is skipped where it is missing, and fails where CI should have installed it."""

    def look(program: str) -> str:
        found = find(program)
        if found is None:
            miss(f"{program} is not installed: apt-get install {PACKAGES.get(program, program)}")
        return found

    return look


@pytest.fixture(scope="module", autouse=True)
def _nothing_leaks() -> Iterator[None]:
    """A socket left open is found when it is collected: do so here, so that the file that left it is blamed."""
    yield
    gc.collect()
