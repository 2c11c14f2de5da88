"""Events as lines for a person. What the events say is anybody's; the lines are harmless."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from notifyd.audit.event import sentence
from notifyd.audit.harmless import printable
from notifyd.audit.terminal import main_argument

__all__ = ["event_line"]

_VERBS: Mapping[str, str] = MappingProxyType(
    {
        "allow": "allowed",
        "continue": "continued",
        "deny": "refused",
        "kill": "killed at",
        "return": "answered",
        "supply": "supplied",
        "ask": "refused",
    }
)
_COLORS = {"deny": "\x1b[31m", "kill": "\x1b[31m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = "\x1b[0m"
_COMMON = ("event", "time", "level", "workload")


def event_line(event: Mapping[str, Any], *, color: bool = False) -> str:
    """An event as `19:30:23.817 web  refused connect 192.0.2.1:80 (EACCES), curl[4711]`.

    Args:
        event: as it came, of any shape.
        color: whether refusals and warnings are coloured.
    """
    name = str(event.get("event", "?"))
    call = name == "call"
    text = _call(event) if call else sentence(name, _fields(event))
    tone = _COLORS.get(str(event.get("verdict" if call else "level")))
    if color and tone:
        text = f"{tone}{text}{_PLAIN}"
    workload = event.get("workload")
    where = f"{printable(str(workload), 40)}  " if call and workload is not None else ""
    return f"{_clock(event.get('time'))} {where}{text}"


def _fields(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in _COMMON[:3]}


def _clock(time: Any) -> str:
    """Hours to milliseconds, in this machine's zone."""
    try:
        return datetime.fromisoformat(str(time)).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError):
        return "--:--:--.---"


def _call(event: Mapping[str, Any]) -> str:
    verdict = str(event.get("verdict", "?"))
    args = event.get("args")
    parts = [
        _VERBS.get(verdict) or printable(verdict, 20),
        printable(str(event.get("syscall", "?")), 40),
        main_argument(args) if isinstance(args, dict) else "",
        _outcome(event),
    ]
    if event.get("rule") is not None:
        parts.append(f"by {printable(str(event['rule']), 80)}")
    line = f"{' '.join(part for part in parts if part)}, {_who(event)}"
    reason = str(event.get("reason") or "").strip()
    # Of a traceback, the line that says what it was.
    return f"{line}: {printable(reason.splitlines()[-1])}" if reason else line


def _outcome(event: Mapping[str, Any]) -> str:
    if event.get("how") == "gone":
        return "(gone)"
    number = event.get("errno")
    return f"({printable(str(number), 20)})" if number is not None else ""


def _who(event: Mapping[str, Any]) -> str:
    if event.get("pid") is None:
        return f"thread {printable(str(event.get('tid', '?')), 20)}"
    name = str(event.get("exe") or "").rpartition("/")[2]
    return f"{printable(name, 40) or '?'}[{printable(str(event['pid']), 20)}]"
