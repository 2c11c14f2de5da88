"""A stage: a root directory of our own in which a path's text leads to a directory that was pinned.

A bound socket tells its name to everybody (getsockname, its peers), and that is the text that
bind(2) was given. So the text cannot be replaced by a safe one, and must not be walked again where
others can exchange directories. On a stage it is walked again where nobody else is: the directories
in it are empty ones of a tmpfs, and the last one is a link to what was pinned.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from notifyd.kernel import capability, credentials, mounts
from notifyd.kernel.files import PATH_FLAGS

__all__ = ["Stage"]

_CHROOT = 1 << capability.CAPABILITY_NUMBERS["CAP_SYS_CHROOT"]
_NEEDED = capability.SYS_ADMIN | _CHROOT
_LINKS = b"links".ljust(200, b"-")  # longer than any part of an address


class Stage:
    """A stage for one bind, in the thread that does it. `stack` owns what is opened."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._top = -1

    @property
    def powers(self) -> int:
        """Capabilities that the thread has to keep, not in effect, to enter it."""
        return _CHROOT if self._top >= 0 else 0

    def build(self) -> None:
        """Build it, before the thread is anybody else; nothing comes of it without the power."""
        if capability.get(0).effective & _NEEDED != _NEEDED:
            return
        try:
            links = self._kept(mounts.copy(b"/proc/self/fd"))
            mounts.part()
            top = self._kept(mounts.new_tmpfs())
            os.mkdir(_LINKS, dir_fd=top)
            mounts.attach(top, -1, b"/")
            mounts.attach(links, top, _LINKS)
        except OSError:
            return  # an old kernel, or mounts are forbidden to us
        self._top = top

    def enter(self, head: bytes, directory: int) -> bool:
        """Make the stage root and working directory, so that `head` means `directory` there.

        The power that this takes is in effect meanwhile, and given up.

        Args:
            head: the text before the last slash, as it will be walked.
            directory: pinned.

        Returns:
            False if there is no stage for this: the same name there cannot be the same thing.
        """
        parts = [part for part in head.split(b"/") if part not in (b"", b".")]
        if not parts:
            os.fchdir(directory)  # the root and the working directory are what they were
            return True
        if self._top < 0 or parts[-1] == b"..":
            return False  # it ends in a directory that has another name
        held = capability.get(0).effective
        credentials.set_capabilities(held | _CHROOT, held | _CHROOT)
        try:
            return self._enter(head.startswith(b"/"), parts, directory)
        finally:
            credentials.set_capabilities(held, held)

    def _enter(self, absolute: bool, parts: list[bytes], directory: int) -> bool:
        """Make the directories of `parts` and the link, and go there."""
        here = self._top
        if not absolute:
            for _ in parts:  # as deep as it may climb
                here = self._down(here, b"-")
        start = here
        try:
            for part in parts[:-1]:
                here = self._down(here, part)
            os.symlink(b"/%s/%d" % (_LINKS, directory), parts[-1], dir_fd=here)
        except (FileExistsError, NotADirectoryError):
            return False  # one name would have to be two things
        os.fchdir(self._top)
        os.chroot(".")
        os.fchdir(start)
        return True

    def _down(self, directory: int, name: bytes) -> int:
        if name != b"..":
            try:
                os.mkdir(name, dir_fd=directory)
                os.chmod(name, 0o700, dir_fd=directory)  # whatever the umask is
            except FileExistsError:
                pass
        elif os.path.samestat(os.fstat(directory), os.fstat(self._top)):
            return directory
        return self._kept(
            os.open(name, PATH_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        )

    def _kept(self, fd: int) -> int:
        self._stack.callback(os.close, fd)
        return fd
