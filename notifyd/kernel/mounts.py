"""Mounts that one thread has to itself: mount_namespaces(7), and the calls of fsopen(2).

Everything raises `OSError` as the call does: EPERM without CAP_SYS_ADMIN.
"""

from __future__ import annotations

import os

from notifyd.kernel import files
from notifyd.kernel.credentials import unshare

__all__ = ["attach", "copy", "new", "new_tmpfs", "part"]

CLONE_NEWNS = 0x20000
MS_REMOUNT, MS_BIND = 0x20, 0x1000  # mount(2)
MNT_EXPIRE, UMOUNT_NOFOLLOW = 4, 8  # umount(2)
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = _OPEN_TREE_CLONE = 1
_FSCONFIG_CMD_CREATE = 6
_FROM_EMPTY_PATH = 0x4  # MOVE_MOUNT_F_EMPTY_PATH


def part() -> None:
    """Give the calling thread a mount namespace, and a root and cwd, of its own.

    What is mounted in it from then on shows nowhere else, and ends with the thread.

    Raises:
        OSError: EINVAL: our root is not a mount; the namespace exists by then, but may be seen.
    """
    unshare(CLONE_NEWNS)
    files.call("mount", b"none", b"/", 0, _MS_REC | _MS_PRIVATE, 0)


def new_tmpfs() -> int:
    """Make a tmpfs that is mounted nowhere yet; its root, which the caller owns. Since 5.2."""
    return new(b"tmpfs")


def new(kind: bytes) -> int:
    """The same of any file system that needs no options."""
    context = files.call("fsopen", kind, _FSOPEN_CLOEXEC)
    try:
        files.call("fsconfig", context, _FSCONFIG_CMD_CREATE, 0, 0, 0)
        return files.call("fsmount", context, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)


def copy(path: bytes) -> int:
    """Make a mount of what is at a path, mounted nowhere yet; the caller owns it. Since 5.2."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    return files.call("open_tree", files.AT_FDCWD, path, flags)


def attach(mount: int, directory: int, name: bytes) -> None:
    """Mount what `new_tmpfs` or `copy` made on a directory."""
    files.call("move_mount", mount, b"", directory, name, _FROM_EMPTY_PATH)
