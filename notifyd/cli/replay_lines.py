"""What `notifyd replay` shows: the tables, the notes, and the same as data for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from notifyd.cli.columns import columns
from notifyd.events.sanitize import printable
from notifyd.replay.compare import ReplayStatus
from notifyd.replay.reading import ReadStatistics
from notifyd.replay.summary import Summary, SummaryRow

__all__ = ["as_data", "call_lines", "lines_of"]

_NAMED = 12  # operations in a note; the rest is counted


def lines_of(summary: Summary, lines: ReadStatistics) -> list[str]:
    """The whole, for a terminal."""
    counts = summary.counts
    parts = [
        f"{counts[ReplayStatus.SAME]} stay the same",
        f"{counts[ReplayStatus.CHANGE]} would change",
    ]
    parts += (
        [f"{counts[ReplayStatus.UNTOLD]} cannot be told"] if counts[ReplayStatus.UNTOLD] else []
    )
    parts += (
        [f"{counts[ReplayStatus.UNDECIDED]} were not decided"]
        if counts[ReplayStatus.UNDECIDED]
        else []
    )
    found = [f"{summary.calls} calls: {', '.join(parts)}"]
    found += _table(
        summary, ReplayStatus.CHANGE, ("operation", "recorded", "now", "calls", "for example")
    )
    heading = ("operation", "recorded", "cannot be told", "calls", "for example")
    found += _table(summary, ReplayStatus.UNTOLD, heading)
    notes = _notes(summary, lines)
    wrapped = [
        line
        for note in notes
        for line in textwrap.wrap(note, 79, subsequent_indent="  ", break_on_hyphens=False)
    ]
    return [*found, "", *wrapped] if wrapped else found


def call_lines(row: SummaryRow) -> list[str]:
    """One call, for a terminal."""
    shown = row.example
    head = " ".join(filter(None, (shown.get("time"), shown.get("workload"), _who(shown))))
    arrow = "cannot be told:" if row.kind is ReplayStatus.UNTOLD else "->"
    line = f"{row.operation}({shown.get('args', '')}): {row.before} {arrow} {row.after}"
    why = ": ".join(filter(None, (shown.get("rule"), shown.get("reason"))))
    return [f"{head} {line}{f' by {why}' if why else ''}".lstrip()]


def as_data(summary: Summary, lines: ReadStatistics) -> dict[str, Any]:
    """The whole, for JSON."""
    counts = summary.counts
    return {
        "calls": summary.calls,
        "same": counts[ReplayStatus.SAME],
        "changes": counts[ReplayStatus.CHANGE],
        "untold": counts[ReplayStatus.UNTOLD],
        "undecided": counts[ReplayStatus.UNDECIDED],
        "rows": [row.as_data() for row in _sorted(summary.rows.values())],
        "torn": lines.torn,
        "foreign": lines.foreign,
        "first_bad": printable(lines.first_bad) if lines.first_bad else None,
        "rules_failed": summary.broken,
        "first_failure": summary.failure,
        "recorded_rules": list(summary.recorded_rules),
        "recorded_in_kernel": list(summary.kernel),
        "not_in_record": summary.unseen(),
    }


def _table(summary: Summary, kind: ReplayStatus, heading: Sequence[str]) -> list[str]:
    rows = [row for row in _sorted(summary.rows.values()) if row.kind is kind]
    if not rows:
        return []
    texts = [
        (row.operation, row.before, row.after, str(row.count), _example(row.example))
        for row in rows
    ]
    return ["", *columns([tuple(heading), *texts])]


def _sorted(rows: Iterable[SummaryRow]) -> list[SummaryRow]:
    """Changes first, then the most frequent."""
    return sorted(
        rows, key=lambda row: (row.kind is ReplayStatus.UNTOLD, -row.count, row.operation)
    )


def _example(shown: dict[str, Any]) -> str:
    return printable(" ".join(filter(None, (_who(shown), shown.get("args")))), 120)


def _who(shown: dict[str, Any]) -> str:
    exe, process = shown.get("exe", ""), shown.get("process", "")
    return f"{exe}[{process.partition('@')[0]}]" if process else exe


def _notes(summary: Summary, lines: ReadStatistics) -> list[str]:
    found = []
    if summary.recorded_rules:
        found.append(f"recorded with {_some(list(summary.recorded_rules))}")
    if summary.broken:
        found.append(f"rules failed at {summary.broken} calls, first {summary.failure}")
    if unseen := summary.unseen():
        found.append(
            f"the rules are also about {_some(unseen)}: the record has none of these. Nothing "
            "called them, or the filter at the time did not report them"
        )
    if summary.kernel:
        found.append(
            f"the kernel decided {_some(list(summary.kernel))} when this was recorded, by itself "
            "and unrecorded"
        )
    if lines.torn or lines.foreign:
        found.append(
            f"left out: {lines.torn} lines that are torn and {lines.foreign} that are no events "
            f"of notifyd, the first at {printable(lines.first_bad or '')}"
        )
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
