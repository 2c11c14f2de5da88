"""Asking about files: `Access`, `Stat`, `StatFs`, `ReadLink`; and `Chdir`.

Where the call has a descriptor instead of a path, `pathname` is empty and `path` is what that
descriptor is of; `fd` is -1 where the call has a path.
"""

from __future__ import annotations

from notifyd.kernel.files import AT_EMPTY_PATH
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, DirFd, Fd, Flags, Int, Path, Pathname
from notifyd.policy.names.path import (
    ACCESS_FLAGS,
    AT_ACCESS_FLAGS,
    AT_STAT_FLAGS,
    STATX_MASK,
)
from notifyd.policy.operations.attributes import AT_SYMLINK_NOFOLLOW
from notifyd.policy.operations.layouts import MaybePathname
from notifyd.policy.sources import call

__all__ = ["Access", "Chdir", "ReadLink", "Stat", "StatFs"]


class Access(Call):
    """Ask what one may do with a file: access(2), faccessat(2), faccessat2(2).

    Asks for the real user id, unless AT_EACCESS is given. Nothing follows from the answer: a
    program that is refused here can still try.
    """

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = Pathname("the path as given")
    path = Path(follow="follows", empty="flags")
    wanted = Flags(ACCESS_FLAGS, "`R_OK`, `W_OK`, `X_OK`; 0 asks whether it is there")
    flags = Flags(AT_ACCESS_FLAGS, "of faccessat2, since Linux 5.8")

    variants = (
        call("access", pathname=0, wanted=1),
        # The kernel's own faccessat has three arguments; what a fourth register holds is nothing.
        call("faccessat", dirfd=0, pathname=1, wanted=2),
        call("faccessat2", dirfd=0, pathname=1, wanted=2, flags=3),
    )

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return not self.flags & AT_SYMLINK_NOFOLLOW


class Stat(Call):
    """Ask what a file is: stat(2), lstat(2), fstat(2), fstatat(2), statx(2) and their elders."""

    __slots__ = ()
    theme = "files"

    fd = Fd("fstat: the open file")
    dirfd = DirFd()
    pathname = MaybePathname(null="takes_null")
    path = Path(follow="follows", empty="flags")
    flags = Flags(AT_STAT_FLAGS, "of fstatat and statx")
    mask = Flags(STATX_MASK, "statx: what is asked for")
    buffer = Address("where the answer goes; its layout is the call's own")

    variants = (
        call("stat", pathname=0, buffer=1),
        call("lstat", pathname=0, buffer=1),
        call("fstat", fd=0, dirfd=0, buffer=1),
        call("stat64", pathname=0, buffer=1),
        call("lstat64", pathname=0, buffer=1),
        call("fstat64", fd=0, dirfd=0, buffer=1),
        call("oldstat", pathname=0, buffer=1),
        call("oldlstat", pathname=0, buffer=1),
        call("oldfstat", fd=0, dirfd=0, buffer=1),
        call("newfstatat", dirfd=0, pathname=1, buffer=2, flags=3),
        call("fstatat64", dirfd=0, pathname=1, buffer=2, flags=3),
        call("statx", dirfd=0, pathname=1, flags=2, mask=3, buffer=4),
    )

    @property
    def takes_null(self) -> bool:
        """Whether a null path means the descriptor itself; the kernel does so since Linux 6.11."""
        return bool(self.flags & AT_EMPTY_PATH)

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        if self.syscall in ("lstat", "lstat64", "oldlstat"):
            return False
        return not self.flags & AT_SYMLINK_NOFOLLOW


class StatFs(Call):
    """Ask about a file system: statfs(2), fstatfs(2) and their 64-bit siblings."""

    __slots__ = ()
    theme = "files"

    fd = Fd("fstatfs: an open file of it")
    dirfd = DirFd()
    pathname = MaybePathname()
    path = Path()
    buffer = Address("where the answer goes")

    variants = (
        call("statfs", pathname=0, buffer=1),
        call("fstatfs", fd=0, dirfd=0, buffer=1),
        call("statfs64", pathname=0, buffer=2),
        call("fstatfs64", fd=0, dirfd=0, buffer=2),
    )


class ReadLink(Call):
    """Read what a symbolic link says: readlink(2), readlinkat(2).

    readlinkat with an empty path reads the link that `dirfd` is of, since Linux 2.6.39.
    """

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = Pathname("the path as given")
    path = Path(follow=False, empty="always")
    buffer = Address("where the text goes, without a NUL")
    size = Int("bytes of room there", signed=True)

    variants = (
        call("readlink", pathname=0, buffer=1, size=2),
        call("readlinkat", dirfd=0, pathname=1, buffer=2, size=3),
    )


class Chdir(Call):
    """Change the working directory: chdir(2), fchdir(2).

    Relative paths of later calls start there. It is the target's own and cannot be set for it.
    """

    __slots__ = ()
    theme = "files"

    fd = Fd("fchdir: the open directory")
    dirfd = DirFd()
    pathname = MaybePathname()
    path = Path()

    variants = (
        call("chdir", pathname=0),
        call("fchdir", fd=0, dirfd=0),
    )
