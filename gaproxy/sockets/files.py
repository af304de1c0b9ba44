"""The few files an edge looks at: knows the configuration's text, directories, and how many files there may be.

Does not know what they mean.
"""

import os
import resource

CONFIG_BYTES = 1024 * 1024


def read_config(filename: str) -> tuple[str, str]:
    """The text of the configuration, and why there is none (one sentence), or ""."""
    try:
        with open(filename, "rb") as file:
            data = file.read(CONFIG_BYTES + 1)
    except OSError as error:
        return "", f"cannot read {filename}: {error.strerror}"
    if len(data) > CONFIG_BYTES:
        return "", f"cannot read {filename}: it is larger than {CONFIG_BYTES} bytes"
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return "", f"cannot read {filename}: it is not UTF-8 at byte {error.start}"


def directory_problems(directories: tuple[str, ...]) -> list[str]:
    """One sentence for each directory that is not there or may not be written to."""
    problems = []
    for directory in directories:
        if not os.path.isdir(directory):
            problems.append(f"{directory} is no directory")
        elif not os.access(directory, os.W_OK | os.X_OK):
            problems.append(f"cannot write to directory {directory}")
    return problems


def descriptors_most() -> int:
    """How many files this process may have open at a time: its soft limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
