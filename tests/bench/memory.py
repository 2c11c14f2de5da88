"""Resident memory of a supervisor: with one workload, and with many in one process.

Owns the processes it measures. Each of them is asked only while its workloads are known to be up.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from commands import HERE, BenchFailed, Commands, environment

__all__ = ["Memory", "resident", "supervisor_memory"]

RULES = "returns.py"
MANY = 200  # workloads: a busy container host's worth
# Called as `many.py COUNT RULES COMMAND...`: starts COMMAND that many times under one supervisor in
# its own process, with its own standard input and output, and ends when all of them have.
MANY_DRIVER = HERE / "many.py"


@dataclass(frozen=True, slots=True)
class Memory:
    """What one supervisor process holds.

    Attributes:
        workloads: How many it had.
        rss: Resident memory, in KiB, shared pages included.
        pss: The same with shared pages divided among those that share them, in KiB.
    """

    workloads: int
    rss: int
    pss: int


def resident(pid: int, workloads: int) -> Memory:
    """Read one process's resident memory (proc(5), smaps_rollup, since Linux 4.14)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {key: int(rest.split()[0]) for key, rest in (line.split(":", 1) for line in lines)}
    return Memory(workloads, kib["Rss"], kib["Pss"])


@contextmanager
def waiting(command: Sequence[str], workloads: int) -> Iterator[int]:
    """Run a supervisor whose workloads wait, and yield its pid while all of them do.

    Each workload says "ready" on standard output and ends when standard input does.
    """
    with subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            for _ in range(workloads):
                if process.stdout.readline() != b"ready\n":
                    raise BenchFailed(f"{command[0]}: a workload did not come up")
            yield process.pid
        finally:
            process.stdin.close()


def with_one(commands: Commands) -> Memory:
    """A `notifyd run` with its one command."""
    line = [*commands.run_line(RULES), commands.target, "wait"]
    with waiting(line, 1) as pid:
        return resident(pid, 1)


def with_many(commands: Commands) -> Memory:
    """One process that supervises `MANY` workloads, each started as an arrival of its own."""
    line = [sys.executable, str(MANY_DRIVER), str(MANY), RULES, commands.target, "wait"]
    with waiting(line, MANY) as pid:
        return resident(pid, MANY)


def supervisor_memory(commands: Commands) -> list[Memory]:
    """Every figure of memory that can be taken."""
    found = [with_one(commands)]
    if MANY_DRIVER.exists():
        found.append(with_many(commands))
    return found
