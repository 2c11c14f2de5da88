"""What has to be there before anything is supervised: a kernel that has the calls, and /proc."""

from __future__ import annotations

import os

from notifyd.errors import UsageError
from notifyd.kernel import needs, seccomp

__all__ = ["check_kernel", "check_proc"]


def check_proc() -> None:
    """See that /proc is there: the courier finds the listener in it, and we targets and files.

    Raises:
        UsageError: it is not.
    """
    if not os.path.isdir("/proc/self/fd"):
        raise _cannot("/proc is not there; mount -t proc proc /proc")


def check_kernel() -> None:
    """See that this kernel has what it takes to decide calls. Takes some hundred microseconds.

    Raises:
        UsageError: what is missing, and what helps.
    """
    try:
        seccomp.check_notif_sizes()
    except OSError as error:
        raise _cannot(str(error.strerror)) from error
    for name, why in needs.missing().items():
        raise _cannot(
            f"{name}(2) does not work ({why}): Linux has it since {needs.SINCE[name]}; if this one "
            "does, allow it in what filters system calls here (a container's seccomp profile)"
        )
    if not seccomp.can_give_fds():
        raise _cannot(
            "no descriptor can be put into a program (SECCOMP_IOCTL_NOTIF_ADDFD): Linux has it "
            "since 5.9"
        )


def _cannot(why: str) -> UsageError:
    return UsageError(f"cannot supervise here: {why}")
