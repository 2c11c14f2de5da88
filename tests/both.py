"""Run all tests, in two processes at once: most of the time a test waits for something.

    python tests/both.py [PYTEST-OPTION]...
    python tests/both.py -m unit [PYTEST-OPTION]...    unit tests alone, halved in another way

What the first half prints is shown as it comes, and that of the second one when both have ended.
Exit status: 0 if both halves pass; otherwise that of one that does not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
FIRST = ("bpf", "engine", "intake", "kernel", "launch", "perform", "run", "target")
# All others are together: they use what there is once on a machine, a port, an engine's socket.
UNITS_FIRST = {*FIRST, "policy"}  # unit tests do not, so that time decides
WITHOUT_UNITS = {"bench", "docs", "run", "runtimes", "slow"}


def halves(*, units: bool) -> tuple[list[Path], list[Path]]:
    """Every folder and file with tests, in one of two lists."""
    folders = {one.relative_to(HERE).parts[0] for one in HERE.rglob("test_*.py")}
    first = set(FIRST)
    if units:
        folders -= WITHOUT_UNITS
        first = UNITS_FIRST & folders
    return tuple(sorted(HERE / name for name in half) for half in (first, folders - first))


def start(
    half: Sequence[Path], options: Sequence[str], home: Path, output: int | None
) -> subprocess.Popen[bytes]:
    """Pytest on one half, with a place of its own: it closes a shared one to other users."""
    home.mkdir()
    home.chmod(0o755)
    environment = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(home)}
    command = [sys.executable, "-m", "pytest", *options, *map(str, half)]
    return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


def main(options: Sequence[str]) -> int:
    """Run both; the exit status."""
    home = Path(tempfile.mkdtemp(prefix="nt-"))  # short: sockets have their paths in it
    home.chmod(0o755)
    first, second = halves(units="unit" in options)
    with (home / "2.txt").open("w+b") as said:
        running = [
            start(first, options, home / "1", None),
            start(second, options, home / "2", said.fileno()),
        ]
        try:
            statuses = [one.wait() for one in running]
        except KeyboardInterrupt:
            statuses = [one.wait() for one in running]  # the terminal has told them as well
        said.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(said, sys.stdout.buffer)
    if not any(statuses):
        shutil.rmtree(home)
    return max(statuses, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
