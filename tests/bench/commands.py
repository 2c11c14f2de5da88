"""Running one command once: the C programs, notifyd, and the figure that comes out.

Owns the build folder's programs and the command lines. Knows nothing of rounds, medians or goals.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalogue import PROGRAMS, Bench
from programs import PROGRAMS_OF

__all__ = ["BenchFailed", "Commands"]

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
PATIENCE = 300.0  # seconds; far longer than any run, so only a hang meets it
COMPILER = os.environ.get("CC", "cc")
IMPORTS = "import trio, structlog, pyseccomp"


class BenchFailed(Exception):
    """A command gave no figure. The text holds the command and the end of what it said."""


def environment() -> dict[str, str]:
    """Ours, with the work tree's notifyd first, and bytecode kept: start-up is measured warm."""
    found = dict(os.environ)
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TREE), found.get("PYTHONPATH")]))
    return found


def finished(command: Sequence[str]) -> str:
    """Run a command to its end and return its standard output.

    Raises:
        BenchFailed: It failed, or outlived `PATIENCE`.
    """
    try:
        done = subprocess.run(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchFailed(str(error)) from error
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise BenchFailed(f"{shlex.join(command)}: status {done.returncode}, said: {said[0]}")
    return done.stdout


def built(name: str, folder: Path, *options: str) -> str:
    """Compile one C file into `folder` and return the program's path."""
    program = folder / name
    # Static: a dynamic target could not even start where every open is refused.
    finished([COMPILER, "-O2", "-static", *options, "-o", str(program), str(HERE / f"{name}.c")])
    return str(program)


def elapsed(command: Sequence[str]) -> float:
    """Wall time of one command, in nanoseconds."""
    begin = time.perf_counter_ns()
    finished(command)
    return float(time.perf_counter_ns() - begin)


def figure(command: Sequence[str]) -> float:
    """The nanoseconds a call that a target printed last."""
    lines = finished(command).split()
    try:
        return float(lines[-1])
    except (IndexError, ValueError):
        raise BenchFailed(f"{shlex.join(command)}: printed no figure") from None


@dataclass(frozen=True, slots=True)
class Commands:
    """The programs to run, and where scratch files may lie.

    Attributes:
        target: target.c, built.
        supervisor: supervisor.c, built.
        notifyd: How notifyd is called, as a list of words.
        folder: An existing scratch folder; the caller removes it.
    """

    target: str
    supervisor: str
    notifyd: tuple[str, ...]
    folder: Path

    @classmethod
    def build(cls, folder: Path, notifyd: str | None) -> Commands:
        """Compile the C programs into `folder`.

        Args:
            folder: An existing scratch folder.
            notifyd: A shell-like command line, or None for this interpreter's `-m notifyd`.
        """
        words = shlex.split(notifyd) if notifyd else [sys.executable, "-m", "notifyd"]
        return cls(built("target", folder), built("supervisor", folder), tuple(words), folder)

    def untrapped(self, calls: int) -> float:
        """Nanoseconds a call of a getppid that nobody supervises."""
        return figure([self.target, "getppid", str(calls)])

    def runs_of(self, bench: Bench, calls: int) -> dict[str, Callable[[], float]]:
        """What one round of a bench consists of, by column; each gives nanoseconds a call."""
        target = [self.target, bench.call, str(calls), str(bench.expect)]

        def in_c(way: str) -> Callable[[], float]:
            return lambda: figure([self.supervisor, bench.mode, way, "--", *target])

        runs = {way: in_c(way) for way in bench.ways}
        return {**runs, "notifyd": lambda: self.supervised(bench, target, calls)}

    def run_line(self, rules: str, *options: str) -> list[str]:
        """The start of a `notifyd run` under a rule file; the workload's command comes after it."""
        file = str(HERE / "rules" / rules)
        return [*self.notifyd, "run", "--quiet", "--rules", file, *options, "--"]

    def supervised(self, bench: Bench, target: Sequence[str], calls: int) -> float:
        """One run below notifyd, in nanoseconds a call.

        Raises:
            BenchFailed: The run failed, or the audit file lacks events: a cheap log is no bargain.
        """
        if not bench.audit:
            return figure([*self.run_line(bench.rules, *bench.options), *target])
        log = self.folder / "audit.jsonl"
        options = (*bench.options, "--audit", str(log))
        try:
            result = figure([*self.run_line(bench.rules, *options), *target])
            events = log.read_bytes().count(b"\n")
        except OSError as error:
            raise BenchFailed(f"no audit file: {error}") from error
        finally:
            log.unlink(missing_ok=True)
        if events < calls:
            raise BenchFailed(f"{events} events of {calls} calls in the audit file")
        return result

    def program_runs(self, name: str) -> dict[str, Callable[[], float]]:
        """Wall times of a whole program, in nanoseconds: alone, and behind its rules."""
        program = PROGRAMS_OF[name](self.folder / name)
        supervised = [*self.run_line(PROGRAMS[name]), *program]
        return {"native": lambda: elapsed(program), "notifyd": lambda: elapsed(supervised)}

    def start_up_runs(self) -> dict[str, Callable[[], float]]:
        """Wall times, in nanoseconds: importing what notifyd stands on, and all of notifyd."""
        return {
            "imports": lambda: elapsed([sys.executable, "-c", IMPORTS]),
            "notifyd": lambda: elapsed(
                [*self.notifyd, "run", "--rules", "no-network", "--", "true"]
            ),
        }
