"""What a path means where the descriptor that it starts at is its root: RESOLVE_IN_ROOT.

The kernel alone walks, openat2(2): nobody else sees to it that what others move meanwhile leads not
out of that root. It refuses the links of /proc that are magic. Those that are not, /proc/self and
its like, are the walker's own, so nothing in /proc has a name here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from notifyd.errors import CannotPerform
from notifyd.kernel.files import PATH_FLAGS, PROC_SUPER_MAGIC
from notifyd.kernel.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from notifyd.target.view import View, no_name

__all__ = ["Rooted"]

MAX_ROOTED_LINKS = 40  # as the kernel: path_resolution(7)
_LIMITS = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


class Rooted:
    """Walks below a descriptor. Owns nothing.

    Args:
        start: where, O_PATH.
        cached: RESOLVE_CACHED, or 0 where it may wait.
        view: of the thread.
        called: the name in the target's own view, of what a descriptor is of.
    """

    def __init__(self, start: int, cached: int, view: View, called: Callable[[int], bytes]) -> None:
        self._start = start
        self._cached = cached
        self._view = view
        self._called = called

    def run(self, path: bytes, follow: bool, nowhere: bytes, *, may_make: bool) -> bytes:
        """The absolute path in the target's own view.

        Args:
            path: as the target gave it.
            follow: whether a link in the last component is followed.
            nowhere: what it is called if it leads nowhere: the call will fail.
            may_make: whether what is not there has a name.

        Raises:
            BlockingIOError: EAGAIN: it is not in the kernel's cache.
            CannotPerform: it leads into /proc.
            TargetFault: EACCES: what it leads to has no name.
        """
        try:
            for _ in range(MAX_ROOTED_LINKS):
                try:
                    return self._named(path, 0 if follow else os.O_NOFOLLOW)
                except FileNotFoundError:
                    text = self._text(path) if follow else None
                head = path[: path.rfind(b"/") + 1]
                if text is None:
                    if not may_make:
                        raise no_name()
                    return self._made(head, path[len(head) :]) or nowhere
                path = text if text.startswith(b"/") else head + text
        except OSError as error:
            if error.errno == errno.EAGAIN and self._cached:
                raise
        return nowhere

    def _made(self, head: bytes, last: bytes) -> bytes | None:
        """How what is not there would be made."""
        if last in (b"", b".", b".."):
            return None
        # With a dot: links on the way are no last ones, see protected_symlinks in proc(5).
        return self._named(head + b".", os.O_DIRECTORY).rstrip(b"/") + b"/" + last

    def _named(self, path: bytes, flags: int) -> bytes:
        found = self._open(path, flags)
        try:
            if self._view.kind(found).magic == PROC_SUPER_MAGIC:
                raise CannotPerform("openat2 with RESOLVE_IN_ROOT, in /proc")
            return self._called(found)
        finally:
            os.close(found)

    def _text(self, path: bytes) -> bytes | None:
        """What a link says behind which nothing is; None if there is none."""
        try:
            link = self._open(path, os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            return self._view.text(link, self._view.kind(link).magic)
        except FileNotFoundError:  # it is no link, readlinkat(2)
            return None
        finally:
            os.close(link)

    def _open(self, path: bytes, flags: int) -> int:
        try:
            return openat2(self._start, path, PATH_FLAGS | flags, 0, _LIMITS | self._cached)
        except OSError as error:
            if error.errno == errno.EINVAL and self._cached:  # no RESOLVE_CACHED before Linux 5.12
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
            raise
