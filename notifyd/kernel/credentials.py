"""credentials(7) of the calling thread alone: ids, groups, capabilities, its own root and cwd.

The C library changes the ids of all threads at once, as POSIX wants. The kernel's own calls change
one thread, which is what acting with other ids needs: the rest of the supervisor stays
what it is. A thread that was changed must end; it is never used for anything else.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

from notifyd.kernel.arch import native
from notifyd.kernel.capability import CAPABILITY_VERSION_3
from notifyd.kernel.libc import syscall

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CLONE_FS",
    "prepared",
    "set_capabilities",
    "set_fs_ids",
    "set_gids",
    "set_groups",
    "set_uids",
    "unshare",
]

CLONE_FS = 0x200


def _number(name: str) -> int:
    return native().numbers[name]


def unshare(flags: int) -> None:
    """Stop sharing with other threads; CLONE_FS gives this thread a root, cwd and umask."""
    syscall(_number("unshare"), flags)


def set_groups(groups: tuple[int, ...]) -> None:
    """Set the supplementary groups of this thread; setgroups(2). Needs CAP_SETGID."""
    array = (ctypes.c_uint32 * len(groups))(*groups)
    syscall(_number("setgroups"), len(groups), array)


def set_gids(real: int, effective: int, saved: int) -> None:
    """Set the group ids of this thread; -1 leaves one as it is; setresgid(2)."""
    syscall(_number("setresgid"), real, effective, saved)


def set_uids(real: int, effective: int, saved: int) -> None:
    """Set the user ids of this thread; -1 leaves one as it is; setresuid(2).

    An effective id that goes from 0 to another empties the effective capabilities.
    """
    syscall(_number("setresuid"), real, effective, saved)


def set_fs_ids(uid: int, gid: int) -> None:
    """Set what files see: setfsgid(2), setfsuid(2). They report no failure; it is looked for.

    Raises:
        PermissionError: EPERM: the ids did not take.
    """
    for name, wanted in (("setfsgid", gid), ("setfsuid", uid)):
        syscall(_number(name), wanted)
        if syscall(_number(name), -1) != wanted:
            raise PermissionError(1, f"{name}({wanted}) did not take")


def set_capabilities(effective: int, permitted: int) -> None:
    """Set this thread's capabilities, bit n for number n; none stays inheritable; capset(2)."""
    prepared(effective, permitted)()


def prepared(effective: int, permitted: int) -> Callable[[], object]:
    """What does `set_capabilities` when it is called, for who has to do it often."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = (ctypes.c_uint32 * 6)(
        effective & low, permitted & low, 0, effective >> high, permitted >> high, 0
    )
    return partial(syscall, _number("capset"), header, data)
