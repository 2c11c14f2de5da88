"""What each call costs that is performed: natively, done by notifyd itself, and by a helper.

Owns no figures but those that costs.c prints. On one core, as all that goals speak of.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from commands import BenchFailed, Commands, built, finished

__all__ = ["COSTS", "Cost", "all_costs"]

COSTS = "costs"
RULES = "performs_all.py"
OTHER_USER = ("--user", "nobody")  # no call of another user is done by notifyd itself
PARTS = 300  # a run of the other benches is that many times as long as one call's here
LEAST = 9  # calls of a kind: the median of fewer may be one in which somebody else had the core


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of call.

    Attributes:
        call: its name.
        native: median nanoseconds without notifyd.
        same: performed for a program with notifyd's own user, root and namespaces.
        other: performed for another user; None unless measured by root.
    """

    call: str
    native: float
    same: float
    other: float | None


def all_costs(commands: Commands, calls: int, rounds: int) -> list[Cost]:
    """Every call's figures: medians of `rounds` runs each, taken in turn.

    Raises:
        BenchFailed: A run gave no figures.
    """
    program = built("costs", commands.folder)
    times = max(LEAST, calls // PARTS)
    lines: dict[str, Sequence[str]] = {
        "native": [],
        "same": commands.run_line(RULES),
    }
    if os.geteuid() == 0:
        lines["other"] = commands.run_line(RULES, *OTHER_USER)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in lines}
    for turn in range(rounds):
        for name, line in lines.items():
            folder = _folder(commands.folder / f"{name}-{turn}")
            found[name].append(dict(_figures([*line, program, str(times), str(folder)])))
    return [
        Cost(
            call,
            *(
                median(run[call] for run in found[name]) if name in found else None  # type: ignore[arg-type]
                for name in ("native", "same", "other")
            ),
        )
        for call in found["native"][0]
    ]


def _folder(path: Path) -> Path:
    path.mkdir()
    path.chmod(0o777)
    return path


def _figures(command: Sequence[str]) -> Iterator[tuple[str, float]]:
    for line in finished(command).splitlines():
        call, _, figure = line.rpartition(":")
        try:
            yield call, float(figure)
        except ValueError:
            raise BenchFailed(f"{command[-3]}: {line!r} is no figure") from None
