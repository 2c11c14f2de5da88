"""The recipes of docs/contributing work: each is followed in a copy of the tree.

The line above a block names its file, in backticks. A `diff` block changes that file: what its
lines with a blank or `-` say is there once, and becomes what those with a blank or `+` say; `@@`
stands between two places. A `console` block is run. Any other block is a new file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "docs" / "contributing").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n", re.MULTILINE)
NAMED = re.compile(r"`([\w./-]+)`")
TIMEOUT = 300.0  # seconds for one command
TOP = ("notifyd", "rules", "tests", "docs", "systemd", ".ci")
TOP_FILES = ("pyproject.toml", "Makefile", "*.md", "LICENSE")


@dataclass(frozen=True, slots=True)
class Step:
    """A block of a recipe, and the line above it."""

    above: str
    kind: str
    text: str

    @property
    def file(self) -> str:
        """The file that it is about."""
        return NAMED.findall(self.above)[-1]


def steps(page: Path) -> list[Step]:
    """All blocks of a page."""
    parts = FENCE.split(page.read_text())  # prose, kind, block, nothing; prose, ...
    blocks = zip(parts[:-1:4], parts[1::4], parts[2::4], strict=True)
    return [Step(above.rstrip().rpartition("\n")[2], kind, text) for above, kind, text in blocks]


def places(diff: str) -> Iterator[tuple[str, str]]:
    """What each place of a diff is, and what it becomes."""
    for place in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = [(line[:1], line[1:] + "\n") for line in place.splitlines()]
        yield tuple("".join(text for mark, text in lines if mark != other) for other in "+-")


def follow(page: Path, tree: Path, *, running: bool = True) -> list[str]:
    """Do what a page says; the files that were written or changed."""
    touched = []
    for step in steps(page):
        if step.kind == "console":
            for command in re.findall(r"^\$ (.*)$", step.text, re.MULTILINE) if running else ():
                run(command, tree)
            continue
        file = tree / step.file
        if step.kind == "diff":
            text = file.read_text()
            for before, after in places(step.text):
                assert text.count(before) == 1, f"{page.name}: not once in {step.file}:\n{before}"
                text = text.replace(before, after)
        else:
            assert not file.exists(), f"{page.name}: {step.file} is there already"
            text = step.text
        file.write_text(text)
        touched.append(step.file)
    return touched


def run(command: str, tree: Path) -> None:
    """Run a command in the tree; it has to end well."""
    # `.venv` is ready: make would install the copy into it.
    line = re.sub(r"^make ", "make -o .venv/.ready ", command)
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree, with this environment as its `.venv`."""
    copy = tmp_path / "copy"
    copy.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in TOP:
        shutil.copytree(ROOT / name, copy / name, ignore=ignored, symlinks=True)
    for pattern in TOP_FILES:
        for path in ROOT.glob(pattern):
            shutil.copy2(path, copy)
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_a_recipe_works(page: Path, tree: Path) -> None:
    """Its edits fit the tree as it is, and what it says to run ends well."""
    assert "console" in {step.kind for step in steps(page)}
    touched = follow(page, tree)
    python = [name for name in touched if name.endswith(".py")]
    run(f".venv/bin/ruff check {' '.join(python)}", tree)
    run(f".venv/bin/ruff format --check {' '.join(python)}", tree)


def test_all_recipes_fit_together(tree: Path) -> None:
    """Whoever does one after the other has a tree in which types and arrows are right."""
    for page in RECIPES:
        for step in steps(page):
            assert step.kind == "console" or NAMED.search(step.above), f"{page.name}: {step.above}"
        follow(page, tree, running=False)
    run("make lint", tree)


def test_every_kind_of_addition_has_its_recipe() -> None:
    """They are what people ask for first."""
    assert {page.stem for page in RECIPES} == {
        "arrival-protocol",
        "console-table",
        "lint",
        "operation",
        "shipped-rule",
        "sink",
        "verdict",
    }
    listed = (ROOT / "CONTRIBUTING.md").read_text()
    assert all(f"docs/contributing/{page.name}" in listed for page in RECIPES)
