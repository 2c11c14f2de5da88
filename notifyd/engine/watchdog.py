"""Patience with what holds up the loop: rules, and listeners that somebody else reads too.

Plain rules run on the loop itself, and so does what an async rule does between two awaits. One that
does not come back would keep everybody waiting. A thread looks now and then at what the loop is
doing; a rule that has been at the same call for longer than its patience gets a TimeoutError, which
makes it fail like any other. That costs the hot path nothing.

Whoever handed a listener over may have kept it, and take a notification that poll(2) had promised
to us. Our RECV then waits for the next one, perhaps for ever, and nothing but a signal ends it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from types import CodeType, FrameType

from notifyd.perform.worker import NUDGE
from notifyd.policy.rule import Rule
from notifyd.threads import start_thread

STACK_CHECK_INTERVAL_S = 0.25  # seconds between two looks


class SharedListener(Exception):
    """Somebody else reads this listener, too: it cannot be supervised without waiting for it."""


class Watchdog:
    """Watches the main thread, as long as it is open; a context manager for that thread.

    Args:
        rules: gives the rules that are in force.
        receiving: the code of the functions that receive.
    """

    def __init__(
        self, rules: Callable[[], Iterable[Rule]], receiving: Collection[CodeType] = ()
    ) -> None:
        self._rules = rules
        self._receiving = frozenset(receiving)
        self._robbed: FrameType | None = None
        self._over = threading.Event()
        self._overdue: tuple[FrameType, float] | None = None
        self._thread = threading.Thread(target=self._watch, name="notifyd-watchdog", daemon=True)
        self._watched = threading.get_ident()

    def __enter__(self) -> Watchdog:
        signal.signal(NUDGE, self._nudged)
        start_thread(self._thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        # Not what it was before: a worker that was left behind may still be nudged, and by default
        # that would kill us.
        signal.signal(NUDGE, signal.SIG_IGN)

    def _watch(self) -> None:
        busy: FrameType | None = None
        waiting: FrameType | None = None
        since = 0.0
        while not self._over.wait(STACK_CHECK_INTERVAL_S):
            waiting = self._still_waiting(waiting)
            found = self._busy_rule()
            if found is None:
                busy = None
                continue
            frame, patience = found
            if frame is not busy:
                busy, since = frame, time.monotonic()
            elif time.monotonic() - since > patience:
                self._overdue = frame, patience
                signal.pthread_kill(self._watched, NUDGE)

    def _still_waiting(self, before: FrameType | None) -> FrameType | None:
        """The RECV that the loop is in; nudged if it was in that very one the last time."""
        frame = sys._current_frames().get(self._watched)
        if frame is None or frame.f_code not in self._receiving:
            return None
        if frame is before:
            self._robbed = frame
            signal.pthread_kill(self._watched, NUDGE)
        return frame

    def _busy_rule(self) -> tuple[FrameType, float] | None:
        """The rule that the loop is in the middle of, as its frame, and its patience."""
        patience: dict[CodeType, float] = {
            rule.function.__code__: rule.patience
            for rule in self._rules()
            if rule.patience is not None and hasattr(rule.function, "__code__")
        }
        for frame in _stack(sys._current_frames().get(self._watched)):
            if frame.f_code in patience:
                return frame, patience[frame.f_code]
        return None

    def _nudged(self, _number: int, frame: FrameType | None) -> None:
        # In the loop's own thread. The rule may have come back in the meantime: then nothing is
        # wrong, and nothing else may be interrupted.
        robbed, self._robbed = self._robbed, None
        if robbed is not None and frame is robbed:
            raise SharedListener
        overdue, self._overdue = self._overdue, None
        if overdue is not None and any(one is overdue[0] for one in _stack(frame)):
            raise TimeoutError(f"no verdict within {overdue[1]:g} seconds, and nobody else served")


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
