"""The frame of the tests, tested: who misses a program is told, and who leaks a socket is blamed."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


def test_a_program_that_is_there_is_found(need):
    assert need("sh").endswith("/sh")


def test_a_program_that_is_missing_is_a_reason_to_skip(need, monkeypatch):
    monkeypatch.delenv("GAPROXY_CI", raising=False)
    with pytest.raises(
        pytest.skip.Exception, match="no-such-program is not installed: apt-get install no-such-program"
    ):
        need("no-such-program")


def test_under_ci_a_missing_program_is_a_failure(need, monkeypatch):
    monkeypatch.setenv("GAPROXY_CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        need("no-such-program")


def test_a_leaked_socket_is_blamed_on_the_file_that_left_it(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # as pytest's own `pythonpath` has it here
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makepyfile(
        """
        from socket import socket

        def test_that_ties_a_socket_into_a_circle():
            circle = [socket()]
            circle.append(circle)
        """
    )
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*Exception ignored*socket*"])
