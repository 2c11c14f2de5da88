"""namespaces(7): which ones a task is in, and joining those of another: setns(2)."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from notifyd.kernel import arch
from notifyd.kernel.libc import syscall

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "join", "read"]

# By the name of the link in /proc/TID/ns, the flag of setns(2). Those that decide what a path, a
# socket or a name of the machine means. A pid namespace is only for children: pid_namespaces(7).
KINDS: Mapping[str, int] = MappingProxyType(
    {
        "user": 0x10000000,
        "mnt": 0x00020000,
        "net": 0x40000000,
        "uts": 0x04000000,
        "ipc": 0x08000000,
    }
)


def read(directory: int) -> tuple[int, ...]:
    """Return the inode numbers of the namespaces in `KINDS`, in that order.

    Args:
        directory: an open /proc/TID.

    Raises:
        OSError: ESRCH, ENOENT: it has ended. EACCES: not ours to look into.
    """
    return tuple(os.stat(f"ns/{kind}", dir_fd=directory).st_ino for kind in KINDS)


def join(pidfd: int, flags: int) -> None:
    """Join namespaces of a process. Since 5.8 with a pidfd.

    Args:
        pidfd: of a process, or of a thread (6.9).
        flags: values of `KINDS`, added up. With the user namespace, capabilities are those of its
            root from then on; the caller must have one thread only.

    Raises:
        OSError: EPERM: no power over them. EINVAL: its user namespace is ours already, or the
            caller has several threads. ESRCH: it has ended.
    """
    syscall(arch.native().numbers["setns"], pidfd, flags)
