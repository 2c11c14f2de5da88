"""Starting threads where there may be no more: RLIMIT_NPROC, the cgroup's pids.max, memory.

Python says RuntimeError then, which could as well be a fault of ours. Here it is what clone(2)
says, and so goes wherever else a system call of ours goes that fails.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import outcome

__all__ = ["in_thread", "start_thread"]

T = TypeVar("T")


def start_thread(thread: threading.Thread) -> None:
    """Start it.

    Raises:
        OSError: EAGAIN: there are no more.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise _no_more() from error


async def in_thread(work: Callable[[], T], **how: Any) -> T:
    """Do `work` in one of trio's threads, as `trio.to_thread.run_sync`.

    Args:
        work: what may wait.
        **how: `abandon_on_cancel`, `limiter`: trio's.

    Raises:
        OSError: EAGAIN: there are no more, and `work` was not begun.
        Whatever `work` raises.
    """
    import trio  # late: whoever only starts a thread does not pay for it

    try:
        done = await trio.to_thread.run_sync(lambda: outcome.capture(work), **how)
    except RuntimeError as error:
        raise _no_more() from error
    return done.unwrap()


def _no_more() -> OSError:
    return OSError(errno.EAGAIN, "no thread can be started")
