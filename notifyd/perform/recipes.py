"""How each operation on paths is done: which system call, with which places and arguments.

To add an operation, add its recipe here; the executor needs nothing else. A recipe takes a draft
and returns an order's call and arguments. What comes back goes to `finish`, where a call fills
memory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel.files import AT_EMPTY_PATH, STATX_SIZE
from notifyd.perform import layouts
from notifyd.perform.done import Done
from notifyd.perform.draft import AT_SYMLINK_NOFOLLOW, Draft
from notifyd.perform.order import Arg, Last, Reply, Slot, Use
from notifyd.policy.call import Call
from notifyd.policy.operations import (
    Access,
    Chmod,
    Chown,
    GetXattr,
    Link,
    ListXattr,
    Mkdir,
    Mknod,
    Mount,
    Open,
    ReadLink,
    RemoveXattr,
    Rename,
    SchedSetScheduler,
    SetHostname,
    SetTime,
    SetXattr,
    Stat,
    StatFs,
    Symlink,
    Truncate,
    Umount,
    Unlink,
    Utime,
)

__all__ = ["RECIPES", "Drawn", "Recipe"]

AT_NO_AUTOMOUNT = 0x800
AT_SYNC = 0x6000  # AT_STATX_SYNC_TYPE
AT_EACCESS = 0x200
XATTR_MAX = 65536  # bytes of a value, and of a list of names: limits.h
READLINK_MAX = 4096
DATA_MAX = 4096  # bytes of mount(2)'s options: one page
TMPFILE_BIT = 0o20000000
MS_BIND, MS_MOVE = 0x1000, 0x2000
STATFS_SIZE = 120
SCHED_ATTR_SIZE = 48  # SCHED_ATTR_SIZE_VER0, which a size of 0 means: sched_setattr(2)
TIMEX_SIZE = 208  # bytes of struct timex, where a word has 8
_TIME_SIZES = {
    "clock_settime": 16,
    "clock_settime64": 16,
    "settimeofday": 16,
    "clock_adjtime": TIMEX_SIZE,
    "clock_adjtime64": TIMEX_SIZE,
    "adjtimex": TIMEX_SIZE,
}


class Drawn(NamedTuple):
    """The call of an order, its arguments, and what is in its buffer before."""

    call: str
    args: tuple[Arg, ...]
    fill: bytes = b""


def _plainly(_: Draft, reply: Reply) -> Done:
    return Done(reply.value)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one operation is done.

    Attributes:
        draw: adds places to a draft, and says which call it is.
        finish: what of the reply goes where in the target's memory.
        makes: whether the umask matters.
        answer: names of changes that are made to the answer instead of the call.
    """

    draw: Callable[[Draft], Drawn]
    finish: Callable[[Draft, Reply], Done] = _plainly
    makes: bool = False
    answer: tuple[str, ...] = ()


def at(place: int) -> Slot:
    """A directory and a name, or the thing itself."""
    return Slot(Use.AT, place)


def path(place: int) -> Slot:
    """A path to the thing."""
    return Slot(Use.PATH, place)


# -- opening


def _open(draft: Draft) -> Drawn:
    flags = draft.number("flags")
    creates = flags & (os.O_CREAT | TMPFILE_BIT) and not flags & os.O_PATH
    mode = draft.number("mode") if creates or draft.call.syscall == "openat2" else 0
    draft.place(_how_opened(flags))
    name = "openat2" if draft.call.syscall == "openat2" else "open"
    return Drawn(name, (flags, mode, draft.number("resolve_flags")))


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


