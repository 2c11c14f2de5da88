"""What a path means to the target: its root, its working directory, its symlinks, its /proc/self.

The answer is a name, for rules and events: it says what the path meant at the time of the look.
Nothing is opened but with O_PATH, and first only from the kernel's cache, so that a slow or hostile
file system cannot make the look wait; what is not cached raises `WouldBlock`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from notifyd.errors import CannotPerform, NotifydError, TargetFault
from notifyd.kernel import files, proc, statmount
from notifyd.kernel.files import AT_FDCWD, PROC_SUPER_MAGIC, filesystem
from notifyd.kernel.openat2 import (
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)
from notifyd.target.rooted import Rooted
from notifyd.target.steps import Steps
from notifyd.target.view import NameTooLong, View, no_name

TRIES = 3  # a walk in the cache also fails when something is mounted anywhere meanwhile
MAX_LINKS = 40  # as the kernel: path_resolution(7)
PROC_ROOT_INODE = 1
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_PLAIN = os.O_PATH | os.O_CLOEXEC
_Key: TypeAlias = tuple[int, bytes, bool, bool]  # descriptor, text, to be followed, rooted
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
    """Resolves paths of one thread. What had to wait once is kept.

    Attributes:
        mounts: by name, where a walk did not come from the root alone: the mounts of what it began
            at, and of what links of /proc led to.
        apart: the names of what is on a mount in another namespace than the target's own, but is
            the very file that has this name there.
    """

    def __init__(self, tid: int) -> None:
        self._tid = tid
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
            for _ in range(TRIES):
                with suppress(BlockingIOError):
                    return self._run(_Walk(self._tid, RESOLVE_CACHED), key)
            raise WouldBlock(lambda: self._look(key))
        if isinstance(found, Exception):
            raise found
        return found

    def _look(self, key: _Key) -> None:
        try:
            self._found[key] = self._run(_Walk(self._tid, 0), key)
        except (OSError, TargetFault, CannotPerform) as error:
            self._found[key] = error

    def _run(self, walk: _Walk, key: _Key) -> bytes:
        found = walk.run(*key)
        if walk.mounts:
            self.mounts[found] = self.mounts.get(found, ()) + walk.mounts
        if walk.strayed and found.startswith(b"/"):
            self.apart.add(found)
        return found


class _Walk:
    """One resolution: a root, and a walk below it or from a descriptor.

    Attributes:
        mounts: as of `Resolver`.
        strayed: whether it was led out of the target's own mount namespace.
    """

    def __init__(self, tid: int, cached: int) -> None:
        self._tid = tid
        self._flags = cached
        self._links = 0
        self.mounts: tuple[int, ...] = ()
        self.strayed = False
        self._root = -1
        self._view: View

    def run(self, dirfd: int, pathname: bytes, follow: bool, rooted: bool) -> bytes:
        # By the thread's number each time: the caller asks afterwards whether it is still its own.
        self._root = root = os.open(f"/proc/{self._tid}/root", _PLAIN)
        start = -1
        try:
            self._view = View(self._tid, root, self._flags)
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
            return os.open(f"/proc/{self._tid}/cwd", _PLAIN)
        try:
            return os.open(f"/proc/{self._tid}/fd/{dirfd}", _PLAIN)
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
        flags = _PLAIN if follow else _ANY
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
                if self._must_wait(error):
                    raise
                free = free and error.errno in (errno.ELOOP, errno.ENOENT)
        if free:
            with suppress(NameTooLong):
                where = self._led(start, path, flags) or self._new(start, path, follow)
        return where or self._step_by_step(start, path, follow)

    def _led(self, start: int, path: bytes, flags: int) -> bytes | None:
        """Where the kernel's own walk ends; None where that may depend on who walks."""
        try:
            found = self._open(start, path, RESOLVE_NO_MAGICLINKS, flags)
        except OSError:
            return None
        if filesystem(found) == PROC_SUPER_MAGIC:
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
        try:
            found = self._open(start, path, 0)
        except OSError as error:
            if self._must_wait(error):
                raise
            return False
        try:
            return stat.S_ISLNK(statmount.mode_of(found))
        finally:
            os.close(found)

    def _within(self, start: int, path: bytes, follow: bool) -> bytes:
        """From a descriptor that is the root as well."""
        nowhere = _joined(self._called(start), _parts(path))
        rooted = Rooted(start, self._flags, lambda fd: self._settled(self._called(fd), fd))
        return rooted.run(path, follow, nowhere, may_make=not self.strayed)

    # -- one component at a time

    def _step_by_step(self, start: int, path: bytes, follow: bool) -> bytes:
        follow = follow or path.endswith((b"/", b"/."))
        steps = Steps(self._root, start)
        try:
            if not self._follow(steps, path, follow):  # too many links
                return _joined(self._called(start), _parts(path))
            name = self._called(steps.here)
            if steps.tail or name.startswith(b"/"):
                name = _joined(name, steps.tail)
            return self._settled(name, steps.thing)
        finally:
            steps.close()

    def _follow(self, steps: Steps, path: bytes, follow: bool) -> bool:
        """Walk; False if there are too many links."""
        todo = deque(_parts(path))
        while todo:
            part = todo.popleft()
            if part == b".." or steps.tail:
                self._up_or_along(steps, part)
                continue
            step = self._step(steps.here, part)
            text: bytes | None = b""
            if step >= 0 and (todo or follow):
                text = self._text(steps.here, part, step)
            if text == b"":
                steps.arrive(step, part)
                continue
            os.close(step)
            self._links += 1
            if self._links > MAX_LINKS:
                return False
            if text is None:
                self._jump(steps, part)
                continue
            if text.startswith(b"/"):
                steps.go(self._root)
            todo.extendleft(reversed(_parts(text)))
        return True

    def _up_or_along(self, steps: Steps, part: bytes) -> None:
        if part != b"..":
            steps.tail.append(part)
        elif steps.tail:
            steps.drop()
        elif steps.here != self._root and not self._at_root(steps.here):
            above = self._step(steps.here, part)
            if above >= 0:
                steps.go(above)

    def _at_root(self, fd: int) -> bool:
        return statmount.spot(fd) == statmount.spot(self._root)

    def _step(self, here: int, part: bytes) -> int:
        """Open a component, itself; -1 if it is not there."""
        try:
            return openat2(here, part, _ANY, 0, self._flags)
        except OSError as error:
            if self._must_wait(error) or error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            return -1

    def _jump(self, steps: Steps, part: bytes) -> None:
        """Go where a link of /proc leads.

        Not from the cache alone, which the kernel refuses here. It does not wait: nothing is looked
        up beyond the link.
        """
        try:
            found = os.open(part, _PLAIN, dir_fd=steps.here)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            steps.tail.append(part)
            return
        steps.go(found)
        self._enter(found)

    def _text(self, directory: int, part: bytes, link: int) -> bytes | None:
        """What a link says to the target; empty if it is none, None if only the kernel knows."""
        if not stat.S_ISLNK(statmount.mode_of(link)):
            return b""
        kind, flags = files.mounted(link)
        if flags & files.ST_NOSYMFOLLOW:
            return b""  # the call will fail with it
        if kind == PROC_SUPER_MAGIC:
            found = os.fstat(directory)
            if found.st_ino != PROC_ROOT_INODE:
                return None
            if part in (b"self", b"thread-self"):
                return self._self(part, found.st_dev)
        return os.readlink(b"", dir_fd=link)

    def _self(self, name: bytes, device: int) -> bytes:
        """What /proc/self or /proc/thread-self says to the target."""
        # They are whoever looks: here that is us, and must not be.
        status = self._status()
        # Another /proc than ours is that of the target's own pid namespace.
        at = 0 if device == os.stat("/proc").st_dev else -1
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

    def _open(self, start: int, path: bytes, resolve: int, flags: int = _ANY) -> int:
        within = RESOLVE_IN_ROOT if start == self._root else 0
        try:
            return openat2(start, path, flags, 0, within | self._flags | resolve)
        except OSError as error:
            if error.errno == errno.EINVAL and self._flags:  # no RESOLVE_CACHED before Linux 5.12
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
            raise

    def _name(self, found: int) -> bytes:
        try:
            return self._view.name(found)
        finally:
            os.close(found)


def _is_directory(fd: int) -> bool:
    return stat.S_ISDIR(statmount.mode_of(fd))


def _joined(name: bytes, parts: list[bytes]) -> bytes:
    return (name.rstrip(b"/") + b"".join(b"/" + part for part in parts)) or b"/"


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]
