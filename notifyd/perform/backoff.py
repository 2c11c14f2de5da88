"""How long the loop may wait for the helpers of one workload: not at all after one was late.

The loop waits a moment for a helper, since the answer is mostly there sooner than a task would be.
A program can see to it that it never is (it opens FIFOs), and everybody would wait each time.
"""

from __future__ import annotations

__all__ = ["BACKOFF_RESET_FACTOR", "FIRST_BACKOFF_S", "MAX_BACKOFF_S", "Backoff"]

FIRST_BACKOFF_S = 0.1  # seconds in which nobody is waited for after the first one that was late
MAX_BACKOFF_S = 10.0  # seconds; each one more that is late doubles them up to here
BACKOFF_RESET_FACTOR = 20  # times those seconds without one, and the next one is the first again


class Backoff:
    """What is held against the helpers of a workload."""

    def __init__(self) -> None:
        self._until = float("-inf")
        self._pause = FIRST_BACKOFF_S

    def waits(self, now: float) -> bool:
        """Whether the loop waits for a helper, at this time of the monotonic clock."""
        return now >= self._until

    def late(self, now: float) -> None:
        """One was waited for in vain."""
        forgiven = now - self._until > BACKOFF_RESET_FACTOR * self._pause
        self._pause = FIRST_BACKOFF_S if forgiven else min(2 * self._pause, MAX_BACKOFF_S)
        self._until = now + self._pause
