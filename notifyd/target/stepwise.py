"""A walk along a path that the kernel may not do alone: by single steps, and strides in between.

What a link says depends on who walks, so each is read here. Between two links the kernel's walk is
the target's own, and goes in strides.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from notifyd.kernel import proc, statmount
from notifyd.kernel.files import NOFOLLOW_FLAGS, PROC_SUPER_MAGIC
from notifyd.kernel.limits import MAX_LINKS, PROC_ROOT_INODE
from notifyd.kernel.openat2 import openat2
from notifyd.kernel.strides import FD_LIMIT_ERRNOS, Strides
from notifyd.target.view import View
from notifyd.target.walk_state import Steps

__all__ = ["MAX_INLINE_STEPS", "Stepwise", "WalkTooLong", "must_wait", "parts_of"]

MAX_INLINE_STEPS = 48  # steps while everybody waits: some 10 us each
COMPONENTS_PER_STEP = 128  # components that cost as much as a step by themselves


class WalkTooLong(Exception):
    """A walk has more steps than may be taken while everybody waits."""


class Stepwise:
    """One walk.

    Args:
        tid: whose it is.
        view: its view.
        steps: where it begins, and what it comes to.
        cached: RESOLVE_CACHED, if nothing may wait, and the steps are limited.
        entered: is told what was not reached by a name from there.
    """

    def __init__(
        self, tid: int, view: View, steps: Steps, cached: int, entered: Callable[[int], None]
    ) -> None:
        self._tid = tid
        self._view = view
        self._steps = steps
        self._cached = cached
        self._entered = entered
        self._links = 0
        # The kernel's `..` might lead above another root than ours.
        self._strides = Strides(cached, up=view.ours)
        self._taken = 0

    def run(self, path: bytes, follow: bool) -> bool:
        """Walk; False if there are too many links.

        Raises:
            WalkTooLong, BlockingIOError: only if nothing may wait.
            OSError: no descriptor is left, or the target is gone.
        """
        steps, todo = self._steps, parts_of(path)[::-1]
        self._pace(2 * len(todo))  # they are looked at here and by the kernel
        while todo:
            self._pace()
            if steps.tail and b".." not in todo:  # nothing leads back from what is not there
                steps.drop_thing()
                steps.tail.extend(reversed(todo))
                return True
            if not steps.tail and (found := self._strides.leap(steps.here, todo)) >= 0:
                steps.go(found)
                continue
            part = todo.pop()
            if part == b".." or steps.tail:
                self._up_or_along(part)
                continue
            text = self._arrive(part, bool(todo) or follow)
            if text is None:
                continue
            self._links += 1
            if self._links > MAX_LINKS:
                return False
            more = parts_of(text)
            self._pace(2 * len(more))
            todo.extend(reversed(more))
        return True

    def _pace(self, parts: int = COMPONENTS_PER_STEP) -> None:
        self._taken += parts
        if self._cached and self._taken > MAX_INLINE_STEPS * COMPONENTS_PER_STEP:
            raise WalkTooLong

    def _up_or_along(self, part: bytes) -> None:
        steps = self._steps
        if part != b"..":
            steps.tail.append(part)
        elif steps.tail:
            steps.drop()
        elif statmount.spot(steps.here) != self._view.root:
            above = self._step(part)
            if above >= 0:
                steps.go(above)

    def _arrive(self, part: bytes, follow: bool) -> bytes | None:
        """Come to a component; return what it says to the target if it is a link to be followed."""
        steps, step = self._steps, self._step(part)
        mode = statmount.mode_of(step) if step >= 0 else 0
        if not follow or not stat.S_ISLNK(mode):
            steps.arrive(step, part, directory=stat.S_ISDIR(mode))
            return None
        try:
            text = self._text(part, step)
        except BaseException:
            os.close(step)
            raise
        if text == b"":
            steps.arrive(step, part, directory=False)
            return None
        os.close(step)
        if text is None:
            self._jump(part)
            return b""
        if text.startswith(b"/"):
            steps.go_to_root()
        return text

    def _step(self, part: bytes) -> int:
        """Open a component, itself; -1 if it is not there."""
        try:
            return openat2(self._steps.here, part, NOFOLLOW_FLAGS, 0, self._cached)
        except OSError as error:
            if must_wait(error, self._cached) or error.errno in FD_LIMIT_ERRNOS:
                raise
            return -1

    def _jump(self, part: bytes) -> None:
        """Go where a link of /proc leads.

        Not from the cache alone, which the kernel refuses here. It does not wait: nothing is looked
        up beyond the link.
        """
        try:
            found = os.open(part, NOFOLLOW_FLAGS & ~os.O_NOFOLLOW, dir_fd=self._steps.here)
        except OSError as error:
            if error.errno in FD_LIMIT_ERRNOS:
                raise
            self._steps.tail.append(part)
            return
        self._steps.go(found)
        self._entered(found)

    def _text(self, part: bytes, link: int) -> bytes | None:
        """What a link says to the target; empty if nothing, None if only the kernel knows."""
        kind = self._view.kind(link)
        if not kind.follows:
            return b""  # the call will fail with it
        if kind.magic == PROC_SUPER_MAGIC:
            found = os.fstat(self._steps.here)
            if found.st_ino != PROC_ROOT_INODE:
                return None
            if part in (b"self", b"thread-self"):
                return self._self(part, found.st_dev)
        return self._view.text(link, kind.magic)

    def _self(self, name: bytes, device: int) -> bytes:
        """What /proc/self or /proc/thread-self says to the target."""
        # They are whoever looks: here that is us, and must not be.
        directory = proc.open_dir(self._tid)
        try:
            status = proc.read_status(directory)
        finally:
            os.close(directory)
        # Another /proc than ours is that of the target's own pid namespace.
        at = 0 if device == os.stat("/proc").st_dev else -1
        process, thread = status.process_ids[at], status.thread_ids[at]
        return b"%d" % process if name == b"self" else b"%d/task/%d" % (process, thread)


def must_wait(error: OSError, cached: int) -> bool:
    """Whether a walk failed since it must not wait.

    EAGAIN is also what one with `..` gets when anything anywhere is renamed meanwhile, since it
    could have left its root then: openat2(2). Step by step there is no such root.
    """
    return error.errno == errno.EAGAIN and bool(cached)


def parts_of(path: bytes) -> list[bytes]:
    """The components of a path, without those that mean nothing."""
    parts = path.strip(b"/").split(b"/")
    if b"" in parts or b"." in parts:
        return [part for part in parts if part not in (b"", b".")]
    return parts
