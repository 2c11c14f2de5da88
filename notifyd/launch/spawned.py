"""A command that was started behind a filter, and what we hold of it.

Owns its three descriptors and its exit status. Does not know how it was started.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from notifyd.kernel import pidfd

if TYPE_CHECKING:
    from types import TracebackType

    from notifyd.launch.monitor import Monitor

__all__ = ["EXEC_FAILED", "Spawned"]

EXEC_FAILED = struct.Struct("=ci")  # b"X" and the errno of execve(2)


class Spawned:
    """A started command; a context manager that closes our descriptors and leaves it alone.

    Attributes:
        pid: Its process id, ours to wait for: good until `reap` has returned a status.
        pidfd: A descriptor for it; readable when it has ended.
        listener: The listener of its filter; None if it was started without. One reader.
        exec_status: Readable as soon as execve(2) succeeded or failed; then see `exec_error`.
        monitor: Its parent, where it has a terminal of its own; None where that is we.
    """

    __slots__ = ("_exec_error", "_status", "exec_status", "listener", "monitor", "pid", "pidfd")

    def __init__(
        self,
        pid: int,
        pidfd: int,
        listener: int | None,
        exec_status: int,
        failure: bytes = b"",
        monitor: Monitor | None = None,
    ) -> None:
        self.monitor = monitor
        self.pid = pid
        self.pidfd = pidfd
        self.listener = listener
        self.exec_status = exec_status
        self._exec_error = _error(failure)
        self._status: int | None = None

    def exec_error(self) -> OSError | None:
        """Return why execve(2) failed; None if it succeeded, or is not over yet.

        Never waits. Final once `exec_status` polls readable, at the latest when the command ended.
        It exits by itself then: with 127 after ENOENT, else with 126.
        """
        if self._exec_error is None and self.exec_status >= 0:
            try:
                data = os.read(self.exec_status, EXEC_FAILED.size)
            except (BlockingIOError, ConnectionResetError):
                return None
            self._exec_error = _error(data)
        return self._exec_error

    def reap(self) -> int | None:
        """Return the status as a shell shows it, n or 128 + signal; None while it runs.

        Never waits, and may be asked again.

        Raises:
            ChildProcessError: ECHILD: it was waited for elsewhere, or SIGCHLD is ignored.
        """
        if self.monitor is not None:
            return self.monitor.status
        if self._status is None:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            # While a thread of ours traces it, its stops show here too, and are not for us.
            if ended is not None and ended.si_code != os.CLD_TRAPPED:
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)
                signaled = ended.si_code != os.CLD_EXITED
                self._status = ended.si_status + (128 if signaled else 0)
        return self._status

    @property
    def running(self) -> bool:
        """Whether it has not ended; a stopped one has not."""
        return self._status is None and pidfd.alive(self.pidfd)

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens if it has ended.

        Raises:
            PermissionError: EPERM: it has changed its user, by a set-user-ID file.
        """
        try:
            pidfd.send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Close the descriptors. Twice is harmless. Calls trapped later fail with ENOSYS."""
        owned = (self.listener, self.pidfd, self.exec_status)
        self.listener, self.pidfd, self.exec_status = None, -1, -1
        for fd in owned:
            if fd is not None and fd >= 0:
                os.close(fd)
        if self.monitor is not None:
            self.monitor.close()

    def __enter__(self) -> Spawned:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _error(message: bytes) -> OSError | None:
    if len(message) != EXEC_FAILED.size:
        return None
    _, number = EXEC_FAILED.unpack(message)
    return OSError(number, os.strerror(number))
