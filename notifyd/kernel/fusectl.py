"""Whether any process of this machine serves files to the kernel (FUSE, virtiofs).

The control file system has a directory for each connection of the whole machine, in whatever
namespace it is mounted, from before its first file can be opened until after the last one is
closed: Documentation/filesystems/fuse/fuse.rst in Linux.
"""

from __future__ import annotations

import os

from notifyd.kernel import files, mounts

__all__ = ["Connections"]

_MAGIC = 0x65735543  # FUSE_CTL_SUPER_MAGIC
_WHERE = "/sys/fs/fuse/connections"
_EMPTY = 2  # links of a directory that has no other directory in it


class Connections:
    """All of them. A context manager that owns a descriptor of the control file system."""

    def __init__(self) -> None:
        self._directory = -1

    def __enter__(self) -> Connections:
        self._directory = _open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    @property
    def are_told(self) -> bool:
        """Whether the kernel shows them to us."""
        return self._directory >= 0

    def any(self, *_: object) -> bool:
        """Whether there is one; true if the kernel does not show it. Arguments are ignored."""
        return self._directory < 0 or os.fstat(self._directory).st_nlink != _EMPTY


def _open() -> int:
    """The control file system, mounted for this alone if it is not mounted; -1 if impossible."""
    try:
        found = os.open(_WHERE, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        found = -1
    if found >= 0 and files.filesystem(found) == _MAGIC:
        return found
    if found >= 0:
        os.close(found)
    try:
        return mounts.new(b"fusectl")
    except OSError:  # EPERM, or a kernel without it
        return -1
