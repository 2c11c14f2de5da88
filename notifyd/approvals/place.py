"""Where answers are stored: a file that only we and root can write or replace.

Owns the walk to it, folder by folder, and follows no symbolic link.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path

from notifyd.errors import UsageError

__all__ = ["SIDE_FILES", "claim"]

SIDE_FILES = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database, and obeys
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def claim(path: Path) -> os.stat_result:
    """Make the file if it is not there, and see that it is ours.

    Afterwards the path can be used as it is: only trusted users could make it mean another file.

    Args:
        path: absolute; made, 0600, if it is not there, as are its folders, 0700.

    Returns:
        What fstat(2) says of the file.

    Raises:
        UsageError: another user can write or replace it, or a symbolic link is on
            the way.
        OSError: it cannot be opened.
    """
    with ExitStack() as undo:
        here = os.open("/", _FOLDER)
        undo.callback(os.close, here)
        _check_folder(path, Path("/"), here)
        at = Path("/")
        for name in path.parts[1:-1]:
            at /= name
            here = _enter(here, name, at)
            undo.callback(os.close, here)
            _check_folder(path, at, here)
        for more in SIDE_FILES:
            _check_beside(here, path, more)
        try:
            file = os.open(path.name, _FILE, 0o600, dir_fd=here)
        except OSError as error:
            raise _explained(error, path) from error
        undo.callback(os.close, file)
        found = os.fstat(file)
        _check_file(path, found)
        return found


def _enter(folder: int, name: str, at: Path) -> int:
    """Open a folder, and make it if it is not there."""
    if name == "..":
        raise UsageError(f"{at}: give the path without '..'")
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        raise _explained(error, at) from error


def _explained(error: OSError, at: Path) -> OSError | UsageError:
    if error.errno in (errno.ELOOP, errno.ENOTDIR) and at.is_symlink():
        return UsageError(f"{at}: is a symbolic link, which is not followed: give where it leads")
    return error


def _check_folder(path: Path, at: Path, descriptor: int) -> None:
    found = os.fstat(descriptor)
    # The owner of / is root, as a user namespace without it sees it.
    if found.st_uid not in (0, os.geteuid(), os.stat("/").st_uid):
        raise UsageError(
            f"{path}: its folder {at} belongs to uid {found.st_uid}, who could put another file "
            "there: name a file in a folder of your own"
        )
    if _others_write(found) and not found.st_mode & stat.S_ISVTX:  # as /tmp: own entries only
        raise UsageError(f"{path}: others may write its folder {at}: chmod go-w {at}")


def _check_beside(folder: int, path: Path, more: str) -> None:
    try:
        found = os.stat(path.name + more, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    _check_file(path.with_name(path.name + more), found)


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path}: is not a regular file: move it away, and a new one is made")
    if found.st_uid != os.geteuid():
        raise UsageError(
            f"{path}: belongs to uid {found.st_uid}, and only answers of our own are obeyed: name "
            "another file"
        )
    if _others_write(found):
        raise UsageError(f"{path}: others may write it: chmod go-w {path}")
    if found.st_nlink > 1:
        raise UsageError(f"{path}: has another name, too: move it away, and a new one is made")


def _others_write(found: os.stat_result) -> bool:
    others = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid not in (0, os.getegid()) else 0)
    return bool(found.st_mode & others)
