"""How much one may use: `SchedSetScheduler`, `SetRlimit`, `Quota`, `Acct`."""

from __future__ import annotations

from typing import Any

from notifyd.policy.bound import BoundCall
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum, Fd, Flags, Int
from notifyd.policy.names.limits import QUOTA_COMMANDS, QUOTA_TYPES, RESOURCES
from notifyd.policy.names.sched import SCHED_FLAGS, SCHED_POLICIES
from notifyd.policy.operations.layouts import MaybePathname, PathIfGiven
from notifyd.policy.sources import Const, Mem, call

__all__ = ["Acct", "Quota", "SchedSetScheduler", "SetRlimit"]

UNCHANGED = 0xFFFFFFFF  # the policy of a call that sets none
POLICY_BITS = 0xFFFFFFFF & ~SCHED_FLAGS["SCHED_RESET_ON_FORK"]
_POLICIES = {**SCHED_POLICIES, "unchanged": UNCHANGED & POLICY_BITS}


class SchedSetScheduler(Call):
    """Set how a thread is scheduled: sched_setscheduler(2), sched_setparam(2), sched_setattr(2).

    A real-time thread that never sleeps starves the others of its processor.
    """

    __slots__ = ()
    theme = "processes"

    pid = Int("the thread; 0 is the caller", signed=True)
    policy = Flags(SCHED_FLAGS, "`SCHED_*`", base=(POLICY_BITS, _POLICIES))
    priority = Int("of real-time policies, 1 to 99; in memory", signed=True)
    flags = Int("sched_setattr: its second argument, 0")

    variants = (
        call("sched_setscheduler", pid=0, policy=1, priority=Mem(2, 0, 4)),
        call("sched_setparam", pid=0, policy=Const(UNCHANGED), priority=Mem(1, 0, 4)),
        call(
            "sched_setattr",
            pid=0,
            policy=Mem(1, 4, 4),
            priority=Mem(1, 20, 4),
            flags=2,
        ),
    )


class SetRlimit(Call):
    """Set a resource limit: setrlimit(2), prlimit(2).

    prlimit also asks, when `new` is null, and can be about another process.
    """

    __slots__ = ()
    theme = "processes"

    pid = Int("prlimit: the process; 0 is the caller", signed=True)
    resource = Enum(RESOURCES, "`RLIMIT_*`")
    new = Address("the new limits, or null to ask only")
    old = Address("prlimit: where the old limits go, or null")

    variants = (
        call("setrlimit", resource=0, new=1),
        call("prlimit64", pid=0, resource=1, new=2, old=3),
    )

    @property
    def sets(self) -> bool:
        """Whether a limit is set; otherwise it is only asked for."""
        return self.new != 0


class _QuotaCommand(Int):
    """A command with the type of quota in its low byte: QCMD of quotactl(2)."""

    def render(self, call: BoundCall) -> Any:
        value = super().render(call)
        names = {number: name for name, number in QUOTA_COMMANDS.items()}
        types = {number: name for name, number in QUOTA_TYPES.items()}
        command, kind = value >> 8, value & 0xFF
        return f"{names.get(command, hex(command))}|{types.get(kind, kind)}"


class Quota(Call):
    """Ask for and set disk quotas: quotactl(2), quotactl_fd(2)."""

    __slots__ = ()
    theme = "system"

    command = _QuotaCommand("`Q_*` in the upper bits, the type of quota in the low eight")
    dirfd = Fd("quotactl_fd: an open file of the file system")
    pathname = MaybePathname("quotactl: the block device, or null", null="takes_null")
    path = PathIfGiven(dirfd=None, summary="quotactl: the block device")
    owner = Int("the user, group or project", signed=True)
    argument = Address("depends on the command")

    variants = (
        call("quotactl", command=0, pathname=1, owner=2, argument=3),
        call("quotactl_fd", dirfd=0, command=1, owner=2, argument=3),
    )

    @property
    def takes_null(self) -> bool:
        """Whether a null path is legal: Q_SYNC of every file system."""
        return self.command >> 8 == QUOTA_COMMANDS["Q_SYNC"]


class Acct(Call):
    """Write a record of every process that ends, or stop it: acct(2)."""

    __slots__ = ()
    theme = "system"

    pathname = MaybePathname("the file that the kernel appends to; null stops it", null="stops")
    path = PathIfGiven(dirfd=None)

    variants = (call("acct", pathname=0),)

    @property
    def stops(self) -> bool:
        """Whether accounting stops."""
        return self.raw("pathname", 0) == 0
