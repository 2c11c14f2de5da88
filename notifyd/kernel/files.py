"""System calls on files by their names in syscalls(2), with buffers that the kernel fills.

For calls performed on behalf of another process: nothing is added, checked or tried again, so
the errno that comes out is the kernel's own.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from struct import Struct
from typing import Any, Final

from notifyd.kernel import arch
from notifyd.kernel.libc import LIBC, fail, syscall

__all__ = [
    "AT_EACCESS",
    "AT_EMPTY_PATH",
    "AT_FDCWD",
    "KNOWN_OPEN_FLAGS",
    "NOFOLLOW_FLAGS",
    "PATH_FLAGS",
    "PROC_SUPER_MAGIC",
    "READ_FLAGS",
    "STATFS_SIZE",
    "STATX_SIZE",
    "ST_NOSYMFOLLOW",
    "TMPFILE_BIT",
    "call",
    "filesystem",
    "mounted",
    "openat",
    "status_flags",
]

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_EACCESS: Final = 0x200  # faccessat2(2)
PATH_FLAGS: Final = os.O_PATH | os.O_CLOEXEC
NOFOLLOW_FLAGS: Final = PATH_FLAGS | os.O_NOFOLLOW  # also opens a symbolic link
READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
TMPFILE_BIT: Final = 0o20000000  # __O_TMPFILE, of which O_TMPFILE adds O_DIRECTORY
PROC_SUPER_MAGIC: Final = 0x9FA0  # linux/magic.h
KNOWN_OPEN_FLAGS: Final = 0o37777703  # VALID_OPEN_FLAGS in Linux; open(2) forgets all others
STATX_SIZE: Final = 256  # bytes of struct statx

ST_NOSYMFOLLOW: Final = 0x2000  # linux/statfs.h; since 5.10

_STATFS = Struct("=q72xq")  # f_type and f_flags of struct statfs on 64-bit architectures
STATFS_SIZE: Final = 120  # bytes of struct statfs there


def _typed(*types: Any) -> Any:
    """syscall(2) with the types of its arguments: a call costs half then."""
    return ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, *types, use_errno=True)(("syscall", LIBC))


_openat = _typed(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint)
_OPENAT = arch.native().numbers["openat"]
_fstatfs = _typed(ctypes.c_int, ctypes.c_char_p)
_FSTATFS = arch.native().numbers["fstatfs"]


def call(name: str, *args: int | bytes | bytearray) -> int:
    """Do one system call.

    Args:
        name: As in syscalls(2); one that the native architecture has.
        *args: At most six. An int fills a register. Bytes are passed by their address, with a NUL
            behind them. A bytearray is a buffer that the kernel may fill.

    Returns:
        What the call returns.

    Raises:
        OSError: As the call; EINTR is not tried again.
        KeyError: This architecture has no such call.
    """
    return syscall(arch.native().numbers[name], *map(_passed, args))


def _passed(argument: int | bytes | bytearray) -> Any:
    if isinstance(argument, bytearray):
        return (ctypes.c_char * len(argument)).from_buffer(argument)
    return argument


def openat(dirfd: int, path: bytes, flags: int, mode: int) -> int:
    """Open a file, and give up with EINTR where a signal comes, which os.open does not.

    Returns:
        A descriptor the caller owns; close-on-exec if `flags` say so.

    Raises:
        OSError: As openat(2).
    """
    found: int = _openat(_OPENAT, dirfd, path, flags, mode)
    if found < 0:
        fail()
    return found


def status_flags(fd: int) -> int:
    """How a descriptor was opened, the access mode among it: fcntl(2) F_GETFL."""
    return fcntl.fcntl(fd, fcntl.F_GETFL)


def filesystem(fd: int) -> int:
    """Return the type of the file system that an open file is on; as `mounted`."""
    return mounted(fd)[0]


def mounted(fd: int) -> tuple[int, int]:
    """Return type and mount flags of where an open file (O_PATH too) is, as in statfs(2).

    A file system in user space may block this, or give no answer: then it is 0.
    """
    buffer = ctypes.create_string_buffer(STATFS_SIZE)
    if _fstatfs(_FSTATFS, fd, buffer) < 0:
        return 0, 0
    return _STATFS.unpack_from(buffer)
