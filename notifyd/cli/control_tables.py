"""What a daemon answers, as tables for people. Whatever it says is made harmless here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from notifyd.cli.columns import columns
from notifyd.daemon.protocol import (
    DaemonStatus,
    Detached,
    Killed,
    Reloaded,
    Rotated,
    SectionView,
    WorkloadView,
)
from notifyd.events.counters import duration
from notifyd.events.sanitize import printable

__all__ = ["detached", "killed", "reloaded", "rules_table", "status_table", "workloads_table"]

MAX_CELL_CHARS = 40  # characters of one text in a table
_ID = 256  # as long as ids get: `kill` and `detach` want all of it, and containers' have 64


def status_table(status: DaemonStatus) -> Iterator[str]:
    """How the daemon is."""
    refused = [f"{count:,} {kind}" for kind, count in status.arrivals_refused.items()]
    rows = [
        ("notifyd", f"{status.version}, pid {status.pid}, up {age(status.since)}"),
        ("configuration", f"{status.config}, loaded {age(status.loaded)} ago"),
        ("event log", status.audit or "none"),
        *((f"socket {name}", path) for name, path in status.sockets.items()),
        ("workloads", f"{status.workloads:,} with {number(status.listeners, 'listener')}"),
        ("calls", f"{status.calls:,}, {status.refused:,} refused, {status.pending:,} pending"),
        ("rule errors", f"{status.rule_errors:,}"),
        ("arrivals refused", ", ".join(refused) or "0"),
        ("followers", f"{status.followers:,}"),
    ]
    yield from columns((name, printable(text)) for name, text in rows)


def workloads_table(workloads: Sequence[WorkloadView]) -> Iterator[str]:
    """Who is supervised."""
    if not workloads:
        yield "no workloads"
        return
    head = ("id", "arrival", "section", "pid", "up", "calls", "refused", "pending", "slowest")
    rows = [(*head, "brought by")]
    names = Counter(one.name for one in workloads)
    for one in workloads:
        row = (
            one.arrival if one.listeners == 1 else f"{one.arrival} ({one.listeners})",
            one.section,
            str(one.pid or "?"),
            age(one.since),
            f"{one.calls:,}",
            f"{one.refused:,}",
            f"{one.pending:,}",
            duration(round(one.slowest_us * 1000)),
            one.peer,
            # Of those of one name, this tells which is which.
            *((one.bundle,) if names[one.name] > 1 and one.bundle else ()),
        )
        cells = [printable(text, MAX_CELL_CHARS) for text in row]
        rows.append((printable(one.id, _ID), *cells))  # type: ignore[arg-type]
    yield from columns(rows)


def rules_table(sections: Sequence[SectionView]) -> Iterator[str]:
    """Which rules are for whom."""
    for one in sections:
        yield f"{printable(one.name)}: {number(one.workloads, 'workload')}"
        options = [f"{key}={','.join(values)}" for key, values in one.options.items()]
        rows = [
            *(("rules", file) for file in one.files),
            *(("option", text) for text in options),
            ("otherwise", f"{one.otherwise}, strict" if one.strict else one.otherwise),
            ("in the kernel", " ".join(one.kernel) or "nothing"),
        ]
        yield from columns(((name, printable(text)) for name, text in rows), "  ")


def reloaded(result: Reloaded) -> Iterator[str]:
    """What came of a reload."""
    yield "reloaded"
    yield from (printable(note, 1000) for note in result.notes)


def rotated(result: Rotated) -> Iterator[str]:
    """What came of beginning a new audit file."""
    yield f"a new file is {printable(result.path, 400)}"


def detached(result: Detached) -> Iterator[str]:
    """What came of letting go."""
    yield f"detached, {number(result.listeners, 'listener')} closed"


def killed(result: Killed) -> Iterator[str]:
    """What came of killing."""
    yield f"killed {number(result.processes, 'process', 'processes')}"


def number(count: int, one: str, several: str = "") -> str:
    """`1 listener`, `2 listeners`."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def age(since: float) -> str:
    """How long ago a moment is: `7s`, `3m`, `5h`, `12d`."""
    seconds = max(0, int(time.time() - since))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
