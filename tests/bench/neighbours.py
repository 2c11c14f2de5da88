"""What a quiet workload of a daemon feels of others: alone, beside busy and beside hostile ones.

Owns the daemon and the neighbours that it starts, each set of them for some rounds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from commands import HERE, BenchFailed, Commands, built, environment, finished
from crowds import daemon

__all__ = ["GOALS", "NEIGHBOURS", "Beside", "all_neighbours"]

NEIGHBOURS = "neighbours"
HOSTILE = ("paths", "late", "async", "groups", "reads", "killed", "execs")
MANY = 63
BUSY = "busy"
# What the quiet one is beside, and its 99th percentile as a ratio to that alone.
GOALS: Mapping[str, float | None] = {
    "alone": None,
    "1 busy": 5.0,
    f"{MANY} busy": 20.0,
    **{f"1 {kind}": None for kind in HOSTILE},
    f"{MANY} hostile": 20.0,
}
CALLS = ("getppid", "open")
CONFIGURATION = """
watch = false
[sockets.native]
path = "{folder}/native.sock"
[[workload]]
name = "quiet"
rules = ["{rules}/returns.py", "{rules}/performs_open.py"]
[[workload]]
name = "neighbours"
rules = ["{rules}/neighbours.py"]
"""


@dataclass(frozen=True, slots=True)
class Beside:
    """A call of the quiet workload.

    Attributes:
        call: its name.
        beside: the neighbours, as in `GOALS`.
        p50: the median of the medians of all rounds, in nanoseconds.
        p99: the median of the 99th percentiles.
    """

    call: str
    beside: str
    p50: float
    p99: float


def all_neighbours(commands: Commands, calls: int, rounds: int) -> list[Beside]:
    """Measure the quiet workload beside everybody, so many rounds of so many calls each.

    Raises:
        BenchFailed: a daemon or a command failed.
    """
    program = built("neighbours", commands.folder, "-pthread")
    folder = commands.folder / "neighbours-daemon"
    found = []
    with ExitStack() as stack:
        socket, _ = stack.enter_context(daemon(commands, folder, CONFIGURATION))
        for name in GOALS:
            with _neighbours(name, socket, [program], folder):
                for call in CALLS:
                    line = [*commands.notifyd, "run", f"--service={socket}", "--"]
                    line += [program, "quiet", call, str(calls)]
                    rows = [_figures(finished(line)) for _ in range(rounds)]
                    p50, p99 = (median(column) for column in zip(*rows, strict=True))
                    found.append(Beside(call, name, p50, p99))
    return found


def _figures(text: str) -> tuple[float, float]:
    try:
        p50, p99 = map(float, text.split())
    except ValueError:
        raise BenchFailed(f"neighbours quiet: {text!r} are no figures") from None
    return p50, p99


@contextmanager
def _neighbours(name: str, socket: Path, program: list[str], folder: Path) -> Iterator[None]:
    """The neighbours of a name in `GOALS`, each a workload of its own."""
    count, _, kind = name.partition(" ")
    kinds = HOSTILE if kind == "hostile" else (kind,)
    with ExitStack() as stack:
        for at, one in enumerate(kinds if kind else ()):
            each = len(range(at, int(count), len(kinds)))
            stack.enter_context(_some(each, socket, [*program, one, str(folder)]))
        yield


@contextmanager
def _some(count: int, socket: Path, command: list[str]) -> Iterator[None]:
    line = [sys.executable, str(HERE / "handing.py"), str(socket), "neighbours", str(count)]
    with subprocess.Popen(
        [*line, *command], env=environment(), stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        try:
            for _ in range(count):
                if process.stdout.readline() != b"ready\n":
                    raise BenchFailed(f"{command[1]}: a neighbour did not come up")
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
