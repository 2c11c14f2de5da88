"""The examples of the documentation run, and print what the pages say.

An HTML comment, which readers do not see, says what the fenced block below it is:

    <!-- runs -->        each line with `$ ` is run; the lines after it are what it prints
    <!-- file: NAME -->  the block is that file, for the commands further down

In what is printed, `...` stands for anything: as a line for any lines, in a line for any text.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TIMEOUT = 60.0  # seconds for the commands of one block
BLOCK = re.compile(r"^<!-- (runs|file: \S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"^<!-- (?:runs|file: \S+) -->$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A marked block of a page."""

    mark: str
    text: str
    line: int

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Commands, and what they print."""
        parts = re.split(r"^\$ (.*)\n", self.text, flags=re.MULTILINE)
        return list(zip(parts[1::2], parts[2::2], strict=True))


def blocks(page: Path) -> list[Block]:
    """The marked blocks of a page, in their order."""
    text = page.read_text()
    found = BLOCK.finditer(text)
    return [Block(one[1], one[2], text.count("\n", 0, one.start()) + 1) for one in found]


def pattern(expected: str) -> re.Pattern[str]:
    """What a page says a command prints, as a regular expression."""
    lines = [re.escape(line.rstrip()).replace(r"\.\.\.", ".*?") for line in expected.splitlines()]
    parts = [r"(?:[^\n]*\n)*?" if line == ".*?" else f"{line}[ ]*\n" for line in lines]
    return re.compile("".join(parts) + r"\n*")


def run(commands: list[str], folder: Path) -> list[str]:
    """Run commands in one shell; what each of them printed, errors included."""
    # The mark between two commands leaves `$?` as it was.
    script = "mark() { local s=$?; printf '\\001'; return $s; }\n" + "\nmark\n".join(commands)
    path = [str(folder / ".bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        text=True,
        check=False,
    )
    # On a busy machine a line of notifyd's can come in the middle of one of the command's.
    whole = re.sub(r"(?<=[^\n\001])notifyd: ", "\nnotifyd: ", done.stdout)
    return whole.split("\001")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem
)
def test_examples_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """The marked commands of a page, run from top to bottom in an empty folder."""
    (tmp_path / ".bin").mkdir()
    command = tmp_path / ".bin" / "notifyd"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m notifyd "$@"\n')
    command.chmod(0o755)
    for block in blocks(page):
        if block.mark != "runs":
            (tmp_path / block.mark.removeprefix("file: ")).write_text(block.text)
            continue
        printed = run([command for command, _ in block.steps], tmp_path)
        for (command, expected), actual in zip(block.steps, printed, strict=True):
            if not pattern(expected).fullmatch(actual):
                place = f"{page.relative_to(ROOT)}:{block.line}"
                pytest.fail(f"{place}: $ {command}\nprinted\n{actual}\nnot\n{expected}", False)


def test_every_mark_has_its_block() -> None:
    """A misspelt fence would silently leave an example out."""
    for page in PAGES:
        assert len(MARK.findall(page.read_text())) == len(blocks(page)), page
    assert sum(len(blocks(page)) for page in PAGES) > 10


@pytest.mark.parametrize(
    ("expected", "actual", "fits"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("...\nd\n", "a\nd\ne\n", False),
        ("took ... ms\n", "took 3.5 ms\n", True),
        ("", "", True),
        ("", "noise\n", False),
    ],
)
def test_three_dots_stand_for_anything(expected: str, actual: str, fits: bool) -> None:
    """And nothing else does."""
    assert bool(pattern(expected).fullmatch(actual)) is fits
