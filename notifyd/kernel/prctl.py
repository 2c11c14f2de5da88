"""prctl(2): what a process can set about itself.

Every function speaks of the calling process, no_new_privs of the calling thread.
"""

from __future__ import annotations

from ctypes import c_ulong

from notifyd.kernel.libc import LIBC, fail

__all__ = [
    "get_dumpable",
    "get_no_new_privs",
    "set_child_subreaper",
    "set_dumpable",
    "set_keep_caps",
    "set_no_new_privs",
    "set_pdeathsig",
]

_SET_PDEATHSIG = 1
_GET_DUMPABLE = 3
_SET_DUMPABLE = 4
_SET_KEEPCAPS = 8
_SET_CHILD_SUBREAPER = 36
_SET_NO_NEW_PRIVS = 38
_GET_NO_NEW_PRIVS = 39


def _prctl(option: int, value: int = 0) -> int:
    zero = c_ulong(0)
    result: int = LIBC.prctl(option, c_ulong(value), zero, zero, zero)
    if result < 0:
        fail()
    return result


def set_no_new_privs() -> None:
    """Give up gaining privileges by execve, for ever, for this thread and its descendants.

    Since 3.5. Without it a filter needs CAP_SYS_ADMIN.
    """
    _prctl(_SET_NO_NEW_PRIVS, 1)


def get_no_new_privs() -> bool:
    """Say whether this thread has given up gaining privileges."""
    return bool(_prctl(_GET_NO_NEW_PRIVS))


def set_child_subreaper(on: bool = True) -> None:
    """Become the parent of orphans among our descendants, or no longer. Since 3.4."""
    _prctl(_SET_CHILD_SUBREAPER, int(on))


def set_dumpable(on: bool) -> None:
    """Let processes of the same user look into our memory and /proc entries, or not."""
    _prctl(_SET_DUMPABLE, int(on))


def set_keep_caps(on: bool) -> None:
    """Keep the permitted capabilities of this thread when no user id of it is 0 any more."""
    _prctl(_SET_KEEPCAPS, int(on))


def get_dumpable() -> int:
    """Return 1 if others of the same user may look into us, 0 if not, 2 if only root may."""
    return _prctl(_GET_DUMPABLE)


def set_pdeathsig(sig: int) -> None:
    """Ask for a signal when the *thread* that made us ends; 0 for none.

    Cleared by fork, and by executing a set-user-ID file. A parent that is gone already sends
    nothing: compare getppid() afterwards.
    """
    _prctl(_SET_PDEATHSIG, sig)
