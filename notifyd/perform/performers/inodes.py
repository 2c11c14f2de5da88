"""Recipes of what asks about files and changes what they say of themselves."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from notifyd.errors import TargetFault
from notifyd.kernel import files
from notifyd.kernel.files import AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, STATFS_SIZE, STATX_SIZE
from notifyd.perform import layouts
from notifyd.perform.helper_request import Arg, ArgumentUse, HelperReply, LastComponent, Slot
from notifyd.perform.performers.performer import Performer, PreparedCall, at, path
from notifyd.perform.request_builder import RequestBuilder
from notifyd.perform.syscall_result import SyscallResult
from notifyd.policy.call import Call
from notifyd.policy.operations import (
    Access,
    Chmod,
    Chown,
    GetXattr,
    ListXattr,
    ReadLink,
    RemoveXattr,
    SetXattr,
    Stat,
    StatFs,
    Truncate,
    Utime,
)
from notifyd.policy.operations.attributes import AT_SYMLINK_NOFOLLOW

__all__ = ["INODE_PERFORMERS"]

AT_NO_AUTOMOUNT = 0x800
AT_SYNC = 0x6000  # AT_STATX_SYNC_TYPE
XATTR_MAX = 65536  # bytes of a value, and of a list of names: limits.h
XATTR_CREATE, XATTR_REPLACE = 1, 2
XATTR_ARGS_SIZE = 16  # bytes of struct xattr_args
XATTR_ARGS_MAX = 4096  # a page
READLINK_MAX = 4096
STATFS64_SIZE = 84  # bytes of i386's struct statfs64, which its calls are told
_OPEN_ONLY = ("listxattr", "removexattr")  # of an empty path AT_FDCWD: EBADF, as O_PATH gets it
UTIME_OMIT = 0x3FFFFFFE.to_bytes(8, "little")


def _chmod(builder: RequestBuilder) -> PreparedCall:
    mode = builder.number("mode")
    if builder.has("fd"):
        return PreparedCall("fchmod", (builder.own(), mode))
    builder.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    place = builder.thing()
    return PreparedCall("fchmodat", (at(place), mode))


def _chown(builder: RequestBuilder) -> PreparedCall:
    ids = builder.number("uid"), builder.number("gid")
    if builder.has("fd"):
        return PreparedCall("fchown", (builder.own(), *ids))
    builder.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    place = builder.thing()
    return PreparedCall("fchownat", (at(place), *ids, 0))


def _truncate(builder: RequestBuilder) -> PreparedCall:
    size = builder.number("size")
    if builder.has("fd"):
        return PreparedCall("ftruncate", (builder.own(), size))
    if size < 0:
        raise TargetFault("a negative size", errno.EINVAL)
    return PreparedCall("truncate", (path(builder.thing()), size))


def _utime(builder: RequestBuilder) -> PreparedCall:
    given = layouts.times(builder.call)
    times: Arg = given or 0
    if given and given[8:16] == given[24:] == UTIME_OMIT:
        # the kernel looks at nothing else
        return PreparedCall("utimensat", (AT_FDCWD, b"", times, 0))
    builder.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    if not builder.value("pathname") and builder.call.raw("pathname", 1) == 0:
        return PreparedCall("utimensat", (builder.own("dirfd"), 0, times, 0))
    return PreparedCall("utimensat", (at(builder.thing()), times, 0))


def _set_xattr(builder: RequestBuilder) -> PreparedCall:
    _check_xattr_args(builder)
    size, flags = builder.number("size"), builder.flags(XATTR_CREATE | XATTR_REPLACE)
    if size > XATTR_MAX:
        raise TargetFault("a value of that size", errno.E2BIG)
    value = builder.value("value") if size else 0
    rest = (_xattr_name(builder), value, size, flags)
    return PreparedCall(*_xattr("setxattr", builder, rest))


def _remove_xattr(builder: RequestBuilder) -> PreparedCall:
    return PreparedCall(*_xattr("removexattr", builder, (_xattr_name(builder),)))


def _get_xattr(builder: RequestBuilder) -> PreparedCall:
    _check_xattr_args(builder)
    return PreparedCall(*_xattr("getxattr", builder, (_xattr_name(builder), *_room(builder))))


def _check_xattr_args(builder: RequestBuilder) -> None:
    """Refuse a struct xattr_args as the kernel does: setxattrat(2), getxattrat(2)."""
    if not builder.has("at_flags"):
        return
    address, size = builder.call.args[4:6]
    if size < XATTR_ARGS_SIZE:
        raise TargetFault("a struct xattr_args that is too short", errno.EINVAL)
    if size > XATTR_ARGS_MAX or any(builder.call.read(address, size)[XATTR_ARGS_SIZE:]):
        raise TargetFault("a struct xattr_args that is too long", errno.E2BIG)
    if not builder.has("flags") and any(builder.call.read(address, XATTR_ARGS_SIZE)[12:]):
        raise TargetFault("flags that are for setting", errno.EINVAL)


def _list_xattr(builder: RequestBuilder) -> PreparedCall:
    return PreparedCall(*_xattr("listxattr", builder, _room(builder)))


def _room(builder: RequestBuilder) -> tuple[Arg, Arg]:
    size = min(builder.number("size"), XATTR_MAX)
    return (Slot(ArgumentUse.OUT, size), size) if size else (0, 0)


def _xattr(
    call: str, builder: RequestBuilder, rest: tuple[Arg, ...]
) -> tuple[str, tuple[Arg, ...]]:
    if builder.has("fd"):
        if builder.number("fd") == AT_FDCWD and call not in _OPEN_ONLY and _fd_may_be_cwd():
            return call, (path(builder.text_place(b".")), *rest)
        return f"f{call}", (builder.own(), *rest)
    if builder.has("at_flags"):
        builder.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, "at_flags")
    place = builder.places[number := builder.thing("at_flags")]
    by_cwd = int(getattr(builder.call, "dirfd", 0)) == AT_FDCWD
    if place.last == LastComponent.ITSELF and (call in _OPEN_ONLY or not by_cwd):
        return f"f{call}", (Slot(ArgumentUse.OWN, place.start), *rest)
    return call, (path(number), *rest)


def _fd_may_be_cwd() -> bool:
    """Whether AT_FDCWD is a descriptor to fgetxattr(2) and fsetxattr(2): since Linux 6.13."""
    try:
        files.call("fgetxattr", AT_FDCWD, b"user.", b"", 0)
    except OSError as error:
        return error.errno != errno.EBADF
    return True


def _xattr_name(builder: RequestBuilder) -> bytes:
    name: bytes = builder.value("name")
    if not name:
        raise TargetFault("an empty name", errno.ERANGE)
    return name


def _filled(builder: RequestBuilder, reply: HelperReply) -> SyscallResult:
    """The first `value` bytes of the only buffer are the answer."""
    if not reply.outs or not builder.number("size"):
        return SyscallResult(reply.value)
    return SyscallResult(
        reply.value, memory=((builder.number("buffer"), reply.outs[0][: reply.value]),)
    )


# -- looking


def _access(builder: RequestBuilder) -> PreparedCall:
    builder.flags(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    wanted = builder.number("wanted")
    if wanted & ~7:
        raise TargetFault("no such permission", errno.EINVAL)
    place = builder.thing()
    # Whoever does it has the ids in effect that the call is about.
    return PreparedCall("faccessat2", (at(place), wanted, AT_EACCESS))


def _stat(builder: RequestBuilder) -> PreparedCall:
    if builder.has("fd"):
        fd: Slot = builder.own()
        flags = AT_EMPTY_PATH
    else:
        known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH
        known |= AT_SYNC if builder.call.syscall == "statx" else 0
        flags = builder.flags(known)
        fd = Slot(ArgumentUse.FD, builder.thing())
    mask = layouts.BASIC
    if builder.call.syscall == "statx":
        mask = builder.number("mask")
        if mask >> 31 or flags & AT_SYNC == AT_SYNC:
            raise TargetFault("a reserved bit", errno.EINVAL)
    flags = flags & AT_SYNC | AT_EMPTY_PATH | AT_NO_AUTOMOUNT
    return PreparedCall("statx", (fd, b"", flags, mask, Slot(ArgumentUse.OUT, STATX_SIZE)))


def _stat_done(builder: RequestBuilder, reply: HelperReply) -> SyscallResult:
    data = layouts.stat(builder.call, reply.outs[0], builder.answer)
    return SyscallResult(0, memory=((builder.number("buffer"), data),))


def _statfs(builder: RequestBuilder) -> PreparedCall:
    if builder.call.syscall.endswith("64") and builder.call.args[1] != STATFS64_SIZE:
        raise TargetFault("another struct statfs64", errno.EINVAL)
    fd = builder.own() if builder.has("fd") else Slot(ArgumentUse.FD, builder.thing())
    return PreparedCall("fstatfs", (fd, Slot(ArgumentUse.OUT, STATFS_SIZE)))


def _statfs_done(builder: RequestBuilder, reply: HelperReply) -> SyscallResult:
    data = layouts.statfs(builder.call, reply.outs[0])
    return SyscallResult(0, memory=((builder.number("buffer"), data),))


def _readlink(builder: RequestBuilder) -> PreparedCall:
    size = min(builder.number("size"), READLINK_MAX)
    if size <= 0:
        raise TargetFault("no room", errno.EINVAL)
    place = builder.place(LastComponent.NOFOLLOW, empty=builder.has("dirfd"))
    return PreparedCall(
        "readlinkat", (Slot(ArgumentUse.FD, place), b"", Slot(ArgumentUse.OUT, size), size)
    )


INODE_PERFORMERS: Mapping[type[Call], Performer] = MappingProxyType(
    {
        Access: Performer(_access),
        Chmod: Performer(_chmod),
        Chown: Performer(_chown),
        GetXattr: Performer(_get_xattr, _filled),
        ListXattr: Performer(_list_xattr, _filled),
        ReadLink: Performer(_readlink, _filled),
        RemoveXattr: Performer(_remove_xattr),
        SetXattr: Performer(_set_xattr),
        Stat: Performer(_stat, _stat_done, answer=tuple(layouts.ANSWERS)),
        StatFs: Performer(_statfs, _statfs_done),
        Truncate: Performer(_truncate),
        Utime: Performer(_utime),
    }
)
