"""Completion: the scripts, and what they ask for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from notifyd.policy.load import shipped

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def complete(notifyd, monkeypatch):
    """What a bash would be told for these words, the last one incomplete."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_NOTIFYD_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["notifyd", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return notifyd().out.splitlines()

    return ask


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_every_shell(notifyd, shell):
    """It calls notifyd with the variable that makes it answer."""
    said = notifyd("completion", shell)
    assert said.status == 0
    assert f"_NOTIFYD_COMPLETE={shell}_complete" in said.out
    assert "notifyd" in said.out


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_takes_its_script(notifyd, shell):
    """Where that shell is installed, it finds no mistake in it."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    script = notifyd("completion", shell).out
    subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=20)


def test_bash_offers_them(notifyd, tmp_path):
    """The function of the script, in a bash: names of rules, beside which files are possible."""
    program = tmp_path / "notifyd"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m notifyd "$@"\n')
    program.chmod(0o755)
    script = notifyd("completion", "bash").out
    asks = f"COMP_WORDS=(notifyd run --rules ask-); COMP_CWORD=3; _notifyd_completion {program}"
    said = subprocess.run(
        ["bash", "--norc"],
        input=f'{script}\n{asks}\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n',
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert said.stdout.split() == ["ask-connect", "ask-exec", "ask-write"]


def test_commands(complete):
    """What notifyd can do."""
    assert complete("r") == ["plain,replay", "plain,rules", "plain,run"]


def test_rules_by_name(complete):
    """Shipped names that begin so, and files."""
    assert complete("run", "--rules", "no-n") == ["file,no-n", "plain,no-network"]
    names = [line.partition(",")[2] for line in complete("rules", "")]
    assert names[1:] == list(shipped())


def test_operations(complete):
    """In whatever case."""
    assert complete("rules", "--operation", "pt") == ["plain,Ptrace"]


def test_the_command_to_run(complete):
    """Files, by the shell itself."""
    assert complete("run", "/bin/l") == ["file,/bin/l"]


def test_another_shell(notifyd):
    """Is refused, with those that there are."""
    said = notifyd("completion", "csh")
    assert said.status == 2
    assert "bash" in said.err
