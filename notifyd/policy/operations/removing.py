"""Taking names away: `Unlink` and `Rename`."""

from __future__ import annotations

from notifyd.policy.call import Call
from notifyd.policy.fields import DirFd, Flags, Path, Pathname
from notifyd.policy.names.path import RENAME_FLAGS
from notifyd.policy.sources import Const, call

__all__ = ["Rename", "Unlink"]

AT_REMOVEDIR = 0x200


class Unlink(Call):
    """Remove a name, or an empty directory: unlink(2), unlinkat(2), rmdir(2)."""

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = Pathname("the path as given")
    path = Path(follow=False, written=True, named=True)
    flags = Flags({"AT_REMOVEDIR": AT_REMOVEDIR}, "`AT_REMOVEDIR` removes a directory")

    variants = (
        call("unlink", pathname=0),
        call("unlinkat", dirfd=0, pathname=1, flags=2),
        call("rmdir", pathname=0, flags=Const(AT_REMOVEDIR)),
    )

    @property
    def is_directory(self) -> bool:
        """Whether a directory is to go, and nothing else."""
        return bool(self.flags & AT_REMOVEDIR)


class Rename(Call):
    """Move a name, over another one if need be: rename(2), renameat(2), renameat2(2).

    RENAME_EXCHANGE swaps the two, so both paths are written to.
    """

    __slots__ = ()
    theme = "files"

    olddirfd = DirFd("where a relative old path starts")
    oldpathname = Pathname("the old path as given")
    oldpath = Path("oldpathname", "olddirfd", False, "the old name", written=True, named=True)
    newdirfd = DirFd("where a relative new path starts")
    newpathname = Pathname("the new path as given")
    newpath = Path("newpathname", "newdirfd", False, "the new name", written=True, named=True)
    flags = Flags(RENAME_FLAGS, "`RENAME_*`")

    variants = (
        call("rename", oldpathname=0, newpathname=1),
        call("renameat", olddirfd=0, oldpathname=1, newdirfd=2, newpathname=3),
        call("renameat2", olddirfd=0, oldpathname=1, newdirfd=2, newpathname=3, flags=4),
    )
