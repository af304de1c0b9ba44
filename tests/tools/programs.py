"""Real programs, where they are installed. Knows where to look; does not know what a test does with them."""

import os
import shutil
import subprocess
from typing import NoReturn

import pytest

PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
RUN_S = 60


def miss(sentence: str) -> NoReturn:
    """Something is not as a test needs it: it is skipped with this sentence, and fails in CI."""
    if os.environ.get("GAPROXY_CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


def find(program: str) -> str | None:
    """The path of a program, also of one that only an administrator has in his PATH."""
    return shutil.which(program, path=PLACES)


def run(program: str, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run it to its end. Raises FileNotFoundError where it is not installed."""
    path = find(program)
    if path is None:
        raise FileNotFoundError(program)
    return subprocess.run([path, *words], input=said, capture_output=True, text=True, timeout=RUN_S, check=False)
