"""Results as tables for people and as JSON for programs. Measures nothing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from costs import Cost
from crowds import CROWD_GOAL, Crowd
from memory import Memory
from neighbours import GOALS, Beside
from rounds import Row

__all__ = ["Results"]

HEADINGS = (
    "bench",
    "C ns",
    "notifyd ns",
    "ratio",
    "goal",
    "met",
    "spread",
    "baselines (median ns)",
)
WORDS = {True: "yes", False: "NO", None: "-"}


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "kernel": platform.release(),
        "arch": platform.machine(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
    }


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    goal = "-" if row.goal is None else f"{row.goal:.2f}"
    if not row.samples:
        why = f"failed: {row.failure}" if row.failure is not None else f"skipped: {row.skipped}"
        return row.name, "-", "-", "-", goal, "-", "-", why
    medians = row.medians
    baselines = ", ".join(f"{name} {ns:,.0f}" for name, ns in medians.items() if name != "notifyd")
    figures = f"{row.baseline:,.0f}", f"{medians['notifyd']:,.0f}", f"{row.ratio:.2f}"
    return row.name, *figures, goal, WORDS[row.met], f"{row.spread:.0%}", baselines


def table(title: str, rows: Sequence[Row]) -> str:
    """The rows under a title: names and notes to the left, numbers to the right."""
    lines = [HEADINGS, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS) - 1)]

    def laid_out(line: tuple[str, ...]) -> str:
        numbers = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:], strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *numbers, line[-1]])

    return "\n".join([title, *map(laid_out, lines)])


def record(row: Row) -> dict[str, Any]:
    """A row with all its samples."""
    found: dict[str, Any] = {"name": row.name, "goal": row.goal, "failure": row.failure}
    found["skipped"] = row.skipped
    if row.samples:
        found |= {
            "c_ns": row.baseline,
            "notifyd_ns": row.medians["notifyd"],
            "ratio": row.ratio,
            "met": row.met,
            "spread": row.spread,
            "samples": {name: list(figures) for name, figures in row.samples.items()},
        }
    return found


@dataclass(frozen=True, slots=True)
class Results:
    """All that one run of the benches found.

    Attributes:
        untrapped_ns: A getppid that nobody supervises, pinned, in nanoseconds.
        pinned: The rows on one core.
        unpinned: The rows on all cores.
        costs: What each performed call costs, pinned.
        crowds: What a call costs in a daemon with many workloads, pinned.
        neighbours: What a quiet workload feels of others, on all cores.
        memory: Resident memory of supervisors.
        failures: Why `costs`, `crowds`, `neighbours` or `memory` are empty or short.
    """

    untrapped_ns: float
    pinned: Sequence[Row]
    unpinned: Sequence[Row]
    costs: Sequence[Cost]
    crowds: Sequence[Crowd]
    neighbours: Sequence[Beside]
    memory: Sequence[Memory]
    failures: Sequence[str]

    @property
    def failed(self) -> bool:
        """Whether a bench gave no figure. A goal that was not met is no failure."""
        rows = [*self.pinned, *self.unpinned]
        return bool(self.failures) or any(row.failure for row in rows)

    def as_json(self) -> str:
        """One object, indented, with every sample."""
        found = {
            "machine": machine(),
            "untrapped_ns": self.untrapped_ns,
            "pinned": [record(row) for row in self.pinned],
            "unpinned": [record(row) for row in self.unpinned],
            "costs": [asdict(one) for one in self.costs],
            "crowds": [asdict(one) for one in self.crowds],
            "neighbours": [asdict(one) for one in self.neighbours],
            "memory": [asdict(one) for one in self.memory],
            "failures": list(self.failures),
        }
        return json.dumps(found, indent=2)

    def as_text(self) -> str:
        """Tables, and one line for each figure of memory."""
        on = ", ".join(f"{name} {value}" for name, value in machine().items())
        parts = [f"{on}; an untrapped getppid takes {self.untrapped_ns:.0f} ns"]
        if self.pinned:
            parts.append(table("On one core (what the goals speak of)", self.pinned))
        if self.unpinned:
            parts.append(table("On all cores", self.unpinned))
        if self.costs:
            parts.append(costs_table(self.costs))
        if self.crowds:
            parts.append(crowds_table(self.crowds))
        if self.neighbours:
            parts.append(neighbours_table(self.neighbours))
        parts += [memory_line(one) for one in self.memory]
        parts += self.failures
        return "\n\n".join(parts)


def memory_line(found: Memory) -> str:
    """One supervisor's memory as people read it."""
    return f"memory, {found.workloads} workload(s): rss {found.rss:,} KiB, pss {found.pss:,} KiB"


def costs_table(costs: Sequence[Cost]) -> str:
    """What each call costs, in microseconds."""
    lines = [f"{'What a performed call costs, µs':36}  native  by notifyd  by a helper"]
    for one in costs:
        other = "-" if one.other is None else f"{one.other / 1000:.1f}"
        figures = f"{one.native / 1000:6.1f}  {one.same / 1000:10.1f}  {other:>11}"
        lines.append(f"{one.call:36}  {figures}")
    return "\n".join(lines)


def crowds_table(crowds: Sequence[Crowd]) -> str:
    """A call among idle workloads, as a ratio to one alone, and memory by workload."""
    alone = crowds[0]
    lines = ["A daemon: idle workloads  questions  call ns  ratio  goal  met  rss KiB  KiB each"]
    for one in crowds:
        ratio = one.call_ns / alone.call_ns
        held = one.questions or one is crowds[-2]
        goal = f"{CROWD_GOAL:.2f}" if held else "-"
        met = WORDS[ratio <= CROWD_GOAL if held else None]
        each = f"{(one.rss - alone.rss) / one.idle:.0f}" if one.idle else "-"
        figures = f"{one.call_ns:>7,.0f}  {ratio:5.2f}  {goal:>4}  {met:>3}"
        lines.append(f"{one.idle:>24}  {one.questions:>9}  {figures}  {one.rss:>7,}  {each:>8}")
    return "\n".join(lines)


def neighbours_table(found: Sequence[Beside]) -> str:
    """A quiet workload's calls beside others, in microseconds, and as ratios to those alone."""
    alone = {one.call: one for one in found if one.beside == "alone"}
    lines = ["A quiet workload  beside          p50 µs    p99 µs  ratio of p99  goal  met"]
    for one in found:
        ratio, goal = one.p99 / alone[one.call].p99, GOALS[one.beside]
        met = WORDS[None if goal is None else ratio <= goal]
        figures = f"{one.p50 / 1000:>9,.1f} {one.p99 / 1000:>9,.1f}  {ratio:12.1f}"
        wanted = "-" if goal is None else f"{goal:.0f}"
        lines.append(f"{one.call:16}  {one.beside:12} {figures}  {wanted:>4}  {met:>3}")
    return "\n".join(lines)
