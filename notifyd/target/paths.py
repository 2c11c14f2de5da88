"""What a path means to the target: its root, its working directory, its symlinks, its /proc/self.

The answer is a name, for rules and events: it says what the path meant at the time of the look.
Nothing is opened but with O_PATH, and first only from the kernel's cache, so that a slow or hostile
file system cannot make the look wait; what is not cached raises `WouldBlock`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress

from notifyd.kernel import proc
from notifyd.kernel.files import PROC_SUPER_MAGIC, filesystem
from notifyd.kernel.openat2 import (
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)

AT_FDCWD = -100
TRIES = 3  # a walk in the cache also fails when something is mounted anywhere meanwhile
MAX_LINKS = 40  # as the kernel: path_resolution(7)
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_PLAIN = os.O_PATH | os.O_CLOEXEC
# What a link of /proc says of something that is in no tree of files: pipe:[7], socket:[8].
_PLACELESS = re.compile(rb"[a-z_]+:(\[[^/]*\]|[a-z0-9_-]+)")
_ANY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class WouldBlock(BaseException):
    """A look that may wait for ever.

    Whoever catches it runs `look` where it can be abandoned, and asks again.

    Not an Exception, so that no rule swallows it.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__("a look at the target may wait")
        self.look = look


class Resolver:
    """Resolves paths of one thread. What had to wait once is kept."""

    def __init__(self, tid: int) -> None:
        self._tid = tid
        self._found: dict[tuple[int, bytes, bool], bytes | OSError] = {}

    def resolve(self, dirfd: int, pathname: bytes, follow: bool) -> bytes:
        """The absolute path, with every symlink on the way resolved; the last one if `follow`.

        What does not exist is named as it would be made. A path that leads nowhere else (through a
        missing directory, too many links) stays as it is given: the call will fail with it.

        Raises:
            WouldBlock: it is not in the kernel's cache.
            OSError: EBADF: no such `dirfd`; ENOENT, ESRCH: the target is gone; EACCES, EPERM.
        """
        key = dirfd, pathname, follow
        found = self._found.get(key)
        if found is None:
            for _ in range(TRIES):
                with suppress(BlockingIOError):
                    return _Walk(self._tid, RESOLVE_CACHED).run(dirfd, pathname, follow)
            raise WouldBlock(lambda: self._look(key))
        if isinstance(found, OSError):
            raise found
        return found

    def _look(self, key: tuple[int, bytes, bool]) -> None:
        try:
            self._found[key] = _Walk(self._tid, 0).run(*key)
        except OSError as error:
            self._found[key] = error


