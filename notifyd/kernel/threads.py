"""tgkill(2): whether a thread of this process is still there for the kernel.

A thread that has ended for Python (`Thread.join`) lives on for some microseconds, with its root,
its namespaces and whatever else it does not share.
"""

from __future__ import annotations

import os

from notifyd.kernel import arch
from notifyd.kernel.libc import syscall

__all__ = ["is_there", "join"]


def is_there(tid: int) -> bool:
    """Say whether a thread of this process exists, and with it what it alone has."""
    try:
        syscall(arch.native().numbers["tgkill"], os.getpid(), tid, 0)
    except ProcessLookupError:
        return False
    return True


def join(tid: int) -> None:
    """Wait until a thread of this process is gone that has nothing to do any more."""
    while is_there(tid):
        os.sched_yield()
