"""sched(7): scheduling policies.

From include/uapi/linux/sched.h.
"""

from __future__ import annotations

__all__ = ["SCHED_FLAGS", "SCHED_POLICIES"]

SCHED_POLICIES: dict[str, int] = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
    "SCHED_EXT": 7,
}

# Stands in the policy.
SCHED_FLAGS: dict[str, int] = {
    "SCHED_RESET_ON_FORK": 0x40000000,
}
