"""What some /proc tells of the target, and of us: whose directory it is, and who may have it.

There may be many: ours, one of another pid namespace, one that is mounted where the target's root
or mount namespace does not reach any more. So nothing here goes by a mount or a name from a root. A
directory is climbed to the top of its own /proc, and that is asked what it calls whom.
"""

from __future__ import annotations

import enum
import errno
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from notifyd.kernel import files, mountinfo, proc
from notifyd.kernel.files import AT_EACCESS, AT_FDCWD, PROC_SUPER_MAGIC, filesystem
from notifyd.kernel.limits import PROC_ROOT_INODE
from notifyd.kernel.openat2 import RESOLVE_NO_XDEV, openat2
from notifyd.perform.process_context import Selves

__all__ = ["NeedLook", "NeedSelves", "OwnTask", "ProcAccess", "tells_of_tasks"]

_MAX_PROC_DEPTH = 16  # directories below each other in /proc that are about a task; there are five
_UP = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_WANTED = {os.O_RDONLY: os.R_OK, os.O_WRONLY: os.W_OK}
# Of /proc/TID: what the kernel opens only for whoever may look into the task, and, all other powers
# apart, for the task itself. Nothing of it depends later on who opened it, as `pagemap` does.
_MEMORY = frozenset(b"auxv environ maps mem numa_maps smaps smaps_rollup".split())
_LISTS = (b"fd", b"fdinfo")  # directories that are open to the task itself, whatever their mode


class NeedSelves(Exception):
    """The walk met /proc/self, and nobody said whose."""


class ProcAccess(enum.Enum):
    """How something of the target's own /proc/TID is wanted."""

    ITSELF = "itself, if it is a link"
    BEHIND = "what is behind a link"
    OPEN = "opened for the target"


class NeedLook(Exception):
    """Something of the target's own /proc/TID is closed to us, and not to the target itself."""

    def __init__(self, path: bytes, how: ProcAccess) -> None:
        super().__init__(f"{os.fsdecode(path)} of its own, which is closed to all others")
        self.path = path
        self.how = how


class _Spot(NamedTuple):
    """A directory of /proc: the root directory of that, O_PATH, and the names from there."""

    top: int
    parts: tuple[bytes, ...]


