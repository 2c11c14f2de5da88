"""Recipes of mounts, and of what concerns the machine: its names, its clocks, its processors."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel.files import AT_EMPTY_PATH, AT_FDCWD
from notifyd.kernel.mounts import MNT_EXPIRE, MS_BIND, MS_REMOUNT, UMOUNT_NOFOLLOW
from notifyd.perform.helper_request import Arg, ArgumentUse, HelperReply, LastComponent, Slot
from notifyd.perform.performers.performer import Performer, PreparedCall, path
from notifyd.perform.request_builder import RequestBuilder
from notifyd.perform.syscall_result import SyscallResult
from notifyd.policy.call import Call
from notifyd.policy.operations import (
    Mount,
    SchedSetScheduler,
    SetHostname,
    SetTime,
    Umount,
)
from notifyd.policy.operations.attributes import AT_SYMLINK_NOFOLLOW

__all__ = ["MACHINE_PERFORMERS"]

DATA_MAX = 4096  # bytes of mount(2)'s options: one page
MS_MOVE = 0x2000
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


def _mount(builder: RequestBuilder) -> PreparedCall:
    call = builder.call.syscall
    if call == "mount":
        return _mount_at_once(builder)
    flags = builder.number("step_flags")
    if call == "mount_setattr":
        size = builder.call.args[4]
        if size > DATA_MAX:
            raise TargetFault("attributes of that size", errno.E2BIG)
        attributes = builder.call.read(builder.call.args[3], size) if size else b""
        if size >= ATTRIBUTES_SIZE and not any(attributes):  # nothing to do: nowhere is looked
            return PreparedCall(call, (AT_FDCWD, b"", flags, attributes, size))
        place = builder.place(_follows(builder), empty=bool(flags & AT_EMPTY_PATH))
        kept = flags & ~(AT_SYMLINK_NOFOLLOW) | AT_EMPTY_PATH
        return PreparedCall(call, (Slot(ArgumentUse.FD, place), b"", kept, attributes, size))
    if call == "move_mount":
        old = builder.place(
            LastComponent.FOLLOW if flags & 1 else LastComponent.NOFOLLOW,
            "from_pathname", "from_dirfd", "from_path", empty=bool(flags & 4),
        )  # fmt: skip
        new = builder.place(
            LastComponent.FOLLOW if flags & 0x10 else LastComponent.NOFOLLOW,
            empty=bool(flags & 0x40),
        )
        kept = flags & ~0x11 | 0x44
        return PreparedCall(
            call, (Slot(ArgumentUse.FD, old), b"", Slot(ArgumentUse.FD, new), b"", kept)
        )
    if call == "fspick":
        place = builder.place(_follows(builder), empty=bool(flags & FSPICK_EMPTY_PATH))
        kept = flags & ~FSPICK_SYMLINK_NOFOLLOW | FSPICK_EMPTY_PATH
        cloexec = bool(flags & FSPICK_CLOEXEC)
        return PreparedCall(call, (Slot(ArgumentUse.FD, place), b"", kept), cloexec=cloexec)
    raise CannotPerform(f"{call} cannot be performed: what it gives cannot be handed over")


def _follows(builder: RequestBuilder) -> LastComponent:
    return (
        LastComponent.FOLLOW if getattr(builder.call, "follows", True) else LastComponent.NOFOLLOW
    )


def _mount_at_once(builder: RequestBuilder) -> PreparedCall:
    flags = builder.number("flags")
    if flags & MS_MGC_MSK == MS_MGC_VAL:
        flags &= ~MS_MGC_MSK  # the kernel forgets them too
    fstype: Arg = builder.value("fstype") if builder.call.args[2] else 0
    if isinstance(fstype, bytes) and not flags & MS_CHANGES:
        _check_same_for_us(builder, fstype)
    address = builder.call.args[4]
    data = builder.thread.read_some(address, DATA_MAX).ljust(DATA_MAX, b"\0") if address else 0
    place = builder.place(LastComponent.FOLLOW)
    source: Arg = builder.value("source") if builder.call.args[0] else 0
    if source and isinstance(source, bytes) and _from_path(flags):
        source = path(builder.text_place(source))
    if isinstance(fstype, bytes) and not flags & MS_CHANGES and fstype not in PATHLESS:
        cwd = builder.cwd()
        return PreparedCall(
            MOUNT_ANEW, (cwd, Slot(ArgumentUse.FD, place), source, fstype, flags, data)
        )
    return PreparedCall("mount", (source, path(place), fstype, flags, data))


def _check_same_for_us(builder: RequestBuilder, fstype: bytes) -> None:
    """Refuse file systems that are another one if somebody else mounts them."""
    kind = fstype.partition(b".")[0]
    if kind in NUMBERED:
        raise CannotPerform(
            f"mounting {kind.decode()}: it names descriptors by numbers, which mean others to us"
        )
    if fstype == b"proc" and builder.nested:
        # It is that of whoever mounts it: the target would see the processes of the machine.
        raise CannotPerform("mounting proc for a pid namespace that is not ours")


def _from_path(flags: int) -> bool:
    """Whether a mount's source is a path to the kernel: path_mount() in Linux."""
    if flags & (MS_REMOUNT | MS_NOUSER):
        return False
    return bool(flags & MS_BIND or (flags & MS_MOVE and not flags & MS_PROPAGATION))


