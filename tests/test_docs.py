"""The documents tell the truth: what is drawn is up to date, and what is linked is there."""

import re
from runpy import run_path

import pytest
from tools.house import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_drawn_states_are_those_of_the_tables():
    drawn = run_path(str(ROOT / "docs" / "draw_states.py"))["draw"]()
    assert (ROOT / "docs" / "states.md").read_text(encoding="utf-8") == drawn, "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_into_the_house_leads_somewhere(document):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_the_dialogue_in_contributing_is_a_test_that_passes():
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    namespace: dict[str, object] = {}
    exec(compile(example, "CONTRIBUTING.md", "exec"), namespace)
    [test] = [value for name, value in namespace.items() if name.startswith("test_")]
    test()


ROOMS = "|".join(sorted(path.name for path in (ROOT / "gaproxy").iterdir() if path.is_dir() and path.name[0] != "_"))


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/road.md"])
def test_every_file_that_is_named_stands(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(rf"`((?:gaproxy|tests|docs|{ROOMS})/[\w/]+\.(?:py|md))`", text)
    missing = [path for path in named if not any((ROOT / place / path).exists() for place in ("", "gaproxy"))]
    assert missing == []
    assert named, "a page about the house names its files"
