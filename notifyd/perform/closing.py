"""Closing what is a target's too, where closing may wait.

close(2) of a copy of a descriptor asks whoever serves the file to flush it (FUSE; NFS and CIFS
write what is dirty), and waits as long as they like; not even SIGKILL ends that. So what is not
known to be this kernel's alone is closed by a thread, and before the target's call is answered:
then that target waits, as it does for its own copy, and nobody else.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import trio

from notifyd.errors import CannotPerform
from notifyd.kernel import mountinfo, statmount, unix
from notifyd.perform import worker

__all__ = ["Closing"]

# of a workload that nobody waits for; then nothing is opened for it any more
MAX_UNAWAITED_CLOSES = 64
MOUNT_CACHE_SIZE = 1024  # mounts
THREAD_RETRY_INTERVAL_S = 0.05  # seconds between two tries to have a thread
_NEVER = (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFLNK)


class Closing:
    """What is closed for one workload. For the loop's own thread."""

    def __init__(self) -> None:
        self._local = mountinfo.LocalDevices()
        self._known: dict[int, bool] = {}  # by the number of a mount, which is never used again
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], object]] = deque()
        self._left = 0  # closings that nobody waits for, those in `_waiting` among them
        self._works = False

    def waits(self, fd: int, tid: int = 0) -> bool:
        """Whether closing a descriptor may wait. This does not.

        Args:
            fd: whatever it is of.
            tid: a thread in whose mount namespace it may be; 0 for ours alone.
        """
        mode, mount = statmount.mode_and_mount(fd)
        if stat.S_IFMT(mode) in _NEVER:
            return False
        known = self._known.get(mount)
        return self._look(fd, mode, mount, tid) if known is None else known

    def _look(self, fd: int, mode: int, mount: int, tid: int) -> bool:
        if stat.S_ISSOCK(mode):  # SO_LINGER
            return True
        if mount == statmount.private_mount():
            return False
        kind = statmount.kind(0, mount)
        if kind is None and tid:
            try:
                kind = statmount.kind(statmount.namespace_id(tid) or 0, mount)
            except OSError:
                return True
        if kind is None or kind.magic == mountinfo.OVERLAY:  # an overlay has its layers flush
            return mountinfo.device(fd) not in self._local
        if len(self._known) >= MOUNT_CACHE_SIZE:
            self._known.clear()
        waits = self._known[mount] = kind.magic not in mountinfo.LOCAL_FILE_SYSTEMS
        return waits

    def mounts_changed(self) -> None:
        """Forget what is known of devices."""
        self._local.forget()

    def check_room(self) -> None:
        """See that not too many closings are left to themselves.

        Raises:
            CannotPerform: there are.
        """
        if self._left >= MAX_UNAWAITED_CLOSES:
            raise CannotPerform(
                f"{MAX_UNAWAITED_CLOSES} files wait for being closed by whoever serves them"
            )

    def let_go(self, fd: int) -> None:
        """Close a descriptor for good: at once, or as `later`."""
        if self.waits(fd):
            self.later(partial(os.close, fd))
        else:
            os.close(fd)

    def later(self, close: Callable[[], object]) -> None:
        """Have a thread call what closes something; one after the other."""
        with self._lock:
            self._waiting.append(close)
            self._left += 1
            if self._works:
                return
            self._works = True
        try:
            threading.Thread(target=self._work, name="notifyd-closer", daemon=True).start()
        except RuntimeError:  # no thread is to be had: the next one takes it along
            self._works = False

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._works = False
                    return
                close = self._waiting.popleft()
            try:
                close()
            finally:
                with self._lock:
                    self._left -= 1

    async def close(self, fds: Sequence[int]) -> None:
        """Close descriptors, and wait for that. If cancelled, it goes on without the caller."""
        await self.run(partial(unix.close_all, fds))

    async def run(self, close: Callable[[], object]) -> None:
        """The same of what else closes something."""
        is_over = is_left = False

        def work() -> None:
            nonlocal is_over
            close()
            with self._lock:
                is_over = True
                self._left -= is_left

        while True:
            try:
                return await worker.run(work)
            except trio.Cancelled:
                with self._lock:
                    is_left = not is_over
                    self._left += is_left
                raise
            except OSError:  # no thread can be had
                await trio.sleep(THREAD_RETRY_INTERVAL_S)
