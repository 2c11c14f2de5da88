"""A thread's own view of the files: what has a name in it, and which.

The kernel names an open file from the root of its mount's namespace, whatever that is. Seen by a
thread that is in another one, the same name is another file: what lies there has no name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import lru_cache

from notifyd.errors import TargetFault
from notifyd.kernel import files, mountinfo, proc, statmount
from notifyd.kernel.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, open_long, openat2
from notifyd.kernel.statmount import MountKind

__all__ = ["NameTooLong", "View", "below", "check_named", "no_name"]

NO_NAME = "it has no name in the program's own view"
# directories that are climbed where a name is too long for the kernel to tell
MAX_CLIMBED_LEVELS = 512
MAX_SCANNED_ENTRIES = 1 << 17  # of all of them together
MOST_POINTS, MOST_TAILS = 4, 16  # of names that are tried
DELETED_SUFFIX = b" (deleted)"  # what the kernel adds to the name of what has none any more
_PATH_FLAGS = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
_PLAIN_BELOW = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class NameTooLong(Exception):
    """The kernel does not tell names of more than 4,095 bytes: it has to be put together."""


class View:
    """The view of one thread, as long as its call is not answered.

    Args:
        tid: the thread.
        root: O_PATH, its root directory; stays the caller's.
        cached: RESOLVE_CACHED, if nothing may wait.
        is_local: of a file whose mount the kernel does not tell, whether asking about that file
            cannot wait; before Linux 6.8 it tells of none.

    Attributes:
        root: its root directory.
        ours: whether its root directory is ours: the kernel's walk from anywhere is then its own.
        top: what its root is called from ours; empty if it is ours.

    Raises:
        TargetFault: EACCES: its root has no name in its own mount namespace.
        OSError: ESRCH, ENOENT: it has ended.
        BlockingIOError: it cannot be told without waiting.
    """

    def __init__(self, tid: int, root: int, cached: int, is_local: Callable[[int], bool]) -> None:
        self._tid = tid
        self._root = root
        self._cached = cached
        self._is_local = is_local
        where = statmount.spot(root)
        self.root = where
        self._mount = where.mount
        self.ours = where == statmount.own_root()
        self._namespace: int | None = 0
        self.top = b""
        if not self.ours:
            self.top = os.readlink(b"/proc/self/fd/%d" % root).rstrip(b"/")
            self._enter(root)

    def _enter(self, root: int) -> None:
        """Find the thread's mount namespace, and see that its root is in that."""
        text = os.readlink(f"/proc/{self._tid}/ns/mnt")
        known = _numbers(text)
        for self._namespace in known:
            # The text alone may be that of a namespace which has ended: then it holds nothing.
            if self._holds(root, self._mount, anywhere=True):
                return
        self._namespace = statmount.namespace_id(self._tid)
        if not self._holds(root, self._mount, anywhere=True):
            raise no_name()
        if self._namespace is not None:
            known[:] = [self._namespace]

    def has(self, fd: int, mount: int) -> bool:
        """Whether what was not reached by name from the root is in the thread's own view.

        What is reached by name from there is as well: no lookup leads out of a mount namespace.

        Args:
            fd: O_PATH.
            mount: the number of its mount.
        """
        # Invariant: a name counts only if the thing's mount is in the target's own namespace.
        return mount == self._mount or self._holds(fd, mount) or mount == statmount.private_mount()

    def leads(self, name: bytes, fd: int) -> bool:
        """Whether a name leads to the very file in the thread's own view, if by another mount."""
        try:
            found = openat2(self._root, name, _PATH_FLAGS, 0, _PLAIN_BELOW | self._cached)
        except BlockingIOError:
            raise
        except OSError:
            return False
        try:
            one, other = statmount.spot(found), statmount.spot(fd)
            return one.inode == other.inode and mountinfo.device(found) == mountinfo.device(fd)
        finally:
            os.close(found)

    def name_in_proc(self, name: bytes, fd: int) -> bytes:
        """What is in some /proc is called where that same /proc is in the thread's own view.

        Args:
            name: as the kernel tells it.
            fd: O_PATH.

        Raises:
            TargetFault: EACCES: it has no name.
        """
        if self.kind(fd).magic == files.PROC_SUPER_MAGIC:
            if self._cached:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            device = mountinfo.device(fd)
            tails = [name[at:] for at, byte in enumerate(name) if byte == ord("/")][:MOST_TAILS]
            for point in mountinfo.tops(f"/proc/{self._tid}/mountinfo", device)[:MOST_POINTS]:
                for tail in tails:
                    if self.leads(point.rstrip(b"/") + tail, fd):
                        return point.rstrip(b"/") + tail
        raise no_name()

    def kind(self, fd: int) -> MountKind:
        """What is mounted where an open file (O_PATH too) is.

        Raises:
            BlockingIOError: whoever serves it would have to be asked.
        """
        found = None
        if self._namespace is not None:
            found = statmount.kind(self._namespace, statmount.mount_of(fd))
        if found is not None:
            return found
        if self._cached and not self._is_local(fd):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        magic, flags = files.mounted(fd)
        return MountKind(magic, not flags & files.ST_NOSYMFOLLOW)

    def text(self, link: int, magic: int) -> bytes:
        """What a link says, which may be its server's to tell; raises as `kind`."""
        quiet = magic in mountinfo.LOCAL_FILE_SYSTEMS or not self._cached or self._is_local(link)
        if not quiet:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.readlink(b"", dir_fd=link)

    def _holds(self, fd: int, mount: int, *, anywhere: bool = False) -> bool:
        if self._namespace is not None:
            held = statmount.held(self._namespace, mount, anywhere=anywhere)
            if held is not None:
                return held
        if self._cached and self._namespace != 0:  # it may have made a long list of mounts
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        whose = "self" if self._namespace == 0 else str(self._tid)
        return mountinfo.lists(f"/proc/{whose}/mountinfo", proc.mount_id(fd))

    def name(self, fd: int) -> bytes:
        """How an open file is called; text that is no path (`pipe:[7]`) for what is in no tree.

        Raises:
            NameTooLong: see there.
            TargetFault: EACCES: its name means something else.
        """
        try:
            found = os.readlink(b"/proc/self/fd/%d" % fd)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise NameTooLong from error
        if self.top or found == b"/":
            found = below(found, self.top)
        if found.endswith(DELETED_SUFFIX) and self._is_taken(found) and not self.leads(found, fd):
            raise no_name()
        return found or b"/"

    def _is_taken(self, name: bytes) -> bool:
        """Whether there is something by the name that the kernel made up for what is deleted."""
        try:
            os.close(openat2(self._root, name, _PATH_FLAGS, 0, _PLAIN_BELOW | self._cached))
        except BlockingIOError:
            raise
        except OSError:
            return False
        return True

    def long_name(self, fd: int) -> bytes:
        """As `name`, of a directory, however long that is. May wait.

        Raises:
            TargetFault: EACCES: it cannot be found out.
        """
        if self._cached:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        parts: list[bytes] = []
        left = MAX_SCANNED_ENTRIES
        here = os.dup(fd)
        try:
            for _ in range(MAX_CLIMBED_LEVELS):
                try:
                    return self.name(here).rstrip(b"/") + b"".join(b"/" + p for p in parts[::-1])
                except NameTooLong:
                    above = open_long(here, b"..", _PATH_FLAGS)
                part, left = _name_in(above, here, left)
                os.close(here)
                here = above
                parts.append(part)
        except OSError as error:
            raise no_name() from error
        finally:
            os.close(here)
        raise no_name()


