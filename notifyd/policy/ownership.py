"""Files that are obeyed: nobody who has less power may write them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from notifyd.errors import UsageError

__all__ = ["check_ownership", "check_writers"]


def check_ownership(path: Path) -> None:
    """See that nobody but root and us can write what we are about to obey.

    Raises:
        UsageError: somebody else can. A file that is not there is somebody else's to report.
    """
    found = _stat(path)
    if found is not None and found.st_uid not in (0, os.geteuid()):
        raise UsageError(f"{path}: belongs to uid {found.st_uid}: chown it to root or to us")
    check_writers(path)


def check_writers(path: Path) -> None:
    """The same, whoever owns it: in a user namespace, root's files may be nobody's.

    Raises:
        UsageError: its group or all may write it.
    """
    found = _stat(path)
    if found is None:
        return
    others = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid not in (0, os.getegid()) else 0)
    if found.st_mode & others:
        raise UsageError(f"{path}: others may write it: chmod go-w {path}")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
