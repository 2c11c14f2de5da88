"""Strides: the long stretches of a walk that the kernel may do alone.

A walk that has to look at each link itself needs the kernel for every component otherwise: a path
may have 2,000, and each of 40 links as many again.
"""

from __future__ import annotations

import errno
import os

from notifyd.kernel.openat2 import RESOLVE_CACHED, RESOLVE_NO_SYMLINKS, openat2

__all__ = ["FD_LIMIT_ERRNOS", "Strides"]

FD_LIMIT_ERRNOS = (errno.EMFILE, errno.ENFILE)
# components that are quicker walked singly, since links come first: /proc/self/fd/3/x
MIN_STRIDE_PATH = 6
# components of the first stride; then twice as many, or half as many where that failed
FIRST_STRIDE = 64
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Strides:
    """The strides of one walk, longer or shorter by the results of earlier ones.

    Args:
        resolve: `RESOLVE_*` for all of them.
        up: whether the kernel's `..` means what it means to whom the walk is for.

    Attributes:
        length: how many components the next one has at most.
    """

    def __init__(self, resolve: int = 0, *, up: bool = True) -> None:
        self._resolve = resolve | RESOLVE_NO_SYMLINKS
        self._up = up
        self.length = FIRST_STRIDE

    def leap(self, here: int, todo: list[bytes]) -> int:
        """Walk some of what is to do, if it has no link and all of it is there.

        Args:
            here: a directory, O_PATH.
            todo: components, the next one last; those that were walked are taken away. The very
                last of the path stays, since what it has to be depends on the call.

        Returns:
            An O_PATH descriptor of a directory, which the caller owns; -1 if the next component
            has to be walked singly.

        Raises:
            OSError: EMFILE, ENFILE; EAGAIN with RESOLVE_CACHED.
        """
        if len(todo) <= MIN_STRIDE_PATH:
            return -1
        stride = todo[max(1, len(todo) - self.length) :][::-1]
        if not self._up and b".." in stride:
            del stride[stride.index(b"..") :]
        if len(stride) < 2:
            return -1
        try:
            found = openat2(here, b"/".join(stride), _DIRECTORY, resolve=self._resolve)
        except OSError as error:
            cached = self._resolve & RESOLVE_CACHED
            if error.errno in FD_LIMIT_ERRNOS or (error.errno == errno.EAGAIN and cached):
                raise
            self.length = max(len(stride) // 2, 2)
            return -1
        del todo[-len(stride) :]
        self.length *= 2
        return found
