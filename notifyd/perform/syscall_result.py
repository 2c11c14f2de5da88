"""What performing a call comes to, as a value."""

from __future__ import annotations

import errno
from typing import NamedTuple, TypeAlias

from notifyd.target.process import has_signal

__all__ = ["Memory", "Signals", "SyscallResult"]

ERESTARTSYS = 512  # linux/errno.h, never seen by programs

Memory: TypeAlias = tuple[tuple[int, bytes], ...]


class SyscallResult(NamedTuple):
    """What the target gets.

    Attributes:
        value: the call's result; `errno` counts where it is not 0.
        memory: (address, bytes) to write before the answer.
        fd: a descriptor to inject; owned by whoever holds this. `cloexec` is how.
        slow: whether closing it may wait.
    """

    value: int = 0
    errno: int = 0
    memory: Memory = ()
    fd: int | None = None
    cloexec: bool = False
    slow: bool = False


class Signals:
    """The signals that come for a target whose call waits, and what they do to the call.

    Called, it says whether there is one to attend to.
    """

    def __init__(self, tid: int) -> None:
        self._tid = tid
        self._sure = False

    def __call__(self) -> bool:
        # Once there was one that no other thread can take, the kernel looks for it after the call,
        # even if it has been taken back meanwhile, as SIGCONT does with SIGSTOP.
        self._sure = self._sure or has_signal(self._tid, for_sure=True)
        return self._sure or has_signal(self._tid)

    def interrupted(self) -> SyscallResult:
        """What a target gets whose call was ended for a signal: EINTR, or the call again.

        The kernel itself finds out which, by SA_RESTART of the handler. It must not be asked to
        without a signal: the target would see its number as an errno.
        """
        self()
        return SyscallResult(0, ERESTARTSYS if self._sure else errno.EINTR)
