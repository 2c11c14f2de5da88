"""No privilege escalation: what programs hardly need and exploits do, refused in the kernel.

    notifyd run --rules no-privilege-escalation -- ./tool

Refused are tracing and reading other processes, BPF, kernel modules and kexec, mounts and
namespaces, io_uring, userfaultfd, keyrings, performance counters, I/O ports, and typing into a
terminal. Everything is decided in the kernel and costs nothing. Debuggers, container engines and
browsers that sandbox themselves with namespaces do not work under it.

What it does not hold: it is about system calls, not files, so /proc/PID/mem of the user's other
processes and the devices of root stay open. See `only-below`, and --user.
"""

import errno

from notifyd import (
    TYPING_REQUESTS,
    Acct,
    Bpf,
    Chroot,
    Clone,
    Deny,
    Ioctl,
    IoPort,
    IoUring,
    KexecLoad,
    Keyctl,
    ModuleLoad,
    Mount,
    NameToHandle,
    PerfEventOpen,
    PivotRoot,
    ProcessVm,
    Ptrace,
    Quota,
    Raw,
    Reboot,
    Setns,
    Swap,
    Syslog,
    Umount,
    Unshare,
    UserfaultFd,
    always,
    has_any,
)

NAMESPACES = 0x7E020000  # CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET
CLONE_NEWTIME = 0x80  # a part of the signal number in clone(2)
USERFAULTFD_IOC_NEW = 0xAA00  # what /dev/userfaultfd has instead of a system call

REFUSED = Deny(errno.EPERM)

# Other processes.
always(REFUSED, Ptrace, ProcessVm, Raw("pidfd_getfd"))

# Parts of the kernel that exploits need and programs hardly do.
always(REFUSED, Keyctl, UserfaultFd, PerfEventOpen, IoUring)

# The whole machine.
always(REFUSED, Bpf, ModuleLoad, KexecLoad, IoPort, Reboot, Swap, Acct, Quota, Syslog, NameToHandle)

# What paths mean, and namespaces.
always(REFUSED, Setns, Mount, Umount, PivotRoot, Chroot)
always(REFUSED, Unshare, flags=has_any(NAMESPACES | CLONE_NEWTIME))
# clone3's flags lie in memory, out of the filter's sight. ENOSYS makes C libraries use clone.
always(Deny(errno.ENOSYS), Raw("clone3"))
always(REFUSED, Clone, flags=has_any(NAMESPACES))

# Devices.
always(REFUSED, Ioctl, request={*TYPING_REQUESTS, USERFAULTFD_IOC_NEW})
