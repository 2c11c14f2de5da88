"""A daemon with many workloads: what a call costs while others are idle or ask, and memory.

Owns the daemons that it starts. They live at the same time and are asked in turn, so that a busy
machine is as hard on one as on the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from commands import HERE, BenchFailed, Commands, environment, figure, finished
from memory import resident

__all__ = ["CROWDS", "CROWD_GOAL", "Crowd", "all_crowds", "daemon"]

CROWDS = "crowds"
IDLE = (0, 49, 200)  # workloads beside the one that calls
CROWD_GOAL = 1.2  # the most idle ones, and the questions, as a ratio to the first
ASKING, EACH = 20, 5  # workloads that wait for a person, and how many questions of each
PATIENCE = 30.0  # seconds that a daemon may take to start
CONFIGURATION = """
watch = false
[sockets.native]
path = "{folder}/native.sock"
[sockets.control]
path = "{folder}/control.sock"
[[workload]]
name = "bench"
rules = ["{rules}/returns.py"]
[[workload]]
name = "asks"
rules = ["{rules}/asks.py"]
"""


@dataclass(frozen=True, slots=True)
class Crowd:
    """One daemon.

    Attributes:
        idle: workloads that do nothing.
        questions: of theirs that wait for a person.
        call_ns: what a call of one more took, median, in nanoseconds.
        rss: resident memory of the daemon with the idle ones, in KiB.
    """

    idle: int
    questions: int
    call_ns: float
    rss: int


def all_crowds(commands: Commands, calls: int, rounds: int) -> list[Crowd]:
    """Measure every size.

    Raises:
        BenchFailed: a daemon or a command failed.
    """
    with ExitStack() as stack:
        daemons = [stack.enter_context(_crowd(commands, idle)) for idle in IDLE]
        daemons.append(stack.enter_context(_crowd(commands, ASKING, asking=True)))
        samples: list[list[float]] = [[] for _ in daemons]
        for _ in range(rounds):
            for (socket, _), found in zip(daemons, samples, strict=True):
                target = [commands.target, "getppid", str(calls), "42"]
                line = [*commands.notifyd, "run", f"--service={socket}", "--", *target]
                found.append(figure(line))
        sizes = [*((idle, 0) for idle in IDLE), (ASKING, ASKING * EACH)]
        return [
            Crowd(idle, questions, median(found), rss)
            for (idle, questions), found, (_, rss) in zip(sizes, samples, daemons, strict=True)
        ]


@contextmanager
def daemon(
    commands: Commands, folder: Path, configuration: str
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A daemon with a new folder of its own: its socket for listeners, and the process.

    Args:
        commands: how notifyd is called.
        folder: is made.
        configuration: in which {folder} stands for that and {rules} for the rule files here.
    """
    folder.mkdir()
    text = configuration.replace("{folder}", str(folder))
    (folder / "n.toml").write_text(text.replace("{rules}", str(HERE / "rules")))
    line = [*commands.notifyd, "serve", "--config", str(folder / "n.toml")]
    socket = folder / "native.sock"
    with subprocess.Popen(line, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(socket, process)
            yield socket, process
        finally:
            process.terminate()


@contextmanager
def _crowd(commands: Commands, idle: int, *, asking: bool = False) -> Iterator[tuple[Path, int]]:
    """A daemon with so many idle workloads: its socket, and its resident memory in KiB."""
    folder = commands.folder / f"crowd-{idle}{'-asking' if asking else ''}"
    with (
        daemon(commands, folder, CONFIGURATION) as (socket, process),
        _asking(commands, folder) if asking else _idle(commands, socket, idle),
    ):
        yield socket, resident(process.pid, idle).rss


def _wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while not socket.is_socket():
        if process.poll() is not None or time.monotonic() > end:
            raise BenchFailed("notifyd serve: did not start")
        time.sleep(0.02)


@contextmanager
def _idle(commands: Commands, socket: Path, count: int) -> Iterator[None]:
    """So many workloads that wait."""
    line: Sequence[str] = [
        sys.executable,
        str(HERE / "handing.py"),
        str(socket),
        "bench",
        str(count),
        commands.target,
        "wait",
    ]
    with subprocess.Popen(
        line, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            for _ in range(count):
                if process.stdout.readline() != b"ready\n":
                    raise BenchFailed("an idle workload did not come up")
            yield
        finally:
            process.stdin.close()


@contextmanager
def _asking(commands: Commands, folder: Path) -> Iterator[None]:
    """Workloads with questions that nobody answers."""
    script = f"for i in $(seq {EACH}); do uname & done; wait"
    line = [sys.executable, str(HERE / "handing.py"), str(folder / "native.sock"), "asks"]
    line += [str(ASKING), "sh", "-c", script]
    ctl = [*commands.notifyd, "ctl", "pending", "--json", "--socket", str(folder / "control.sock")]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(line, env=environment(), stdout=quiet, stderr=quiet) as process:
        try:
            end = time.monotonic() + PATIENCE
            while len(json.loads(finished(ctl))) < ASKING * EACH:
                if time.monotonic() > end:
                    raise BenchFailed("the questions were not asked")
                time.sleep(0.1)
            yield
        finally:
            process.kill()
