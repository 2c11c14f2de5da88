"""Events of a log as rows of a table. What the events say is anybody's; the rows are harmless."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from notifyd.events.sanitize import printable
from notifyd.events.terminal import main_argument
from notifyd.events.words import event_text, who

__all__ = ["TABLE_HEADER", "table_line"]

# Rows are shown as they are read, so no column can wait for its widest text.
_WIDTHS = {"time": 23, "workload": 16, "operation": 12, "verdict": 8, "result": 9}
_LAST = "what, who, by which rule or person"


def table_line(event: Mapping[str, Any]) -> str:
    """An event of any shape as a row: time here, workload, operation, verdict, result, the rest."""
    if event.get("event") == "call":
        cells = [event.get("operation"), event.get("verdict"), event.get("errno", event.get("how"))]
        return _row(event, cells, _of_call(event))
    return _row(event, [event.get("event")], event_text(event), wide=True)


def _of_call(event: Mapping[str, Any]) -> str:
    args = event.get("args")
    parts = [main_argument(args) if isinstance(args, dict) else "", who(event)]
    parts += [f"by {_text(event[name])}" for name in ("rule", "by") if event.get(name) is not None]
    reason = str(event.get("reason") or "").strip()
    if reason:
        parts.append(printable(reason.splitlines()[-1]))
    return ", ".join(part for part in parts if part)


def _row(event: Mapping[str, Any], cells: list[Any], rest: str, *, wide: bool = False) -> str:
    widths = list(_WIDTHS.values())
    texts = [_clock(event.get("time")), _text(event.get("workload")), *map(_text, cells)]
    if wide:  # an event's name has the room of three columns
        widths[2:] = [sum(widths[2:]) + 4]
    shown = [_fit(text, width) for text, width in zip(texts, widths, strict=True)]
    return "  ".join([*shown, rest]).rstrip()


def _text(value: Any) -> str:
    return "" if value is None else printable(str(value), 80)


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"


def _clock(time: Any) -> str:
    """Date and time to milliseconds, in this machine's zone."""
    try:
        shown = datetime.fromisoformat(str(time)).astimezone()
        return shown.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError):
        return "?"


TABLE_HEADER = "  ".join([*(name.ljust(width) for name, width in _WIDTHS.items()), _LAST])
