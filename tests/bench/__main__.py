"""How fast notifyd is, held against the least supervisor that C can write.

    python tests/bench [--rounds N] [--calls N] [--only NAME]... [--json]

Needs a C compiler ($CC, or cc) with a static libc, and Linux 5.19. Without root "open-helper" is
skipped, and without git or make what they are measured by.
Figures are nanoseconds a call as the target measures them around its own loop, so both supervisors
are timed by the same watch, and every answer is checked by the target: a rule that does not fire is
a failure, not a fast bench. Programs are timed from outside, start-up included, and held against
themselves without notifyd.

The first table is taken with everything on one core, where a call costs two context switches and
nothing else disturbs; its ratios are what the goals speak of. The second is taken on all cores.
C is measured in two ways, with poll(2) before each receive and without; the ratio is to the faster.
Runs of C and of notifyd alternate, and a figure is the median of the rounds. "spread" is how far
notifyd's best and worst round are apart: where it is large the machine was busy, so measure again.

Times are printed and never asserted: the exit status is 1 only if a bench gave no figure at all.
The last tables have what each call costs that is performed, each call timed by itself; what a call
costs in a daemon that has many idle workloads besides; and what a quiet workload's calls cost, on
all cores, beside busy and hostile ones. Of the quiet ones it is the slowest that count, and those
are others' as soon as anything else runs on the machine: measure them on one that is idle.
Results go to standard output, progress to standard error. Some eight minutes by default.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from catalogue import BENCHES, MEMORY, PROGRAMS, START_UP, Bench
from commands import BenchFailed, Commands
from costs import COSTS, Cost, all_costs
from crowds import CROWDS, Crowd, all_crowds
from memory import Memory, supervisor_memory
from neighbours import NEIGHBOURS, Beside, all_neighbours
from programs import PROGRAM_NEEDS
from report import Results
from rounds import Row, interleaved, pinned

START_UP_GOAL = 1.5
START_UP_ROUNDS = 15
PROGRAM_ROUNDS = 3  # at most: each takes a second or more
UNTRAPPED_CALLS = 1_000_000


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests/bench", description=__doc__.partition("\n")[0])
    names = [*(bench.name for bench in BENCHES), START_UP, *PROGRAMS, COSTS, CROWDS, NEIGHBOURS]
    names.append(MEMORY)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="runs of each (7)")
    parser.add_argument("--calls", type=int, default=100_000, metavar="N", help="a run (100000)")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--json", action="store_true", help="print JSON with all samples")
    parser.add_argument("--notifyd", metavar="COMMAND", help="how it is called, to compare two")
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1 or chosen.calls < 1:
        parser.error("--rounds and --calls must be at least 1")
    chosen.only = chosen.only or names
    return chosen


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def measured(
    name: str, goal: float | None, runs: dict[str, Callable[[], float]], rounds: int
) -> Row:
    """One bench from beginning to end, with a line of progress."""
    begin = time.monotonic()
    try:
        row = Row(name, interleaved(runs, rounds), goal)
        outcome = f"{row.ratio:.2f} x"
    except BenchFailed as error:
        row = Row(name, {}, goal, str(error))
        outcome = "failed"
    say(f"{name}: {outcome} ({rounds} rounds, {time.monotonic() - begin:.1f} s)")
    return row


def table(commands: Commands, chosen: argparse.Namespace, rounds: int, goals: bool) -> list[Row]:
    """Every chosen bench, in the catalogue's order, held against its goal or not."""

    def bench_row(bench: Bench) -> Row:
        if bench.root and os.geteuid():
            return Row(bench.name, {}, bench.goal if goals else None, skipped="needs root")
        calls = max(1, round(chosen.calls * bench.weight))
        goal = bench.goal if goals else None
        return measured(bench.name, goal, commands.runs_of(bench, calls), rounds)

    rows = [bench_row(bench) for bench in BENCHES if bench.name in chosen.only]
    if START_UP in chosen.only:
        times = START_UP_ROUNDS if rounds >= 7 else rounds
        goal = START_UP_GOAL if goals else None
        rows.append(measured(START_UP, goal, commands.start_up_runs(), times))
    named = [name for name in PROGRAMS if name in chosen.only]
    return rows + [program_row(commands, name, min(rounds, PROGRAM_ROUNDS)) for name in named]


def program_row(commands: Commands, name: str, rounds: int) -> Row:
    """A whole program, or why it is not measured here."""
    program = PROGRAM_NEEDS[name]
    if shutil.which(program) is None:
        return Row(name, {}, None, skipped=f"needs {program}")
    return measured(name, None, commands.program_runs(name), rounds)


def everything(commands: Commands, chosen: argparse.Namespace) -> Results:
    """Both tables and the memory."""
    with pinned() as core:
        say(f"on core {core} alone")
        untrapped = commands.untrapped(UNTRAPPED_CALLS)
        on_one = table(commands, chosen, chosen.rounds, goals=True)
        costs, failures = measured_costs(commands, chosen)
        crowds = measured_crowds(commands, chosen, failures)
    say("on all cores")
    on_all = table(commands, chosen, max(1, chosen.rounds // 2), goals=False)
    neighbours = measured_neighbours(commands, chosen, failures)
    found: list[Memory] = []
    if MEMORY in chosen.only:
        try:
            found = supervisor_memory(commands)
        except BenchFailed as error:
            failures.append(f"memory: failed: {error}")
    return Results(untrapped, on_one, on_all, costs, crowds, neighbours, found, failures)


def measured_costs(commands: Commands, chosen: argparse.Namespace) -> tuple[list[Cost], list[str]]:
    """What each call costs, if that was chosen, and why it is not known."""
    if COSTS not in chosen.only:
        return [], []
    try:
        found = all_costs(commands, chosen.calls, min(chosen.rounds, PROGRAM_ROUNDS))
    except BenchFailed as error:
        return [], [f"costs: failed: {error}"]
    say(f"costs: {len(found)} calls")
    return found, []


def measured_crowds(
    commands: Commands, chosen: argparse.Namespace, failures: list[str]
) -> list[Crowd]:
    """What a call costs among many workloads, if that was chosen."""
    if CROWDS not in chosen.only:
        return []
    try:
        found = all_crowds(commands, chosen.calls // 2, chosen.rounds)
    except BenchFailed as error:
        failures.append(f"crowds: failed: {error}")
        return []
    most = found[-2]
    say(f"crowds: {most.call_ns / found[0].call_ns:.2f} x with {most.idle} idle")
    return found


def measured_neighbours(
    commands: Commands, chosen: argparse.Namespace, failures: list[str]
) -> list[Beside]:
    """What a quiet workload feels of others, if that was chosen."""
    if NEIGHBOURS not in chosen.only:
        return []
    if os.geteuid():
        say("neighbours: skipped: some need root")
        return []
    try:
        found = all_neighbours(commands, max(20, chosen.calls // 100), min(chosen.rounds, 3))
    except BenchFailed as error:
        failures.append(f"neighbours: failed: {error}")
        return []
    say(f"neighbours: {len(found)} figures")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    chosen = options(arguments)
    with tempfile.TemporaryDirectory(prefix="notifyd-bench-") as folder:
        os.chmod(folder, 0o755)  # what runs as another user has to get at its program
        try:
            commands = Commands.build(Path(folder), chosen.notifyd)
            results = everything(commands, chosen)
        except BenchFailed as error:
            say(str(error))
            return 1
    print(results.as_json() if chosen.json else results.as_text())
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
