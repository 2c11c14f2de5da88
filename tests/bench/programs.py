"""Whole programs to run: a repository for `git status`, a C project for `make -j2`, a shell.

Each function makes what its program works on, once, and returns the command. Measures nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

__all__ = ["PROGRAMS_OF", "PROGRAM_NEEDS"]

FOLDERS, FILES = 40, 50  # two thousand files
SOURCES = 16
MAKEFILE = f"""\
all: {" ".join(f"part{number}.o" for number in range(SOURCES))}
\t$(CC) -o program $^

%.o: %.c common.h
\t$(CC) -O1 -c -o $@ $<
"""


def git_status(folder: Path) -> list[str]:
    """A repository of 2,000 files, all of them committed."""
    # Of this machine's settings none counts: hooks and monitors would be measured too.
    git = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder)]
    if not folder.exists():
        for number in range(FOLDERS * FILES):
            file = folder / f"folder{number % FOLDERS}" / f"file{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{number}\n" * 20)
        who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
        for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "all"]):
            subprocess.run([*git, *words], check=True, capture_output=True)
    return [*git, "status", "--short"]


def make(folder: Path) -> list[str]:
    """Sixteen files of C, each compiled anew every time."""
    if not folder.exists():
        folder.mkdir()
        (folder / "Makefile").write_text(MAKEFILE)
        (folder / "common.h").write_text(
            "#include <stdio.h>\n#include <stdlib.h>\nint part(int);\n"
        )
        for number in range(SOURCES):
            name = "main" if number == 0 else f"part{number}"
            text = f'#include "common.h"\nint {name}(void) {{ return puts("{number}") < 0; }}\n'
            (folder / f"part{number}.c").write_text(text)
    return ["make", "-s", "-B", "-j2", "-C", str(folder)]


def execs(folder: Path) -> list[str]:
    """A shell that starts two hundred programs, one after the other."""
    return ["/bin/sh", "-c", "n=0; while [ $n -lt 200 ]; do /bin/true; n=$((n + 1)); done"]


PROGRAMS_OF: dict[str, Callable[[Path], list[str]]] = {
    "git-status": git_status,
    "make": make,
    "execs": execs,
}
PROGRAM_NEEDS = {"git-status": "git", "make": "make", "execs": "sh"}
