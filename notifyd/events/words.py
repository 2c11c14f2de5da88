"""Events in words, as they were read back: one harmless line each, without time and colour."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from notifyd.events.counters import is_refusal
from notifyd.events.event import sentence
from notifyd.events.sanitize import printable
from notifyd.events.terminal import main_argument

__all__ = ["event_text", "refuses", "who"]

_VERBS: Mapping[str, str] = MappingProxyType(
    {
        "allow": "allowed",
        "continue": "continued",
        "deny": "refused",
        "kill": "killed at",
        "return": "answered",
        "supply": "supplied",
    }
)
_ASKED = MappingProxyType({"answered": "refused", "gone": "asked about"})  # else it was done
_COMMON = ("event", "time", "level", "seq", "chain", "redacted")


def event_text(event: Mapping[str, Any]) -> str:
    """An event as `refused connect 192.0.2.1:80 (EACCES), curl[4711]`, or as its sentence.

    Args:
        event: as it came, of any shape.
    """
    if event.get("event") == "call":
        return _call(event)
    fields = {name: value for name, value in event.items() if name not in _COMMON}
    return sentence(str(event.get("event", "?")), fields)


def refuses(event: Mapping[str, Any]) -> bool:
    """Whether an event of any shape is a refused call, as `is_refusal` says."""
    if event.get("event") != "call":
        return False
    failed = event.get("errno") is not None
    return is_refusal(str(event.get("verdict")), str(event.get("how")), failed)


def _call(event: Mapping[str, Any]) -> str:
    verdict, how = str(event.get("verdict", "?")), str(event.get("how"))
    verb = _ASKED.get(how, "allowed") if verdict == "ask" else _VERBS.get(verdict)
    args = event.get("args")
    parts = [
        verb or printable(verdict, 20),
        printable(str(event.get("syscall", "?")), 40),
        main_argument(args) if isinstance(args, dict) else "",
        _outcome(event),
    ]
    if event.get("rule") is not None:
        parts.append(f"by {printable(str(event['rule']), 80)}")
    line = f"{' '.join(part for part in parts if part)}, {who(event)}"
    reason = str(event.get("reason") or "").strip()
    # Of a traceback, the line that says what it was.
    return f"{line}: {printable(reason.splitlines()[-1])}" if reason else line


def _outcome(event: Mapping[str, Any]) -> str:
    if event.get("how") == "gone":
        return "(gone)"
    number = event.get("errno")
    return f"({printable(str(number), 20)})" if number is not None else ""


def who(event: Mapping[str, Any]) -> str:
    """Who made a call, as `curl[4711]`; harmless."""
    if event.get("pid") is None:
        return f"thread {printable(str(event.get('tid', '?')), 20)}"
    name = str(event.get("exe") or "").rpartition("/")[2]
    return f"{printable(name, 40) or '?'}[{printable(str(event['pid']), 20)}]"
