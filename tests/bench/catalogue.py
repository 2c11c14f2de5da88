"""The benches as data: what the target calls, which rule answers, which C program is the measure.

Owns no measuring. To add a bench: a line in `BENCHES` and, if it needs one, a file in `rules/`.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

__all__ = ["BENCHES", "BY_LISTENER", "IN_FILTER", "MEMORY", "PROGRAMS", "START_UP", "Bench"]

BY_LISTENER = (
    "poll",
    "recv",
)  # both of supervisor.c's ways; ratios are to the faster
IN_FILTER = ("filter",)  # the filter answers: there is no way to choose
START_UP = "start-up"
MEMORY = "memory"
# Whole programs against native runs, and the rules that they run behind: every open performed,
# every execve verified.
PROGRAMS = {
    "git-status": "performs_open.py",
    "make": "performs_open.py",
    "execs": "verifies_exec.py",
}


@dataclass(frozen=True, slots=True)
class Bench:
    """One row of the table.

    Attributes:
        name: What `--only` and the table call it.
        rules: The rule file's name below `rules/`.
        mode: What supervisor.c is asked for.
        call: What target.c is asked for.
        expect: What every call must give, a value or a negated errno; the target checks it.
        goal: The largest ratio that is good enough; None where nothing was promised.
        ways: The C supervisor's ways that are measured.
        audit: Whether notifyd writes an event a call.
        weight: Factor on `--calls`, so that each run takes long enough and none too long.
        options: More options of `notifyd run`.
        root: Whether it needs to run as root; it is skipped otherwise.
    """

    name: str
    rules: str
    mode: str
    call: str
    expect: int
    goal: float | None
    ways: tuple[str, ...] = BY_LISTENER
    audit: bool = False
    weight: float = 1.0
    options: tuple[str, ...] = ()
    root: bool = False


GETPPID = ("getppid", "getppid", 42)  # supervisor.c answers the same number
DENIED_OPEN = ("open", "open", -errno.EACCES)
PERFORMED_OPEN = ("performs_open.py", "inject", "openclose", 0)
DENIED_GETPPID = ("filter-only", "getppid", -errno.EPERM)

BENCHES = (
    Bench("register", "returns.py", *GETPPID, goal=2.0),
    Bench("path", "reads_path.py", *DENIED_OPEN, goal=2.5),
    Bench("path-resolved", "resolves_path.py", *DENIED_OPEN, goal=None),
    # Some 60 ns a call, and a goal of five per cent: many calls, or the clock is what is measured.
    Bench("always", "always.py", *DENIED_GETPPID, goal=1.05, ways=IN_FILTER, weight=20.0),
    Bench("async", "returns_async.py", *GETPPID, goal=15.0, weight=0.5),
    Bench("register-audit", "returns.py", *GETPPID, goal=3.0, audit=True),
    Bench("path-audit", "reads_path.py", *DENIED_OPEN, goal=3.5, audit=True),
    Bench("open", *PERFORMED_OPEN, goal=2.2),
    Bench("open-resolved", "performs_judged.py", *PERFORMED_OPEN[1:], goal=None, weight=0.5),
    # Another user's opens are never done inline.
    Bench(
        "open-helper",
        *PERFORMED_OPEN,
        goal=5.0,
        weight=0.5,
        options=("--user", "nobody"),
        root=True,
    ),
)
