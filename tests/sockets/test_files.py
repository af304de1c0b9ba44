"""What an edge sees of directories."""

import os
from pathlib import Path

import pytest

from gaproxy.sockets.files import directory_problems


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_to_is_a_problem(tmp_path: Path):
    tmp_path.chmod(0o500)
    assert directory_problems((str(tmp_path),)) == [f"cannot write to directory {tmp_path}"]


def test_a_directory_that_is_there_is_none(tmp_path: Path):
    assert directory_problems((str(tmp_path),)) == []
