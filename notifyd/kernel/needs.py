"""The system calls that notifyd cannot do without, and which of them this kernel lacks.

Asked before anything is supervised: once a program waits for its answer, all that is left is to
refuse it. What notifyd can do without (statmount, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, threads'
pidfds) is found out where it is used.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from notifyd.kernel.files import call

__all__ = ["SINCE", "missing"]

# By name, the Linux that has it first. To add one: see that it fails where every argument is -1.
SINCE: Mapping[str, str] = MappingProxyType(
    {
        "process_vm_readv": "3.2",
        "process_vm_writev": "3.2",
        "memfd_create": "3.17",
        "statx": "4.11",
        "pidfd_send_signal": "5.1",
        "pidfd_open": "5.3",
        "openat2": "5.6",
        "pidfd_getfd": "5.6",
    }
)
# What an older kernel answers, and what the profiles of containers answer for it.
_REFUSED = (errno.ENOSYS, errno.EPERM)


def missing() -> dict[str, str]:
    """Those of `SINCE` that do not work here, and what the kernel says instead."""
    found = {}
    for name in SINCE:
        try:
            call(name, -1, -1, -1, -1, -1, -1)  # no kernel does anything with that but refuse it
        except OSError as error:
            if error.errno in _REFUSED:
                found[name] = error.strerror or str(error)
    return found
