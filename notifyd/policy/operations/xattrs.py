"""Extended attributes, xattr(7): `SetXattr`, `GetXattr`, `RemoveXattr`, `ListXattr`.

Where the call has a descriptor instead of a path, `pathname` is empty and `path` is what that
descriptor is of; `fd` is -1 where the call has a path. The calls that end in `at` came with
Linux 6.13.
"""

from __future__ import annotations

import errno

from notifyd.kernel.files import AT_EMPTY_PATH
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, DirFd, Fd, Flags, Int, Path, Text
from notifyd.policy.names.path import AT_FLAGS, XATTR_FLAGS
from notifyd.policy.operations.attributes import AT_SYMLINK_NOFOLLOW
from notifyd.policy.operations.layouts import BoundedText, MaybePathname
from notifyd.policy.sources import Mem, call

__all__ = ["GetXattr", "ListXattr", "RemoveXattr", "SetXattr"]

XATTR_SIZE_MAX = 65536  # bytes of a value; limits.h
_LINK_CALLS = ("lsetxattr", "lgetxattr", "lremovexattr", "llistxattr")


class _Xattr(Call):
    """What the four have in common."""

    __slots__ = ()
    theme = "files"

    fd = Fd("the f-calls: the open file")
    dirfd = DirFd()
    pathname = MaybePathname(null="takes_null")
    path = Path(follow="follows", empty="at_flags")
    at_flags = Flags(AT_FLAGS, "of the calls that end in `at`")

    @property
    def takes_null(self) -> bool:
        """Whether a null path means the descriptor itself."""
        return bool(self.at_flags & AT_EMPTY_PATH)

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return not (self.syscall in _LINK_CALLS or self.at_flags & AT_SYMLINK_NOFOLLOW)


class SetXattr(_Xattr):
    """Set an extended attribute: setxattr(2), lsetxattr(2), fsetxattr(2), setxattrat(2).

    `security.capability` gives a program capabilities; `system.posix_acl_*` are access lists.
    """

    __slots__ = ()

    path = Path(follow="follows", written=True, empty="at_flags")
    name = BoundedText("the attribute's name", limit=256, too_long=errno.ERANGE)
    value = Text("what it is set to", length="size", limit=XATTR_SIZE_MAX)
    size = Int("bytes of the value", width=64)
    flags = Flags(XATTR_FLAGS, "`XATTR_CREATE`, `XATTR_REPLACE`")

    variants = (
        call("setxattr", pathname=0, name=1, value=2, size=3, flags=4),
        call("lsetxattr", pathname=0, name=1, value=2, size=3, flags=4),
        call("fsetxattr", fd=0, dirfd=0, name=1, value=2, size=3, flags=4),
        # struct xattr_args: the value's address, 8 bytes on every entry, its size, and the flags.
        call(
            "setxattrat",
            dirfd=0,
            pathname=1,
            at_flags=2,
            name=3,
            value=Mem(4, 0, 8),
            size=Mem(4, 8, 4),
            flags=Mem(4, 12, 4),
        ),
    )


class GetXattr(_Xattr):
    """Read an extended attribute: getxattr(2), lgetxattr(2), fgetxattr(2), getxattrat(2)."""

    __slots__ = ()

    name = BoundedText("the attribute's name", limit=256, too_long=errno.ERANGE)
    buffer = Address("where the value goes")
    size = Int("bytes of room there; 0 asks how many are needed", width=64)

    variants = (
        call("getxattr", pathname=0, name=1, buffer=2, size=3),
        call("lgetxattr", pathname=0, name=1, buffer=2, size=3),
        call("fgetxattr", fd=0, dirfd=0, name=1, buffer=2, size=3),
        call(
            "getxattrat",
            dirfd=0,
            pathname=1,
            at_flags=2,
            name=3,
            buffer=Mem(4, 0, 8),
            size=Mem(4, 8, 4),
        ),
    )


class RemoveXattr(_Xattr):
    """Remove an extended attribute: removexattr(2), its l- and f-forms, removexattrat(2)."""

    __slots__ = ()

    path = Path(follow="follows", written=True, empty="at_flags")
    name = BoundedText("the attribute's name", limit=256, too_long=errno.ERANGE)

    variants = (
        call("removexattr", pathname=0, name=1),
        call("lremovexattr", pathname=0, name=1),
        call("fremovexattr", fd=0, dirfd=0, name=1),
        call("removexattrat", dirfd=0, pathname=1, at_flags=2, name=3),
    )


class ListXattr(_Xattr):
    """List the names of extended attributes: listxattr(2), its l- and f-forms, listxattrat(2)."""

    __slots__ = ()

    buffer = Address("where the names go")
    size = Int("bytes of room there; 0 asks how many are needed", width=64)

    variants = (
        call("listxattr", pathname=0, buffer=1, size=2),
        call("llistxattr", pathname=0, buffer=1, size=2),
        call("flistxattr", fd=0, dirfd=0, buffer=1, size=2),
        call("listxattrat", dirfd=0, pathname=1, at_flags=2, buffer=3, size=4),
    )
