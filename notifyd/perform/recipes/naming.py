"""Recipes of what opens, makes, moves and removes names."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from struct import Struct
from types import MappingProxyType

from notifyd.errors import TargetFault
from notifyd.kernel import files
from notifyd.kernel.files import AT_EMPTY_PATH, KNOWN_OPEN_FLAGS
from notifyd.perform.draft import Draft
from notifyd.perform.order import Last, Slot, Use
from notifyd.perform.recipes.recipe import Drawn, Recipe, at
from notifyd.policy.call import Call
from notifyd.policy.operations import (
    Link,
    Mkdir,
    Mknod,
    Open,
    Rename,
    Symlink,
    Unlink,
)

__all__ = ["RECIPES"]

HOW = Struct("=QQQ")  # struct open_how: flags, mode, resolve
HOW_MAX = 4096  # bytes of it: a page
TMPFILE_BIT = 0o20000000  # __O_TMPFILE


def _open(draft: Draft) -> Drawn:
    flags = draft.number("flags")
    if draft.call.syscall != "openat2":
        flags &= KNOWN_OPEN_FLAGS
    creates = flags & (os.O_CREAT | TMPFILE_BIT) and not flags & os.O_PATH
    mode = draft.number("mode") if creates or draft.call.syscall == "openat2" else 0
    how = flags, mode, draft.number("resolve_flags")
    name = "openat2" if draft.call.syscall == "openat2" else "open"
    if name == "openat2":
        _check_how(draft, how)
    elif creates:
        _refused_by_kernel("openat", flags, mode)
    draft.place(_how_opened(flags))
    return Drawn(name, how, cloexec=bool(flags & os.O_CLOEXEC))


def _check_how(draft: Draft, how: tuple[int, int, int]) -> None:
    """Let the kernel refuse a struct open_how, which it does before it looks at the path."""
    address, size = draft.call.args[2:4]
    if size > HOW_MAX:
        raise TargetFault("a struct open_how of that size", errno.E2BIG)
    rest = draft.call.read(address + HOW.size, size - HOW.size) if size > HOW.size else b""
    _refused_by_kernel("openat2", HOW.pack(*how) + rest, size)


def _refused_by_kernel(call: str, *args: int | bytes) -> None:
    """Let the kernel say what it refuses before it looks at the path: here an empty one."""
    try:
        files.call(call, files.AT_FDCWD, b"", *args)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise TargetFault("flags that cannot be together", error.errno or 0) from error


def _how_opened(flags: int) -> Last:
    if flags & os.O_CREAT and not flags & (os.O_PATH | TMPFILE_BIT):
        return Last.MADE_HERE if flags & (os.O_NOFOLLOW | os.O_EXCL) else Last.MADE
    return Last.NOFOLLOW if flags & os.O_NOFOLLOW else Last.FOLLOW


# -- names


def _mkdir(draft: Draft) -> Drawn:
    return Drawn("mkdirat", (at(draft.place(Last.NAME)), draft.number("mode")))


def _mknod(draft: Draft) -> Drawn:
    major, minor = draft.value("device")
    device = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12  # new_encode_dev() in Linux
    return Drawn("mknodat", (at(draft.place(Last.NAME)), draft.number("mode"), device))


def _unlink(draft: Draft) -> Drawn:
    flags = draft.flags(0x200)
    return Drawn("unlinkat", (at(draft.place(Last.NAME)), flags))


def _rename(draft: Draft) -> Drawn:
    flags = draft.flags(7)
    old = draft.place(Last.NAME, "oldpathname", "olddirfd", "oldpath")
    new = draft.place(Last.NAME, "newpathname", "newdirfd", "newpath")
    return Drawn("renameat2", (at(old), at(new), flags))


def _link(draft: Draft) -> Drawn:
    flags = draft.flags(0x400 | AT_EMPTY_PATH)
    follow = Last.FOLLOW if flags & 0x400 else Last.NOFOLLOW
    empty = bool(flags & AT_EMPTY_PATH)
    old = draft.place(follow, "oldpathname", "olddirfd", "oldpath", empty=empty)
    new = draft.place(Last.NAME, "newpathname", "newdirfd", "newpath")
    if draft.places[old].last == Last.ITSELF:
        return Drawn("linkat", (Slot(Use.FD, old), b"", at(new), AT_EMPTY_PATH))
    return Drawn("linkat", (at(old), at(new), 0x400))


def _symlink(draft: Draft) -> Drawn:
    place = draft.place(Last.NAME, "linkpathname", "linkdirfd", "linkpath")
    return Drawn("symlinkat", (draft.value("content"), at(place)))


RECIPES: Mapping[type[Call], Recipe] = MappingProxyType(
    {
        Link: Recipe(_link),
        Mkdir: Recipe(_mkdir, makes=True),
        Mknod: Recipe(_mknod, makes=True),
        Open: Recipe(_open, makes=True),
        Rename: Recipe(_rename),
        Symlink: Recipe(_symlink),
        Unlink: Recipe(_unlink),
    }
)
