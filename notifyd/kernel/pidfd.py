"""pidfd_open(2), pidfd_getfd(2), pidfd_send_signal(2): a task that no other can take the place of.

Owns nothing: every descriptor it returns is the caller's, and close-on-exec.
"""

from __future__ import annotations

import errno
import os
import select
import signal

from notifyd.kernel import arch
from notifyd.kernel.libc import syscall

__all__ = ["PIDFD_THREAD", "alive", "get_fd", "open_process", "open_thread", "send_signal"]

PIDFD_THREAD = os.O_EXCL  # since 6.9
_SIGNAL_THREAD_GROUP = 1 << 1  # since 6.9


def open_process(pid: int) -> int:
    """Open a process by its pid. Since 5.3.

    Returns:
        A descriptor the caller owns; it polls readable once the whole process has ended.

    Raises:
        ProcessLookupError: ESRCH: it does not exist.
        OSError: ENOENT or EINVAL: `pid` is a thread that does not lead its process.
    """
    return os.pidfd_open(pid)


def open_thread(tid: int) -> int:
    """Open one thread, or the whole process where the kernel (before 6.9) knows no more.

    Returns:
        A descriptor the caller owns; it polls readable once the thread has ended.

    Raises:
        ProcessLookupError: ESRCH: it does not exist.
        OSError: EINVAL: before 6.9, and `tid` does not lead its process.
    """
    try:
        return os.pidfd_open(tid, PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.pidfd_open(tid)  # the kernel refuses all but a leader


def get_fd(pidfd: int, fd: int) -> int:
    """Copy a descriptor out of a task's table. Since 5.6; needs PTRACE_MODE_ATTACH_REALCREDS.

    Returns:
        A close-on-exec descriptor for the same open file description; the caller owns it.

    Raises:
        OSError: EBADF: the task has no `fd`. ESRCH: it is gone. EPERM: not ours to look into.
    """
    return syscall(arch.native().numbers["pidfd_getfd"], pidfd, fd, 0)


def send_signal(pidfd: int, sig: int, *, group: bool = False) -> None:
    """Send a signal to what the pidfd stands for.

    Args:
        pidfd: From `open_process` or `open_thread`.
        sig: The signal; 0 only asks whether it could be sent.
        group: Send it to the thread's whole process. Before 6.9 a pidfd always means that.

    Raises:
        ProcessLookupError: ESRCH: it has ended and was waited for.
        PermissionError: EPERM.
    """
    try:
        signal.pidfd_send_signal(pidfd, sig, None, _SIGNAL_THREAD_GROUP if group else 0)
    except OSError as error:
        if not group or error.errno != errno.EINVAL:
            raise
        signal.pidfd_send_signal(pidfd, sig)


def alive(pidfd: int) -> bool:
    """Say whether the task still runs; one that ended and was not waited for does not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)
