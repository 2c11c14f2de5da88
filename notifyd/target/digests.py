"""SHA-256 digests of files, and which of them need not be computed again.

A digest read from a file that others may write is a guess: a mapping that was made before can
change it without a trace in its times. So one is kept only where it was read while nobody could
write, which is so at the exec stop: what is executed cannot be open for writing (ETXTBSY, and so no
such mapping is left). Whoever writes later has to open it anew, and that changes its times.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from notifyd.kernel import mountinfo

__all__ = ["MAX_HASHED_BYTES", "Digests", "Version", "open_pinned"]

# bytes that are read without leaving the loop, if they are in memory
MAX_INLINE_HASH_BYTES = 1 << 16
MAX_HASHED_BYTES = 1 << 30  # bytes of a file; a digest of more takes too long
DIGEST_CACHE_SIZE = 4096  # digests
TIMESTAMP_SETTLE_NS = 3_000_000_000  # nanoseconds; longer than the grain of any file system's times
_CHUNK_BYTES = 1 << 20  # bytes
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Version(NamedTuple):
    """Which file, and which state of it, as far as fstat(2) tells."""

    device: int
    inode: int
    ctime_ns: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, fd: int) -> Version:
        """Of an open file, O_PATH too.

        Raises:
            OSError: EACCES: it is no regular file, and execve(2) says the same.
        """
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return cls(found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size)


class Digests:
    """The digests that are known for sure. Threads may use it at the same time."""

    def __init__(self) -> None:
        self._known: OrderedDict[Version, str] = OrderedDict()
        self._local = mountinfo.LocalDevices()

    def at_once(self, fd: int) -> str | None:
        """The digest of an open file (O_PATH too), if it is known or quickly read; never waits."""
        if not self.is_local(fd):
            return None
        version = Version.of(fd)
        known = self._known.get(version)
        if known is None and version.size <= MAX_INLINE_HASH_BYTES:
            return _digest_at_once(fd)
        return known

    def is_local(self, fd: int) -> bool:
        """Whether nobody but the kernel answers for a file: its times can be relied on."""
        return mountinfo.device(fd) in self._local

    def mounts_changed(self) -> None:
        """Forget what is known of file systems."""
        self._local.forget()

    def compute(self, fd: int, *, held: bool, go_on: Callable[[], object] = bool) -> str:
        """Read a file and return its digest; may take seconds.

        Args:
            fd: O_PATH, of the file. It stays the caller's.
            held: whether nobody can write to it now, and so it is worth keeping.
            go_on: called for each piece; may raise.

        Raises:
            OSError: EACCES: no regular file, or closed to us. EFBIG: more than `MAX_HASHED_BYTES`
                bytes.
        """
        local = self.is_local(fd)
        before, now = Version.of(fd), time.time_ns()
        if held and local and before in self._known:
            return self._known[before]
        if before.size > MAX_HASHED_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        digest = _digest(fd, go_on)
        settled = before.ctime_ns < now - TIMESTAMP_SETTLE_NS and Version.of(fd) == before
        if held and local and settled:
            self._known[before] = digest
            if len(self._known) > DIGEST_CACHE_SIZE:
                self._known.popitem(last=False)
        return digest


def open_pinned(fd: int) -> int:
    """Open for reading what an O_PATH descriptor is of; without waiting for a lease.

    Raises:
        OSError: EACCES, EAGAIN and others, as open(2).
    """
    return os.open(f"/proc/self/fd/{fd}", _READ)


def _digest_at_once(fd: int) -> str | None:
    """The digest of a small file that is in memory; None for any other."""
    try:
        file = open_pinned(fd)
    except BlockingIOError:
        return None
    try:
        buffer = bytearray(MAX_INLINE_HASH_BYTES + 1)
        size = os.preadv(file, [buffer], 0, os.RWF_NOWAIT)
        whole = size == os.fstat(file).st_size <= MAX_INLINE_HASH_BYTES
        return hashlib.sha256(memoryview(buffer)[:size]).hexdigest() if whole else None
    except OSError:  # EAGAIN: it has to be fetched; EOPNOTSUPP
        return None
    finally:
        os.close(file)


def _digest(fd: int, go_on: Callable[[], object]) -> str:
    found, left = hashlib.sha256(), MAX_HASHED_BYTES
    file = open_pinned(fd)
    try:
        while piece := os.read(file, _CHUNK_BYTES):
            found.update(piece)
            left -= len(piece)
            if left < 0:  # it grows while it is read
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            go_on()
    finally:
        os.close(file)
    return found.hexdigest()
