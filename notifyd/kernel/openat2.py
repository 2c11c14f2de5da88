"""openat2(2): opening a path within bounds that the kernel itself keeps. Since 5.6."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from typing import Any

from notifyd.kernel.libc import LIBC, fail
from notifyd.kernel.limits import PATH_MAX
from notifyd.kernel.structs import OPEN_HOW
from notifyd.kernel.syscalls.common import SHARED

__all__ = [
    "RESOLVE_BENEATH",
    "RESOLVE_CACHED",
    "RESOLVE_IN_ROOT",
    "RESOLVE_NO_MAGICLINKS",
    "RESOLVE_NO_SYMLINKS",
    "RESOLVE_NO_XDEV",
    "open_long",
    "openat2",
]

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20  # since 5.12: EAGAIN rather than wait for a disk

_MAX_PATH_BYTES = PATH_MAX - 1  # of a path without its NUL
_pack = lru_cache(256)(OPEN_HOW.pack)  # the same few come again and again
_OPENAT2 = SHARED["openat2"]

# With its types known, a call costs half.
_syscall: Any = ctypes.CFUNCTYPE(
    ctypes.c_long,
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    use_errno=True,
)(("syscall", LIBC))


def openat2(dirfd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open a path, relative to a directory.

    Args:
        dirfd: The directory, or -100 (AT_FDCWD).
        path: Without NUL.
        flags: `O_*`, just these: say O_CLOEXEC. What openat(2) ignores is EINVAL here.
        mode: For O_CREAT and O_TMPFILE; otherwise it must be 0.
        resolve: `RESOLVE_*`, added up.

    Returns:
        A descriptor the caller owns.

    Raises:
        OSError: EXDEV: the path leaves what RESOLVE_BENEATH, IN_ROOT or NO_XDEV allow. ELOOP: a
            link that is forbidden. EAGAIN: a rename came in between, or not cached: try again.
            ENOSYS: older than 5.6. Others as open(2).
    """
    if b"\0" in path:
        raise ValueError("a path cannot hold a NUL")
    found: int = _syscall(_OPENAT2, dirfd, path, _pack(flags, mode, resolve), 24)
    if found < 0:
        fail()
    return found


def open_long(dirfd: int, path: bytes, flags: int, resolve: int = 0) -> int:
    """Open a path as `openat2` does, however long it is.

    What is longer than the kernel takes at once has to be without `..` and links, or their meaning
    would depend on where it is cut.

    Raises:
        OSError: as `openat2`. ENAMETOOLONG: a component is too long.
    """
    here = -1
    try:
        while len(path) > _MAX_PATH_BYTES:
            at = path.rfind(b"/", 0, _MAX_PATH_BYTES)
            if at <= 0:
                break
            step = openat2(
                dirfd if here < 0 else here, path[:at], os.O_PATH | os.O_CLOEXEC, resolve=resolve
            )
            if here >= 0:
                os.close(here)
            here, path = step, path[at:].lstrip(b"/") or b"."
        return openat2(dirfd if here < 0 else here, path, flags, resolve=resolve)
    finally:
        if here >= 0:
            os.close(here)
