"""proc_pid_mountinfo(5): which devices nobody but this kernel answers for.

A file system that a process or another machine serves can make whoever looks wait.
"""

from __future__ import annotations

import os
import re

from notifyd.kernel import files

__all__ = ["LOCAL", "LocalDevices", "device", "inner_path", "lists"]

# None of them asks another machine or a process.
LOCAL = frozenset(
    b"bcachefs btrfs erofs ext2 ext3 ext4 f2fs overlay ramfs squashfs tmpfs xfs".split()
)
_DONT_SYNC = 0x4000 | files.AT_EMPTY_PATH  # statx(2) of a served file from the cache alone
_DEVICE = 0x1  # STATX_TYPE; the device comes with every mask


def device(fd: int) -> int:
    """The device that an open file (O_PATH too) is on, without asking whoever serves it."""
    buffer = bytearray(files.STATX_SIZE)
    files.call("statx", fd, b"", _DONT_SYNC, _DEVICE, buffer)
    major = int.from_bytes(buffer[136:140], "little")
    minor = int.from_bytes(buffer[140:144], "little")
    return os.makedev(major, minor)


def inner_path(directory: int, fd: int) -> bytes | None:
    """The path of an open file within its file system, whatever of that is mounted where.

    Args:
        directory: the open /proc/TID of the calling thread.
        fd: O_PATH too.

    Returns:
        None if its mount is not below the thread's root.
    """
    mount = _read(directory, f"fdinfo/{fd}").partition(b"mnt_id:")[2].split()[0]
    name = os.fsencode(os.readlink(f"fd/{fd}", dir_fd=directory))
    for line in _read(directory, "mountinfo").splitlines():
        number, _, _, root, point, *_ = line.split(b" ")
        if number == mount:
            top = _plain(point).rstrip(b"/")
            inside = name == top or name.startswith(top + b"/")
            return _plain(root).rstrip(b"/") + name[len(top) :] if inside else None
    return None


def lists(path: str, mount: int) -> bool:
    """Whether a mountinfo file has a mount, by its number in the first column.

    Raises:
        OSError: ESRCH, ENOENT: its thread has ended.
    """
    with open(path, "rb") as mounts:
        return any(int(line.split(b" ", 1)[0]) == mount for line in mounts)


def _read(directory: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), "rb") as file:
        return file.read()


def _plain(field: bytes) -> bytes:
    """A field as it was before blanks and backslashes became octal."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)


class LocalDevices:
    """Which devices are local, looked up once for each. Threads may use it at the same time."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    def __contains__(self, device: int) -> bool:
        known = self._known.get(device)
        if known is None:
            known = self._known[device] = device in _local_devices()
        return known

    def forget(self) -> None:
        """Something was mounted: a number may be another file system's by now."""
        self._known = {}


def _local_devices() -> frozenset[int]:
    """The devices of mounted local file systems."""
    found = set()
    with open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            head, _, tail = line.partition(b" - ")
            if tail.split(b" ", 1)[0] in LOCAL:
                major, minor = head.split()[2].split(b":")
                found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)
