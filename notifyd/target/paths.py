"""What a path means to the target: its root, its working directory, its symlinks, its /proc/self.

The answer is a name, for rules and events: it says what the path meant at the time of the look.
Nothing is opened but with O_PATH, and first only from the kernel's cache, so that a slow or hostile
file system cannot make the look wait; what is not cached raises `WouldBlock`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import perf_counter_ns as clock
from typing import TypeAlias

from notifyd.errors import CannotPerform, NotifydError, TargetFault
from notifyd.kernel import statmount
from notifyd.kernel.files import AT_FDCWD, NOFOLLOW_FLAGS, PATH_FLAGS, PROC_SUPER_MAGIC
from notifyd.kernel.openat2 import (
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)
from notifyd.target.rooted import Rooted
from notifyd.target.stepwise import Stepwise, WalkTooLong, must_wait, parts_of
from notifyd.target.view import NameTooLong, View, no_name
from notifyd.target.walk_state import Steps

MAX_INLINE_WALK_NS = 500_000  # nanoseconds, after which no other walk begins while everybody waits
MAX_WALK_TRIES = 3  # a walk in the cache also fails when something is mounted anywhere meanwhile
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_Key: TypeAlias = tuple[int, bytes, bool, bool]  # descriptor, text, to be followed, rooted


class WouldBlock(BaseException):
    """A look that may wait for ever.

    Whoever catches it runs `look` where it can be abandoned, and asks again.

    Not an Exception, so that no rule swallows it.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__("a look at the target may wait")
        self.look = look


class Resolver:
    """Resolves paths of one thread. What had to wait once is kept.

    Attributes:
        mounts: by name, where a walk did not come from the root alone: the mounts of what it began
            at, and of what links of /proc led to.
        far: whether a walk took too long for everybody to wait.
        apart: the names of what is on a mount in another namespace than the target's own, but is
            the very file that has this name there.
    """

    def __init__(self, tid: int, is_local: Callable[[int], bool] = lambda _: False) -> None:
        self._tid = tid
        self._is_local = is_local
        self.far = False
        self._found: dict[_Key, bytes | OSError | NotifydError] = {}
        self.mounts: dict[bytes, tuple[int, ...]] = {}
        self.apart: set[bytes] = set()

    def resolve(self, dirfd: int, pathname: bytes, follow: bool, rooted: bool = False) -> bytes:
        """The absolute path, with every symlink on the way resolved; the last one if `follow`.

        What does not exist is named as it would be made. A path that leads nowhere else (through a
        missing directory, too many links) stays as it is given: the call will fail with it.

        Raises:
            WouldBlock: it is not in the kernel's cache.
            TargetFault: EACCES: it has no name in the target's own view.
            CannotPerform: a `rooted` path leads into /proc.
            OSError: EBADF: no such `dirfd`; ENOENT, ESRCH: the target is gone; EACCES, EPERM.
        """
        key = dirfd, pathname, follow, rooted
        found = self._found.get(key)
        if found is None:
            return self._at_once(key)
        if isinstance(found, Exception):
            raise found
        return found

    def _at_once(self, key: _Key) -> bytes:
        begun = clock()
        for _ in range(MAX_WALK_TRIES):
            try:
                return self._run(RESOLVE_CACHED, key, begun)
            except WalkTooLong:
                self.far = True
                break
            except BlockingIOError:
                self.far = clock() > begun + MAX_INLINE_WALK_NS // 4
                if self.far:
                    break
        raise WouldBlock(partial(self._look, key))

    def _look(self, key: _Key) -> None:
        try:
            self._found[key] = self._run(0, key, 0)
        except (OSError, TargetFault, CannotPerform) as error:
            self._found[key] = error

    def _run(self, cached: int, key: _Key, begun: int) -> bytes:
        walk = _Resolution(self._tid, cached, self._is_local, begun)
        found = walk.run(*key)
        if walk.mounts:
            self.mounts[found] = self.mounts.get(found, ()) + walk.mounts
        if walk.strayed and found.startswith(b"/"):
            self.apart.add(found)
        return found


