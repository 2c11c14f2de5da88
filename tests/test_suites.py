"""Which tests `make check` runs is decided by where they are and what they use, not by a list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent
# Folders that mirror no package, and are not for `make check`.
OTHERS = {"bench", "docs", "run", "runtimes", "slow"}


def chosen(*words: str) -> list[str]:
    """The names of the tests that pytest chooses."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def test_every_folder_has_its_place() -> None:
    """It mirrors a package, or the rules that ship, or is one of the few others."""
    packages = {one.parent.name for one in (ROOT / "notifyd").glob("*/__init__.py")}
    folders = {one.relative_to(HERE).parts[0] for one in HERE.glob("*/**/test_*.py")}
    assert folders - packages - {"rules"} == OTHERS


@pytest.mark.usefixtures("whole")
def test_a_test_is_chosen_by_what_it_uses() -> None:
    """A rule asked in this process is a unit test; a program behind `notifyd run` is none."""
    file = "tests/rules/test_fixed_random.py"
    assert "test_a_program_repeats_itself" in chosen(file)
    assert chosen("-m", "unit", file) == ["test_the_seed_decides", "test_sizes"]


@pytest.mark.usefixtures("whole")
def test_what_needs_root_is_left_out() -> None:
    """Also where it is in a folder of unit tests."""
    file = "tests/policy/test_trusted.py"
    every, units = chosen(file), chosen("-m", "unit", file)
    assert units
    assert set(every) > set(units) == set(chosen("-m", "not root", file))