class OwnTask:
    """The target's own place in any /proc, and ours. Owns nothing.

    Args:
        own: the open directory /proc/self/fd of this process.
        selves: as in `HelperRequest`.
        looked: what `NeedLook` asked for: by path, and whether it is what is behind a link.
    """

    def __init__(
        self, own: int, selves: Selves | None, looked: Mapping[tuple[bytes, bool], int]
    ) -> None:
        self._own = own
        self._selves = selves
        self._looked = looked
        self._from: dict[int, tuple[int, bytes]] = {}

    def came(self, fd: int, directory: int, part: bytes, *, jumped: bool) -> None:
        """Say how a descriptor was got: as a component of a directory, or by a jump from there."""
        if jumped:
            self._from.pop(fd, None)
        else:
            self._from[fd] = directory, part

    def self_text(self, part: bytes, top: int) -> bytes:
        """What `self` or `thread-self` in the root directory of some /proc says to the target.

        Raises:
            NeedSelves.
            FileNotFoundError: ENOENT: the target is not of its pid namespace.
        """
        if self._selves is None:
            raise NeedSelves
        process, thread = (self._known_as(top, numbers) for numbers in self._selves)
        if process is None or thread is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return b"%d" % process if part == b"self" else b"%d/task/%d" % (process, thread)

    def link_text(self, link: int) -> bytes | None:
        """What /proc/self and /proc/thread-self say to the target; None for any other link."""
        directory, part = self._from.get(link, (-1, b""))
        if part not in (b"self", b"thread-self") or filesystem(link) != PROC_SUPER_MAGIC:
            return None
        top = os.fstat(directory).st_ino == PROC_ROOT_INODE
        return self.self_text(part, directory) if top else None

    def check_not_us(self, fd: int) -> None:
        """Raise ENOENT for what /proc tells of this very process, as if there were none.

        A process may always look into itself: its memory, its descriptors, through them out of any
        root. What the target may, the kernel does not ask then.
        """
        while fd in self._from and not stat.S_ISDIR(os.fstat(fd).st_mode):
            fd, _ = self._from[fd]
        if fd != AT_FDCWD and filesystem(fd) == PROC_SUPER_MAGIC and self._is_ours(fd):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    # -- what is closed to all but the target itself

    def closed(self, directory: int, part: bytes, *, behind: bool) -> int | None:
        """What the target's own /proc/TID has there, where we may not look; None if it is not that.

        Raises:
            NeedLook: somebody else has to look.
        """
        path = self._own_path(directory)
        if path is None:
            return None
        if part in (b".", b".."):  # of a directory that may not be searched, and was got by name
            return directory if part == b"." else self._from.get(directory, (None, b""))[0]
        path += b"/" + part
        if (path, behind) not in self._looked:
            raise NeedLook(path, ProcAccess.BEHIND if behind else ProcAccess.ITSELF) from None
        found = self._looked[path, behind]
        self.came(found, directory, part, jumped=behind)
        return found

    def closed_place(self, fd: int) -> tuple[int, bytes] | None:
        """Directory and name of what somebody else looked up; None if it was not, or no link."""
        return self._from.get(fd) if fd in self._looked.values() else None

    def closed_text(self, link: int) -> int | None:
        """What is behind a link that only the target itself may read; None if it is not that.

        Raises:
            NeedLook: somebody else has to look.
        """
        directory, part = self._from.get(link, (-1, b""))
        return self.closed(directory, part, behind=True) if part else None

    def check_closed(self, fd: int, flags: int) -> None:
        """Raise if what could not be opened may be opened by the target itself.

        Raises:
            NeedLook: somebody else has to open it.
            OSError: EACCES: its mode forbids it.
        """
        directory, part = fd, b""
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            directory, part = self._from.get(fd, (-1, b""))
        path = self._own_path(directory)
        if path is None:
            return
        *_, last = path.split(b"/")
        if part:
            if part not in _MEMORY and last not in _LISTS:
                return
            wanted = _WANTED.get(flags & os.O_ACCMODE, os.R_OK | os.W_OK)
            if last not in _LISTS or wanted != os.R_OK:  # fdinfo/N, which all may read
                files.call("faccessat2", AT_FDCWD, b"%d" % fd, wanted, AT_EACCESS)
            path += b"/" + part
        elif last not in _LISTS:
            return
        raise NeedLook(path, ProcAccess.OPEN) from None

    def _own_path(self, directory: int) -> bytes | None:
        """The path of a directory below the target's own /proc/TID, as we see that.

        None if it is anything else: another task's, or that of another thread of the target's
        process, whose number we do not know.
        """
        if directory < 0 or filesystem(directory) != PROC_SUPER_MAGIC:
            return None
        if self._selves is None:
            raise NeedSelves from None
        with ExitStack() as stack:
            try:
                found = self._spot(directory, stack)
            except PermissionError:  # it may not be searched, and was got by its name
                above, part = self._from.get(directory, (-1, b""))
                head = self._own_path(above)
                return head + b"/" + part if head is not None else None
            return self._below(found, self._selves) if found is not None else None

    def _below(self, found: _Spot, selves: Selves) -> bytes | None:
        names = {self._known_as(found.top, numbers): numbers[0] for numbers in selves}
        number, rest = self._named(names, found.parts)
        if number is not None and len(rest) > 1 and rest[0] == b"task":
            number, rest = self._named(names, rest[1:])
        if number is None:
            return None
        return b"/".join((b"task", b"%d" % number, *rest))

    @staticmethod
    def _named(
        names: Mapping[int | None, int], parts: tuple[bytes, ...]
    ) -> tuple[int | None, tuple[bytes, ...]]:
        digits = bool(parts) and parts[0].isdigit()
        return names.get(int(parts[0])) if digits else None, parts[1:]

    # -- whose directory it is

    def _is_ours(self, fd: int) -> bool:
        """Whether it is about this very process, by the number of any of its threads."""
        with ExitStack() as stack:
            try:
                directory = stat.S_ISDIR(os.fstat(fd).st_mode)
                found = self._spot(fd, stack) if directory else None
            except PermissionError:
                return False  # we could search what is ours
            if found is None:
                return self._is_ours_by_mount(fd)
            return _has_number(found.parts[:1], b"self/task/", found.top)

    def _is_ours_by_mount(self, fd: int) -> bool:
        """The same of what has no directory that could be asked; true where nobody knows."""
        here = os.open(f"../task/{threading.get_native_id()}", _UP, dir_fd=self._own)
        try:
            path = mountinfo.inner_path(here, fd)
        finally:
            os.close(here)
        return path is None or _has_number(path.split(b"/")[1:2], b"../task/", self._own)

    def _spot(self, directory: int, stack: ExitStack) -> _Spot | None:
        """Where in its /proc a directory is; None if it is mounted without what is above it.

        Raises:
            PermissionError: EACCES: a directory on the way may not be searched.
        """
        here, parts = directory, list[bytes]()
        for _ in range(_MAX_PROC_DEPTH):
            if os.fstat(here).st_ino == PROC_ROOT_INODE:
                return _Spot(here, tuple(reversed(parts)))
            name = os.fsencode(os.readlink(str(here), dir_fd=self._own))
            parts.append(name.rpartition(b"/")[2])
            try:
                here = openat2(here, b"..", _UP, resolve=RESOLVE_NO_XDEV)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    return None
                raise
            stack.callback(os.close, here)
        return None

    def _known_as(self, top: int, numbers: tuple[int, ...]) -> int | None:
        """What a /proc calls a task of those numbers; None if it does not show it."""
        if os.fstat(top).st_dev == os.fstat(self._own).st_dev:
            return numbers[0]
        for at, number in enumerate(numbers):
            try:
                directory = os.open(b"%d" % number, os.O_RDONLY | os.O_CLOEXEC, dir_fd=top)
            except OSError:
                continue
            try:
                # It tells the numbers from its own pid namespace inwards.
                if proc.read_status(directory).thread_ids == numbers[at:]:
                    return number
            except OSError:
                continue
            finally:
                os.close(directory)
        return None


def _has_number(parts: Sequence[bytes], below: bytes, directory: int) -> bool:
    """Whether the first part is a number, and there is one of it below a directory."""
    if not parts or not parts[0].isdigit():
        return False
    try:
        os.stat(below + parts[0], dir_fd=directory)
    except OSError:  # ENOENT: another one's, or of a pid namespace where we have no number
        return False
    return True


def tells_of_tasks(start: int, path: bytes) -> bool:
    """Whether a path may lead into a /proc/TID that is closed to us."""
    return b"proc/" in path or (start != AT_FDCWD and filesystem(start) == PROC_SUPER_MAGIC)
