"""The command line's entry: its commands, its errors, its start."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from notifyd.cli import SUBCOMMANDS
from notifyd.cli.options import options_of
from notifyd.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_help_names_every_command(notifyd):
    """With a line about each, sorted."""
    said = notifyd("--help")
    assert said.status == 0
    places = [said.out.index(f"  {name} ") for name in sorted(SUBCOMMANDS)]
    assert places == sorted(places)
    shown = " ".join(said.out.split())
    assert all(summary in shown for summary in SUBCOMMANDS.values())


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_command_has_help(notifyd, name):
    """The line in the table is about the command that there is."""
    said = notifyd(name, "-h")
    assert said.status == 0
    assert f"notifyd {name}" in said.out
    assert "\\b" not in said.out


@pytest.mark.parametrize(
    ("name", "example"),
    [("completion", "\n  bash:  notifyd "), ("rules", "\n  notifyd rules no-network\n")],
)
def test_examples_have_lines_of_their_own(notifyd, name, example):
    """They are not flowing text."""
    assert example in notifyd(name, "-h").out


@pytest.mark.parametrize("name", ["audit", "ctl"])
def test_groups_have_whole_sentences(notifyd, name):
    """About each of their commands."""
    commands = notifyd(name, "-h").out.partition("Commands:\n")[2]
    assert commands.rstrip().endswith(".")
    assert "..." not in commands


@pytest.mark.parametrize("words", [["nonsense"], ["run"], ["rules", "--nonsense"]])
def test_usage_errors(notifyd, words):
    """Standard error and status 2."""
    said = notifyd(*words)
    assert said.status == 2
    assert said.out == ""
    assert "Error: " in said.err


def test_the_version(notifyd):
    """As the package has it."""
    try:
        version = importlib.metadata.version("seccomp-notifyd")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("notifyd is not installed, only its sources are here")
    assert notifyd("--version").out == f"notifyd {version}\n"


def test_options():
    """By name, in their order; a value may have an equals sign or be empty."""
    given = ("to=a", "to=b=c", "name=")
    assert options_of(None, None, given) == {"to": ["a", "b=c"], "name": [""]}
    for wrong in ("to", "=x", ""):
        with pytest.raises(UsageError, match="NAME=VALUE"):
            options_of(None, None, (wrong,))


def test_help_imports_no_command():
    """So that it, and every other command, starts fast."""
    code = "import sys; from notifyd.cli import main\ntry: main(['-h'])\nexcept SystemExit: pass\n"
    code += "print(sorted(set(sys.modules) & {'trio', 'pyseccomp', 'notifyd.cli.run'}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_module_is_the_command():
    """`python -m notifyd`."""
    words = [sys.executable, "-m", "notifyd", "rules", "nonsense"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("notifyd: no shipped rule is named 'nonsense'")
