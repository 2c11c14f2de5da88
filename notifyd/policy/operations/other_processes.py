"""Reaching into other processes: `Ptrace`, `ProcessVm`, `Signal`."""

from __future__ import annotations

from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum, Fd, Flags, Int
from notifyd.policy.names.clone import SIGNALS
from notifyd.policy.names.ptrace import PTRACE_REQUESTS
from notifyd.policy.operations.layouts import ABSENT_PID
from notifyd.policy.sources import Low, call

__all__ = ["ProcessVm", "Ptrace", "Signal"]

PIDFD_SIGNAL_FLAGS = {
    "PIDFD_SIGNAL_THREAD": 1,
    "PIDFD_SIGNAL_THREAD_GROUP": 2,
    "PIDFD_SIGNAL_PROCESS_GROUP": 4,
}


class Ptrace(Call):
    """Trace another process: ptrace(2).

    A tracer reads and writes memory and registers, and can change a system call after a filter of
    the tracee's has seen it (before Linux 4.8).
    """

    __slots__ = ()
    theme = "processes"

    request = Enum(PTRACE_REQUESTS, "`PTRACE_*`", width=64)
    pid = Int("the thread to trace, in the target's pid namespace", signed=True)
    address = Address("depends on the request")
    data = Address("depends on the request")

    variants = (call("ptrace", request=0, pid=1, address=2, data=3),)


class ProcessVm(Call):
    """Reach into another process's memory: process_vm_readv(2), _writev, process_madvise(2)."""

    __slots__ = ()
    theme = "processes"

    pid = Int("process_vm_*: the process", signed=True, default=ABSENT_PID)
    pidfd = Fd("process_madvise: the process")
    local = Address("process_vm_*: the vector of one's own pieces")
    local_count = Int("how many there are", width=64)
    remote = Address("the vector of the other's pieces")
    remote_count = Int("how many there are", width=64)
    advice = Int("process_madvise: `MADV_*`", signed=True)
    flags = Int("none are known", width=64)

    variants = (
        call(
            "process_vm_readv",
            pid=0,
            local=1,
            local_count=2,
            remote=3,
            remote_count=4,
            flags=5,
        ),
        call(
            "process_vm_writev",
            pid=0,
            local=1,
            local_count=2,
            remote=3,
            remote_count=4,
            flags=5,
        ),
        call("process_madvise", pidfd=0, remote=1, remote_count=2, advice=3, flags=Low(4)),
    )

    @property
    def writes(self) -> bool:
        """Whether the other's memory is written to."""
        return self.syscall == "process_vm_writev"


class Signal(Call):
    """Send a signal: kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2), pidfd_send_signal(2).

    Process ids are those of the target's pid namespace.
    """

    __slots__ = ()
    theme = "processes"

    pid = Int(
        "the process, or tkill's thread; 0 and negative ones are groups: kill(2)",
        signed=True,
        default=ABSENT_PID,
    )
    tid = Int("tgkill: the thread of that process", signed=True, default=ABSENT_PID)
    pidfd = Fd("pidfd_send_signal: the process")
    signal = Enum(SIGNALS, "`SIG*`; 0 asks only whether it could be sent")
    info = Address("what comes with it, or null")
    flags = Flags(PIDFD_SIGNAL_FLAGS, "pidfd_send_signal, since Linux 6.9")

    variants = (
        call("kill", pid=0, signal=1),
        call("tkill", pid=0, signal=1),
        call("tgkill", pid=0, tid=1, signal=2),
        call("rt_sigqueueinfo", pid=0, signal=1, info=2),
        call("rt_tgsigqueueinfo", pid=0, tid=1, signal=2, info=3),
        call("pidfd_send_signal", pidfd=0, signal=1, info=2, flags=3),
    )