# -- what an inode says


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
    flags = draft.flags(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    times = layouts.times(draft.call) or 0
    null = draft.has("dirfd") and draft.call.raw("pathname", 1) == 0
    if null:
        if flags & ~AT_EMPTY_PATH:
            raise TargetFault("flags with a null path", errno.EINVAL)
        return Drawn("utimensat", (draft.own("dirfd"), 0, times, 0))
    return Drawn("utimensat", (at(draft.thing()), times, 0))


def _set_xattr(draft: Draft) -> Drawn:
    size = draft.number("size")
    if size > XATTR_MAX:
        raise TargetFault("a value of that size", errno.E2BIG)
    value = draft.value("value") if size else 0
    rest = (_xattr_name(draft), value, size, draft.number("flags"))
    return Drawn(*_xattr("setxattr", draft, rest))


def _remove_xattr(draft: Draft) -> Drawn:
    return Drawn(*_xattr("removexattr", draft, (_xattr_name(draft),)))


def _get_xattr(draft: Draft) -> Drawn:
    return Drawn(*_xattr("getxattr", draft, (_xattr_name(draft), *_room(draft))))


def _list_xattr(draft: Draft) -> Drawn:
    return Drawn(*_xattr("listxattr", draft, _room(draft)))


def _room(draft: Draft) -> tuple[Arg, Arg]:
    size = min(draft.number("size"), XATTR_MAX)
    return (Slot(Use.OUT, size), size) if size else (0, 0)


def _xattr(call: str, draft: Draft, rest: tuple[Arg, ...]) -> tuple[str, tuple[Arg, ...]]:
    if draft.has("fd"):
        return f"f{call}", (draft.own(), *rest)
    place = draft.thing("at_flags")
    return call, (path(place), *rest)


def _xattr_name(draft: Draft) -> bytes:
    try:
        name: bytes = draft.value("name")
    except TargetFault as fault:
        if fault.errno != errno.ENAMETOOLONG:
            raise
        raise TargetFault("a name of that length", errno.ERANGE) from fault
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
    if draft.call.word_size != 8:
        raise CannotPerform("statfs of a 32-bit program")
    fd = draft.own() if draft.has("fd") else Slot(Use.FD, draft.thing())
    return Drawn("fstatfs", (fd, Slot(Use.OUT, STATFS_SIZE)))


def _statfs_done(draft: Draft, reply: Reply) -> Done:
    return Done(0, memory=((draft.number("buffer"), reply.outs[0]),))


def _readlink(draft: Draft) -> Drawn:
    size = min(draft.number("size"), READLINK_MAX)
    if size <= 0:
        raise TargetFault("no room", errno.EINVAL)
    place = draft.place(Last.NOFOLLOW, empty=draft.has("dirfd"))
    return Drawn("readlinkat", (Slot(Use.FD, place), b"", Slot(Use.OUT, size), size))


# -- mounts and names of the machine


def _mount(draft: Draft) -> Drawn:
    call = draft.call.syscall
    if call == "mount":
        return _mount_at_once(draft)
    flags = draft.number("step_flags")
    if call == "mount_setattr":
        size = draft.call.args[4]
        if size > DATA_MAX:
            raise TargetFault("attributes of that size", errno.E2BIG)
        attributes = draft.call.read(draft.call.args[3], size) if size else b""
        place = draft.place(_follows(draft), empty=bool(flags & AT_EMPTY_PATH))
        kept = flags & ~(AT_SYMLINK_NOFOLLOW) | AT_EMPTY_PATH
        return Drawn(call, (Slot(Use.FD, place), b"", kept, attributes, size))
    if call == "move_mount":
        old = draft.place(
            Last.FOLLOW if flags & 1 else Last.NOFOLLOW,
            "from_pathname", "from_dirfd", "from_path", empty=bool(flags & 4),
        )  # fmt: skip
        new = draft.place(Last.FOLLOW if flags & 0x10 else Last.NOFOLLOW, empty=bool(flags & 0x40))
        kept = flags & ~0x11 | 0x44
        return Drawn(call, (Slot(Use.FD, old), b"", Slot(Use.FD, new), b"", kept))
    raise CannotPerform(f"{call} cannot be performed: what it gives cannot be handed over")


def _follows(draft: Draft) -> Last:
    return Last.FOLLOW if getattr(draft.call, "follows", True) else Last.NOFOLLOW


def _mount_at_once(draft: Draft) -> Drawn:
    flags = draft.number("flags")
    address = draft.call.args[4]
    data = draft.thread.read_some(address, DATA_MAX).ljust(DATA_MAX, b"\0") if address else 0
    place = draft.place(Last.FOLLOW)
    source: Arg = draft.value("source") if draft.call.args[0] else 0
    if flags & (MS_BIND | MS_MOVE) and isinstance(source, bytes):
        source = path(draft.text_place(source))
    fstype: Arg = draft.value("fstype") if draft.call.args[2] else 0
    return Drawn("mount", (source, path(place), fstype, flags, data))


def _umount(draft: Draft) -> Drawn:
    flags = draft.number("flags")
    if flags & ~0xF:
        raise TargetFault("no such flag", errno.EINVAL)
    place = draft.place(Last.MADE_HERE if flags & 8 else Last.MADE)
    return Drawn("umount2", (Slot(Use.IN_CWD, place), flags | 8))


def _hostname(draft: Draft) -> Drawn:
    size = draft.number("size")
    if not 0 <= size <= 64:
        raise TargetFault("a name of that length", errno.EINVAL)
    return Drawn(draft.call.syscall, (draft.value("name"), size))


def _scheduler(draft: Draft) -> Drawn:
    call, pid = draft.call.syscall, draft.number("pid")
    address = draft.call.args[2 if call == "sched_setscheduler" else 1]
    if pid < 0 or not address:
        raise TargetFault("no process, or no parameters", errno.EINVAL)
    thread = draft.thread.tid if pid == 0 else draft.ours(pid)
    if call == "sched_setattr":
        size = int.from_bytes(draft.call.read(address, 4), "little")
        if size > DATA_MAX:
            raise TargetFault("attributes of that size", errno.E2BIG)
        data = draft.call.read(address, size or SCHED_ATTR_SIZE)
        return Drawn(call, (thread, data, draft.number("flags")))
    priority = (draft.number("priority") & 0xFFFFFFFF).to_bytes(4, "little")
    if call == "sched_setparam":
        return Drawn(call, (thread, priority))
    return Drawn(call, (thread, draft.number("policy"), priority))


def _set_time(draft: Draft) -> Drawn:
    call, clock = draft.call.syscall, draft.number("clock")
    value, zone = draft.number("value"), draft.number("zone")
    if call not in _TIME_SIZES or (draft.call.word_size != 8 and not call.endswith("64")):
        raise CannotPerform(f"{call} of a 32-bit program")
    data = draft.call.read(value, _TIME_SIZES[call]) if value else b""
    if call == "settimeofday":
        return Drawn(call, (data or 0, draft.call.read(zone, 8) if zone else 0))
    if draft.call.adjusts:  # type: ignore[attr-defined]
        buffer = Slot(Use.OUT, TIMEX_SIZE)
        return Drawn("clock_adjtime", (clock, buffer), draft.call.read(value, TIMEX_SIZE))
    return Drawn("clock_settime", (clock, data))


def _time_adjusted(draft: Draft, reply: Reply) -> Done:
    if not reply.outs:
        return Done(reply.value)
    return Done(reply.value, memory=((draft.number("value"), reply.outs[0]),))


RECIPES: Mapping[type[Call], Recipe] = MappingProxyType(
    {
        Access: Recipe(_access),
        Chmod: Recipe(_chmod),
        Chown: Recipe(_chown),
        GetXattr: Recipe(_get_xattr, _filled),
        Link: Recipe(_link),
        ListXattr: Recipe(_list_xattr, _filled),
        Mkdir: Recipe(_mkdir, makes=True),
        Mknod: Recipe(_mknod, makes=True),
        Mount: Recipe(_mount),
        Open: Recipe(_open, makes=True),
        ReadLink: Recipe(_readlink, _filled),
        RemoveXattr: Recipe(_remove_xattr),
        Rename: Recipe(_rename),
        SchedSetScheduler: Recipe(_scheduler),
        SetHostname: Recipe(_hostname),
        SetTime: Recipe(_set_time, _time_adjusted),
        SetXattr: Recipe(_set_xattr),
        Stat: Recipe(_stat, _stat_done, answer=tuple(layouts.ANSWERS)),
        StatFs: Recipe(_statfs, _statfs_done),
        Symlink: Recipe(_symlink),
        Truncate: Recipe(_truncate),
        Umount: Recipe(_umount),
        Unlink: Recipe(_unlink),
        Utime: Recipe(_utime),
    }
)
