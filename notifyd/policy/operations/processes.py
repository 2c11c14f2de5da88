"""Making processes and moving them between namespaces: `Clone`, `Setns`, `Unshare`, `PidFd`."""

from __future__ import annotations

from collections.abc import Mapping

from notifyd.policy.bound import BoundCall
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Fd, Flags, Int
from notifyd.policy.names import clone as names
from notifyd.policy.operations.layouts import ABSENT_PID, CellFlags
from notifyd.policy.sources import Const, Mem, call

__all__ = ["Clone", "PidFd", "Setns", "Unshare"]

CSIGNAL = 0xFF  # of clone(2)'s flags, the signal that the parent gets at the end
SIGCHLD = names.SIGNALS["SIGCHLD"]
CLONE_VM = names.CLONE_FLAGS["CLONE_VM"]
CLONE_VFORK = names.CLONE_FLAGS["CLONE_VFORK"]
CLONE_THREAD = names.CLONE_FLAGS["CLONE_THREAD"]
ALL_NAMESPACES = sum(names.NAMESPACES.values())
PIDFD_FLAGS = {"PIDFD_NONBLOCK": 0o4000, "PIDFD_THREAD": 0o200}


class _CloneFlags(CellFlags):
    """The low byte is a signal, except in clone3(2), where it can hold CLONE_NEWTIME."""

    def table(self, call: BoundCall) -> tuple[Mapping[str, int], int, Mapping[str, int]]:
        if call.syscall == "clone3":
            return names.CLONE3_FLAGS, 0, {}
        return names.CLONE_FLAGS, CSIGNAL, names.SIGNALS


class Clone(Call):
    """Make a process or a thread: clone(2), clone3(2), fork(2), vfork(2).

    clone3 keeps its flags in memory, where the kernel's filter cannot see them; refusing it with
    ENOSYS makes the C library use clone. A supervisor cannot clone for somebody else.
    """

    __slots__ = ()
    theme = "processes"

    flags = _CloneFlags(names.CLONE_FLAGS, "`CLONE_*`, with the exit signal in the low byte")
    stack = Address("the child's stack")
    size = Int("clone3: bytes of the struct in memory", width=64)

    variants = (
        call("clone", flags=0, stack=1),
        call("clone3", flags=Mem(0, 0, 8), stack=Mem(0, 40, 8), size=1),
        call("fork", flags=Const(SIGCHLD)),
        call("vfork", flags=Const(CLONE_VFORK | CLONE_VM | SIGCHLD)),
    )

    @property
    def namespaces(self) -> int:
        """The `CLONE_NEW*` bits: which namespaces are made."""
        own = ALL_NAMESPACES if self.syscall == "clone3" else ALL_NAMESPACES & ~CSIGNAL
        return self.flags & own

    @property
    def is_thread(self) -> bool:
        """Whether the child is a thread of the same process."""
        return bool(self.flags & CLONE_THREAD)


class Setns(Call):
    """Enter a namespace that exists: setns(2).

    Changes what later calls of the thread mean, paths before all.
    """

    __slots__ = ()
    theme = "processes"

    fd = Fd("a namespace of /proc/PID/ns, or a pidfd since Linux 5.8")
    flags = Flags(names.NAMESPACES, "which kind it must be, or which are taken of a pidfd's")

    variants = (call("setns", fd=0, flags=1),)


class Unshare(Call):
    """Make namespaces for oneself, or stop sharing things: unshare(2).

    A new user namespace (`CLONE_NEWUSER`) gives every capability inside, and with it a wide
    part of the kernel that needs root otherwise.
    """

    __slots__ = ()
    theme = "processes"

    flags = Flags(names.UNSHARE_FLAGS, "`CLONE_*`", width=64)

    variants = (call("unshare", flags=0),)

    @property
    def namespaces(self) -> int:
        """The `CLONE_NEW*` bits: which namespaces are made."""
        return self.flags & ALL_NAMESPACES


class PidFd(Call):
    """Hold a process by a descriptor, or take its own: pidfd_open(2), pidfd_getfd(2).

    pidfd_getfd needs the right to trace the process, and gives any file or socket that it has open.
    """

    __slots__ = ()
    theme = "processes"

    pid = Int("pidfd_open: the process", signed=True, default=ABSENT_PID)
    pidfd = Fd("pidfd_getfd: the process to take from")
    fd = Fd("pidfd_getfd: the number that the descriptor has there")
    flags = Flags(PIDFD_FLAGS, "of pidfd_open; pidfd_getfd knows none")

    variants = (
        call("pidfd_open", pid=0, flags=1),
        call("pidfd_getfd", pidfd=0, fd=1, flags=2),
    )
