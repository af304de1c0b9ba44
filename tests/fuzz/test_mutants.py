"""The planted faults have a place in today's house, their tests are there, and a fault that nobody sees is told."""

import ast
from pathlib import Path

import pytest
from attrs import evolve
from tools.house import ROOT

from fuzz.mutants import MUTANTS, RELAY, copy_house, fate, plant, row


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    copy_house(tmp_path)
    return tmp_path


def test_every_fault_has_its_place(copied: Path):
    for mutant in MUTANTS:
        plant(copied, mutant)
        ast.parse((copied / mutant.file).read_text())


def test_a_place_that_is_gone_is_told(copied: Path):
    plant(copied, MUTANTS[0])
    with pytest.raises(LookupError, match="has 0 places for 'the scanner"):
        plant(copied, MUTANTS[0])


@pytest.mark.parametrize("test", sorted({test for mutant in MUTANTS for test in mutant.tests}))
def test_every_test_that_is_named_is_there(test: str):
    file, _, name = test.partition("::")
    functions = {one.name for one in ast.parse((ROOT / file).read_text()).body if isinstance(one, ast.FunctionDef)}
    assert name.partition("[")[0] in functions


def test_a_fault_that_its_test_sees_dies():
    told = fate(evolve(MUTANTS[1], tests=MUTANTS[1].tests[:1]))
    assert row(told).endswith("as soon as its end was sent: dies")


def test_a_fault_that_a_test_does_not_see_lives():
    blind = RELAY + "test_a_quit_with_an_argument_is_no_end"
    told = fate(evolve(MUTANTS[1], tests=(blind,)))
    assert told.unseen == (blind,)
    assert row(told).endswith("LIVES: test_a_quit_with_an_argument_is_no_end")
