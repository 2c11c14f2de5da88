"""Code and queues inside the kernel.

Owns `Bpf`, `PerfEventOpen`, `IoUring`, `KexecLoad` and `ModuleLoad`.
"""

from __future__ import annotations

from collections.abc import Mapping

from notifyd.policy.bound import BoundCall
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum, Fd, Flags, Int, Text
from notifyd.policy.names import machine as names
from notifyd.policy.names.bpf import BPF_COMMANDS, PERF_FLAGS, PERF_TYPES
from notifyd.policy.names.io_uring import IO_URING_ENTER_FLAGS, IO_URING_REGISTER
from notifyd.policy.sources import Mem, call

__all__ = ["Bpf", "IoUring", "KexecLoad", "ModuleLoad", "PerfEventOpen"]

MAX_MODULE_PARAM_BYTES = 4096  # bytes; what init_module(2)'s parameters are looked at, at most


class Bpf(Call):
    """Load and use programs in the kernel: bpf(2)."""

    __slots__ = ()
    theme = "system"

    command = Enum(BPF_COMMANDS, "`BPF_*`")
    attributes = Address("the union bpf_attr")
    size = Int("bytes of it")

    variants = (call("bpf", command=0, attributes=1, size=2),)


class PerfEventOpen(Call):
    """Measure programs and the kernel: perf_event_open(2).

    /proc/sys/kernel/perf_event_paranoid says who may.
    """

    __slots__ = ()
    theme = "system"

    attributes = Address("the struct perf_event_attr")
    kind = Enum(PERF_TYPES, "the kind of event, in memory")
    pid = Int("the thread to measure; 0 oneself, -1 everybody", signed=True)
    cpu = Int("the processor; -1 is any", signed=True)
    group_fd = Fd("the leader of the group, or -1")
    flags = Flags(PERF_FLAGS, "`PERF_FLAG_*`", width=64)

    variants = (
        call(
            "perf_event_open",
            attributes=0,
            kind=Mem(0, 0, 4),
            pid=1,
            cpu=2,
            group_fd=3,
            flags=4,
        ),
    )


class IoUring(Call):
    """Have the kernel do things from a queue: io_uring_setup(2), _enter(2), _register(2).

    What is queued is no system call of its own: it opens, connects and sends past every filter
    and every rule here. A rule set that guards files or sockets should refuse it:
    `always(Deny(errno.ENOSYS), IoUring)`.
    """

    __slots__ = ()
    theme = "system"

    fd = Fd("the ring, or with a flag its registered number")
    entries = Int("io_uring_setup: how long the queue is")
    parameters = Address("io_uring_setup: the struct io_uring_params")
    submit = Int("io_uring_enter: how many entries to start")
    wait_for = Int("io_uring_enter: how many to wait for")
    flags = Flags(IO_URING_ENTER_FLAGS, "of io_uring_enter")
    opcode = Enum(IO_URING_REGISTER, "io_uring_register: what to do")
    argument = Address("what opcode or flags take")

    variants = (
        call("io_uring_setup", entries=0, parameters=1),
        call("io_uring_enter", fd=0, submit=1, wait_for=2, flags=3, argument=4),
        call("io_uring_register", fd=0, opcode=1, argument=2),
    )


class _KexecFlags(Flags):
    """kexec_load and kexec_file_load give the same bits other names."""

    def table(self, call: BoundCall) -> tuple[Mapping[str, int], int, Mapping[str, int]]:
        by_file = call.syscall == "kexec_file_load"
        return names.KEXEC_FILE_FLAGS if by_file else names.KEXEC_FLAGS, *self.base


class KexecLoad(Call):
    """Put another kernel in this one's place: kexec_load(2), kexec_file_load(2)."""

    __slots__ = ()
    theme = "system"

    kernel_fd = Fd("kexec_file_load: the kernel")
    initrd_fd = Fd("kexec_file_load: its initial file system")
    command_line = Text("kexec_file_load: its command line", length="command_size", limit=2048)
    command_size = Int("bytes of it, with the NUL", width=64)
    entry = Address("kexec_load: where it starts")
    segments = Address("kexec_load: the vector of its pieces")
    count = Int("kexec_load: how many there are", width=64)
    flags = _KexecFlags({}, "`KEXEC_*`", width=64)

    variants = (
        call("kexec_load", entry=0, count=1, segments=2, flags=3),
        call(
            "kexec_file_load",
            kernel_fd=0,
            initrd_fd=1,
            command_size=2,
            command_line=3,
            flags=4,
        ),
    )


class _ModuleFlags(Flags):
    """finit_module and delete_module give the same argument other names."""

    def table(self, call: BoundCall) -> tuple[Mapping[str, int], int, Mapping[str, int]]:
        removes = call.syscall == "delete_module"
        return names.MODULE_REMOVE_FLAGS if removes else names.MODULE_FLAGS, *self.base


class ModuleLoad(Call):
    """Load or remove a kernel module: init_module(2), finit_module(2), delete_module(2)."""

    __slots__ = ()
    theme = "system"

    fd = Fd("finit_module: the module's file")
    image = Address("init_module: the module in memory")
    size = Int("bytes of it", width=64)
    parameters = Text("what it is told", limit=MAX_MODULE_PARAM_BYTES)
    name = Text("delete_module: its name", limit=64)
    flags = _ModuleFlags({}, "each call's own")

    variants = (
        call("init_module", image=0, size=1, parameters=2),
        call("finit_module", fd=0, parameters=1, flags=2),
        call("delete_module", name=0, flags=1),
    )

    @property
    def removes(self) -> bool:
        """Whether the module goes."""
        return self.syscall == "delete_module"
