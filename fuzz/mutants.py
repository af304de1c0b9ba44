"""Faults that are planted one by one in a copy of the house; the tests that are named for each must fail of it.

Knows what may go wrong in one line, and who ought to see it. Does not know how those tests work.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from tempfile import TemporaryDirectory

from attrs import frozen

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("gaproxy", "tests", "fuzz", "docs")
FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
PATIENCE_S = 300

BODY, RELAY = "tests/proto/wire/test_body.py::", "tests/proto/relay/test_dialogue.py::"
SHARING = "tests/proto/sharing/"
CALLER = "tests/proto/remote/test_caller.py::"
WORLD = "tests/fuzz/test_world.py::test_whatever_is_said_nothing_unsafe_rests_and_no_outcome_is_told_wrongly[0]"


@frozen
class Mutant:
    """One fault: what goes wrong, in which file, what stands there and what is put there instead, who must see it."""

    sentence: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "the scanner withholds three bytes where it must withhold four",
        "gaproxy/proto/wire/body.py",
        r'_BEGINNINGS = (b"\r\n.\r", b"\r\n.",',
        r'_BEGINNINGS = (b"\r\n.",',
        (BODY + "test_what_may_begin_an_end_is_withheld_until_the_next_byte_tells", WORLD),
    ),
    Mutant(
        "a message is said to be taken as soon as its end was sent",
        "gaproxy/proto/relay/near.py",
        "            relay.owe(Owed(END))\n",
        '            relay.owe_ours(250, "2.0.0 kept")\n',
        (RELAY + "test_a_message_passes_by_and_its_reply_comes_back", WORLD),
    ),
    Mutant(
        "a reply that began before anything was asked for answers what was asked since",
        "gaproxy/proto/relay/far.py",
        "return EARLY if early and said.code != 421 else said.code, said, size",
        "return said.code, said, size",
        (
            RELAY + "test_a_reply_that_began_before_a_command_is_no_answer_to_it",
            RELAY + "test_a_reply_that_began_in_the_middle_of_a_body_is_no_answer_to_its_end",
        ),
    ),
    Mutant(
        "a remote that does not offer PIPELINING is sent many commands at a time",
        "gaproxy/proto/relay/dialogue.py",
        'alone = not self.offer.has("PIPELINING") or self.owed[-1]',
        "alone = self.owed[-1]",
        (RELAY + "test_commands_are_passed_on_one_at_a_time_to_any_other_remote", WORLD),
    ),
    Mutant(
        "plain text behind the reply to STARTTLS is read as if it had come under TLS",
        "gaproxy/proto/proxy.py",
        "        if connection.unheard:\n            text = ",
        '        if connection.unheard == b"?":\n            text = ',
        (CALLER + "test_plain_text_behind_the_reply_to_starttls_is_an_injection",),
    ),
    Mutant(
        "a second EHLO does not end the transaction at the remote",
        "gaproxy/proto/relay/near.py",
        "        elif relay.in_transaction:\n",
        "        elif relay.in_transaction and relay.lost:\n",
        (RELAY + "test_an_ehlo_in_a_transaction_resets_it_and_nobody_hears_of_that_reset", WORLD),
    ),
    Mutant(
        "a remote that is lost behind the end of data has surely not taken the message",
        "gaproxy/proto/relay/dialogue.py",
        "self.outcome_unknown = words is None and self.awaits_outcome()",
        "self.outcome_unknown = False",
        (RELAY + "test_a_remote_that_is_lost_behind_the_dot_leaves_the_outcome_unknown", WORLD),
    ),
    Mutant(
        "a connection that is tainted rests like any other",
        "gaproxy/proto/switchboard.py",
        "reason = ask.taint or self.refuses_rest(",
        "reason = self.refuses_rest(",
        (SHARING + "test_taints.py::test_it_is_told_quit_instead_of_rset",),
    ),
    Mutant(
        "the reply to the RSET between two sessions is told to the second one",
        "gaproxy/proto/relay/far.py",
        "        if owed.swallowed:\n",
        "        if owed.swallowed and said.code != 250:\n",
        (SHARING + "test_rest.py::test_whoever_takes_it_while_its_rset_is_under_way_checks_the_reply", WORLD),
    ),
    Mutant(
        "a connection is shared whatever name its sessions greet by",
        "gaproxy/proto/remote/pool.py",
        "wanted.tls_names, wanted.helo, wanted.pool)",
        'wanted.tls_names, "", wanted.pool)',
        (
            SHARING + "test_situations.py::test_situation_23_for_another_name_source_tls_or_pool_one_is_dialled",
            WORLD,
        ),
    ),
)
"""One line each, and each would cost mail."""


@frozen
class Fate:
    """What became of a mutant: the tests that did not see it; how long that took."""

    mutant: Mutant
    unseen: tuple[str, ...]
    seconds: float


def plant(root: Path, mutant: Mutant) -> None:
    """Put the fault into this copy. Raises LookupError where its place is no longer there exactly once."""
    path = root / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise LookupError(f"{mutant.file} has {text.count(mutant.old)} places for {mutant.sentence!r}, and not one")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def copy_house(root: Path) -> None:
    for name in COPIED:
        copytree(ROOT / name, root / name, ignore=ignore_patterns("__pycache__"))
    copy(ROOT / "pyproject.toml", root)


def failed(root: Path, tests: tuple[str, ...]) -> set[str]:
    """Which of these tests fail there, by the name that they were asked for."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"pytest did not run:\n{ran.stdout}{ran.stderr}")
    names = FAILED.findall(ran.stdout)
    return {test for test in tests if any(name == test or name.startswith(test + "[") for name in names)}


def fate(mutant: Mutant) -> Fate:
    """Plant it, and ask its tests."""
    began = time.monotonic()
    with TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        copy_house(root)
        plant(root, mutant)
        seen = failed(root, mutant.tests)
    return Fate(mutant, tuple(test for test in mutant.tests if test not in seen), time.monotonic() - began)


def sound(mutants: tuple[Mutant, ...] = MUTANTS) -> set[str]:
    """The tests that fail without any fault: they prove nothing."""
    tests = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
    with TemporaryDirectory(prefix="mutant-") as folder:
        copy_house(Path(folder))
        return failed(Path(folder), tuple(tests))


def row(one: Fate) -> str:
    told = "dies" if not one.unseen else "LIVES: " + ", ".join(test.rpartition("::")[2] for test in one.unseen)
    return f"{one.seconds:5.1f} s  {one.mutant.sentence}: {told}"


def mutants() -> int:
    """Plant all of them, one after the other. Returns 1 where one lives."""
    broken = sound()
    if broken:
        print("these fail without any fault: " + ", ".join(sorted(broken)))
        return 1
    lives = 0
    for mutant in MUTANTS:
        told = fate(mutant)
        lives += bool(told.unseen)
        print(row(told), flush=True)
    print(f"{len(MUTANTS) - lives} of {len(MUTANTS)} planted faults died")
    return int(lives > 0)
