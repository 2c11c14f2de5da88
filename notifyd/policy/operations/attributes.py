"""Changing what an inode says of its file: `Chmod`, `Chown`, `Truncate`, `Utime`.

Where the call has a descriptor instead of a path, `pathname` is empty and `path` is what that
descriptor is of; `fd` is -1 where the call has a path.
"""

from __future__ import annotations

import errno

from notifyd.errors import TargetFault
from notifyd.kernel.files import AT_FDCWD
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, DirFd, Fd, Flags, Id, Int, Mode, Path
from notifyd.policy.names.path import AT_FLAGS
from notifyd.policy.operations.layouts import MaybePathname, narrow_ids, short_size
from notifyd.policy.sources import Pair, call

__all__ = ["Chmod", "Chown", "Truncate", "Utime"]

AT_SYMLINK_NOFOLLOW = AT_FLAGS["AT_SYMLINK_NOFOLLOW"]


class Chmod(Call):
    """Change permission bits: chmod(2), fchmod(2), fchmodat(2), fchmodat2(2)."""

    __slots__ = ()
    theme = "files"

    fd = Fd("fchmod: the open file")
    dirfd = DirFd()
    pathname = MaybePathname()
    path = Path(follow="follows", written=True, empty="flags")
    mode = Mode("the new permission bits", width=16)
    flags = Flags(AT_FLAGS, "of fchmodat2, since Linux 6.6")

    variants = (
        call("chmod", pathname=0, mode=1),
        call("fchmod", fd=0, dirfd=0, mode=1),
        # The kernel's own fchmodat has three arguments; what a fourth register holds is nothing.
        call("fchmodat", dirfd=0, pathname=1, mode=2),
        call("fchmodat2", dirfd=0, pathname=1, mode=2, flags=3),
    )

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return not self.flags & AT_SYMLINK_NOFOLLOW

    @property
    def sets_id(self) -> bool:
        """Whether the file becomes set-user-id or set-group-id."""
        return bool(self.mode & 0o6000)


class Chown(Call):
    """Change owner and group: chown(2), lchown(2), fchown(2), fchownat(2)."""

    __slots__ = ()
    theme = "files"

    fd = Fd("fchown: the open file")
    dirfd = DirFd()
    pathname = MaybePathname()
    path = Path(follow="follows", written=True, empty="flags")
    uid = Id("the new owner; -1 leaves it")
    gid = Id("the new group; -1 leaves it")
    flags = Flags(AT_FLAGS, "of fchownat")

    variants = (
        *narrow_ids("chown", pathname=0, ids={"uid": 1, "gid": 2}, on=("x86_64",)),
        *narrow_ids("lchown", pathname=0, ids={"uid": 1, "gid": 2}, on=("x86_64",)),
        *narrow_ids("fchown", fd=0, dirfd=0, ids={"uid": 1, "gid": 2}),
        call("chown32", pathname=0, uid=1, gid=2),
        call("lchown32", pathname=0, uid=1, gid=2),
        call("fchown32", fd=0, dirfd=0, uid=1, gid=2),
        call("fchownat", dirfd=0, pathname=1, uid=2, gid=3, flags=4),
    )

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return not (self.syscall.startswith("lchown") or self.flags & AT_SYMLINK_NOFOLLOW)


class Truncate(Call):
    """Cut or stretch a file to a size: truncate(2), ftruncate(2) and their 64-bit siblings.

    Opening with O_TRUNC does it too: see `Open`.
    """

    __slots__ = ()
    theme = "files"

    fd = Fd("ftruncate: the open file")
    dirfd = DirFd()
    pathname = MaybePathname()
    path = Path(written=True)
    size = Int("the new size in bytes", width=64, signed=True)

    variants = (
        *short_size("truncate", pathname=0, size=1),
        *short_size("ftruncate", fd=0, dirfd=0, size=1),
        call("truncate64", pathname=0, size=Pair(1, 2)),
        call("ftruncate64", fd=0, dirfd=0, size=Pair(1, 2)),
    )


class Utime(Call):
    """Set the times of a file: utime(2), utimes(2), futimesat(2), utimensat(2).

    A null path to utimensat or futimesat means the file that `dirfd` is of.
    """

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = MaybePathname(null="takes_null")
    path = Path(follow="follows", written=True, empty="flags")
    times = Address("the new times; null means now")
    flags = Flags(AT_FLAGS, "of utimensat")

    variants = (
        call("utime", pathname=0, times=1),
        call("utimes", pathname=0, times=1),
        call("futimesat", dirfd=0, pathname=1, times=2),
        call("utimensat", dirfd=0, pathname=1, times=2, flags=3),
        call("utimensat_time64", dirfd=0, pathname=1, times=2, flags=3),
    )

    @property
    def takes_null(self) -> bool:
        """Whether a null path means the descriptor itself: there has to be one."""
        if self.flags and self.dirfd != AT_FDCWD:
            raise TargetFault("flags with a null path", errno.EINVAL)
        return self.dirfd != AT_FDCWD

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return not self.flags & AT_SYMLINK_NOFOLLOW
