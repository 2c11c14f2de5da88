"""Pinning paths: from text to a descriptor that means the same thing whatever is renamed.

The walk is the kernel's own, with the root and the rights of the calling thread. What it must not
do by itself is to pass through /proc/self, which would be us: links that are magic are forbidden to
it, and a walk that ends in /proc, or fails where /proc may have been on the way, is done again one
component at a time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Mapping
from types import MappingProxyType

from notifyd.kernel import mountinfo
from notifyd.kernel.files import (
    AT_FDCWD,
    PATH_FLAGS,
    PROC_SUPER_MAGIC,
    ST_NOSYMFOLLOW,
    filesystem,
    mounted,
)
from notifyd.kernel.limits import MAX_LINKS, PATH_MAX, PROC_ROOT_INODE
from notifyd.kernel.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    open_long,
    openat2,
)
from notifyd.kernel.statmount import mount_of, spot
from notifyd.kernel.strides import Strides
from notifyd.perform.pinned import Pinned, Unperformable
from notifyd.perform.process_context import Selves
from notifyd.perform.tasks import NeedLook, NeedSelves, OwnTask, tells_of_tasks

__all__ = ["ELSEWHERE", "NeedLook", "NeedSelves", "Pinner"]

_NOTHING: Mapping[tuple[bytes, bool], int] = MappingProxyType({})
# How a walk fails where /proc/self may have been on the way: ours is not the target's.
ELSEWHERE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


class Pinner:
    """Walks the paths of one call; a context manager that closes what it opened.

    Args:
        own: the open directory /proc/self/fd of this process.
        selves: as in `HelperRequest`.
        looked: what `NeedLook` asked for: by path, and whether it is what is behind a link.

    Attributes:
        task: what /proc tells of the target, and of us.
        jumps: the mounts that links of /proc led to since `begin`.
    """

    def __init__(
        self, own: int, selves: Selves | None, looked: Mapping[tuple[bytes, bool], int] = _NOTHING
    ) -> None:
        self._own = own
        self._open: list[int] = []
        self.task = OwnTask(own, selves, looked)
        self.jumps: list[int] = []

    def __enter__(self) -> Pinner:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open:
            os.close(fd)

    def thing(self, start: int, path: bytes, follow: bool, resolve: int = 0) -> int:
        """Pin what a path means.

        Args:
            start: where a relative path starts; AT_FDCWD if it is absolute.
            path: not empty, or it is ENOENT.
            follow: whether a link in the last component is followed.
            resolve: `RESOLVE_*` that openat2(2) was asked for.

        Raises:
            OSError: as the kernel.
            NeedSelves, Cannot.
        """
        flags = PATH_FLAGS if follow else PATH_FLAGS | os.O_NOFOLLOW
        if resolve & RESOLVE_IN_ROOT and start == AT_FDCWD:
            raise Unperformable("openat2 with RESOLVE_IN_ROOT, of a path that a rule gave")
        try:
            fd = self._keep(openat2(start, path, flags, resolve=resolve | RESOLVE_NO_MAGICLINKS))
        except OSError as error:
            if error.errno not in ELSEWHERE or resolve & RESOLVE_IN_ROOT:
                if resolve or error.errno != errno.EACCES or not tells_of_tasks(start, path):
                    raise
            elif self._stays(start, path, flags):
                raise
        else:
            if filesystem(fd) != PROC_SUPER_MAGIC:
                return fd
            if resolve & RESOLVE_IN_ROOT:
                raise Unperformable("openat2 with RESOLVE_IN_ROOT, in /proc")
        return self._walk(start, path, follow, resolve)

    def name(self, start: int, path: bytes, resolve: int = 0) -> Pinned:
        """Pin the directory of a path, and keep its last component as a name."""
        body = path.rstrip(b"/")
        if not path:
            raise _error(errno.ENOENT)
        if not body:
            return Pinned(start, path)  # the kernel takes "/" for what it is
        head, slash, last = body.rpartition(b"/")
        last += path[len(body) :][:1]
        if not slash:
            self.task.check_not_us(start)
            return Pinned(start, last)
        # With a dot: links on the way are no last ones, which fs.protected_symlinks is about.
        return Pinned(self.thing(start, head + b"/.", True, resolve), last)

    def made(self, start: int, path: bytes, follow: bool, resolve: int = 0) -> Pinned:
        """Pin the name that open(2) with O_CREAT would make, behind all links if `follow`."""
        if follow and not path.endswith(b"/"):  # that is EISDIR before any link is followed
            self._may_follow(start, path, resolve)
        limits = resolve & ~RESOLVE_NO_MAGICLINKS
        for _ in range(MAX_LINKS + 1):
            if resolve and path.rstrip(b"/").rpartition(b"/")[2] in (b"", b".", b".."):
                self.thing(start, path, True, resolve)  # a walk of its own, with limits too
            place = self.name(start, path, resolve)
            text = self._link(place) if follow else None
            if text is None:
                return place
            if filesystem(place.fd) == PROC_SUPER_MAGIC:
                if limits:
                    return Pinned(self._there(start, path, text, resolve))
                return Pinned(self._walk(place.fd, place.name, True, resolve))
            if text.startswith(b"/") and not limits & RESOLVE_IN_ROOT:
                start, path = self._jump(place.fd, resolve), text
            elif limits:  # which count from where the whole path starts
                head = b"" if text.startswith(b"/") else path[: path.rfind(b"/") + 1]
                if len(head + text) >= PATH_MAX:  # only the kernel can walk both
                    return Pinned(self._there(start, path, text, resolve))
                path = head + text
            else:
                start, path = place.fd, text
        raise _error(errno.ELOOP)

    def mounted(self, start: int, path: bytes) -> Pinned:
        """Pin the name of a mount point without touching what is mounted; else as `made`."""
        place = self.name(start, path)
        if place.name and self.named(place) in mountinfo.points("../mountinfo", self._own):
            return place
        return self.made(start, path, follow=True)

    def begin(self) -> None:
        """Forget where the walks so far led."""
        self.jumps.clear()

    def is_called(
        self, place: Pinned, seen: bytes, mounts: Collection[int], *, apart: bool = False
    ) -> bool:
        """Whether what was pinned since `begin` is what the rule saw.

        Args:
            place: what was pinned.
            seen: the name that the rule saw.
            mounts: where links of /proc may have led to. The same name may be another file's where
                it is not the target's own mount namespace.
            apart: as in `Place`.
        """
        if not seen.startswith(b"/"):
            return self.named(place) == seen
        if any(jump not in mounts for jump in self.jumps):
            return False
        if apart and (place.name or mount_of(place.fd) not in mounts):
            return False
        if apart and self._is_same(seen, place.fd):
            return True
        if seen == b"/" and place.name:  # it may be the root, and reached from outside of it
            return self._leads(seen, Pinned(self._step(place.fd, place.name, os.O_NOFOLLOW, 0)))
        try:
            return self.named(place) == seen
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
        return self._leads(seen, place)

    def _is_same(self, name: bytes, fd: int) -> bool:
        """Whether a name leads to the very file, if on another mount."""
        flags = PATH_FLAGS | os.O_NOFOLLOW
        try:
            found = self._keep(open_long(AT_FDCWD, name, flags, RESOLVE_NO_SYMLINKS))
        except OSError:
            return False
        return os.path.samestat(os.fstat(found), os.fstat(fd))

    def _leads(self, name: bytes, place: Pinned) -> bool:
        """Whether a name that the kernel does not tell is that of what was pinned."""
        head, _, last = name.rpartition(b"/")
        if place.name and last != place.name.rstrip(b"/"):
            return False
        path = (head or b"/") if place.name else name
        found = self._keep(
            open_long(AT_FDCWD, path, PATH_FLAGS | os.O_NOFOLLOW, RESOLVE_NO_SYMLINKS)
        )
        return spot(found) == spot(place.fd)

    def named(self, place: Pinned) -> bytes:
        """The absolute path of what was pinned, as it is called now, from our root."""
        if not place.name and (closed := self.task.closed_place(place.fd)) is not None:
            place = Pinned(*closed)
        path = os.fsencode(os.readlink(str(place.fd), dir_fd=self._own))
        if not place.name:
            return path
        return (b"" if path == b"/" else path) + b"/" + place.name.rstrip(b"/")

    def text(self, link: int) -> bytes | None:
        """What a link of /proc says to the target, where the kernel would tell us otherwise."""
        found = self.task.link_text(link)
        if found is not None or filesystem(link) != PROC_SUPER_MAGIC:
            return found
        try:
            os.readlink(b"", dir_fd=link)
        except PermissionError:
            behind = self.task.closed_text(link)
            return self.named(Pinned(behind)) if behind is not None else None
        except OSError:
            pass
        return None

    def _keep(self, fd: int) -> int:
        self._open.append(fd)
        return fd

    def _stays(self, start: int, path: bytes, flags: int) -> bool:
        """Whether the failed walk stayed on the file system that it began on, and not in /proc."""
        if not path or (start != AT_FDCWD and filesystem(start) == PROC_SUPER_MAGIC):
            return not path
        limits = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
        try:
            self._keep(openat2(start, path, flags, resolve=limits))
        except OSError as error:
            return error.errno in (errno.ENOENT, errno.ENOTDIR)
        return False

    def _there(self, start: int, path: bytes, text: bytes, resolve: int) -> int:
        """Pin what is behind a link already; the link's text alone says nothing of the limits."""
        try:
            return self.thing(start, path, True, resolve)
        except FileNotFoundError as error:
            why = "openat2 that makes a file behind a link, with limits on the way"
            raise Unperformable(why) from error
        except NotADirectoryError as error:
            raise (_error(errno.EISDIR) if text.endswith(b"/") else error) from None

    def _may_follow(self, start: int, path: bytes, resolve: int) -> None:
        """Let the kernel say ELOOP, and EACCES where it protects links: proc_sys_fs(5)."""
        kept = len(self._open)
        try:
            self.thing(start, path, True, resolve)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.ELOOP):
                raise
        finally:
            while len(self._open) > kept:  # what stays open keeps a mount busy
                os.close(self._open.pop())

    def _link(self, place: Pinned) -> bytes | None:
        if place.name.endswith(b"/") or not place.name:
            return None
        try:
            return os.readlink(place.name, dir_fd=place.fd)
        except PermissionError:
            return b"" if filesystem(place.fd) == PROC_SUPER_MAGIC else None
        except OSError:
            return None

    # -- one component at a time

    def _walk(self, start: int, path: bytes, follow: bool, resolve: int) -> int:
        here = self._root() if path.startswith(b"/") else start
        if path.startswith(b"/") and resolve & RESOLVE_BENEATH:
            raise _error(errno.EXDEV)
        follow = follow or path.endswith(b"/")
        directory = path.endswith((b"/", b"/."))
        todo = [part for part in path.split(b"/") if part][::-1]
        links, strides = 0, Strides(resolve)
        while todo:
            if not resolve & RESOLVE_BENEATH and (leapt := self._leap(here, todo, strides)) >= 0:
                here = leapt
                continue
            part = todo.pop()
            if part == b".." and resolve & RESOLVE_BENEATH and spot(here) == spot(start):
                raise _error(errno.EXDEV)
            step = self._step(here, part, os.O_NOFOLLOW, resolve & RESOLVE_NO_XDEV)
            if not stat.S_ISLNK(os.fstat(step).st_mode) or not (todo or follow):
                here = step
                continue
            links += 1
            if links > MAX_LINKS or resolve & RESOLVE_NO_SYMLINKS:
                raise _error(errno.ELOOP)
            self._check_follows(here, part, step, last=not todo)
            text = self._text(here, part, step)
            if text is None:
                self.task.check_not_us(here)
                here = self._step(here, part, 0, resolve)  # the kernel jumps
                self.jumps.append(mount_of(here))
                continue
            if text.startswith(b"/"):
                here = self._jump(here, resolve)
            todo += [piece for piece in text.split(b"/") if piece][::-1]
        if directory and not stat.S_ISDIR(os.fstat(here).st_mode):
            raise _error(errno.ENOTDIR)
        self.task.check_not_us(here)
        return here

    def _leap(self, here: int, todo: list[bytes], strides: Strides) -> int:
        """Walk a stretch without links; -1 if the next component has to be walked singly."""
        before = todo.copy()
        found = strides.leap(here, todo)
        if found < 0:
            return -1
        self._keep(found)
        if filesystem(found) == PROC_SUPER_MAGIC:
            try:
                os.close(openat2(found, b".", PATH_FLAGS))
            except PermissionError:  # which needs to be known by the way that leads there
                todo[:] = before
                return -1
        return found

    def _check_follows(self, directory: int, part: bytes, link: int, *, last: bool) -> None:
        """Raise what the kernel says of a link that it does not follow: pick_link() in Linux."""
        if last and filesystem(directory) != PROC_SUPER_MAGIC:
            try:
                # First EACCES for one that fs.protected_symlinks is about, then ELOOP for any.
                self._step(directory, part, 0, RESOLVE_NO_SYMLINKS)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
        if mounted(link)[1] & ST_NOSYMFOLLOW:
            raise _error(errno.ELOOP)

    def _step(self, here: int, part: bytes, flags: int, resolve: int) -> int:
        try:
            step = self._keep(openat2(here, part, PATH_FLAGS | flags, resolve=resolve))
        except PermissionError:
            if resolve:
                raise
            found = self.task.closed(here, part, behind=not flags & os.O_NOFOLLOW)
            if found is None:
                raise
            return found
        self.task.came(step, here, part, jumped=not flags & os.O_NOFOLLOW)
        return step

    def _jump(self, here: int, resolve: int) -> int:
        """To the root, by the text of a link."""
        root = self._root()
        crossed = resolve & RESOLVE_NO_XDEV and mount_of(here) != mount_of(root)
        if crossed or resolve & RESOLVE_BENEATH:
            raise _error(errno.EXDEV)
        return root

    def _root(self) -> int:
        return self._keep(os.open("/", PATH_FLAGS))

    def _text(self, directory: int, part: bytes, link: int) -> bytes | None:
        """What a link says to the target; None where it says nothing and leads somewhere."""
        if filesystem(directory) == PROC_SUPER_MAGIC:
            status = os.fstat(directory)
            if status.st_ino != PROC_ROOT_INODE:
                return None
            if part in (b"self", b"thread-self"):
                return self.task.self_text(part, directory)
        text = os.readlink(b"", dir_fd=link)
        if not text:
            raise _error(errno.ENOENT)
        return text


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
