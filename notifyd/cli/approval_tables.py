"""Questions, answers and grants as lines for people. Whatever they say is made harmless here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from notifyd.cli.columns import columns
from notifyd.cli.control_tables import MAX_CELL_CHARS, age
from notifyd.daemon.approval_messages import (
    Answered,
    DecisionView,
    GrantView,
    ProcessView,
    QuestionView,
)
from notifyd.events.sanitize import printable
from notifyd.events.terminal import main_argument

__all__ = [
    "answered",
    "card",
    "grants_table",
    "history_table",
    "pending_table",
    "revoked",
]

_TEXT = 160  # of a question's


def pending_table(questions: Sequence[QuestionView]) -> Iterator[str]:
    """The questions that wait."""
    if not questions:
        yield "no questions"
        return
    rows = [("id", "workload", "asked", "ends", "program", "question")]
    for one in questions:
        row = (str(one.id), one.workload, age(one.asked), _left(one), _program(one))
        rows.append((*_cells(row), printable(one.text, _TEXT)))  # type: ignore[arg-type]
    yield from columns(rows)


def card(one: QuestionView) -> Iterator[str]:
    """A question with all that a person needs to judge it."""
    ends = f", ends in {_left(one)}" if one.within is not None else ""
    yield f"question {one.id} of {printable(one.workload, 80)}, {age(one.asked)} ago{ends}"
    yield f"  {printable(one.text, 2000)}"
    call = f"{one.syscall} {main_argument(one.args)}".strip()
    title = f": {printable(one.title)}" if one.title else ""
    rows = [
        ("call", printable(call, 400)),
        ("program", f"{_path(one)}, pid {one.pid}, uid {one.uid}"),
        ("rule", f"{printable(one.rule)}{title}"),
    ]
    if one.container:
        rows.append(("container", printable(one.container)))
    rows += [
        ("annotation", f"{printable(key, 80)}={printable(value, 80)}")
        for key, value in list(one.annotations.items())[:8]
    ]
    rows += [("before", _decision(past)) for past in one.history]
    yield from columns(rows, "  ")
    yield from _tree(one.tree)


def _tree(tree: Sequence[ProcessView]) -> Iterator[str]:
    """The oldest first, each below the one that began it."""
    for depth, one in enumerate(reversed(tree)):
        words = one.cmdline or f"[{one.name}]"
        yield f"  {'  ' * depth}{one.pid} {printable(words, 200)}"


def _decision(one: DecisionView) -> str:
    by = f" by {one.by}" if one.by else ""
    scope = f", {one.scope}" if one.scope else ""
    why = f": {one.reason}" if one.reason else ""
    return printable(f"{age(one.ended)} ago {one.state}{by}{scope}{why}", 200)


def grants_table(grants: Sequence[GrantView]) -> Iterator[str]:
    """The answers that hold for longer than their workload."""
    if not grants:
        yield "no grants"
        return
    rows = [("id", "answer", "rule", "program", "uid", "by", "made", "ends", "reason", "question")]
    for one in grants:
        row = (
            str(one.id),
            "granted" if one.granted else "refused",
            one.rule,
            one.exe,
            str(one.uid),
            f"{one.by} by {one.face}",
            age(one.made),
            "never" if one.until is None else f"in {_span(one.until)}",
            one.reason,
        )
        rows.append((*_cells(row), printable(one.key, _TEXT)))  # type: ignore[arg-type]
    yield from columns(rows)


def history_table(decisions: Sequence[DecisionView]) -> Iterator[str]:
    """Earlier questions, the latest first."""
    if not decisions:
        yield "no questions"
        return
    rows = [("id", "ended", "workload", "became", "scope", "by", "reason", "question")]
    for one in decisions:
        by = f"{one.by} by {one.face}" if one.by else ""
        row = (str(one.id), age(one.ended), one.workload, one.state, one.scope, by, one.reason)
        rows.append((*_cells(row), printable(one.text, _TEXT)))  # type: ignore[arg-type]
    yield from columns(rows)


def answered(one: Answered) -> Iterator[str]:
    """What came of an answer."""
    said = "approved" if one.granted else "denied"
    scope = "" if one.scope == "once" else f" ({one.scope})"
    yield f"{said}{scope} question {one.id} of {printable(one.workload)}: {printable(one.text)}"


def revoked(one: GrantView) -> Iterator[str]:
    """What came of revoking."""
    yield f"revoked grant {one.id} of {printable(one.rule)}: {printable(one.key)}"


def _program(one: QuestionView) -> str:
    return f"{_path(one)}[{one.pid}]"


def _path(one: QuestionView) -> str:
    """The whole path of a program, and how it is not the file of that path."""
    path = printable(one.exe, 400) or "?"
    return f"{path} [{printable(one.caller, 200)}]" if one.caller else path


def _left(one: QuestionView) -> str:
    return "never" if one.within is None else _span(one.asked + one.within)


def _span(end: float) -> str:
    """How long it is until a moment, as `age` tells how long ago one is."""
    return age(2 * time.time() - end)


def _cells(row: Sequence[Any]) -> tuple[str, ...]:
    return tuple(printable(text, MAX_CELL_CHARS) for text in row)
