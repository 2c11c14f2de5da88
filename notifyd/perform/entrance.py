"""The way to where a target is, for a helper, and the process by which to know that it has ended.

What these functions open keeps alive what is there: namespaces, mounts. It is closed at once.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from notifyd.kernel import pidfd, proc
from notifyd.target.identity import Identity
from notifyd.target.thread import StoppedThread

__all__ = ["eldest", "way_to"]

MAX_SCANNED_ANCESTORS = 64  # ancestors of a process that are looked at


def way_to(thread: StoppedThread, stack: ExitStack) -> list[int]:
    """A pidfd of a target's thread, and its root directory.

    Args:
        thread: of the target.
        stack: owns the descriptors, and has to be closed before the target is answered.

    Raises:
        TargetGone, RuleError.
    """
    try:
        task = thread.open()
        stack.callback(os.close, task)
        root = os.open(f"/proc/{thread.tid}/root", os.O_PATH | os.O_CLOEXEC)
        stack.callback(os.close, root)
    except OSError as error:
        raise thread.failure(error) from error
    thread.check()
    return [task, root]


def eldest(thread: StoppedThread, identity: Identity, user: int, stack: ExitStack) -> int:
    """A pidfd of a target's process, or of its farthest ancestor that is in its user namespace.

    That is there longer than those whom it starts: mostly as long as there is anybody.

    Args:
        thread: of the target.
        identity: the target's.
        user: the inode number of its user namespace.
        stack: owns the descriptor.

    Raises:
        TargetGone, RuleError.
    """
    try:
        found = pidfd.open_process(identity.pid)
    except OSError as error:
        raise thread.failure(error) from error
    pid = identity.ppid
    for _ in range(MAX_SCANNED_ANCESTORS):
        try:
            above = pidfd.open_process(pid)
        except OSError:  # there is none, or none that we can see
            break
        parent = _parent_in(pid, user)
        if parent is None:
            os.close(above)
            break
        os.close(found)
        found, pid = above, parent
    stack.callback(os.close, found)
    return found


def _parent_in(pid: int, user: int) -> int | None:
    """The parent of a process in a user namespace; None if it is in another one."""
    try:
        directory = proc.open_dir(pid)
    except OSError:
        return None
    try:
        inside = os.stat("ns/user", dir_fd=directory).st_ino == user
        return proc.read_status(directory).ppid if inside else None
    except OSError:
        return None
    finally:
        os.close(directory)
