"""Between the steps of trio's tasks: whose they were is charged, and the listeners have their turn.

trio runs every task that can go on before it asks again what is ready. One workload may have a
thousand of them, by letting go of a thousand calls at once; all others would wait for the last one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import trio

from notifyd.engine.turns import Share, Turns

__all__ = ["OWNER", "TurnInstrument"]

# Whose calls a task attends. The tasks that a rule starts have it from theirs.
OWNER: ContextVar[Share[Any] | None] = ContextVar("OWNER", default=None)

_clock = time.perf_counter_ns


class TurnInstrument(trio.abc.Instrument):
    """Watches the steps of tasks. To be made by the task that looks at the listeners itself.

    Args:
        turns: where steps are charged.
        glance: gives turns, for a short time; called with the time, in nanoseconds.
        every: nanoseconds of others' steps between two glances.
    """

    def __init__(self, turns: Turns[Any], glance: Callable[[int], None], every: int) -> None:
        self._turns = turns
        self._glance = glance
        self._every = every
        self._loop = trio.lowlevel.current_task()
        self._begun = 0
        self._spent = 0
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raise what a glance raised: trio would only log it, and look no more."""
        if self._failure is not None:
            raise self._failure

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        self._begun = _clock()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits, or has ended."""
        if task is self._loop:
            self._spent = 0
            return
        now = _clock()
        share = task.context.get(OWNER)
        if share is not None:
            self._turns.charge(share, now - self._begun)
        self._spent += now - self._begun
        if self._spent > self._every and self._failure is None:
            self._spent = 0
            try:
                self._glance(now)
            except BaseException as failure:
                self._failure = failure
