"""proc_pid_mountinfo(5): which devices this kernel alone serves.

A file system that a process or another machine serves can block every access.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import NamedTuple

from notifyd.kernel import files

__all__ = [
    "LOCAL",
    "LOCAL_FILE_SYSTEMS",
    "OVERLAY",
    "LocalDevices",
    "device",
    "has_fuse",
    "has_served",
    "inner_path",
    "is_root",
    "is_shared",
    "lists",
    "points",
    "tops",
]

# None of them asks another machine or a process.
LOCAL = frozenset(
    b"bcachefs btrfs erofs ext2 ext3 ext4 f2fs overlay ramfs squashfs tmpfs xfs".split()
)
# Nor do these, which have no files of anybody's.
_OF_THE_KERNEL = frozenset(
    b"autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl "
    b"hugetlbfs iso9660 mqueue nsfs proc pstore rpc_pipefs securityfs selinuxfs sysfs tracefs vfat "
    b"exfat udf ntfs3 zfs jfs nilfs2".split()
)
# The same by number, as in statfs(2), of those and of the kernel's own: linux/magic.h.
LOCAL_FILE_SYSTEMS = frozenset(
    (
        *(0xEF53, 0x9123683E, 0x58465342, 0x01021994, 0x858458F6),  # ext, btrfs, xfs, tmpfs, ramfs
        *(0x73717368, 0xE0F5E1E2, 0xF2F52010, 0xCA451A4E),  # squashfs, erofs, f2fs, bcachefs
        *(0x9FA0, 0x62656572, 0x27E0EB, 0x63677270),  # proc, sysfs, cgroup, cgroup2
        *(0x64626720, 0x74726163, 0x73636673, 0x19800202),  # debugfs, tracefs, securityfs, mqueue
        *(0x958458F6, 0x62656570, 0xCAFE4A11, 0x6E736673),  # hugetlbfs, configfs, bpf, nsfs
    )
)
OVERLAY = 0x794C7630  # which asks its layers, and they whom they like
_DONT_SYNC = 0x4000 | files.AT_EMPTY_PATH  # statx(2) of a served file from the cache alone
_ATTR_MOUNT_ROOT = 0x2000  # STATX_ATTR_MOUNT_ROOT
_DEVICE = 0x1  # STATX_TYPE; the device comes with every mask


def device(fd: int) -> int:
    """The device that an open file (O_PATH too) is on, without asking its server."""
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


def is_shared(directory: int, fd: int) -> bool:
    """Whether what is mounted below an open file shows in other places or namespaces, too.

    Args:
        directory: the open /proc/TID of the calling thread.
        fd: O_PATH too. True if nothing is known of its mount.
    """
    mount = _read(directory, f"fdinfo/{fd}").partition(b"mnt_id:")[2].split()[0]
    for line in _read(directory, "mountinfo").splitlines():
        number, *_, optional = line.partition(b" - ")[0].split(b" ", 6)
        if number == mount:
            return b"shared:" in optional
    return True


def is_root(fd: int) -> bool:
    """Whether an open file (O_PATH too) is the root of a mount; since Linux 5.8."""
    buffer = bytearray(files.STATX_SIZE)
    files.call("statx", fd, b"", _DONT_SYNC, _DEVICE, buffer)
    return bool(int.from_bytes(buffer[8:16], "little") & _ATTR_MOUNT_ROOT)


def has_served(path: str = "/proc/self/mountinfo") -> bool:
    """Whether a thread sees a file system that a process or another machine may serve.

    Raises:
        OSError: ENOENT, ESRCH: it has ended.
    """
    with open(path, "rb") as mounts:
        kinds = {line.partition(b" - ")[2].split(b" ", 1)[0] for line in mounts}
    return not kinds <= LOCAL | _OF_THE_KERNEL


def has_fuse(own: int) -> bool:
    """Whether the process whose open /proc/PID/fd is `own` sees a FUSE file system."""
    lines = _read(own, "../mountinfo").splitlines()
    return any(line.partition(b" - ")[2].startswith(b"fuse") for line in lines)


def points(path: str, directory: int | None = None) -> frozenset[bytes]:
    """Where something is mounted, seen from the root of a thread, by the path of its mountinfo.

    Raises:
        OSError: ENOENT, ESRCH: it has ended.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    with open(file, "rb") as mounts:
        return frozenset(_plain(line.split(b" ", 5)[4]) for line in mounts)


def tops(path: str, device: int) -> list[bytes]:
    """Where the whole file system of a device is mounted, by the path of a thread's mountinfo.

    Raises:
        OSError: ENOENT, ESRCH: it has ended.
    """
    number = b"%d:%d" % (os.major(device), os.minor(device))
    with open(path, "rb") as mounts:
        fields = [line.split(b" ", 5) for line in mounts]
    return [_plain(one[4]) for one in fields if one[2:4] == [number, b"/"]]


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


DEVICE_CACHE_SIZE = 1024  # devices; each file system has one, and a subvolume another


class LocalDevices:
    """Which devices are local, looked up once for each. Threads may use it at the same time."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    def __contains__(self, device: int) -> bool:
        known = self._known.get(device)
        if known is None:
            if len(self._known) >= DEVICE_CACHE_SIZE:
                self._known = {}
            known = self._known[device] = device in _local_devices()
        return known

    def forget(self) -> None:
        """Something was mounted: a number may be another file system's by now."""
        self._known = {}


def _local_devices() -> frozenset[int]:
    """The devices of mounted local file systems."""
    with open("/proc/self/mountinfo", "rb") as mounts:
        mounted = [_Mounted.of(line) for line in mounts]
    served = [one.point for one in mounted if one.kind not in LOCAL | _OF_THE_KERNEL]
    return frozenset(
        one.device
        for one in mounted
        if one.kind in LOCAL and not (one.kind == b"overlay" and one.lies_on(served))
    )


class _Mounted(NamedTuple):
    """A line of mountinfo, as far as it says who answers."""

    device: int
    point: bytes
    kind: bytes
    options: bytes

    @classmethod
    def of(cls, line: bytes) -> _Mounted:
        head, _, tail = line.rstrip(b"\n").partition(b" - ")
        _, _, number, _, point, *_ = head.split(b" ")
        kind, _, options = tail.split(b" ", 2)
        major, minor = number.split(b":")
        return cls(os.makedev(int(major), int(minor)), _plain(point), kind, options)

    def lies_on(self, points: Collection[bytes]) -> bool:
        """Whether a layer of an overlay, by its name, is below one of the points.

        One that is named from elsewhere is not: who mounted it had other names.
        """
        options = [one.partition(b"=") for one in self.options.split(b",")]
        layers = [
            _plain(layer)
            for name, _, value in options
            if name in (b"lowerdir", b"upperdir", b"lowerdir+", b"datadir+")
            for layer in value.split(b":")
        ]
        return any(
            layer == point or layer.startswith(point.rstrip(b"/") + b"/")
            for layer in layers
            for point in points
        )
