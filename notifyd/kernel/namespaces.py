"""namespaces(7): which a task is in, whose they are, and joining those of another: setns(2)."""

from __future__ import annotations

import fcntl
import os
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

from notifyd.kernel import arch
from notifyd.kernel.libc import syscall

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAMESPACE_TYPES", "join", "owner", "parent", "read"]

# By the name of the link in /proc/TID/ns, the flag of setns(2). Those that decide what a path, a
# socket or a name of the machine means. A pid namespace is only for children: pid_namespaces(7).
NAMESPACE_TYPES: Mapping[str, int] = MappingProxyType(
    {
        "user": 0x10000000,
        "mnt": 0x00020000,
        "net": 0x40000000,
        "uts": 0x04000000,
        "ipc": 0x08000000,
        "cgroup": 0x02000000,
    }
)


_GET_PARENT = 0xB702  # since 4.9
_GET_OWNER_UID = 0xB704  # since 4.11


def read(directory: int) -> tuple[int, ...]:
    """Return the inode numbers of the namespaces in `NAMESPACE_TYPES`, in that order.

    Args:
        directory: an open /proc/TID.

    Raises:
        OSError: ESRCH, ENOENT: it has ended. EACCES: not ours to look into.
    """
    return tuple(os.stat(f"ns/{kind}", dir_fd=directory).st_ino for kind in NAMESPACE_TYPES)


def join(fd: int, flags: int) -> None:
    """Join namespaces. Since 5.8 with a pidfd.

    Args:
        fd: a pidfd of a process, or of a thread (6.9), or one namespace: an open /proc/TID/ns/mnt.
        flags: values of `NAMESPACE_TYPES`, added up. With the user namespace, capabilities are
            those of its root from then on; the caller must have one thread only.

    Raises:
        OSError: EPERM: no power over them. EINVAL: its user namespace is ours already, or the
            caller has several threads. ESRCH: it has ended.
    """
    syscall(arch.native().numbers["setns"], fd, flags)


def owner(namespace: int) -> int:
    """Return the user id, in our user namespace, that made a user namespace: ioctl_ns(2).

    Args:
        namespace: an open /proc/TID/ns/user.
    """
    uid = bytearray(4)
    fcntl.ioctl(namespace, _GET_OWNER_UID, uid, True)
    return int.from_bytes(uid, sys.byteorder)


def parent(namespace: int) -> int:
    """Open the parent of a user namespace; close-on-exec, and the caller's: ioctl_ns(2).

    Raises:
        OSError: EPERM: it is ours or outside of ours, or has none.
    """
    return fcntl.ioctl(namespace, _GET_PARENT)
