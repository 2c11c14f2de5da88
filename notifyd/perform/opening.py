"""Opening what was pinned: by its descriptor, by its name, and whoever opens it his terminal.

Runs in a helper, whose working directory is /proc/self/fd.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from notifyd.kernel import files
from notifyd.kernel.files import AT_FDCWD, PROC_SUPER_MAGIC, filesystem
from notifyd.kernel.openat2 import (
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from notifyd.perform.helper_request import HelperRequest
from notifyd.perform.pinned import Pinned, Unperformable

__all__ = [
    "TTY",
    "UNUSUAL_OPEN_FLAGS",
    "NeedTty",
    "check_exists",
    "is_tty",
    "open_at",
    "open_directly",
    "open_name",
    "open_path",
    "open_tty",
]

# An open with one of these makes or empties a file, or opens none.
UNUSUAL_OPEN_FLAGS = os.O_CREAT | os.O_TRUNC | os.O_PATH | files.TMPFILE_BIT
TTY = os.makedev(5, 0)  # /dev/tty: whoever opens it gets his own
_PTS = range(136, 144)  # majors of pseudo terminals: 256 minors each, devices.txt in Linux


class NeedTty(Exception):
    """The target's own terminal has to be opened."""


def open_at(directory: int, name: bytes, flags: int, mode: int) -> int:
    """openat(2), closed on exec."""
    return files.openat(directory, name, flags | os.O_CLOEXEC, mode)


def open_name(pinned: Pinned, flags: int, mode: int, resolve: int) -> int:
    """Open or make a name, and follow no link that it may have become.

    Not by O_NOFOLLOW, which fcntl(2) F_GETFL would show.
    """
    flags |= os.O_CLOEXEC
    resolve = resolve & RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS
    return openat2(pinned.fd, pinned.name, flags, mode & 0o7777, resolve)


def open_path(fd: int, mode: int, flags: int) -> int:
    """Open what was asked for with O_PATH, whose type is in `mode`, as near as it can be given."""
    # The kernel refuses to inject O_PATH descriptors (EBADF): the nearest thing that it does.
    if flags & os.O_DIRECTORY and not stat.S_ISDIR(mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    # C libraries open so what must be no link to have its mode changed. To this errno their
    # callers answer with a chmod that follows links, where there is none.
    unsupported = OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        if flags & os.O_NOFOLLOW:
            raise unsupported
        raise Unperformable("O_PATH of what is no regular file and no directory")
    try:
        return open_at(AT_FDCWD, b"%d" % fd, os.O_RDONLY | flags & os.O_DIRECTORY, 0)
    except PermissionError:
        if flags & os.O_NOFOLLOW and stat.S_ISREG(mode):
            raise unsupported from None
        raise


def is_tty(found: os.stat_result) -> bool:
    """Whether a file is /dev/tty, by whatever name."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == TTY


def open_tty(request: HelperRequest, own: tuple[int, int], flags: int) -> int:
    """Open the target's own terminal.

    Args:
        request: says which it is.
        own: the device number of ours, and our session.
        flags: of open(2).

    Raises:
        NeedTty: the request does not say.
        OSError: ENXIO: it has none.
        Unperformable: it is not where it should be.
    """
    if request.tty is None:
        raise NeedTty
    tty, session = request.tty
    if tty == 0:
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    # By the session too: each devpts counts from 0, so a container's has the numbers of ours.
    if session and request.tty == own:
        return open_at(AT_FDCWD, b"/dev/tty", flags, 0)
    major, minor = os.major(tty), os.minor(tty)
    name = b"/dev/tty%d" % minor
    if major in _PTS:
        name = b"/dev/pts/%d" % ((major - _PTS.start) * 256 + minor)
    fd = open_at(AT_FDCWD, name, flags | os.O_NOCTTY, 0)
    if os.fstat(fd).st_rdev != tty:
        os.close(fd)
        raise Unperformable("a terminal that is not where it should be")
    return fd


def check_exists(mode: int, flags: int) -> None:
    """Raise what open(2) with O_CREAT says of what is there already."""
    if flags & os.O_EXCL:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))


def open_directly(request: HelperRequest, fds: Sequence[int]) -> int | None:
    """Open what is there already, in one walk; None if /proc or a terminal may be on the way."""
    place = request.places[0]
    flags: int = request.args[0]  # type: ignore[assignment]
    if place.seen is not None or flags & UNUSUAL_OPEN_FLAGS:
        return None
    start = fds[place.start] if place.start >= 0 else AT_FDCWD
    try:
        fd = openat2(start, place.path, flags | os.O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno == errno.EINTR:
            raise
        return None  # it may have been our own /proc/self or terminal: looked at with care now
    found = os.fstat(fd)
    if filesystem(fd) != PROC_SUPER_MAGIC and found.st_rdev != TTY:
        return fd
    os.close(fd)
    return None
