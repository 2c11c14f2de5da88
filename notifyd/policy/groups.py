"""Groups of operations for rules about files and sockets, made from the operations' own tables.

To add a way round paths, name it in `BYPASSES`, and a way round sockets in `SOCKET_BYPASSES`; the
groups of paths follow from the operations' fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from notifyd.kernel.arch import entries, native
from notifyd.policy.call import Call, Operation, Raw
from notifyd.policy.fields import Path
from notifyd.policy.names.ioctl import IOCTLS
from notifyd.policy.names.socket import IP_ROUTING, IPV6_ROUTING, SOCKET_LEVELS, SOCKET_ROUTING
from notifyd.policy.operations import (
    OPERATIONS,
    Acct,
    Bpf,
    Chdir,
    Chroot,
    IoPort,
    IoUring,
    KexecLoad,
    ModuleLoad,
    Mount,
    NameToHandle,
    PerfEventOpen,
    PivotRoot,
    ProcessVm,
    Ptrace,
    Quota,
    Setns,
    Swap,
    Umount,
)

__all__ = [
    "BYPASSES",
    "FILE_REQUESTS",
    "PATH_OPERATIONS",
    "ROUTING_OPTIONS",
    "SOCKET_BYPASSES",
    "TYPING_REQUESTS",
    "WRITING_OPERATIONS",
]


def _paths(operation: type[Call]) -> list[Path]:
    return [field for field in operation.fields.values() if isinstance(field, Path)]


def _raw(*names: str) -> Raw:
    """Those of these system calls that this machine has."""
    return Raw(*(name for name in names if any(name in one.numbers for one in entries(native()))))


GROUP_SUMMARIES = {
    "BYPASSES": "What reaches files past every rule about paths, for `always(Deny(EPERM), "
    "*BYPASSES)`: with no path or no system call of its own (io_uring, file handles, BPF, other "
    "processes' descriptors), by changing what paths mean (mounts, roots, namespaces), through "
    "somebody who is free (tracing, performance events), or from below (kernel modules, I/O "
    "ports).",
    "FILE_REQUESTS": "Requests of ioctl(2) that go past rules about paths: that change files by a "
    "descriptor that is open for reading alone (flags, versions, labels, snapshots), reach others "
    "by it (handles, searches), or type into the terminal, for a shell that is free to obey. For "
    "`always(Deny(EPERM), Ioctl, request=FILE_REQUESTS)`.",
    "PATH_OPERATIONS": "What names files by their paths, for `@on(*PATH_OPERATIONS)` and "
    "`call.paths`; with `BYPASSES` refused, nothing is missing. `Chdir` is in neither: only its "
    "caller can do it, so no rule could allow it after a look. Nothing is lost by that, since "
    "every later path is resolved from wherever the caller then is.",
    "ROUTING_OPTIONS": "Options of sockets that send packets elsewhere than the address says, by "
    "their level: source routes and routing headers, headers that the program writes itself, the "
    "choice of an interface or a routing table, tunnels. For `always(Deny(EACCES), SetSockOpt, "
    "level=level, option=options)`, for each of its items.",
    "SOCKET_BYPASSES": "What reaches the network past every rule about sockets, for "
    "`always(Deny(EPERM), *SOCKET_BYPASSES)`: sockets with no call of their own (io_uring, BPF) or "
    "out of another process (pidfd_getfd), other processes that are made to act (tracing, their "
    "memory), another network (setns), and a name server that the kernel asks (request_key). "
    "Descriptors over AF_UNIX (SCM_RIGHTS) are not among them, nor is what is inherited.",
    "TYPING_REQUESTS": "Those of `FILE_REQUESTS` that type into the terminal, which is all of them "
    "that rules about programs have to refuse.",
    "WRITING_OPERATIONS": "Those of `PATH_OPERATIONS` that may change what is at a path: see "
    "`call.written_paths`.",
}

BYPASSES: tuple[Operation, ...] = (
    IoUring,
    NameToHandle,
    Mount,
    Umount,
    Chroot,
    PivotRoot,
    Setns,
    Ptrace,
    ProcessVm,
    PerfEventOpen,
    Bpf,
    ModuleLoad,
    KexecLoad,
    IoPort,
    Acct,
    Swap,
    Quota,
    # A library by its path, without an open; events that come with descriptors; attributes by path.
    _raw("pidfd_getfd", "fanotify_init", "file_setattr", "uselib"),
)

SOCKET_BYPASSES: tuple[Operation, ...] = (
    IoUring,
    Ptrace,
    ProcessVm,
    Setns,
    Bpf,
    # request_key has root's key.dns_resolver ask any name server about any name: request-key(8).
    _raw("pidfd_getfd", "request_key"),
)

ROUTING_OPTIONS: Mapping[int, frozenset[int]] = MappingProxyType(
    {
        SOCKET_LEVELS["SOL_IP"]: frozenset(IP_ROUTING.values()),
        SOCKET_LEVELS["SOL_IPV6"]: frozenset(IPV6_ROUTING.values()),
        SOCKET_LEVELS["SOL_SOCKET"]: frozenset(SOCKET_ROUTING.values()),
    }
)

TYPING_REQUESTS: frozenset[int] = frozenset(IOCTLS[one] for one in ("TIOCSTI", "TIOCLINUX"))

FILE_REQUESTS: frozenset[int] = TYPING_REQUESTS | frozenset(
    number
    for name, number in IOCTLS.items()
    if name.startswith(("FS_IOC_SET", "FS_IOC32_SET", "FS_IOC_FSSET", "BTRFS_IOC_"))
    or (name.startswith("XFS_IOC_") and "_BY_HANDLE" in name)
    or (name.startswith("EXT4_IOC") and "_SETVERSION" in name)
    or name in ("FS_IOC_ENABLE_VERITY", "FAT_IOCTL_SET_ATTRIBUTES")
)

PATH_OPERATIONS: tuple[type[Call], ...] = tuple(
    one for one in OPERATIONS.values() if _paths(one) and one not in (Chdir, *BYPASSES)
)

WRITING_OPERATIONS: tuple[type[Call], ...] = tuple(
    one for one in PATH_OPERATIONS if any(path.written for path in _paths(one))
)
