"""The life of a received notification, as a table: where it stands, and what can follow.

Calls of fast plans are answered without standing anywhere.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["FINAL", "NEXT", "NotificationState"]


class NotificationState(enum.Enum):
    """Where a notification stands. `value` is what it means."""

    DECIDING = "its rules are asked"
    ASKING = "a person is asked"
    PERFORMING = "rules allowed it, and it is done as they saw it"
    ANSWERING = "what it gets is known; memory of the target may have to be waited for"
    ANSWERED = "the kernel has its answer"
    GONE = "its target left before the answer: killed, or interrupted by a signal"
    LEFT = "the supervisor ended and left it to a successor"


_S = NotificationState
FINAL = frozenset({_S.ANSWERED, _S.GONE, _S.LEFT})
# Invariant: every received notification gets exactly one answer, is found gone, or is left on
# record. So it can end from anywhere, and goes nowhere from there.
NEXT: Mapping[NotificationState, frozenset[NotificationState]] = MappingProxyType(
    {
        _S.DECIDING: FINAL | {_S.DECIDING, _S.ASKING, _S.PERFORMING, _S.ANSWERING},
        _S.ASKING: FINAL | {_S.ASKING, _S.PERFORMING, _S.ANSWERING, _S.DECIDING},
        _S.PERFORMING: FINAL | {_S.ANSWERING, _S.DECIDING},
        _S.ANSWERING: FINAL | {_S.ANSWERING, _S.DECIDING},
        _S.ANSWERED: frozenset(),
        _S.GONE: frozenset(),
        _S.LEFT: frozenset(),
    }
)
