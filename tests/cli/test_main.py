"""The command line: which verbs there are, and what is said of a wrong use."""

import subprocess
import sys

import pytest

from gaproxy.cli.main import VERBS, greenarrow_proxy, main


def gaproxy(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "gaproxy", *arguments], capture_output=True, text=True, check=False)


def names() -> list[str]:
    return [module.rpartition(".")[2].replace("_", "-") for module in VERBS]


def test_a_verb_is_called_like_its_file(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert all(f"\n    {name}" in told for name in names())


@pytest.mark.parametrize("name", names())
def test_the_help_of_each_verb_ends_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"example: gaproxy {name}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["serve"], ["serve", "--runtime", "curio"], ["check-config"], ["check-config", "a", "b"], ["--x"]],
)
def test_a_wrong_use_is_told_in_one_sentence(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gaproxy")
    assert err.count("\n") == 1


def test_the_module_is_the_command():
    told = gaproxy("--version")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("gaproxy ")


def test_a_wrong_use_of_the_module_has_no_traceback():
    told = gaproxy("fly")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("gaproxy: argument VERB: invalid choice: 'fly'")


@pytest.mark.parametrize("spelling", [["--config-filename={}"], ["--config-filename", "{}"]])
def test_greenarrows_command_takes_its_file_in_both_spellings(spelling, tmp_path, capsys):
    missing = str(tmp_path / "missing.conf")
    assert greenarrow_proxy([part.format(missing) for part in spelling]) == 1
    assert capsys.readouterr().err == f"cannot read {missing}: No such file or directory\n"
