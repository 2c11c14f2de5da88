"""Recipes of what opens, makes, moves and removes names."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from types import MappingProxyType

from notifyd.errors import TargetFault
from notifyd.kernel import files
from notifyd.kernel.files import AT_EMPTY_PATH, KNOWN_OPEN_FLAGS, TMPFILE_BIT
from notifyd.kernel.structs import OPEN_HOW
from notifyd.perform.helper_request import ArgumentUse, LastComponent, Slot
from notifyd.perform.performers.performer import Performer, PreparedCall, at
from notifyd.perform.request_builder import RequestBuilder
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

__all__ = ["NAMING_PERFORMERS"]

HOW_MAX = 4096  # bytes of it: a page


def _open(builder: RequestBuilder) -> PreparedCall:
    flags = builder.number("flags")
    if builder.call.syscall != "openat2":
        flags &= KNOWN_OPEN_FLAGS
    creates = flags & (os.O_CREAT | TMPFILE_BIT) and not flags & os.O_PATH
    mode = builder.number("mode") if creates or builder.call.syscall == "openat2" else 0
    how = flags, mode, builder.number("resolve_flags")
    name = "openat2" if builder.call.syscall == "openat2" else "open"
    if name == "openat2":
        _check_how(builder, how)
    elif creates:
        _refused_by_kernel("openat", flags, mode)
    builder.place(_how_opened(flags))
    return PreparedCall(name, how, cloexec=bool(flags & os.O_CLOEXEC))


def _check_how(builder: RequestBuilder, how: tuple[int, int, int]) -> None:
    """Let the kernel refuse a struct open_how, which it does before it looks at the path."""
    address, size = builder.call.args[2:4]
    if size > HOW_MAX:
        raise TargetFault("a struct open_how of that size", errno.E2BIG)
    rest = (
        builder.call.read(address + OPEN_HOW.size, size - OPEN_HOW.size)
        if size > OPEN_HOW.size
        else b""
    )
    _refused_by_kernel("openat2", OPEN_HOW.pack(*how) + rest, size)


def _refused_by_kernel(call: str, *args: int | bytes) -> None:
    """Let the kernel say what it refuses before it looks at the path: here an empty one."""
    try:
        files.call(call, files.AT_FDCWD, b"", *args)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise TargetFault("flags that cannot be together", error.errno or 0) from error


def _how_opened(flags: int) -> LastComponent:
    if flags & os.O_CREAT and not flags & (os.O_PATH | TMPFILE_BIT):
        return (
            LastComponent.MADE_HERE if flags & (os.O_NOFOLLOW | os.O_EXCL) else LastComponent.MADE
        )
    return LastComponent.NOFOLLOW if flags & os.O_NOFOLLOW else LastComponent.FOLLOW


# -- names


def _mkdir(builder: RequestBuilder) -> PreparedCall:
    return PreparedCall("mkdirat", (at(builder.place(LastComponent.NAME)), builder.number("mode")))


def _mknod(builder: RequestBuilder) -> PreparedCall:
    major, minor = builder.value("device")
    device = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12  # new_encode_dev() in Linux
    return PreparedCall(
        "mknodat", (at(builder.place(LastComponent.NAME)), builder.number("mode"), device)
    )


def _unlink(builder: RequestBuilder) -> PreparedCall:
    flags = builder.flags(0x200)
    return PreparedCall("unlinkat", (at(builder.place(LastComponent.NAME)), flags))


def _rename(builder: RequestBuilder) -> PreparedCall:
    flags = builder.flags(7)
    old = builder.place(LastComponent.NAME, "oldpathname", "olddirfd", "oldpath")
    new = builder.place(LastComponent.NAME, "newpathname", "newdirfd", "newpath")
    return PreparedCall("renameat2", (at(old), at(new), flags))


def _link(builder: RequestBuilder) -> PreparedCall:
    flags = builder.flags(0x400 | AT_EMPTY_PATH)
    follow = LastComponent.FOLLOW if flags & 0x400 else LastComponent.NOFOLLOW
    empty = bool(flags & AT_EMPTY_PATH)
    old = builder.place(follow, "oldpathname", "olddirfd", "oldpath", empty=empty)
    new = builder.place(LastComponent.NAME, "newpathname", "newdirfd", "newpath")
    if builder.places[old].last == LastComponent.ITSELF:
        return PreparedCall("linkat", (Slot(ArgumentUse.FD, old), b"", at(new), AT_EMPTY_PATH))
    return PreparedCall("linkat", (at(old), at(new), 0x400))


def _symlink(builder: RequestBuilder) -> PreparedCall:
    place = builder.place(LastComponent.NAME, "linkpathname", "linkdirfd", "linkpath")
    return PreparedCall("symlinkat", (builder.value("content"), at(place)))


NAMING_PERFORMERS: Mapping[type[Call], Performer] = MappingProxyType(
    {
        Link: Performer(_link),
        Mkdir: Performer(_mkdir, makes=True),
        Mknod: Performer(_mknod, makes=True),
        Open: Performer(_open, makes=True),
        Rename: Performer(_rename),
        Symlink: Performer(_symlink),
        Unlink: Performer(_unlink),
    }
)
