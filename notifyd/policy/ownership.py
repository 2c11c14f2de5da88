"""Files that are obeyed: nobody who has less power may write them, or put others in their place."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from notifyd.errors import UsageError

__all__ = ["check_ownership", "check_writers"]


def check_ownership(path: Path) -> None:
    """See that nobody but root and us can write, or replace, what we are about to obey.

    Raises:
        UsageError: somebody else can. A file that is not there is somebody else's to report.
    """
    keepers = {0, os.geteuid()}
    of_folders = {*keepers, os.stat("/").st_uid}  # root, as a user namespace without it sees it
    for place, found in _places(path):
        if found.st_uid not in (keepers if place == path else of_folders):
            raise UsageError(
                f"{_named(path, place)}: belongs to uid {found.st_uid}: chown it to root or to us"
            )
    check_writers(path)


def check_writers(path: Path) -> None:
    """The same, whoever owns it: in a user namespace, root's files may be nobody's.

    Raises:
        UsageError: its group or all may write it, or one of its folders.
    """
    for place, found in _places(path):
        others = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid not in (0, os.getegid()) else 0)
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX  # as /tmp: own only
        if found.st_mode & others and not sticky:
            name = _named(path, place)
            raise UsageError(f"{name}: others may write it: chmod go-w {place}")


def _places(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The file, and every folder on the ways to it: to the link, and to where that leads."""
    try:
        yield path, path.stat()
        for folder in dict.fromkeys((*path.resolve().parents, *path.absolute().parents)):
            yield folder, folder.stat()
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return


def _named(path: Path, place: Path) -> str:
    return str(path) if place == path else f"{path}: its folder {place}"
