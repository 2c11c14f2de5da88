"""What performing a call comes to, as a value."""

from __future__ import annotations

import errno
from typing import NamedTuple, TypeAlias

from notifyd.target.process import has_signal

__all__ = ["Done", "Memory", "interrupted"]

ERESTARTSYS = 512  # linux/errno.h, never seen by programs

Memory: TypeAlias = tuple[tuple[int, bytes], ...]


class Done(NamedTuple):
    """What the target gets.

    Attributes:
        value: the call's result; `errno` counts where it is not 0.
        memory: (address, bytes) to write before the answer.
        fd: a descriptor to inject; owned by whoever holds this. `cloexec` is how.
    """

    value: int = 0
    errno: int = 0
    memory: Memory = ()
    fd: int | None = None
    cloexec: bool = False


def interrupted(tid: int) -> Done:
    """What a target gets whose call was ended for the sake of a signal: EINTR, or the call again.

    The kernel itself finds out which, by SA_RESTART of the handler. It must not be asked to without
    a signal: the target would see its number as an errno.
    """
    return Done(0, ERESTARTSYS if has_signal(tid, for_sure=True) else errno.EINTR)
