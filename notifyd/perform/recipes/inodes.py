"""Recipes of what asks about files and changes what they say of themselves."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from notifyd.errors import TargetFault
from notifyd.kernel import files
from notifyd.kernel.files import AT_EMPTY_PATH, AT_FDCWD, STATX_SIZE
from notifyd.perform import layouts
from notifyd.perform.done import Done
from notifyd.perform.draft import AT_SYMLINK_NOFOLLOW, Draft
from notifyd.perform.order import Arg, Last, Reply, Slot, Use
from notifyd.perform.recipes.recipe import Drawn, Recipe, at, path
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

__all__ = ["RECIPES"]

AT_NO_AUTOMOUNT = 0x800
AT_SYNC = 0x6000  # AT_STATX_SYNC_TYPE
AT_EACCESS = 0x200
XATTR_MAX = 65536  # bytes of a value, and of a list of names: limits.h
XATTR_CREATE, XATTR_REPLACE = 1, 2
XATTR_ARGS_SIZE = 16  # bytes of struct xattr_args
XATTR_ARGS_MAX = 4096  # a page
READLINK_MAX = 4096
STATFS_SIZE = 120
STATFS64_SIZE = 84  # bytes of i386's struct statfs64, which its calls are told
_OPEN_ONLY = ("listxattr", "removexattr")  # of an empty path AT_FDCWD: EBADF, as O_PATH gets it
UTIME_OMIT = 0x3FFFFFFE.to_bytes(8, "little")


def _chmod(draft: Draft) -> Drawn:
    mode = draft.number("mode")
    if draft.has("fd"):
        return Drawn("fchmod", (draft.own(), mode))
    draft.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    place = draft.thing()
    return Drawn("fchmodat", (at(place), mode))


def _chown(draft: Draft) -> Drawn:
    ids = draft.number("uid"), draft.number("gid")
    if draft.has("fd"):
        return Drawn("fchown", (draft.own(), *ids))
    draft.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    place = draft.thing()
    return Drawn("fchownat", (at(place), *ids, 0))


def _truncate(draft: Draft) -> Drawn:
    size = draft.number("size")
    if draft.has("fd"):
        return Drawn("ftruncate", (draft.own(), size))
    if size < 0:
        raise TargetFault("a negative size", errno.EINVAL)
    return Drawn("truncate", (path(draft.thing()), size))


def _utime(draft: Draft) -> Drawn:
    given = layouts.times(draft.call)
    times: Arg = given or 0
    if given and given[8:16] == given[24:] == UTIME_OMIT:
        return Drawn("utimensat", (AT_FDCWD, b"", times, 0))  # the kernel looks at nothing else
    draft.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    if not draft.value("pathname") and draft.call.raw("pathname", 1) == 0:
        return Drawn("utimensat", (draft.own("dirfd"), 0, times, 0))
    return Drawn("utimensat", (at(draft.thing()), times, 0))


def _set_xattr(draft: Draft) -> Drawn:
    _check_xattr_args(draft)
    size, flags = draft.number("size"), draft.flags(XATTR_CREATE | XATTR_REPLACE)
    if size > XATTR_MAX:
        raise TargetFault("a value of that size", errno.E2BIG)
    value = draft.value("value") if size else 0
    rest = (_xattr_name(draft), value, size, flags)
    return Drawn(*_xattr("setxattr", draft, rest))


def _remove_xattr(draft: Draft) -> Drawn:
    return Drawn(*_xattr("removexattr", draft, (_xattr_name(draft),)))


def _get_xattr(draft: Draft) -> Drawn:
    _check_xattr_args(draft)
    return Drawn(*_xattr("getxattr", draft, (_xattr_name(draft), *_room(draft))))


def _check_xattr_args(draft: Draft) -> None:
    """Refuse a struct xattr_args as the kernel does: setxattrat(2), getxattrat(2)."""
    if not draft.has("at_flags"):
        return
    address, size = draft.call.args[4:6]
    if size < XATTR_ARGS_SIZE:
        raise TargetFault("a struct xattr_args that is too short", errno.EINVAL)
    if size > XATTR_ARGS_MAX or any(draft.call.read(address, size)[XATTR_ARGS_SIZE:]):
        raise TargetFault("a struct xattr_args that is too long", errno.E2BIG)
    if not draft.has("flags") and any(draft.call.read(address, XATTR_ARGS_SIZE)[12:]):
        raise TargetFault("flags that are for setting", errno.EINVAL)


def _list_xattr(draft: Draft) -> Drawn:
    return Drawn(*_xattr("listxattr", draft, _room(draft)))


def _room(draft: Draft) -> tuple[Arg, Arg]:
    size = min(draft.number("size"), XATTR_MAX)
    return (Slot(Use.OUT, size), size) if size else (0, 0)


def _xattr(call: str, draft: Draft, rest: tuple[Arg, ...]) -> tuple[str, tuple[Arg, ...]]:
    if draft.has("fd"):
        if draft.number("fd") == AT_FDCWD and call not in _OPEN_ONLY and _fd_may_be_cwd():
            return call, (path(draft.text_place(b".")), *rest)
        return f"f{call}", (draft.own(), *rest)
    if draft.has("at_flags"):
        draft.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, "at_flags")
    place = draft.places[number := draft.thing("at_flags")]
    by_cwd = int(getattr(draft.call, "dirfd", 0)) == AT_FDCWD
    if place.last == Last.ITSELF and (call in _OPEN_ONLY or not by_cwd):
        return f"f{call}", (Slot(Use.OWN, place.start), *rest)
    return call, (path(number), *rest)


def _fd_may_be_cwd() -> bool:
    """Whether AT_FDCWD is a descriptor to fgetxattr(2) and fsetxattr(2): since Linux 6.13."""
    try:
        files.call("fgetxattr", AT_FDCWD, b"user.", b"", 0)
    except OSError as error:
        return error.errno != errno.EBADF
    return True


def _xattr_name(draft: Draft) -> bytes:
    name: bytes = draft.value("name")
    if not name:
        raise TargetFault("an empty name", errno.ERANGE)
    return name


def _filled(draft: Draft, reply: Reply) -> Done:
    """The first `value` bytes of the only buffer are the answer."""
    if not reply.outs or not draft.number("size"):
        return Done(reply.value)
    return Done(reply.value, memory=((draft.number("buffer"), reply.outs[0][: reply.value]),))


# -- looking


def _access(draft: Draft) -> Drawn:
    draft.flags(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    wanted = draft.number("wanted")
    if wanted & ~7:
        raise TargetFault("no such permission", errno.EINVAL)
    place = draft.thing()
    # Whoever does it has the ids in effect that the call is about.
    return Drawn("faccessat2", (at(place), wanted, AT_EACCESS))


def _stat(draft: Draft) -> Drawn:
    if draft.has("fd"):
        fd: Slot = draft.own()
        flags = AT_EMPTY_PATH
    else:
        known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH
        known |= AT_SYNC if draft.call.syscall == "statx" else 0
        flags = draft.flags(known)
        fd = Slot(Use.FD, draft.thing())
    mask = layouts.BASIC
    if draft.call.syscall == "statx":
        mask = draft.number("mask")
        if mask >> 31 or flags & AT_SYNC == AT_SYNC:
            raise TargetFault("a reserved bit", errno.EINVAL)
    flags = flags & AT_SYNC | AT_EMPTY_PATH | AT_NO_AUTOMOUNT
    return Drawn("statx", (fd, b"", flags, mask, Slot(Use.OUT, STATX_SIZE)))


def _stat_done(draft: Draft, reply: Reply) -> Done:
    data = layouts.stat(draft.call, reply.outs[0], draft.answer)
    return Done(0, memory=((draft.number("buffer"), data),))


def _statfs(draft: Draft) -> Drawn:
    if draft.call.syscall.endswith("64") and draft.call.args[1] != STATFS64_SIZE:
        raise TargetFault("another struct statfs64", errno.EINVAL)
    fd = draft.own() if draft.has("fd") else Slot(Use.FD, draft.thing())
    return Drawn("fstatfs", (fd, Slot(Use.OUT, STATFS_SIZE)))


def _statfs_done(draft: Draft, reply: Reply) -> Done:
    data = layouts.statfs(draft.call, reply.outs[0])
    return Done(0, memory=((draft.number("buffer"), data),))


def _readlink(draft: Draft) -> Drawn:
    size = min(draft.number("size"), READLINK_MAX)
    if size <= 0:
        raise TargetFault("no room", errno.EINVAL)
    place = draft.place(Last.NOFOLLOW, empty=draft.has("dirfd"))
    return Drawn("readlinkat", (Slot(Use.FD, place), b"", Slot(Use.OUT, size), size))


RECIPES: Mapping[type[Call], Recipe] = MappingProxyType(
    {
        Access: Recipe(_access),
        Chmod: Recipe(_chmod),
        Chown: Recipe(_chown),
        GetXattr: Recipe(_get_xattr, _filled),
        ListXattr: Recipe(_list_xattr, _filled),
        ReadLink: Recipe(_readlink, _filled),
        RemoveXattr: Recipe(_remove_xattr),
        SetXattr: Recipe(_set_xattr),
        Stat: Recipe(_stat, _stat_done, answer=tuple(layouts.ANSWERS)),
        StatFs: Recipe(_statfs, _statfs_done),
        Truncate: Recipe(_truncate),
        Utime: Recipe(_utime),
    }
)
