"""Opening files: `Open`, `NameToHandle`, its way round paths, and `MessageQueue`."""

from __future__ import annotations

from collections.abc import Mapping

from notifyd.kernel.files import TMPFILE_BIT
from notifyd.kernel.limits import PATH_MAX
from notifyd.kernel.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS
from notifyd.policy.bound import BoundCall
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, DirFd, Fd, Flags, Path, Pathname, Text
from notifyd.policy.names.open import (
    ACCESS_MODES,
    OPEN_FLAGS,
    OPEN_FLAGS_ARM,
    RESOLVE_FLAGS,
)
from notifyd.policy.names.path import AT_HANDLE_FLAGS
from notifyd.policy.operations.layouts import CellFlags, CellMode, MaybePathname, PathIfGiven
from notifyd.policy.sources import Const, Mem, call

__all__ = ["MessageQueue", "NameToHandle", "Open"]

O_ACCMODE = 3
O_RDONLY = 0
O_WRONLY = 1
O_CREAT = OPEN_FLAGS["O_CREAT"]
O_EXCL = OPEN_FLAGS["O_EXCL"]
O_TRUNC = OPEN_FLAGS["O_TRUNC"]
O_PATH = OPEN_FLAGS["O_PATH"]
AT_SYMLINK_FOLLOW = 0x400


class OpenFlags(CellFlags):
    """The flags of open(2), under the names that the target's architecture has for them."""

    def __init__(self, summary: str = "") -> None:
        super().__init__(OPEN_FLAGS, summary, base=(O_ACCMODE, ACCESS_MODES))

    def table(self, call: BoundCall) -> tuple[Mapping[str, int], int, Mapping[str, int]]:
        return OPEN_FLAGS_ARM if call.arch == "aarch64" else OPEN_FLAGS, *self.base


class _OpenPath(Path):
    """The path of an open. RESOLVE_IN_ROOT changes what every slash means."""

    def is_rooted(self, call: BoundCall) -> bool:
        return bool(getattr(call, "resolve_flags", 0) & RESOLVE_IN_ROOT)


class _CreationMode(CellMode):
    """A mode that counts only where a file is made, and is rubbish elsewhere: not shown there."""

    counts_with = ("flags", O_CREAT | TMPFILE_BIT)


class Open(Call):
    """Open or create a file: open(2), openat(2), openat2(2), creat(2).

    Descriptors also come from `NameToHandle`, over sockets, from `IoUring` and from `PidFd`.
    On aarch64 O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE have bits of their own; the
    properties mind that.
    """

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = Pathname("the path as given")
    path = _OpenPath(follow="follows", written="writes")
    flags = OpenFlags("how to open it: `O_*`")
    mode = _CreationMode("permission bits of a file that is created, before the umask")
    resolve_flags = Flags(RESOLVE_FLAGS, "openat2's limits on the way there", width=64)

    variants = (
        call("open", pathname=0, flags=1, mode=2),
        call("openat", dirfd=0, pathname=1, flags=2, mode=3),
        call(
            "openat2",
            dirfd=0,
            pathname=1,
            flags=Mem(2, 0, 8),
            mode=Mem(2, 8, 8),
            resolve_flags=Mem(2, 16, 8),
        ),
        call("creat", pathname=0, flags=Const(O_CREAT | O_WRONLY | O_TRUNC), mode=1),
    )

    @property
    def is_path_only(self) -> bool:
        """Whether it asks only for a place (O_PATH), to be used as a directory or opened again."""
        return bool(self.flags & O_PATH)

    @property
    def reads(self) -> bool:
        """Whether what is there can be read through the descriptor.

        O_PATH counts: the target gets a descriptor that can be read from, since the kernel hands
        over no other. It could also be opened again, by /proc/self/fd.
        """
        return self.is_path_only or self.flags & O_ACCMODE != O_WRONLY

    @property
    def writes(self) -> bool:
        """Whether it may change anything: open for writing, create, or truncate.

        Access mode 3, which allows ioctl(2) alone, needs the permission to write and counts.
        """
        changes = self.flags & O_ACCMODE != O_RDONLY or self.flags & (O_CREAT | O_TRUNC)
        return not self.is_path_only and bool(changes)

    @property
    def creates(self) -> bool:
        """Whether it may make a file, with a name (O_CREAT) or without one (O_TMPFILE)."""
        return not self.is_path_only and bool(self.flags & (O_CREAT | TMPFILE_BIT))

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        flags = self.flags
        names = OPEN_FLAGS_ARM if self.arch == "aarch64" else OPEN_FLAGS
        if flags & names["O_NOFOLLOW"] or self.resolve_flags & RESOLVE_NO_SYMLINKS:
            return False
        # With O_PATH the kernel forgets O_CREAT and O_EXCL: open(2).
        return bool(flags & O_PATH) or flags & (O_CREAT | O_EXCL) != O_CREAT | O_EXCL


class NameToHandle(Call):
    """Turn a path into a file handle, or open one: name_to_handle_at(2), open_by_handle_at(2).

    open_by_handle_at needs CAP_DAC_READ_SEARCH and passes by every directory permission and every
    rule about paths: a container that had it could leave its root. It has no path: asking for it
    raises.
    """

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = MaybePathname()
    path = PathIfGiven(follow="follows")
    handle = Address("the struct file_handle")
    flags = Flags(AT_HANDLE_FLAGS, "of name_to_handle_at")
    mount_fd = Fd("open_by_handle_at: anything on the file system that the handle is of")
    open_flags = OpenFlags("open_by_handle_at: how to open it")

    variants = (
        call("name_to_handle_at", dirfd=0, pathname=1, handle=2, flags=4),
        call("open_by_handle_at", mount_fd=0, handle=1, open_flags=2),
    )

    @property
    def opens(self) -> bool:
        """Whether a file is opened by its handle."""
        return self.syscall == "open_by_handle_at"

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return bool(self.flags & AT_SYMLINK_FOLLOW)


class MessageQueue(Call):
    """Open, make or remove a POSIX message queue: mq_open(2), mq_unlink(2); mq_overview(7).

    A queue is a file of /dev/mqueue, whether that is mounted or not, and belongs to the IPC
    namespace. Its name stands here without the slash, as the kernel gets it.
    """

    __slots__ = ()
    theme = "files"

    name = Text("the queue's name, without the slash that the C library takes", limit=PATH_MAX)
    flags = OpenFlags("mq_open: `O_*`")
    mode = _CreationMode("mq_open: permission bits of a queue that is made, before the umask")
    attributes = Address("mq_open: the struct mq_attr of a queue that is made, or null")

    variants = (
        call("mq_open", name=0, flags=1, mode=2, attributes=3),
        call("mq_unlink", name=0),
    )
