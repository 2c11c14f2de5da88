"""Rounds of runs, taken in turn, and the medians that come out of them.

Owns the cores that are used and the order of runs. Knows nothing of command lines or of printing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

__all__ = ["Row", "interleaved", "pinned"]


@dataclass(frozen=True, slots=True)
class Row:
    """What a bench gave.

    Attributes:
        name: The bench's.
        samples: Nanoseconds by column, a figure a round; "notifyd" is one of the columns, every
            other one is a baseline.
        goal: The largest ratio that is good enough, or None.
        failure: Why there are no samples, or None.
        skipped: Why nothing was measured though nothing failed, or None.
    """

    name: str
    samples: Mapping[str, tuple[float, ...]]
    goal: float | None
    failure: str | None = None
    skipped: str | None = None

    @property
    def medians(self) -> dict[str, float]:
        """The median by column, in nanoseconds."""
        return {column: median(figures) for column, figures in self.samples.items()}

    @property
    def baseline(self) -> float:
        """The strict baseline: the fastest of those measured, in nanoseconds."""
        return min(ns for column, ns in self.medians.items() if column != "notifyd")

    @property
    def ratio(self) -> float:
        """How many times the strict baseline notifyd takes."""
        return self.medians["notifyd"] / self.baseline

    @property
    def spread(self) -> float:
        """From notifyd's best round to its worst, as a share of the median."""
        figures = self.samples["notifyd"]
        return (max(figures) - min(figures)) / median(figures)

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; None without a goal or without figures."""
        if self.goal is None or not self.samples:
            return None
        return self.ratio <= self.goal


def interleaved(
    runs: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, tuple[float, ...]]:
    """Every run once a round, each round beginning with another one.

    Drifts of the machine (clock, neighbours, caches) then touch all columns alike.
    """
    columns = list(runs)
    samples: dict[str, list[float]] = {column: [] for column in columns}
    for turn in range(rounds):
        first = turn % len(columns)
        for column in columns[first:] + columns[:first]:
            samples[column].append(runs[column]())
    return {column: tuple(figures) for column, figures in samples.items()}


@contextmanager
def pinned() -> Iterator[int]:
    """This process and its children on one core, whose number is yielded; all cores after it."""
    before = os.sched_getaffinity(0)
    core = max(before)  # the first core tends to be the one that serves the interrupts
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)