@lru_cache(256)
def _numbers(text: str) -> list[int]:  # noqa: ARG001
    """Where the number of a mount namespace is kept, by what /proc/TID/ns/mnt says."""
    return []


def check_named(tid: int, link: str) -> None:
    """See that what a link of /proc/TID leads to has a name: in the thread's view, or in ours.

    Args:
        tid: the thread.
        link: `exe` or `cwd`.

    Raises:
        TargetFault: EACCES: it has none.
        OSError: ENOENT, ESRCH: there is none, or the thread has ended.
    """
    directory = proc.open_dir(tid)
    try:
        found = os.open(link, _PATH_FLAGS & ~os.O_NOFOLLOW, dir_fd=directory)
        try:
            mount = statmount.mount_of(found)
            if mount in (statmount.own_root().mount, statmount.private_mount()):
                return
            number = proc.mount_id(found)
        finally:
            os.close(found)
        for namespace, whose in ((0, "self"), (statmount.namespace_id(tid), str(tid))):
            held = None if namespace is None else statmount.held(namespace, mount)
            if held is None:
                held = mountinfo.lists(f"/proc/{whose}/mountinfo", number)
            if held:
                return
    finally:
        os.close(directory)
    raise no_name()


def no_name() -> TargetFault:
    """What is raised for what has no name."""
    return TargetFault(NO_NAME, errno.EACCES)


def below(path: bytes, top: bytes) -> bytes:
    """`path`, which the kernel named from our root, as it is named from the target's."""
    if top and path.startswith(top + b"/"):
        return path[len(top) :]
    return b"" if path in (top, b"/") else path


def _name_in(directory: int, child: int, most: int) -> tuple[bytes, int]:
    """How a directory is called in the one above, and how many entries may be looked at yet."""
    wanted = statmount.spot(child)
    for number, name in enumerate(_likely(directory, wanted.inode)):
        if number > most:
            break
        try:
            found = os.open(name, _PATH_FLAGS, dir_fd=directory)
        except OSError:
            continue
        try:
            if statmount.spot(found) == wanted:
                return name, most - number
        finally:
            os.close(found)
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _likely(directory: int, inode: int) -> Iterator[bytes]:
    """The names in a directory, those first whose entry has that inode number."""
    readable = os.open(".", _READ, dir_fd=directory)
    try:
        others = []
        with os.scandir(readable) as entries:
            for entry in entries:
                if entry.inode() == inode:
                    yield os.fsencode(entry.name)
                else:
                    others.append(os.fsencode(entry.name))
        yield from others  # a mount point, or a file system that tells other numbers
    finally:
        os.close(readable)
