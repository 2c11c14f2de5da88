"""Locks on whole files: flock(2). One belongs to an open file, and ends with its descriptors."""

from __future__ import annotations

import fcntl

__all__ = ["is_locked", "lock"]


def lock(descriptor: int) -> bool:
    """Lock a file for ourselves, without waiting.

    Returns:
        False if another process has it.

    Raises:
        OSError: the file system knows no locks (ENOLCK, EOPNOTSUPP).
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(descriptor: int) -> bool:
    """Whether a process holds an exclusive lock on a file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
