"""What replaying came to, in constant memory: counts by operation and change, one example each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from notifyd.events.sanitize import printable
from notifyd.kernel.arch import native
from notifyd.policy.call import RawCall
from notifyd.policy.ruleset import RuleSet
from notifyd.replay.compare import ReplayedCall, ReplayStatus
from notifyd.replay.event import Event

__all__ = ["Summary", "SummaryRow", "operation_of"]

# kinds of rows; beyond these, `OTHERS` of an operation that is called so, too
MAX_SUMMARY_ROWS = 1000
OTHERS = "(others)"
MAX_EXAMPLE_CHARS = 200  # characters of an example's arguments


@dataclass(slots=True)
class SummaryRow:
    """Calls of one operation that came to one thing.

    Attributes:
        operation: `Open`, or the system call where no operation models it.
        before: the recorded verdict.
        after: the new one; what was missing, where it cannot be told.
        count: how many.
        example: the first of them.
    """

    operation: str
    kind: ReplayStatus
    before: str
    after: str
    example: dict[str, Any]
    count: int = 0

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        what = "missing" if self.kind is ReplayStatus.UNTOLD else "after"
        named = {"operation": self.operation, "result": self.kind.value, "before": self.before}
        return {**named, what: self.after, "count": self.count, "example": self.example}


@dataclass(slots=True)
class Summary:
    """The whole.

    Attributes:
        counts: how many calls came to what.
        rows: what is not the same, by operation and words.
        broken: how many calls a rule failed at, and `failure` the first failure.
        recorded_rules: under which rules it was recorded, as far as the record says.
        kernel: the operations that the kernel decided when it was recorded, uncounted.
    """

    rules: RuleSet
    counts: Counter[ReplayStatus] = field(default_factory=Counter)
    rows: dict[tuple[str, ...], SummaryRow] = field(default_factory=dict)
    broken: int = 0
    failure: str | None = None
    recorded_rules: dict[str, None] = field(default_factory=dict)
    kernel: dict[str, None] = field(default_factory=dict)
    _syscalls: set[str] = field(default_factory=set)

    @property
    def calls(self) -> int:
        """How many calls were read."""
        return sum(self.counts.values())

    @property
    def changed(self) -> int:
        """How many calls would get something else."""
        return self.counts[ReplayStatus.CHANGE]

    def note(self, event: Event) -> None:
        """An event other than a call: whose verdicts the record has."""
        for known, names in ((self.recorded_rules, event.rules), (self.kernel, event.kernel)):
            for name in (names or [])[:MAX_SUMMARY_ROWS]:
                if len(known) < MAX_SUMMARY_ROWS:
                    known[printable(name)] = None

    def add(self, event: Event, finding: ReplayedCall) -> None:
        """Count a call."""
        self.counts[finding.kind] += 1
        name = event.syscall or ""
        if event.arch == native().name and name in native().numbers:
            self._syscalls.add(name)
        if finding.broken:
            self.broken += 1
            self.failure = self.failure or f"{finding.rule}: {_last_line(finding.reason)}"
        if finding.kind in (ReplayStatus.CHANGE, ReplayStatus.UNTOLD):
            self._row(event, finding).count += 1

    def unseen(self) -> list[str]:
        """The operations that the new rules are about and of which the record has no call."""
        arch = native()
        found: dict[str, bool] = {}
        for (audit, number), steps in self.rules.plans.items():
            name = arch.name_of(number) if audit == arch.audit else None
            for step in steps if name is not None else ():
                title = step.operation.title if step.operation is not RawCall else str(name)
                found[title] = found.get(title, False) or name in self._syscalls
        return sorted(title for title, seen in found.items() if not seen)

    def _row(self, event: Event, finding: ReplayedCall) -> SummaryRow:
        operation = operation_of(event)
        key = (operation, finding.kind.value, finding.before, finding.after)
        if key not in self.rows and len(self.rows) >= MAX_SUMMARY_ROWS:
            key = (OTHERS, finding.kind.value, OTHERS, OTHERS)
        row = self.rows.get(key)
        if row is None:
            shown = example(event, finding)
            row = self.rows[key] = SummaryRow(key[0], finding.kind, key[2], key[3], shown)
        return row


def operation_of(event: Event) -> str:
    """What a call is called: its operation, or its system call if none models it."""
    raw = event.operation in (None, "Raw")
    return printable((event.syscall if raw else event.operation) or "")


def example(event: Event, finding: ReplayedCall) -> dict[str, Any]:
    """One call, for people: who, what, and why it would be so."""
    args = ", ".join(f"{name}={value}" for name, value in (event.args or {}).items())
    named = {
        "time": event.time,
        "workload": event.workload,
        "process": event.process,
        "exe": event.exe,
        "syscall": event.syscall,
        "args": args,
        "rule": finding.rule,
        "reason": _last_line(finding.reason),
        "recorded_rule": event.rule,
    }
    return {name: printable(text, MAX_EXAMPLE_CHARS) for name, text in named.items() if text}


def _last_line(text: str | None) -> str:
    """Of a traceback the error."""
    return printable((text or "").strip().rpartition("\n")[2], MAX_EXAMPLE_CHARS)
