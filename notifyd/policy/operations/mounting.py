"""The tree of files itself: `Mount`, `Umount`, `Chroot`, `PivotRoot`."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.mounts import MNT_EXPIRE, MS_BIND, MS_REMOUNT
from notifyd.policy.bound import BoundCall
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, DirFd, Enum, Fd, Flags, Int, Path, Pathname, Text
from notifyd.policy.names import mount as names
from notifyd.policy.operations.layouts import BoundedText, MaybePathname, PathIfGiven
from notifyd.policy.sources import Low, Mem, call

__all__ = ["Chroot", "Mount", "PivotRoot", "Umount"]

_STEP_FLAGS = {
    "fsopen": names.FSOPEN_FLAGS,
    "fsmount": names.FSMOUNT_FLAGS,
    "fspick": names.FSPICK_FLAGS,
    "move_mount": names.MOVE_MOUNT_FLAGS,
    "open_tree": names.OPEN_TREE_FLAGS,
    "open_tree_attr": names.OPEN_TREE_FLAGS,
    "mount_setattr": names.MOUNT_SETATTR_FLAGS,
}

# For each call, the bits by which it follows no link, and by which a null path is the descriptor.
_NOFOLLOW = {"fspick": 2, "open_tree": 0x100, "open_tree_attr": 0x100, "mount_setattr": 0x100}
_EMPTY = {
    "fspick": 8,
    "open_tree": 0x1000,
    "open_tree_attr": 0x1000,
    "mount_setattr": 0x1000,
    "move_mount": names.MOVE_MOUNT_FLAGS["MOVE_MOUNT_T_EMPTY_PATH"],
}


class _StepFlags(Flags):
    """Flags whose names depend on which of the newer calls it is."""

    def __init__(self, summary: str) -> None:
        super().__init__({}, summary)

    def table(self, call: BoundCall) -> tuple[Mapping[str, int], int, Mapping[str, int]]:
        return _STEP_FLAGS.get(call.syscall, {}), *self.base


class _Option(BoundedText):
    """A string that mount(2) can do without."""

    def __init__(self, summary: str) -> None:
        super().__init__(summary, limit=4096, too_long=errno.EINVAL, nullable=True)


class Mount(Call):
    """Mount a file system, or change a mount, by any of the calls that do: mount(2), fsopen(2).

    mount(2) does it at once. Since Linux 5.2 it also goes in steps: fsopen, fsconfig, fsmount,
    fspick, open_tree, move_mount, mount_setattr (5.12), open_tree_attr (6.15). fsopen, fsconfig and
    fsmount name no place, and asking them for `path` raises; move_mount is what puts a mount there.
    """

    __slots__ = ()
    theme = "system"

    source = _Option("mount: what is mounted; often a path, for the file system to read")
    from_dirfd = DirFd("move_mount: where a relative origin starts")
    from_pathname = MaybePathname("move_mount: the origin as given", null="takes_null_from")
    from_path = PathIfGiven(
        "from_pathname", "from_dirfd", "follows_from", "move_mount: the origin", written=True
    )
    dirfd = DirFd()
    pathname = MaybePathname("the mount point as given", null="takes_null")
    path = PathIfGiven(
        follow="follows", summary="the mount point as the target sees it", written=True
    )
    fstype = _Option("the type of file system, of mount and fsopen")
    flags = Flags(names.MOUNT_FLAGS, "mount: `MS_*`", width=64)
    data = Address("mount: the file system's own options")
    step_flags = _StepFlags("the flags of the newer calls, each its own")
    attributes = Flags(names.MOUNT_ATTRIBUTES, "`MOUNT_ATTR_*` that are set", width=64)
    cleared = Flags(names.MOUNT_ATTRIBUTES, "`MOUNT_ATTR_*` that are cleared", width=64)
    fd = Fd("fsconfig, fsmount: what fsopen gave")
    command = Enum(names.FSCONFIG_COMMANDS, "fsconfig: what to do")
    key = Text("fsconfig: the option's name")
    value = Address("fsconfig: what it is set to")
    aux = Int("fsconfig: a size or a descriptor", signed=True)

    variants = (
        call("mount", source=0, pathname=1, fstype=2, flags=3, data=4),
        call("fsopen", fstype=0, step_flags=1),
        call("fsconfig", fd=0, command=1, key=2, value=3, aux=4),
        call("fsmount", fd=0, step_flags=1, attributes=Low(2)),
        call("fspick", dirfd=0, pathname=1, step_flags=2),
        call("open_tree", dirfd=0, pathname=1, step_flags=2),
        call(
            "open_tree_attr",
            dirfd=0,
            pathname=1,
            step_flags=2,
            attributes=Mem(3, 0, 8),
            cleared=Mem(3, 8, 8),
        ),
        call("move_mount", from_dirfd=0, from_pathname=1, dirfd=2, pathname=3, step_flags=4),
        call(
            "mount_setattr",
            dirfd=0,
            pathname=1,
            step_flags=2,
            attributes=Mem(3, 0, 8),
            cleared=Mem(3, 8, 8),
        ),
    )

    @property
    def has_path(self) -> bool:
        """Whether the call names a place in the tree."""
        return "pathname" in self.variant.sources

    @property
    def is_bind(self) -> bool:
        """Whether a part of the tree is shown a second time: MS_BIND, or open_tree's clone."""
        if self.syscall in ("open_tree", "open_tree_attr"):
            return bool(self.step_flags & names.OPEN_TREE_FLAGS["OPEN_TREE_CLONE"])
        return bool(self.flags & MS_BIND)

    @property
    def is_remount(self) -> bool:
        """Whether a mount that is there already is changed."""
        return bool(self.flags & MS_REMOUNT) or self.syscall in ("fspick", "mount_setattr")

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component of `path` is followed."""
        if self.syscall == "move_mount":
            return bool(self.step_flags & names.MOVE_MOUNT_FLAGS["MOVE_MOUNT_T_SYMLINKS"])
        return not self.step_flags & _NOFOLLOW.get(self.syscall, 0)

    @property
    def follows_from(self) -> bool:
        """Whether a symbolic link in the last component of `from_path` is followed."""
        return bool(self.step_flags & names.MOVE_MOUNT_FLAGS["MOVE_MOUNT_F_SYMLINKS"])

    @property
    def takes_null(self) -> bool:
        """Whether a null path means `dirfd` itself."""
        return bool(self.step_flags & _EMPTY.get(self.syscall, 0))

    @property
    def takes_null_from(self) -> bool:
        """Whether a null origin means `from_dirfd` itself."""
        return bool(self.step_flags & names.MOVE_MOUNT_FLAGS["MOVE_MOUNT_F_EMPTY_PATH"])


class _MountPointPath(Path):
    """The path of an umount, which with MNT_EXPIRE nobody may touch before: umount(2)."""

    def decode(self, call: BoundCall, raw: int) -> PurePosixPath:
        values: Any = call
        given = values.pathname
        if not values.flags & MNT_EXPIRE:
            return super().decode(call, raw)
        head, slash, last = given.rstrip(b"/").rpartition(b"/")
        if last in (b"", b".", b".."):
            return super().decode(call, raw)
        here = call.resolve(AT_FDCWD, head + slash or b".", True) / os.fsdecode(last)
        return here if call.is_mount_point(here) else super().decode(call, raw)


class Umount(Call):
    """Take a mount away: umount(2), umount2(2)."""

    __slots__ = ()
    theme = "system"

    pathname = Pathname("the mount point as given")
    path = _MountPointPath(dirfd=None, follow="follows", written=True)
    flags = Flags(names.UMOUNT_FLAGS, "`MNT_*`, `UMOUNT_NOFOLLOW`")

    variants = (
        call("umount2", pathname=0, flags=1),
        call("umount", pathname=0),
    )

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return not self.flags & names.UMOUNT_FLAGS["UMOUNT_NOFOLLOW"]


class Chroot(Call):
    """Change the root directory: chroot(2).

    Paths of later calls start there. Whoever holds a directory from outside can leave it again.
    """

    __slots__ = ()
    theme = "system"

    pathname = Pathname("the new root as given")
    path = Path(dirfd=None)

    variants = (call("chroot", pathname=0),)


class PivotRoot(Call):
    """Change the root mount of the mount namespace: pivot_root(2)."""

    __slots__ = ()
    theme = "system"

    newpathname = Pathname("the new root as given")
    newpath = Path("newpathname", None, summary="the new root", written=True)
    oldpathname = Pathname("where the old root goes, as given")
    oldpath = Path("oldpathname", None, summary="where the old root goes", written=True)

    variants = (call("pivot_root", newpathname=0, oldpathname=1),)
