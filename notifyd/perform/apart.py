"""What a helper does in a thread of its own, since that changes who or where the thread is."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import outcome

from notifyd.kernel import credentials, files, mountinfo, mounts, threads
from notifyd.kernel.files import PATH_FLAGS
from notifyd.perform.pinned import Unperformable
from notifyd.perform.worker import NUDGE
from notifyd.threads import start_thread

__all__ = ["apart", "as_one_user", "mount_anew"]

T = TypeVar("T")
_TOP = b"/.."  # what is mounted on the root directory; "/" is what it is mounted on
_MNT_DETACH = 2
_SEEN = "mounting from a root directory that is no mount, and on one that is shared"
_EMPTY_PATHS = 0x44  # MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH


def apart(function: Callable[[], T]) -> T:
    """Call a function in a thread of its own, which gets the signals that end a call.

    The thread is gone for the kernel, too, when this returns: it keeps namespaces, roots, mounts.
    """
    found: list[outcome.Maybe[T]] = []
    thread = threading.Thread(target=lambda: found.append(outcome.capture(function)))
    start_thread(thread)
    signal.pthread_sigmask(signal.SIG_BLOCK, {NUDGE})
    try:
        thread.join()
        if thread.native_id is not None:
            threads.join(thread.native_id)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {NUDGE})
    return found[0].unwrap()


def as_one_user(function: Callable[[], T]) -> T:
    """Call a function with real and saved ids that are those in effect, in a thread for it alone.

    A FUSE file system without allow_other is for a caller all of whose ids are its owner's.

    Whoever has these ids can signal this thread meanwhile, and so stop or kill the helper. Their
    own call waits or fails by that, and nothing else: a helper answers only afterwards, and is no
    other user's. Neither memory nor descriptors are open to them, as the process is not dumpable.
    """

    def become() -> T:
        uid, gid = os.geteuid(), os.getegid()
        credentials.set_gids(gid, -1, gid)
        credentials.set_uids(uid, -1, uid)
        return function()

    return apart(become)


def mount_anew(own: int, cwd: int, point: int, *args: int | bytes) -> int:
    """Mount a file system on a directory that was pinned, as mount(2) by its path.

    Source and options may have paths, and only the file system knows which. It looks them up from
    the root and the working directory of whoever mounts; so that has to be the target's, and cannot
    be where the mount point has a name that nobody can exchange. So it is mounted in a namespace
    that nobody sees, and moved from there: Linux 5.2.

    Args:
        own: the open /proc/self/fd of this process.
        cwd: the target's working directory.
        point: O_PATH, where it is mounted in the end.
        *args: source, type, flags and data, as mount(2) takes them.

    Raises:
        OSError: as mount(2).
        Unperformable: where the root is no mount, and what is mounted on it shows elsewhere.
    """
    tree = apart(partial(_made, own, cwd, *args))
    try:
        if not stat.S_ISDIR(os.fstat(point).st_mode):
            raise _error(errno.ENOTDIR)
        same = os.fstat(point).st_dev == os.fstat(tree).st_dev
        if same and mountinfo.is_root(point):
            raise _error(errno.EBUSY)  # which move_mount(2) does not say
        return files.call("move_mount", tree, b"", point, b"", _EMPTY_PATHS)
    finally:
        os.close(tree)


def _made(own: int, cwd: int, source: int | bytes, *rest: int | bytes) -> int:
    """The file system, mounted nowhere: a descriptor that the caller owns."""
    credentials.unshare(credentials.CLONE_FS)
    os.fchdir(cwd)
    try:
        mounts.part()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        if _is_seen(own):
            raise Unperformable(_SEEN) from error
    files.call("mount", source, b"/", *rest)
    try:
        return mounts.copy(_TOP)
    finally:
        files.call("umount2", _TOP, _MNT_DETACH)


def _is_seen(own: int) -> bool:
    """Whether what this thread mounts on its root directory shows to others."""
    task = os.open(b"../task/%d" % threading.get_native_id(), PATH_FLAGS, dir_fd=own)
    try:
        root = os.open("/", PATH_FLAGS)
        try:
            return mountinfo.is_shared(task, root)
        finally:
            os.close(root)
    finally:
        os.close(task)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
