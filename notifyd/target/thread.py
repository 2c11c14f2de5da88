"""The stopped thread behind a notification: its memory, and the way to the rest of what it has.

Everything learnt here is checked against the notification's id after the last look, so that a
reused thread id is never taken for the target.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import TypeVar

from notifyd.errors import RuleError, TargetFault, TargetGone
from notifyd.kernel import mountinfo, pidfd, process_vm
from notifyd.kernel.unotify import Notifier
from notifyd.policy.call import ID, PID, Note
from notifyd.target import hashing
from notifyd.target.digests import Digests
from notifyd.target.identity import Identity, read_identity
from notifyd.target.paths import Resolver, WouldBlock
from notifyd.target.process import TargetProcess
from notifyd.target.vectors import TooManyStrings, Vector

T = TypeVar("T")

MAX_READ_BYTES = 1 << 24  # bytes a rule may read at once
_VectorKey = tuple[int, int, int, int, bool]  # the arguments of `read_strings`


class StoppedThread:
    """A target, as long as its call is not answered. Keeps no descriptor open."""

    __slots__ = (
        "_digests",
        "_hashed",
        "_id",
        "_identity",
        "_mounts",
        "_notifier",
        "_resolver",
        "_tid",
        "_vectors",
    )

    def __init__(self, note: Note, notifier: Notifier, digests: Digests | None = None) -> None:
        self._id = note[ID]
        self._tid = note[PID]
        self._notifier = notifier
        self._identity: Identity | None = None
        self._resolver: Resolver | None = None
        self._mounts: frozenset[bytes] | Exception | None = None
        self._digests = digests
        self._vectors: dict[_VectorKey, tuple[bytes, ...] | Exception] = {}
        self._hashed: dict[tuple[int, bytes, bool], str | Exception] = {}

    @property
    def tid(self) -> int:
        """The thread's id in our pid namespace.

        Raises:
            RuleError: it is not visible there (0), so nothing about it can be looked at.
        """
        if not self._tid:
            raise RuleError("the target is in a pid namespace that we cannot see into")
        return self._tid

    @property
    def process(self) -> TargetProcess:
        """Whose thread it is."""
        return TargetProcess(self)

    @property
    def identity(self) -> Identity:
        """Process, executable and user, read once for this call.

        Raises:
            TargetGone: it is no longer in its call.
        """
        if self._identity is None:
            try:
                self._identity = read_identity(self.tid)
            except OSError as error:
                raise self.failure(error) from error
            self.check()
        return self._identity

    def open(self) -> int:
        """A pidfd of it, for its descriptors and for signals. The caller owns it, and checks.

        Before Linux 6.9 it is the process's, where the thread is not its first: threads of a
        process nearly always share their descriptors.

        Raises:
            OSError: ESRCH: it has ended. EMFILE.
        """
        try:
            return pidfd.open_thread(self.tid)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return pidfd.open_process(self.identity.pid)

    def check(self) -> None:
        """Raise TargetGone unless the target still waits for our answer."""
        # Invariant: what was read from a target counts only if ID_VALID held after the last read.
        if not self._notifier.id_valid(self._id):
            raise TargetGone("the target is no longer in its call")

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at `address`.

        Raises:
            TargetFault: a byte of it cannot be read (EFAULT).
            TargetGone: the target is no longer in its call.
            RuleError: its memory is closed to us, or `size` is beyond reason.
        """
        if size > MAX_READ_BYTES:
            raise RuleError(f"{size} bytes of memory are too many; at most {MAX_READ_BYTES}")
        try:
            data = process_vm.read(self.tid, address, size)
        except OSError as error:
            raise self.failure(error) from error
        self.check()
        return data

    def read_some(self, address: int, size: int) -> bytes:
        """Up to `size` bytes at `address`, fewer before an unmapped page; raises as `read` does."""
        try:
            data = process_vm.read_some(self.tid, address, min(size, MAX_READ_BYTES))
        except OSError as error:
            raise self.failure(error) from error
        self.check()
        return data

    def read_string(self, address: int, limit: int) -> bytes:
        """A string without its NUL, of fewer than `limit` bytes; raises as `read` does.

        Raises:
            TargetFault: also if there is no NUL in `limit` bytes (ENAMETOOLONG).
        """
        try:
            data = process_vm.read_string(self._tid or self.tid, address, limit)
        except OSError as error:
            raise self.failure(error) from error
        if not self._notifier.id_valid(self._id):
            raise TargetGone("the target is no longer in its call")
        return data

    def read_strings(
        self, address: int, word: int, max_strings: int, max_bytes: int, *, cut: bool = False
    ) -> tuple[bytes, ...]:
        """The strings of a vector of `word`-byte pointers that ends with a null pointer.

        Raises:
            TargetFault: a pointer or a string cannot be read (EFAULT), or there are more than
                `max_strings` or `max_bytes` of them (E2BIG) and the rest may not be `cut` off.
            WouldBlock: they are many, and have to be read first.
        """
        key = address, word, max_strings, max_bytes, cut
        found = self._vectors.get(key)
        if found is None:
            try:
                found = self._vector(key, at_once=True)
            except TooManyStrings:
                raise WouldBlock(partial(self._look_at_vector, key)) from None
        if isinstance(found, Exception):
            raise found
        return found

    def _look_at_vector(self, key: _VectorKey) -> None:
        try:
            self._vectors[key] = self._vector(key, at_once=False)
        except Exception as error:
            self._vectors[key] = error

    def _vector(self, key: _VectorKey, *, at_once: bool) -> tuple[bytes, ...]:
        address, word, max_strings, max_bytes, cut = key
        try:
            vector = Vector(self.tid, address, word)
            found = vector.strings(max_strings, max_bytes, cut=cut, at_once=at_once)
        except OSError as error:
            raise self.failure(error) from error
        self.check()
        return found

    def write(self, address: int, data: bytes) -> None:
        """Write all of `data` at `address`; raises as `read` does.

        Writing is an effect, so the id is checked before it; the caller answers right after.
        """
        self.check()
        try:
            process_vm.write(self.tid, address, data)
        except OSError as error:
            raise self.failure(error) from error

    def look_at_memory(self, look: Callable[[], T], *_: object) -> T:
        """Another look that touches its memory; the rest of the arguments names it."""
        return look()

    def resolve(
        self, dirfd: int, pathname: bytes, follow: bool, *, rooted: bool = False
    ) -> PurePosixPath:
        """The absolute path that `pathname` means to the target: see `Call.resolve`.

        Raises:
            TargetFault: EACCES: it has no name in the target's own view. EBADF: no such descriptor.
            CannotPerform: a `rooted` path leads into /proc.
            TargetGone: the target is no longer in its call.
        """
        if self._resolver is None:
            self._resolver = Resolver(self.tid, self._is_local)
        try:
            path = self._resolver.resolve(dirfd, pathname, follow, rooted)
        except OSError as error:
            raise self.failure(error) from error
        self.check()
        return PurePosixPath(os.fsdecode(path))

    def _is_local(self, fd: int) -> bool:
        return self._digests is not None and self._digests.is_local(fd)

    def is_mount_point(self, path: PurePosixPath) -> bool:
        """Whether something is mounted at an absolute path of the target's; it is not touched.

        Raises:
            WouldBlock: the target's mounts, which may be many, have to be read first.
            TargetGone: the target is no longer in its call.
        """
        if self._mounts is None:
            raise WouldBlock(self._look_at_mounts)
        if isinstance(self._mounts, Exception):
            raise self._mounts
        if bytes(path) not in self._mounts:
            return False
        if self._resolver is not None:  # it is reached as its directory was
            self._resolver.mounts[bytes(path)] = self.mounts(bytes(path.parent))
        return True

    def _look_at_mounts(self) -> None:
        try:
            self._mounts = mountinfo.points(f"/proc/{self.tid}/mountinfo")
            self.check()
        except OSError as error:
            self._mounts = self.failure(error)
        except Exception as error:
            self._mounts = error

    def mounts(self, path: bytes) -> tuple[int, ...]:
        """Of a path that `resolve` gave: as `Resolver.mounts`, the numbers as of `mount_of`."""
        return self._resolver.mounts.get(path, ()) if self._resolver is not None else ()

    def is_apart(self, path: bytes) -> bool:
        """Of a path that `resolve` gave: whether it is in `Resolver.apart`."""
        return self._resolver is not None and path in self._resolver.apart

    @property
    def is_far(self) -> bool:
        """Whether a path of the call takes too long to be walked while everybody waits."""
        return self._resolver is not None and self._resolver.far

    def digest(self, dirfd: int, pathname: bytes, follow: bool) -> str:
        """The SHA-256 of the file that `pathname` means to the target, 64 hexadecimal digits.

        Empty where there is no regular file that we could open. Whether the target could, and what
        it gets if not, is the kernel's to say.

        Raises:
            WouldBlock: it has to be read first, or looking for it may wait.
            TargetFault: EBADF: no such descriptor.
            TargetGone: the target is no longer in its call.
            RuleError: it has more than `digests.MAX_HASHED_BYTES` bytes, or cannot be read.
        """
        key = dirfd, pathname, follow
        found = self._hashed.get(key)
        if isinstance(found, Exception):
            raise found
        if found is not None:
            return found
        if self._digests is None:
            self._digests = Digests()
        path = bytes(self.resolve(dirfd, pathname, follow)) if pathname else b""
        known = hashing.known(self.tid, dirfd, path, self._digests)
        if known is None:
            raise WouldBlock(lambda: self._hash(key, path))
        self.check()
        return known

    def _hash(self, key: tuple[int, bytes, bool], path: bytes) -> None:
        assert self._digests is not None
        try:
            self._hashed[key] = hashing.read(self.tid, key[0], path, self._digests, self.check)
            self.check()
        except OSError as error:
            self._hashed[key] = hashing.without(error)
        except Exception as error:
            self._hashed[key] = error

    def failure(self, error: OSError) -> Exception:
        """What a failed look means: the target is gone, at fault, or closed to us."""
        if error.errno in (errno.EFAULT, errno.ENAMETOOLONG, errno.EBADF):
            return TargetFault(os.strerror(error.errno), error.errno)
        if error.errno in (errno.ESRCH, errno.ENOENT):
            # ESRCH can also mean that the thread lives and has no memory any more: it is exiting.
            return TargetGone("the target is gone")
        if error.errno in (errno.EPERM, errno.EACCES):
            if not self._notifier.id_valid(self._id):  # who is exiting is closed to everybody
                return TargetGone("the target is gone")
            return RuleError(
                f"thread {self._tid} cannot be looked into ({error.strerror}): it runs as another "
                "user, made itself undumpable, or Yama's ptrace_scope forbids it"
            )
        return error
