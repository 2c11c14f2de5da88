"""The operations: what system calls mean, with the calls that mean the same as one.

Owns the table by name. What each holds is in the module of its theme.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from notifyd.policy.call import Call
from notifyd.policy.operations.attributes import Chmod, Chown, Truncate, Utime
from notifyd.policy.operations.clocks import GetTime, SetTime
from notifyd.policy.operations.confining import LandLock, Personality, Prctl, Seccomp
from notifyd.policy.operations.creating import Link, Mkdir, Mknod, Symlink
from notifyd.policy.operations.executing import Exec
from notifyd.policy.operations.file_status import Access, Chdir, ReadLink, Stat, StatFs
from notifyd.policy.operations.identity import SetCaps, SetGid, SetUid
from notifyd.policy.operations.kernel_extensions import (
    Bpf,
    IoUring,
    KexecLoad,
    ModuleLoad,
    PerfEventOpen,
)
from notifyd.policy.operations.keys_and_memory import (
    GetRandom,
    Ioctl,
    Keyctl,
    MemoryFd,
    UserfaultFd,
)
from notifyd.policy.operations.machine import (
    IoPort,
    Reboot,
    SetHostname,
    Swap,
    SysInfo,
    Syslog,
    Uname,
)
from notifyd.policy.operations.mounting import Chroot, Mount, PivotRoot, Umount
from notifyd.policy.operations.opening import MessageQueue, NameToHandle, Open
from notifyd.policy.operations.other_processes import ProcessVm, Ptrace, Signal
from notifyd.policy.operations.processes import Clone, PidFd, Setns, Unshare
from notifyd.policy.operations.removing import Rename, Unlink
from notifyd.policy.operations.resource_limits import Acct, Quota, SchedSetScheduler, SetRlimit
from notifyd.policy.operations.sending import SendTo
from notifyd.policy.operations.sockets import Accept, Bind, Connect, Listen, SetSockOpt, Socket
from notifyd.policy.operations.xattrs import GetXattr, ListXattr, RemoveXattr, SetXattr

__all__ = [
    "OPERATIONS",
    "Accept",
    "Access",
    "Acct",
    "Bind",
    "Bpf",
    "Chdir",
    "Chmod",
    "Chown",
    "Chroot",
    "Clone",
    "Connect",
    "Exec",
    "GetRandom",
    "GetTime",
    "GetXattr",
    "IoPort",
    "IoUring",
    "Ioctl",
    "KexecLoad",
    "Keyctl",
    "LandLock",
    "Link",
    "ListXattr",
    "Listen",
    "MemoryFd",
    "MessageQueue",
    "Mkdir",
    "Mknod",
    "ModuleLoad",
    "Mount",
    "NameToHandle",
    "Open",
    "PerfEventOpen",
    "Personality",
    "PidFd",
    "PivotRoot",
    "Prctl",
    "ProcessVm",
    "Ptrace",
    "Quota",
    "ReadLink",
    "Reboot",
    "RemoveXattr",
    "Rename",
    "SchedSetScheduler",
    "Seccomp",
    "SendTo",
    "SetCaps",
    "SetGid",
    "SetHostname",
    "SetRlimit",
    "SetSockOpt",
    "SetTime",
    "SetUid",
    "SetXattr",
    "Setns",
    "Signal",
    "Socket",
    "Stat",
    "StatFs",
    "Swap",
    "Symlink",
    "SysInfo",
    "Syslog",
    "Truncate",
    "Umount",
    "Uname",
    "Unlink",
    "Unshare",
    "UserfaultFd",
    "Utime",
]

# To add one: write a subclass of `Call` in the module where its kin are, with a docstring whose
# first line says in plain words what it does and names its man pages, a theme, fields, and a line
# in `variants` for every system call that does it on any architecture; then import it above and
# name it in `__all__`. The tests hold every line against the kernel's tables.
OPERATIONS: Mapping[str, type[Call]] = MappingProxyType(
    {name: globals()[name] for name in __all__ if name != "OPERATIONS"}
)
