"""A program about which a person may be asked cannot reach the terminal of the answer.

A rule file that is added to those of a run that may ask at a terminal. That an opened file is no
foreign terminal is seen when it is opened, by what it is (`perform.terminals`); that every open is
performed, `own_terminal` sees to.
"""

from __future__ import annotations

import errno

from notifyd import (
    TYPING_REQUESTS,
    Deny,
    Ioctl,
    IoUring,
    Ptrace,
    Raw,
    always,
)

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206

# Opens with no system call, or by no name; descriptors and memory of those who have the terminal.
always(Deny(errno.EPERM), IoUring, Raw("open_by_handle_at", "fanotify_init"))
always(Deny(errno.EPERM), Raw("pidfd_getfd", "process_vm_writev"))
always(Deny(errno.EPERM), Ptrace, request={PTRACE_ATTACH, PTRACE_SEIZE})
always(Deny(errno.EPERM), Ioctl, request=TYPING_REQUESTS)
