"""Making names: `Mknod`, `Mkdir`, `Link`, `Symlink`."""

from __future__ import annotations

from notifyd.policy.call import Call
from notifyd.policy.fields import Device, DirFd, Flags, Mode, Path, Pathname
from notifyd.policy.names.inode import FILE_KINDS, S_IFMT
from notifyd.policy.names.path import AT_FLAGS
from notifyd.policy.operations.opening import AT_SYMLINK_FOLLOW
from notifyd.policy.sources import call

__all__ = ["Link", "Mkdir", "Mknod", "Symlink"]

S_IFCHR = FILE_KINDS["S_IFCHR"]
S_IFBLK = FILE_KINDS["S_IFBLK"]
S_IFREG = FILE_KINDS["S_IFREG"]


class Mknod(Call):
    """Make a device node, a FIFO, a socket's name or an empty file: mknod(2), mknodat(2).

    Devices need CAP_MKNOD in the initial user namespace, which containers lack.
    """

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = Pathname("the path as given")
    path = Path(follow=False, written=True, named=True)
    mode = Mode("kind of file and permission bits, before the umask", width=16)
    device = Device("(major, minor) of a device")

    variants = (
        call("mknod", pathname=0, mode=1, device=2),
        call("mknodat", dirfd=0, pathname=1, mode=2, device=3),
    )

    @property
    def kind(self) -> int:
        """`S_IFCHR`, `S_IFBLK`, `S_IFIFO`, `S_IFSOCK` or `S_IFREG`, which may be written as 0."""
        return self.mode & S_IFMT or S_IFREG

    @property
    def is_device(self) -> bool:
        """Whether it is a device, of characters or blocks."""
        return self.kind in (S_IFCHR, S_IFBLK)

    @property
    def permissions(self) -> int:
        """The mode without the kind."""
        return self.mode & 0o7777


class Mkdir(Call):
    """Make a directory: mkdir(2), mkdirat(2)."""

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = Pathname("the path as given")
    path = Path(follow=False, written=True, named=True)
    mode = Mode("permission bits, before the umask", width=16)

    variants = (
        call("mkdir", pathname=0, mode=1),
        call("mkdirat", dirfd=0, pathname=1, mode=2),
    )


class Link(Call):
    """Give a file a second name: link(2), linkat(2).

    With AT_EMPTY_PATH, or through /proc/self/fd, a file without a name (O_TMPFILE) gets one.
    """

    __slots__ = ()
    theme = "files"

    olddirfd = DirFd("where a relative old path starts")
    oldpathname = Pathname("the existing path as given")
    oldpath = Path(
        "oldpathname", "olddirfd", "follows", "the existing file", written=True, empty="flags"
    )
    newdirfd = DirFd("where a relative new path starts")
    newpathname = Pathname("the new path as given")
    newpath = Path("newpathname", "newdirfd", False, "the new name", written=True, named=True)
    flags = Flags(AT_FLAGS, "`AT_SYMLINK_FOLLOW`, `AT_EMPTY_PATH`")

    variants = (
        call("link", oldpathname=0, newpathname=1),
        call("linkat", olddirfd=0, oldpathname=1, newdirfd=2, newpathname=3, flags=4),
    )

    @property
    def follows(self) -> bool:
        """Whether the old path is followed if it is a symbolic link."""
        return bool(self.flags & AT_SYMLINK_FOLLOW)


class Symlink(Call):
    """Make a symbolic link: symlink(2), symlinkat(2).

    What it says need not exist, and means whatever it means to the one who follows it.
    """

    __slots__ = ()
    theme = "files"

    content = Pathname("the text of the link: what it points to")
    linkdirfd = DirFd("where a relative name of the link starts")
    linkpathname = Pathname("the link's own path as given")
    linkpath = Path("linkpathname", "linkdirfd", False, "the link itself", written=True, named=True)

    variants = (
        call("symlink", content=0, linkpathname=1),
        call("symlinkat", content=0, linkdirfd=1, linkpathname=2),
    )
