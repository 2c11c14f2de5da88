"""The C library: loaded once, and a way to call what it has no function for.

Owns the two handles and the translation of errno into `OSError`. Knows no system call by name.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, NoReturn

__all__ = ["HOLDING_GIL", "LIBC", "fail", "syscall"]

LIBC = ctypes.CDLL(None, use_errno=True)
"""Releases the GIL around each call: for whatever may wait."""

HOLDING_GIL = ctypes.PyDLL(None, use_errno=True)
"""Keeps the GIL: for what never waits, and for clone(2), after which only this thread exists."""

_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long
_get_errno = ctypes.get_errno


def fail(what: str | None = None) -> NoReturn:
    """Raise the `OSError` of the C call that has just failed in this thread.

    Args:
        what: What could not be done; the system's own text for the errno by default.
    """
    number = _get_errno()
    raise OSError(number, what or os.strerror(number))


def syscall(nr: int, *args: Any) -> int:
    """Do system call `nr` of the native architecture.

    Args:
        nr: The number, from `arch.native().numbers`.
        *args: At most six. An int fills a whole register and wraps at 2**64; bytes pass their
            address (the kernel must only read them); ctypes objects pass as they are.

    Returns:
        What the call returns, at least 0.

    Raises:
        OSError: The call failed; `errno` is the kernel's. `EINTR` is not retried.
    """
    result: int = _syscall(
        ctypes.c_long(nr), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    )
    if result == -1:
        fail()
    return result