def _umount(builder: RequestBuilder) -> PreparedCall:
    flags = builder.number("flags")
    if flags & ~0xF:
        raise TargetFault("no such flag", errno.EINVAL)
    last = LastComponent.MOUNTED if flags & MNT_EXPIRE else LastComponent.MADE
    place = builder.place(LastComponent.MADE_HERE if flags & UMOUNT_NOFOLLOW else last)
    return PreparedCall("umount2", (Slot(ArgumentUse.IN_CWD, place), flags | UMOUNT_NOFOLLOW))


def _hostname(builder: RequestBuilder) -> PreparedCall:
    # A size that is none the kernel refuses before it reads the name.
    return PreparedCall(builder.call.syscall, (builder.value("name"), builder.number("size")))


def _scheduler(builder: RequestBuilder) -> PreparedCall:
    call, pid = builder.call.syscall, builder.number("pid")
    address = builder.call.args[2 if call == "sched_setscheduler" else 1]
    if pid < 0 or not address or (builder.has("flags") and builder.number("flags")):
        raise TargetFault("no process, no parameters, or a flag", errno.EINVAL)
    thread = builder.thread.tid if pid == 0 else builder.ours(pid)
    if call == "sched_setattr":
        size = int.from_bytes(builder.call.read(address, 4), "little")
        if size > DATA_MAX:
            raise TargetFault("attributes of that size", errno.E2BIG)
        data = builder.call.read(address, size or SCHED_ATTR_SIZE)
        return PreparedCall(call, (thread, data, builder.number("flags")))
    priority = (builder.number("priority") & 0xFFFFFFFF).to_bytes(4, "little")
    if call == "sched_setparam":
        return PreparedCall(call, (thread, priority))
    return PreparedCall(call, (thread, builder.number("policy"), priority))


def _set_time(builder: RequestBuilder) -> PreparedCall:
    call, clock = builder.call.syscall, builder.number("clock")
    value, zone = builder.number("value"), builder.number("zone")
    if call not in _TIME_SIZES or (builder.call.word_size != 8 and not call.endswith("64")):
        raise CannotPerform(f"{call} of a 32-bit program")
    data = builder.call.read(value, _TIME_SIZES[call]) if value else b""
    if call == "settimeofday":
        return PreparedCall(call, (data or 0, builder.call.read(zone, 8) if zone else 0))
    if builder.call.adjusts:  # type: ignore[attr-defined]
        buffer = Slot(ArgumentUse.OUT, TIMEX_SIZE)
        return PreparedCall("clock_adjtime", (clock, buffer), builder.call.read(value, TIMEX_SIZE))
    return PreparedCall("clock_settime", (clock, data))


def _time_adjusted(builder: RequestBuilder, reply: HelperReply) -> SyscallResult:
    if not reply.outs:
        return SyscallResult(reply.value)
    return SyscallResult(reply.value, memory=((builder.number("value"), reply.outs[0]),))


MACHINE_PERFORMERS: Mapping[type[Call], Performer] = MappingProxyType(
    {
        Mount: Performer(_mount),
        SchedSetScheduler: Performer(_scheduler),
        SetHostname: Performer(_hostname),
        SetTime: Performer(_set_time, _time_adjusted),
        Umount: Performer(_umount),
    }
)
