"""Which mount a file is on, and which mount namespace holds that mount: statx(2), statmount(2).

A mount's number here is never used again, where the kernel has such numbers (Linux 6.8).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import threading
from functools import cache
from struct import Struct
from typing import Any, NamedTuple

from notifyd.kernel import arch, proc
from notifyd.kernel.files import AT_EMPTY_PATH
from notifyd.kernel.libc import syscall
from notifyd.kernel.syscalls.common import SHARED

__all__ = [
    "FileSpot",
    "MountKind",
    "file_of",
    "held",
    "kind",
    "mode_and_mount",
    "mode_of",
    "mount_of",
    "namespace_id",
    "own_namespace",
    "own_root",
    "private_mount",
    "spot",
]

_AT_STATX_DONT_SYNC = 0x4000
_AT_HANDLE_MNT_ID_UNIQUE = 0x1
_MNT_ID, _MNT_ID_UNIQUE = 0x1000, 0x4000  # STATX_MNT_ID since 5.8, STATX_MNT_ID_UNIQUE since 6.8
_STATX = Struct("=I24xH2xQ104xQ")  # stx_mask, stx_mode, stx_ino, stx_mnt_id
_DEVICE = Struct("=136xII")  # stx_dev_major, stx_dev_minor
_REQUEST = Struct("=IIQQQ")  # struct mnt_id_req: size, -, mount, mask, namespace (since 6.11)
_SB_BASIC, _MNT_BASIC, _MNT_POINT = 0x1, 0x2, 0x10  # STATMOUNT_*
_MAGIC = Struct("=8xQ8xQ32xQ")  # struct statmount: mask, sb_magic, mnt_attr
_NO_SYMLINKS = 0x200000  # MOUNT_ATTR_NOSYMFOLLOW
_STATMOUNT = Struct("=QQ92xI")  # struct statmount: size, mask, mnt_point as an offset of a string
_STRINGS, _SLASH = 512, ord("/")  # where the strings begin
_GET_MNTNS_ID = 0x8008B705  # NS_GET_MNTNS_ID: ioctl_nsfs(2), since 6.11
_UNKNOWN = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ENOTTY)

# Without a copy of errno, as in process_vm: a failure is done again with it.
_syscall: Any = ctypes.CDLL(None).syscall
_syscall.restype = ctypes.c_long
_STATX_NR = ctypes.c_long(arch.native().numbers["statx"])
_STATX_FLAGS = ctypes.c_int(AT_EMPTY_PATH | _AT_STATX_DONT_SYNC)  # no server of files is asked
_STATX_MASK = ctypes.c_uint(_MNT_ID | _MNT_ID_UNIQUE)
_EMPTY = ctypes.c_char_p(b"")
_STATMOUNT_NR = ctypes.c_long(SHARED["statmount"])
_SIZE, _NO_FLAGS = ctypes.c_size_t(_STRINGS + 256), ctypes.c_uint(0)


class FileSpot(NamedTuple):
    """A file, and the mount that it was reached by: the same only if both are."""

    mount: int
    inode: int


class _MountBuffers:
    """What the kernel reads and writes, prepared once: setting it up costs more than a call."""

    def __init__(self) -> None:
        self.request, self.answer = bytearray(_REQUEST.size), bytearray(_STRINGS + 256)
        self.keep = [ctypes.c_char.from_buffer(one) for one in (self.request, self.answer)]
        self.asks, self.told = map(ctypes.byref, self.keep)


class _MountScratch(threading.local):
    """Buffers for each thread: the GIL is released while the kernel fills them."""

    def __init__(self) -> None:
        self.mine = _MountBuffers()


_scratch = _MountScratch()


def spot(fd: int) -> FileSpot:
    """What an open file (O_PATH too) is, and on which mount.

    Raises:
        OSError: EBADF.
    """
    mask, _, inode, mount = _statx(fd)
    if not mask & (_MNT_ID | _MNT_ID_UNIQUE):  # before 5.8
        mount = proc.mount_id(fd)
    return FileSpot(mount, inode)


def mount_of(fd: int) -> int:
    """The number of the mount that an open file (O_PATH too) is on; raises as `spot` does."""
    mask, _, _, mount = _statx(fd)
    return mount if mask & (_MNT_ID | _MNT_ID_UNIQUE) else proc.mount_id(fd)


def mode_of(fd: int) -> int:
    """The type and mode of an open file, without asking its server; raises as `spot`."""
    return _statx(fd)[1]


def file_of(fd: int) -> tuple[int, int]:
    """Device and inode of an open file (O_PATH too), without asking its server.

    Raises:
        OSError: EBADF. EACCES: it is a FUSE file system's that is another user's alone.
    """
    _, _, inode, _ = _statx(fd)
    if inode < 0:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return os.makedev(*_DEVICE.unpack_from(_scratch.mine.answer)), inode


def mode_and_mount(fd: int) -> tuple[int, int]:
    """What `mode_of` and `mount_of` tell, at the price of one."""
    mask, mode, _, mount = _statx(fd)
    return mode, mount if mask & (_MNT_ID | _MNT_ID_UNIQUE) else proc.mount_id(fd)


def _statx(fd: int) -> tuple[int, int, int, int]:
    buffer = _scratch.mine
    if _syscall(_STATX_NR, fd, _EMPTY, _STATX_FLAGS, _STATX_MASK, buffer.told) < 0:
        try:
            syscall(_STATX_NR.value, fd, _EMPTY, _STATX_FLAGS, _STATX_MASK, buffer.told)
        except PermissionError:
            return _of_another(fd)
    return _STATX.unpack_from(buffer.answer)


def _of_another(fd: int) -> tuple[int, int, int, int]:
    """The same of what FUSE shows to its own user alone: its mount (since 6.12), and not much more.

    Its inode is one that nothing else has: it is the same as nothing.
    """
    handle, mount = bytearray(8), ctypes.c_uint64()
    flags = AT_EMPTY_PATH | _AT_HANDLE_MNT_ID_UNIQUE
    place = (ctypes.c_char * 8).from_buffer(handle)
    number = arch.native().numbers["name_to_handle_at"]
    try:
        syscall(number, fd, b"", place, ctypes.byref(mount), flags)
    except OSError as error:
        if error.errno != errno.EOVERFLOW:  # no room for the handle itself
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from error
    return _MNT_ID_UNIQUE, _kind(fd), -1 - fd, mount.value


def _kind(fd: int) -> int:
    try:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except NotADirectoryError:
        return 0
    return stat.S_IFDIR


@cache
def own_root() -> FileSpot:
    """Our own root directory."""
    root = os.open("/proc/self/root", os.O_PATH | os.O_CLOEXEC)
    try:
        return spot(root)
    finally:
        os.close(root)


@cache
def private_mount() -> int:
    """The mount of what is in memory alone and in no tree: memfd_create(2), shmget(2)."""
    memory = os.memfd_create("notifyd", os.MFD_CLOEXEC)
    try:
        return mount_of(memory)
    finally:
        os.close(memory)


@cache
def own_namespace() -> str:
    """What /proc/TID/ns/mnt says of threads in our own mount namespace."""
    return os.readlink("/proc/self/ns/mnt")


def namespace_id(tid: int) -> int | None:
    """The number of a thread's mount namespace for `held`, 0 for ours; None if unknown.

    Raises:
        OSError: ESRCH, ENOENT: it has ended. EACCES: not ours to look into.
    """
    where = f"/proc/{tid}/ns/mnt"
    if os.readlink(where) == own_namespace():
        return 0
    namespace = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
    try:
        number = bytearray(8)
        fcntl.ioctl(namespace, _GET_MNTNS_ID, number, True)
        return int.from_bytes(number, "little")
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        return None
    finally:
        os.close(namespace)


def held(namespace: int, mount: int, *, anywhere: bool = False) -> bool | None:
    """Whether a mount is in a mount namespace, and to be reached from its root.

    Args:
        namespace: from `namespace_id`; 0 for our own, and then it is our own root.
        mount: from `mount_of`.
        anywhere: whether it does not matter if it is to be reached, which costs more to ask.

    Returns:
        None if the kernel does not tell: before 6.8, or not us.
    """
    buffer = _scratch.mine
    wanted = _MNT_BASIC if anywhere else _MNT_POINT
    _REQUEST.pack_into(buffer.request, 0, _REQUEST.size, 0, mount, wanted, namespace)
    told = buffer.told
    if _syscall(_STATMOUNT_NR, buffer.asks, told, _SIZE, _NO_FLAGS) < 0:
        return _why_not(buffer)
    if anywhere:
        return True
    _, mask, point = _STATMOUNT.unpack_from(buffer.answer)
    return bool(mask & _MNT_POINT) and buffer.answer[_STRINGS + point] == _SLASH


class MountKind(NamedTuple):
    """What is mounted, as far as the kernel knows without asking a server.

    Attributes:
        magic: the type of the file system, as in statfs(2).
        follows: whether links on it are followed.
    """

    magic: int
    follows: bool


def kind(namespace: int, mount: int) -> MountKind | None:
    """What a mount of a mount namespace is; None if the kernel does not say: args as for `held`."""
    buffer = _scratch.mine
    wanted = _SB_BASIC | _MNT_BASIC
    _REQUEST.pack_into(buffer.request, 0, _REQUEST.size, 0, mount, wanted, namespace)
    if _syscall(_STATMOUNT_NR, buffer.asks, buffer.told, _SIZE, _NO_FLAGS) < 0:
        return None
    mask, magic, attributes = _MAGIC.unpack_from(buffer.answer)
    if mask & wanted != wanted:
        return None
    return MountKind(magic, not attributes & _NO_SYMLINKS)


def _why_not(buffer: _MountBuffers) -> bool | None:
    try:
        syscall(SHARED["statmount"], buffer.asks, buffer.told, _STRINGS + 256, 0)
    except OSError as error:
        if error.errno == errno.EOVERFLOW:  # where it is mounted has a long name
            return True
        return None if error.errno in _UNKNOWN else False
    return False  # it has just appeared: the next request reports it
