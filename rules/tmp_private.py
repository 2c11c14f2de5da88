"""Tmp private: a command has a /tmp and a /var/tmp of its own, which are gone when it ends.

    notifyd run --rules tmp-private -- ./tool

Nobody else finds what it keeps there. It is for well-meant programs, not a wall: `only-below` is.
Datagrams, watches (inotify) and mounts reach the real directories. Its own are made when they are
first needed, in a place whose name nobody can list, with the mode that /tmp has, so that every user
of the command can use them. Programs there are refused (EACCES), since executing cannot be led
elsewhere. A program that changes its working directory to /tmp is in the real one, from
where its relative paths lead to its own again; directories below are its own only, and there it can
go by descriptor alone (fchdir). io_uring is refused.
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
    """The new directories by the old ones. Their own name is what keeps others out."""
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
    """Below the old directories means below the new ones."""
    changes = redirected(call, private())
    if changes and isinstance(call, Exec):
        return Deny(errno.EACCES, reason="no program can be executed in a private /tmp")
    return Allow(**changes)
