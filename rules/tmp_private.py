"""Tmp private: a command has a /tmp and a /var/tmp of its own, which are gone when it ends.

    notifyd run --rules tmp-private -- ./tool

Nobody else finds what the command keeps there. Its own directories are made when they are first
needed, in a place whose name nobody can list, with the mode that /tmp has, so that every user of
the command can use them. Executing a program there is refused (EACCES), since an execve cannot be
redirected. io_uring is refused, since it opens files with no system call.

What it does not do: it is for well-behaved programs, and no barrier for others; `only-below` is.
Datagrams, watches (inotify) and mounts reach the real directories. A program that changes its
working directory to /tmp is in the real one; from there, its relative paths lead to its own again.
Directories below exist in its own only, and it can go there by descriptor alone (fchdir).
"""

import atexit
import errno
import os
import secrets
import shutil
import tempfile
from functools import cache
from pathlib import Path, PurePosixPath

from notifyd import (
    PATH_OPERATIONS,
    Allow,
    Call,
    Deny,
    Exec,
    IoUring,
    always,
    on,
    redirected,
)

SHARED = (PurePosixPath("/tmp"), PurePosixPath("/var/tmp"))  # noqa: S108

always(Deny(errno.EPERM), IoUring)


@cache
def private() -> dict[PurePosixPath, PurePosixPath]:
    """By each shared directory, the private one. Its random name keeps others out."""
    outside = tempfile.mkdtemp(prefix="notifyd-")
    atexit.register(shutil.rmtree, outside, ignore_errors=True)
    os.chmod(outside, 0o711)  # noqa: S103
    places = {one: Path(outside, secrets.token_hex(16)) for one in SHARED}
    for place in places.values():
        place.mkdir()
        place.chmod(0o1777)
    return places


@on(*PATH_OPERATIONS)
def tmp_private(call: Call) -> Allow | Deny:
    """A path below a shared directory leads below the private one."""
    changes = redirected(call, private())
    if changes and isinstance(call, Exec):
        return Deny(errno.EACCES, reason="no program can be executed in a private /tmp")
    return Allow(**changes)
