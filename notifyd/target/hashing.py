"""Finding the file that a target is about to execute, and its digest.

The file is read with our rights, not the target's: nothing of it but the digest gets anywhere, and
that only to rules.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from notifyd.errors import RuleError, TargetFault
from notifyd.kernel.openat2 import RESOLVE_CACHED, RESOLVE_IN_ROOT, openat2
from notifyd.target.digests import MOST, Digests

__all__ = ["failure", "known", "read"]

_LOOK = os.O_PATH | os.O_CLOEXEC
_FINAL = (errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EBADF)


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
        return digests.known(fd)
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


def failure(error: OSError) -> Exception:
    """What it means that a file has no digest."""
    if error.errno == errno.EFBIG:
        return RuleError(f"the file has more than {MOST} bytes: too many for a digest")
    if error.errno in _FINAL:
        return TargetFault(os.strerror(error.errno), error.errno)
    return RuleError(f"the file cannot be read for its digest: {error.strerror}")


def _pin(tid: int, dirfd: int, path: bytes, cached: int) -> int:
    """An O_PATH descriptor of a file."""
    if not path:
        return os.open(f"/proc/{tid}/fd/{dirfd}", _LOOK)
    root = os.open(f"/proc/{tid}/root", _LOOK)
    try:
        # The path is resolved already; a link by now means that somebody has moved something.
        return openat2(root, path, _LOOK | os.O_NOFOLLOW, resolve=RESOLVE_IN_ROOT | cached)
    finally:
        os.close(root)
