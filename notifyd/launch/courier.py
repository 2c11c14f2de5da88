"""The courier: a process that fetches the listener out of a child which may not be able to give it.

From the moment its filter is in force, any call of the child may be trapped, sendmsg(2) as well,
and no one could answer. So the child first forks the courier, which shares its descriptor table,
but not its filter. It watches for the listener, sends it to the parent, and exits.

Runs only in a child of fork(2), and in what that child makes with clone(2).
"""

from __future__ import annotations

import os
import select
import time

from notifyd.kernel import clone, pidfd, seccomp, unix

__all__ = ["COURIER_TIMEOUT_S", "LISTENER_MESSAGE", "send_courier"]

LISTENER_MESSAGE = b"L"  # the message that carries the listener

COURIER_TIMEOUT_S = 5.0  # seconds; installing takes some milliseconds when a program is large

_EAGER = 50  # looks without a nap: mostly enough


def send_courier(end: int) -> int:
    """Make the courier; the caller installs its filter next, and opens nothing in between.

    Args:
        end: The socket to the parent. Stays the caller's; the courier uses it too.

    Returns:
        The courier's pid. It is a child of our parent, and ends by itself: when it has delivered,
        when we have ended, or after `COURIER_TIMEOUT_S`.

    Raises:
        OSError: As `clone.fork_sharing_files`; EMFILE: no room for a listener.
    """
    child = pidfd.open_process(os.getpid())
    number = os.dup(end)  # the lowest that is free: the listener will get it
    os.close(number)
    courier = clone.fork_sharing_files()
    if courier:
        return courier
    try:
        if _watch(child, number):
            try:
                unix.send_fds(end, LISTENER_MESSAGE, [number])
            finally:
                # In the child's table too: a child whose execve waits for an answer would keep its
                # own listener open, and wait for ever if the supervisor died, or has already.
                os.close(number)
    finally:
        os._exit(0)


def _watch(child: int, number: int) -> bool:
    """Wait for the listener. Opens nothing: a descriptor of ours would take its number."""
    ended = select.poll()
    ended.register(child, select.POLLIN)
    deadline = time.monotonic() + COURIER_TIMEOUT_S
    for look in range(1 << 30):
        # In this order: what a child did before it ended is seen.
        over = bool(ended.poll(look >= _EAGER)) or time.monotonic() > deadline
        if seccomp.is_listener(number):
            return True
        if over:
            return False
        os.sched_yield()
    return False
