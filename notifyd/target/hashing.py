"""Finding the file that a target is about to execute, and its digest.

The file is read with our rights, not the target's: nothing of it but the digest gets anywhere, and
that only to rules.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from notifyd.errors import RuleError, TargetFault
from notifyd.kernel.files import PATH_FLAGS
from notifyd.kernel.openat2 import RESOLVE_CACHED, RESOLVE_IN_ROOT, openat2
from notifyd.kernel.statmount import mode_of
from notifyd.target.digests import MAX_HASHED_BYTES, Digests

__all__ = ["known", "read", "without"]

_NONE = (errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def known(tid: int, dirfd: int, path: bytes, digests: Digests) -> str | None:
    """The digest of a file if that takes no time; None if it does, or if there is no such file.

    Args:
        tid: the target.
        dirfd: its descriptor of the file, if `path` is empty.
        path: the absolute path as the target sees it, links resolved.
        digests: those that are known.
    """
    if not path:
        return None  # what is behind a descriptor may be anything, and first has to be looked at
    try:
        fd = _pin(tid, dirfd, path, RESOLVE_CACHED)
    except OSError:
        return None
    try:
        return digests.at_once(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def read(tid: int, dirfd: int, path: bytes, digests: Digests, go_on: Callable[[], object]) -> str:
    """The digest of a file; may wait. Args as for `known`, and `go_on` as for `Digests.compute`.

    Raises:
        OSError: as open(2); EACCES: no regular file; EFBIG.
    """
    fd = _pin(tid, dirfd, path, 0)
    try:
        return digests.compute(fd, held=False, go_on=go_on)
    finally:
        os.close(fd)


def without(error: OSError) -> str | Exception:
    """What is said instead of a digest."""
    if error.errno == errno.EFBIG:
        return RuleError(f"the file has more than {MAX_HASHED_BYTES} bytes: too many for a digest")
    if error.errno == errno.EBADF:
        return TargetFault(os.strerror(error.errno), error.errno)
    if error.errno in _NONE:
        return ""
    return RuleError(f"the file cannot be read for its digest: {error.strerror}")


def _pin(tid: int, dirfd: int, path: bytes, cached: int) -> int:
    """An O_PATH descriptor of a file."""
    if not path:
        return os.open(f"/proc/{tid}/fd/{dirfd}", PATH_FLAGS)
    root = os.open(f"/proc/{tid}/root", PATH_FLAGS)
    try:
        fd = openat2(root, path, PATH_FLAGS | os.O_NOFOLLOW, resolve=RESOLVE_IN_ROOT | cached)
    finally:
        os.close(root)
    if not stat.S_ISLNK(mode_of(fd)):
        return fd
    # The path is resolved already: a link that goes in circles, or that must not be followed.
    os.close(fd)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
