"""The processes that a helper works for: when the last of them has ended, so has the helper.

For who joined a user namespace, and can keep it alive: nobody leaves one again.
"""

from __future__ import annotations

import os
import select
import socket

from notifyd.kernel import pidfd

__all__ = ["WatchedProcesses"]

# processes that are known; those that came first stay, as their parents mostly did
MAX_WATCHED_PROCESSES = 8


class WatchedProcesses:
    """Owns pidfds.

    Args:
        channel: where requests come from; stays the caller's.
        first: a pidfd of the first one; owned from here on.
    """

    def __init__(self, channel: socket.socket, first: int) -> None:
        self._channel = channel
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._fds = {0: first}  # by process; 0 is nobody's number
        self._poll.register(first, select.POLLIN)

    def add(self, pid: int) -> None:
        """It works for this one, too."""
        if pid in self._fds or len(self._fds) >= MAX_WATCHED_PROCESSES:
            return
        try:
            descriptor = pidfd.open_process(pid)
        except OSError:
            return  # it has ended in the meantime
        self._fds[pid] = descriptor
        self._poll.register(descriptor, select.POLLIN)

    def wait(self) -> None:
        """Wait until there is a request, or nobody any more. Then no request can come from now on.

        What had come before is still to be received, and done.
        """
        while self._fds:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._channel.fileno() in ready:
                return
            for pid, descriptor in list(self._fds.items()):
                if descriptor in ready:
                    self._poll.unregister(descriptor)
                    os.close(descriptor)
                    del self._fds[pid]
        # Whoever sends gets EPIPE from here on, and asks another helper: no request is lost.
        self._channel.shutdown(socket.SHUT_RD)