class _Resolution:
    """One resolution: a root, and a walk below it or from a descriptor.

    Attributes:
        mounts: as of `Resolver`.
        strayed: whether it was led out of the target's own mount namespace.
    """

    def __init__(self, tid: int, cached: int, is_local: Callable[[int], bool], begun: int) -> None:
        self._tid = tid
        self._is_local = is_local
        self._flags = cached
        self._begun = begun  # by perf_counter_ns; not looked at without `cached`
        self.mounts: tuple[int, ...] = ()
        self.strayed = False
        self._root = -1
        self._view: View

    def run(self, dirfd: int, pathname: bytes, follow: bool, rooted: bool = False) -> bytes:
        # By the thread's number each time: the caller asks afterwards whether it is still its own.
        self._root = root = os.open(f"/proc/{self._tid}/root", PATH_FLAGS)
        start = -1
        try:
            self._view = View(self._tid, root, self._flags, self._is_local)
            if pathname.startswith(b"/") and not rooted:
                return self._walk(root, pathname, follow)
            start = self._start(dirfd)
            if not pathname or dirfd == AT_FDCWD or _is_directory(start):  # else it is ENOTDIR
                self._enter(start)
            if not pathname:  # AT_EMPTY_PATH: the descriptor itself, whatever it is of
                return self._settled(self._called(start), start)
            if rooted:
                return self._within(start, pathname, follow)
            return self._walk(start, pathname, follow)
        finally:
            os.close(root)
            if start >= 0:
                os.close(start)

    def _start(self, dirfd: int) -> int:
        if dirfd == AT_FDCWD:
            return os.open(f"/proc/{self._tid}/cwd", PATH_FLAGS)
        try:
            return os.open(f"/proc/{self._tid}/fd/{dirfd}", PATH_FLAGS)
        except FileNotFoundError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def _enter(self, fd: int) -> None:
        """Go on from what was not reached by a name from the root."""
        mount = statmount.mount_of(fd)
        self.mounts += (mount,)
        self.strayed = self.strayed or not self._view.has(fd, mount)

    def _settled(self, name: bytes, thing: int) -> bytes:
        """The name of what was found, if it has one; `thing` is -1 where nothing is.

        A descriptor that is older than an unshare(CLONE_NEWNS) is of the mounts before. What it
        leads to has its name still, where that means the same file.
        """
        # What is in no tree at all (`pipe:[7]`) is called so wherever it comes from.
        if self.strayed and name.startswith(b"/"):
            if thing < 0:
                raise no_name()
            if not self._view.leads(name, thing):
                name = self._view.name_in_proc(name, thing)
            self.mounts += (statmount.mount_of(thing),)
        return name

    def _called(self, fd: int) -> bytes:
        try:
            return self._view.name(fd)
        except NameTooLong:
            return self._view.long_name(fd)

    def _walk(self, start: int, path: bytes, follow: bool) -> bytes:
        flags = PATH_FLAGS if follow else NOFOLLOW_FLAGS
        where = None
        # From a descriptor the kernel's `..` stops at our root, and absolute links begin there.
        free = start == self._root or self._view.ours
        if self.strayed:
            free = False
        elif free or b".." not in path:
            # The short way: no symlink on the whole path, and everything is there.
            try:
                return self._name(self._open(start, path, RESOLVE_NO_SYMLINKS, flags))
            except NameTooLong:
                free = False
            except OSError as error:
                if must_wait(error, self._flags):
                    raise
                free = free and error.errno in (errno.ELOOP, errno.ENOENT)
        if free:
            with suppress(NameTooLong):
                where = self._led(start, path, flags) or self._new(start, path, follow)
        return where or self._step_by_step(start, path, follow)

    def _led(self, start: int, path: bytes, flags: int) -> bytes | None:
        """Where the kernel's own walk ends; None where that may depend on who walks."""
        self._check_time()
        try:
            found = self._open(start, path, RESOLVE_NO_MAGICLINKS, flags)
        except OSError:
            return None
        try:
            in_proc = self._view.kind(found).magic == PROC_SUPER_MAGIC
        except BaseException:
            os.close(found)
            raise
        if in_proc:
            os.close(found)
            return None
        return self._name(found)

    def _new(self, start: int, path: bytes, follow: bool) -> bytes | None:
        """How what is not there would be made; None if that is not that plain."""
        head, slash, last = path.rpartition(b"/")
        parent = None
        if last not in (b"", b".", b".."):
            # With a dot: links on the way are no last ones, see protected_symlinks in proc(5).
            parent = self._led(start, head + slash + b".", _DIRECTORY)
        if parent is None:
            return None
        if follow and self._is_link(start, path):
            return None
        return parent.rstrip(b"/") + b"/" + last

    def _is_link(self, start: int, path: bytes) -> bool:
        self._check_time()
        try:
            found = self._open(start, path, 0)
        except OSError as error:
            if must_wait(error, self._flags):
                raise
            return False
        try:
            return stat.S_ISLNK(statmount.mode_of(found))
        finally:
            os.close(found)

    def _within(self, start: int, path: bytes, follow: bool) -> bytes:
        """From a descriptor that is the root as well."""
        nowhere = _joined(self._called(start), parts_of(path))
        called = lambda fd: self._settled(self._called(fd), fd)  # noqa: E731
        rooted = Rooted(start, self._flags, self._view, called)
        return rooted.run(path, follow, nowhere, may_make=not self.strayed)

    def _step_by_step(self, start: int, path: bytes, follow: bool) -> bytes:
        follow = follow or path.endswith((b"/", b"/."))
        steps = Steps(self._root, start)
        try:
            walk = Stepwise(self._tid, self._view, steps, self._flags, self._enter)
            if not walk.run(path, follow):  # too many links
                return _joined(self._called(start), parts_of(path))
            name = self._called(steps.here)
            if steps.tail or name.startswith(b"/"):
                name = _joined(name, steps.tail)
            return self._settled(name, steps.thing)
        finally:
            steps.close()

    def _open(self, start: int, path: bytes, resolve: int, flags: int = NOFOLLOW_FLAGS) -> int:
        within = RESOLVE_IN_ROOT if start == self._root else 0
        try:
            return openat2(start, path, flags, 0, within | self._flags | resolve)
        except OSError as error:
            if error.errno == errno.EINVAL and self._flags:  # no RESOLVE_CACHED before Linux 5.12
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
            raise

    def _check_time(self) -> None:
        """Before any walk but the first one."""
        if self._flags and clock() > self._begun + MAX_INLINE_WALK_NS:
            raise WalkTooLong

    def _name(self, found: int) -> bytes:
        try:
            return self._view.name(found)
        finally:
            os.close(found)


def _is_directory(fd: int) -> bool:
    return stat.S_ISDIR(statmount.mode_of(fd))


def _joined(name: bytes, parts: list[bytes]) -> bytes:
    return (name.rstrip(b"/") + b"".join(b"/" + part for part in parts)) or b"/"
