"""Threads for what may wait for ever: each does one thing, and can be left behind.

trio's own threads are used again for anything else; one that took on somebody's credentials must
never be, and one that hangs must not hold a place that others need.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import outcome
import trio

T = TypeVar("T")


async def run(function: Callable[[], T]) -> T:
    """Call `function` in a thread of its own and wait for it.

    If the caller is cancelled the thread is left to itself and its result is dropped. It is a
    daemon: it cannot keep the supervisor from ending.

    Raises:
        Whatever `function` raises.
    """
    task = trio.lowlevel.current_task()
    token = trio.lowlevel.current_trio_token()
    abandoned = False

    def work() -> None:
        result = outcome.capture(function)
        with suppress(trio.RunFinishedError):  # the supervisor ended first
            token.run_sync_soon(deliver, result)

    def deliver(result: outcome.Outcome[T]) -> None:
        if not abandoned:
            trio.lowlevel.reschedule(task, result)

    def leave(_: object) -> trio.lowlevel.Abort:
        nonlocal abandoned
        abandoned = True
        return trio.lowlevel.Abort.SUCCEEDED

    threading.Thread(target=work, name="notifyd-worker", daemon=True).start()
    return await trio.lowlevel.wait_task_rescheduled(leave)  # type: ignore[no-any-return]
