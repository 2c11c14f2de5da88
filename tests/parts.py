"""Run all tests, in processes side by side: most of the time a test waits for something.

    python tests/parts.py [PYTEST-OPTION]...
    python tests/parts.py -m unit [PYTEST-OPTION]...    unit tests alone, in more parts

What the first part prints is shown as it comes, and that of the others when all have ended.
Exit status: 0 if all parts pass; otherwise that of one that does not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
# All others are together: they use what there is once on a machine, a port, an engine's socket.
PARTS = (("bpf", "engine", "intake", "kernel", "launch", "perform", "run", "target"),)
# Unit tests do not, so that time decides.
UNIT_PARTS = (
    ("bpf", "console", "engine", "intake", "kernel"),
    ("cli", "daemon"),
    ("launch", "perform", "policy", "target"),
)
WITHOUT_UNITS = {"bench", "docs", "run", "runtimes", "slow"}


def parts(*, units: bool) -> list[list[Path]]:
    """Every folder and file with tests, in one of several lists."""
    folders = {one.relative_to(HERE).parts[0] for one in HERE.rglob("test_*.py")}
    if units:
        folders -= WITHOUT_UNITS
    named = [set(part) for part in (UNIT_PARTS if units else PARTS)]
    rest = folders.difference(*named)
    return [sorted(HERE / name for name in part) for part in (*named, rest)]


def start(
    part: Sequence[Path], options: Sequence[str], home: Path, output: int | None
) -> subprocess.Popen[bytes]:
    """Pytest on one part, with a place of its own: it closes a shared one to other users."""
    home.mkdir()
    home.chmod(0o755)
    environment = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(home)}
    command = [sys.executable, "-m", "pytest", *options, *map(str, part)]
    return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


def main(options: Sequence[str]) -> int:
    """Run all; the exit status."""
    home = Path(tempfile.mkdtemp(prefix="nt-"))  # short: sockets have their paths in it
    home.chmod(0o755)
    first, *others = parts(units="unit" in options)
    with contextlib.ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in others]
        running = [start(first, options, home / "1", None)]
        for number, (part, output) in enumerate(zip(others, said, strict=True), 2):
            running.append(start(part, options, home / str(number), output.fileno()))
        try:
            statuses = [one.wait() for one in running]
        except KeyboardInterrupt:
            statuses = [one.wait() for one in running]  # the terminal has told them as well
        sys.stdout.flush()
        for output in said:
            output.seek(0)
            shutil.copyfileobj(output, sys.stdout.buffer)
    if not any(statuses):
        shutil.rmtree(home)
    return max(statuses, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
