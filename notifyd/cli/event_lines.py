"""Events as lines for a person. What the events say is anybody's; the lines are harmless."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from notifyd.events.log import RED, RESET
from notifyd.events.sanitize import printable
from notifyd.events.words import event_text, refuses

__all__ = ["event_line"]

_COLORS = {"warning": "\x1b[33m", "error": RED}


def event_line(event: Mapping[str, Any], *, color: bool = False) -> str:
    """An event as `19:30:23.817 web  refused connect 192.0.2.1:80 (EACCES), curl[4711]`.

    Args:
        event: as it came, of any shape.
        color: whether refusals and warnings are coloured.
    """
    call = event.get("event") == "call"
    text = event_text(event)
    tone = RED if refuses(event) else _COLORS.get(str(event.get("level")))
    if color and tone:
        text = f"{tone}{text}{RESET}"
    workload = event.get("workload")
    where = f"{printable(str(workload), 40)}  " if call and workload is not None else ""
    return f"{_clock(event.get('time'))} {where}{text}"


def _clock(time: Any) -> str:
    """Hours to milliseconds, in this machine's zone."""
    try:
        return datetime.fromisoformat(str(time)).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError):
        return "--:--:--.---"
