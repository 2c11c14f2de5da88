"""Threads that touch the memory of targets, so that the loop need not wait for it.

Nearly always the answer is there in a moment, and one warm thread is enough: handing it a look
costs a few times the look itself, a thread made for it several times that. What takes longer goes
on in its thread, and the loop goes on without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import outcome

__all__ = ["Pending", "Readers"]

T = TypeVar("T")

INLINE_READ_TIMEOUT_S = 0.0005  # seconds that the loop waits for what is mostly there much sooner
# seconds after a look that took longer, in which the loop waits for none; each
READ_BACKOFF_RANGE_S = 0.01, 1.0
# that follows doubles them, each that is there in time halves them
# threads of one workload that take longer; then the loop waits for none either
MAX_SLOW_READERS = 4


class Pending(Generic[T]):
    """A look that a thread does. Its marks are changed with the readers' lock held.

    Attributes:
        over: whether the thread has done it.
        left: whether the loop has gone on without it.
    """

    __slots__ = ("_done", "_look", "_outcome", "left", "over")

    def __init__(self, look: Callable[[], T]) -> None:
        self.over = self.left = False
        self._look = look
        self._done = threading.Lock()
        self._done.acquire()
        self._outcome: outcome.Maybe[T] | None = None

    def work(self) -> None:
        """Do it; called by the thread."""
        self._outcome = outcome.capture(self._look)

    def tell(self) -> None:
        """Whoever waits for it goes on."""
        self._done.release()

    def wait(self, seconds: float = -1) -> bool:
        """Wait until it is done, for ever by default; return whether it is. For one at a time."""
        if not self._done.acquire(timeout=seconds):
            return False
        self._done.release()
        return True

    def result(self) -> T:
        """What came of it, once it is done; or raise what it raised."""
        assert self._outcome is not None
        return self._outcome.unwrap()


class _Reader:
    """One thread, which does a look at a time and ends with the first that takes too long."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._given = threading.Lock()
        self._given.acquire()
        self._next: Pending[Any] | None = None
        threading.Thread(target=self._live, name="notifyd-reader", daemon=True).start()

    def give(self, pending: Pending[Any] | None) -> None:
        """Have it do a look; or end, if there is none."""
        self._next = pending
        self._given.release()

    def _live(self) -> None:
        while True:
            self._given.acquire()
            pending, self._next = self._next, None
            if pending is None:
                return
            pending.work()
            stays = self._readers.came_back(pending)
            pending.tell()
            if not stays:
                return


class Readers:
    """The readers of one workload. For the loop's own thread, but for `came_back`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warm: _Reader | None = None
        self._late = 0
        self._haste = READ_BACKOFF_RANGE_S[0]
        self._hasty_until = 0.0

    def start(self, look: Callable[[], T]) -> Pending[T] | None:
        """Have a thread do a look, and wait a moment for it.

        Returns:
            It, mostly `over`; None if it was not begun, and has to be done elsewhere.
        """
        if self._late >= MAX_SLOW_READERS or (
            self._hasty_until and time.monotonic() < self._hasty_until
        ):
            return None
        pending = Pending(look)
        reader, self._warm = self._warm, None
        try:
            reader = reader or _Reader(self)
        except RuntimeError:  # no more threads
            return None
        reader.give(pending)
        try:
            pending.wait(INLINE_READ_TIMEOUT_S)
        finally:  # the watchdog may have raised
            self._keep_or_leave(reader, pending)
        return pending

    def close(self) -> None:
        """End the thread that has nothing to do."""
        reader, self._warm = self._warm, None
        if reader is not None:
            reader.give(None)

    def came_back(self, pending: Pending[Any]) -> bool:
        """A thread has done a look; return whether it gets another one."""
        with self._lock:
            pending.over = True
            self._late -= pending.left
            return not pending.left

    def _keep_or_leave(self, reader: _Reader, pending: Pending[Any]) -> None:
        with self._lock:
            if pending.over:
                self._warm = reader
                self._haste = max(self._haste / 2, READ_BACKOFF_RANGE_S[0])
                return
            pending.left = True
            self._late += 1
        self._hasty_until = time.monotonic() + self._haste
        self._haste = min(self._haste * 2, READ_BACKOFF_RANGE_S[1])
