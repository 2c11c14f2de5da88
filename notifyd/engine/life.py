"""The life of a notification, as a table: where it can stand, and where it can go from there.

Most go from RECEIVED to ANSWERED with no state kept anywhere. Those that wait are in their
workload's `waiting`, and nowhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class NotificationState(enum.Enum):
    """Where a notification stands. `value` is what it means."""

    PENDING = "in the kernel, not yet received"
    RECEIVED = "received, its rules are asked"
    WAITING = "an async rule, a slow look or a performed call takes its time"
    ANSWERED = "the kernel has its answer"
    GONE = "the target left before the answer: killed, or interrupted by a signal"


# Invariant: every received notification gets exactly one answer, or is found gone.
NEXT: Mapping[NotificationState, frozenset[NotificationState]] = MappingProxyType(
    {
        NotificationState.PENDING: frozenset({NotificationState.RECEIVED, NotificationState.GONE}),
        NotificationState.RECEIVED: frozenset(
            {NotificationState.WAITING, NotificationState.ANSWERED, NotificationState.GONE}
        ),
        NotificationState.WAITING: frozenset({NotificationState.ANSWERED, NotificationState.GONE}),
        NotificationState.ANSWERED: frozenset(),
        NotificationState.GONE: frozenset(),
    }
)
FINAL = frozenset(state for state, after in NEXT.items() if not after)