class _Walk:
    """One resolution: a root, and a walk below it."""

    def __init__(self, tid: int, cached: int) -> None:
        self._tid = tid
        self._flags = cached
        self._links = 0
        self._outside = False

    def run(self, dirfd: int, pathname: bytes, follow: bool) -> bytes:
        # By the thread's number each time: the caller asks afterwards whether it is still its own.
        where = f"/proc/{self._tid}/root"
        root = os.open(where, _PLAIN)
        try:
            top = os.fsencode(os.readlink(where)).rstrip(b"/")
            if not pathname:  # AT_EMPTY_PATH: the descriptor itself, whatever it is of
                return self._start(dirfd, top) or b"/"
            if pathname.startswith(b"/"):
                return self._walk(root, top, pathname, follow)
            found = self._walk(root, top, self._start(dirfd, top) + b"/" + pathname, follow)
            # From outside of the root a path may lead into it: then that is its name.
            return _below(found, top) if self._outside and found != top else found
        finally:
            os.close(root)

    def _start(self, dirfd: int, top: bytes) -> bytes:
        link = "cwd" if dirfd == AT_FDCWD else f"fd/{dirfd}"
        try:
            found = os.fsencode(os.readlink(f"/proc/{self._tid}/{link}"))
            self._outside = bool(top) and found != top and not found.startswith(top + b"/")
            return _below(found, top)
        except FileNotFoundError:
            if link != "cwd":
                raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
            raise

    def _walk(self, root: int, top: bytes, path: bytes, follow: bool) -> bytes:
        """Resolve the absolute `path` below `root`."""
        flags = _PLAIN if follow else _ANY
        # The short way: no symlink on the whole path, and everything is there.
        try:
            return self._name(self._open(root, path, RESOLVE_NO_SYMLINKS, flags), top)
        except OSError as error:
            if self._must_wait(error):
                raise
            where = None
            if error.errno in (errno.ELOOP, errno.ENOENT):
                where = self._led(root, top, path, flags) or self._new(root, top, path, follow)
        return where or self._step_by_step(root, path, follow)

    def _led(self, root: int, top: bytes, path: bytes, flags: int) -> bytes | None:
        """Where the kernel's own walk ends; None where that may depend on who walks."""
        try:
            found = self._open(root, path, RESOLVE_NO_MAGICLINKS, flags)
        except OSError:
            return None
        if filesystem(found) == PROC_SUPER_MAGIC:
            os.close(found)
            return None
        return self._name(found, top)

    def _new(self, root: int, top: bytes, path: bytes, follow: bool) -> bytes | None:
        """How what is not there would be made; None if that is not that plain."""
        head, _, last = path.rpartition(b"/")
        parent = None
        if last not in (b"", b".", b".."):
            parent = self._led(root, top, head + b"/", _DIRECTORY)
        if parent is None:
            return None
        new = parent.rstrip(b"/") + b"/" + last
        return None if follow and self._link(root, new) is not None else new

    def _step_by_step(self, root: int, path: bytes, follow: bool) -> bytes:
        follow = follow or path.endswith((b"/", b"/."))
        here = b""  # the directory reached, resolved, below root
        todo = [part for part in path.split(b"/") if part not in (b"", b".")]
        while todo:
            part = todo.pop(0)
            if part == b"..":
                here = here.rpartition(b"/")[0]
                continue
            step = here + b"/" + part
            link = self._link(root, step) if todo or follow else None
            if link is None:
                here = step
                continue
            self._links += 1
            if self._links > MAX_LINKS:
                return path
            if _PLACELESS.fullmatch(link) and self._is_magic(root, step):
                return link if not todo else path
            if link.startswith(b"/"):
                here = b""
            todo[:0] = [piece for piece in link.split(b"/") if piece not in (b"", b".")]
        return here or b"/"

    def _link(self, root: int, path: bytes) -> bytes | None:
        """What the symlink at `path` says; None if it is none, or not there."""
        try:
            found = self._open(root, path, 0)
        except OSError as error:
            if self._must_wait(error):
                raise
            return None
        try:
            if not stat.S_ISLNK(os.fstat(found).st_mode):
                return None
            return self._self(path, found) or os.fsencode(os.readlink(b"", dir_fd=found))
        except OSError:
            return None
        finally:
            os.close(found)

    def _is_magic(self, root: int, path: bytes) -> bool:
        found = self._open(root, path, 0)
        try:
            return filesystem(found) == PROC_SUPER_MAGIC
        finally:
            os.close(found)

    def _self(self, path: bytes, link: int) -> bytes | None:
        """What /proc/self or /proc/thread-self says to the target; None if the link is neither."""
        # They are whoever looks: here that is us, and must not be.
        name = path.rpartition(b"/")[2]
        if name not in (b"self", b"thread-self") or filesystem(link) != PROC_SUPER_MAGIC:
            return None
        status = self._status()
        # Another /proc than ours is that of the target's own pid namespace.
        at = 0 if os.fstat(link).st_dev == os.stat("/proc").st_dev else -1
        process, thread = status.process_ids[at], status.thread_ids[at]
        return b"%d" % process if name == b"self" else b"%d/task/%d" % (process, thread)

    def _status(self) -> proc.Status:
        directory = proc.open_dir(self._tid)
        try:
            return proc.read_status(directory)
        finally:
            os.close(directory)

    def _must_wait(self, error: OSError) -> bool:
        """Whether a walk failed since it must not wait.

        EAGAIN is also what one with `..` gets when anything anywhere is renamed meanwhile, since it
        could have left its root then: openat2(2). Step by step there is no `..`.
        """
        return error.errno == errno.EAGAIN and bool(self._flags)

    def _open(self, root: int, path: bytes, resolve: int, flags: int = _ANY) -> int:
        try:
            return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | self._flags | resolve)
        except OSError as error:
            if error.errno == errno.EINVAL and self._flags:  # no RESOLVE_CACHED before Linux 5.12
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
            raise

    def _name(self, found: int, top: bytes) -> bytes:
        try:
            return _below(os.fsencode(os.readlink(f"/proc/self/fd/{found}")), top) or b"/"
        finally:
            os.close(found)


def _below(path: bytes, top: bytes) -> bytes:
    """`path`, which the kernel named from our root, as it is named from the target's."""
    if top and path.startswith(top + b"/"):
        return path[len(top) :]
    return b"" if path in (top, b"/") else path
