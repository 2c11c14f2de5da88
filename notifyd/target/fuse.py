"""Whether memory of a target may be that of a file that somebody serves (FUSE)."""

from __future__ import annotations

import time

from notifyd.kernel import mountinfo, process_vm
from notifyd.kernel.fusectl import Connections

__all__ = ["RecentlyServed", "anybody_serves"]

FUSE_CHECK_INTERVAL_S = 1.0  # seconds


def anybody_serves() -> bool:
    """Whether files of this machine are served; where it does not tell, whether we see such."""
    with Connections() as connections:
        return connections.any() if connections.are_told else mountinfo.has_served()


class RecentlyServed:
    """Whether memory of a workload that has the loop to itself may make a look wait.

    What is asked is whether anybody serves files, as it was within the last second, and then
    whether the memory is there already, as far as its first page tells. That can change before the
    look: what then waits are the workload's own calls. To keep them from that would be the price of
    a promise to others.
    """

    def __init__(self) -> None:
        self._answer = True
        self._until = 0.0

    def __call__(self, tid: int, address: int, size: int) -> bool:
        """Of `size` bytes at an address of a thread; 0 where nobody knows how many."""
        now = time.monotonic()
        if now >= self._until:
            self._answer, self._until = anybody_serves(), now + FUSE_CHECK_INTERVAL_S
        if not self._answer:
            return False
        return not (0 < size <= process_vm.PAGE_SIZE and process_vm.is_there(tid, address))
