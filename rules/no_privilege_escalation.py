"""No privilege escalation: what programs hardly need and exploits do, refused in the kernel.

    notifyd run --rules no-privilege-escalation -- ./tool

Tracing and reading other processes, BPF, kernel modules and kexec, mounts and namespaces, io_uring,
userfaultfd, keyrings, performance counters, I/O ports, pushing input into a terminal. Everything is
decided in the kernel and costs nothing. A debugger, a container engine or a browser that sandboxes
itself with namespaces will not work under it. It knows system calls, not files: /proc/PID/mem of
other processes of the user, and the devices of root, are open. See `only-below`, and --user.
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

always(REFUSED, Ptrace, ProcessVm, Raw("pidfd_getfd"), Keyctl, UserfaultFd, PerfEventOpen, IoUring)
always(REFUSED, Bpf, ModuleLoad, KexecLoad, IoPort, Reboot, Swap, Acct, Quota, Syslog, NameToHandle)
always(REFUSED, Setns, Mount, Umount, PivotRoot, Chroot)
always(REFUSED, Unshare, flags=has_any(NAMESPACES | CLONE_NEWTIME))
# clone3's flags lie in memory, out of the filter's sight. ENOSYS makes C libraries use clone.
always(Deny(errno.ENOSYS), Raw("clone3"))
always(REFUSED, Clone, flags=has_any(NAMESPACES))
always(REFUSED, Ioctl, request={*TYPING_REQUESTS, USERFAULTFD_IOC_NEW})
