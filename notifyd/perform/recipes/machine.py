"""Recipes of mounts, and of what concerns the machine: its names, its clocks, its processors."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel.files import AT_EMPTY_PATH, AT_FDCWD
from notifyd.perform.done import Done
from notifyd.perform.draft import AT_SYMLINK_NOFOLLOW, Draft
from notifyd.perform.order import Arg, Last, Reply, Slot, Use
from notifyd.perform.recipes.recipe import Drawn, Recipe, path
from notifyd.policy.call import Call
from notifyd.policy.operations import (
    Mount,
    SchedSetScheduler,
    SetHostname,
    SetTime,
    Umount,
)

__all__ = ["RECIPES"]

DATA_MAX = 4096  # bytes of mount(2)'s options: one page
MS_REMOUNT, MS_BIND, MS_MOVE = 0x20, 0x1000, 0x2000
MS_NOUSER = 1 << 31  # which path_mount() in Linux refuses before it looks at the source
MS_PROPAGATION = 0x1E0000  # MS_SHARED, MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE
MS_MGC_VAL, MS_MGC_MSK = 0xC0ED0000, 0xFFFF0000
MS_CHANGES = MS_REMOUNT | MS_BIND | MS_MOVE | MS_PROPAGATION  # else a file system is mounted anew
NUMBERED = frozenset({b"9p", b"autofs", b"coda", b"fuse", b"fuseblk"})  # options name descriptors
ATTRIBUTES_SIZE = 32  # MOUNT_ATTR_SIZE_VER0: struct mount_attr
MOUNT_ANEW = "mount anew"
# File systems whose source and options name no paths: where they are mounted from is the same.
PATHLESS = frozenset(
    b"binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs hugetlbfs mqueue "
    b"nsfs proc pstore ramfs securityfs selinuxfs sysfs tmpfs tracefs".split()
)
MNT_EXPIRE, UMOUNT_NOFOLLOW = 4, 8
FSPICK_CLOEXEC, FSPICK_SYMLINK_NOFOLLOW, FSPICK_EMPTY_PATH = 1, 2, 8
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
        if size >= ATTRIBUTES_SIZE and not any(attributes):  # nothing to do: nowhere is looked
            return Drawn(call, (AT_FDCWD, b"", flags, attributes, size))
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
    if call == "fspick":
        place = draft.place(_follows(draft), empty=bool(flags & FSPICK_EMPTY_PATH))
        kept = flags & ~FSPICK_SYMLINK_NOFOLLOW | FSPICK_EMPTY_PATH
        cloexec = bool(flags & FSPICK_CLOEXEC)
        return Drawn(call, (Slot(Use.FD, place), b"", kept), cloexec=cloexec)
    raise CannotPerform(f"{call} cannot be performed: what it gives cannot be handed over")


def _follows(draft: Draft) -> Last:
    return Last.FOLLOW if getattr(draft.call, "follows", True) else Last.NOFOLLOW


def _mount_at_once(draft: Draft) -> Drawn:
    flags = draft.number("flags")
    if flags & MS_MGC_MSK == MS_MGC_VAL:
        flags &= ~MS_MGC_MSK  # the kernel forgets them too
    fstype: Arg = draft.value("fstype") if draft.call.args[2] else 0
    if isinstance(fstype, bytes) and not flags & MS_CHANGES:
        _check_same_for_us(draft, fstype)
    address = draft.call.args[4]
    data = draft.thread.read_some(address, DATA_MAX).ljust(DATA_MAX, b"\0") if address else 0
    place = draft.place(Last.FOLLOW)
    source: Arg = draft.value("source") if draft.call.args[0] else 0
    if source and isinstance(source, bytes) and _from_path(flags):
        source = path(draft.text_place(source))
    if isinstance(fstype, bytes) and not flags & MS_CHANGES and fstype not in PATHLESS:
        cwd = draft.cwd()
        return Drawn(MOUNT_ANEW, (cwd, Slot(Use.FD, place), source, fstype, flags, data))
    return Drawn("mount", (source, path(place), fstype, flags, data))


def _check_same_for_us(draft: Draft, fstype: bytes) -> None:
    """Refuse file systems that are another one if somebody else mounts them."""
    kind = fstype.partition(b".")[0]
    if kind in NUMBERED:
        raise CannotPerform(
            f"mounting {kind.decode()}: it names descriptors by numbers, which mean others to us"
        )
    if fstype == b"proc" and draft.nested:
        # It is that of whoever mounts it: the target would see the processes of the machine.
        raise CannotPerform("mounting proc for a pid namespace that is not ours")


def _from_path(flags: int) -> bool:
    """Whether a mount's source is a path to the kernel: path_mount() in Linux."""
    if flags & (MS_REMOUNT | MS_NOUSER):
        return False
    return bool(flags & MS_BIND or (flags & MS_MOVE and not flags & MS_PROPAGATION))


def _umount(draft: Draft) -> Drawn:
    flags = draft.number("flags")
    if flags & ~0xF:
        raise TargetFault("no such flag", errno.EINVAL)
    last = Last.MOUNTED if flags & MNT_EXPIRE else Last.MADE
    place = draft.place(Last.MADE_HERE if flags & UMOUNT_NOFOLLOW else last)
    return Drawn("umount2", (Slot(Use.IN_CWD, place), flags | UMOUNT_NOFOLLOW))


def _hostname(draft: Draft) -> Drawn:
    # A size that is none the kernel refuses before it reads the name.
    return Drawn(draft.call.syscall, (draft.value("name"), draft.number("size")))


def _scheduler(draft: Draft) -> Drawn:
    call, pid = draft.call.syscall, draft.number("pid")
    address = draft.call.args[2 if call == "sched_setscheduler" else 1]
    if pid < 0 or not address or (draft.has("flags") and draft.number("flags")):
        raise TargetFault("no process, no parameters, or a flag", errno.EINVAL)
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
        Mount: Recipe(_mount),
        SchedSetScheduler: Recipe(_scheduler),
        SetHostname: Recipe(_hostname),
        SetTime: Recipe(_set_time, _time_adjusted),
        Umount: Recipe(_umount),
    }
)
