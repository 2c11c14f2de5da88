"""Writes down calls that were made up, as the engine writes down real ones."""

from typing import Any

from notifyd.events.encode import encode_calls
from notifyd.events.record import CallRecord
from notifyd.policy.call import Call
from notifyd.target.identity import Identity

WHO = Identity(1000, 1001, 1, 77, b"/usr/bin/tool", 1000, 100)


def record_of(call: Call, verdict: str = "allow", **fields: Any) -> bytes:
    """The line that the engine would write of a call."""
    known = {
        "time_ns": 1_700_000_000_000_000_000,
        "workload": "tool-1000",
        "identity": WHO,
        "tid": 1001,
        "operation": call.operation,
        "syscall": call.syscall,
        "arch": call.arch,
        "args": call.describe(),
        "verdict": verdict,
        "how": "continued" if verdict in ("allow", "continue") else "answered",
        "errno": 0,
        "value": None,
        "rule": None,
        "reason": None,
        "racy": False,
        "took_ns": 1000,
    }
    return encode_calls([CallRecord(**{**known, **fields})])
