"""The files of a log: opening the one that is written, and what the last writer left there."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import deque
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from notifyd.errors import UsageError
from notifyd.events.chain import START, ChainLink, last_link
from notifyd.events.line_reader import ends_of, lines_in
from notifyd.kernel.flock import lock

__all__ = ["Begin", "left_behind", "name_of_rotated", "open_log", "rotated", "write_all"]

# Without O_NONBLOCK a FIFO without a reader would block the open, and a full one every write.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_REMEDIES = {
    errno.EISDIR: "is a directory; name a file in it",
    errno.ENXIO: "has no reader; start its reader first, and give a file or FIFO, not a socket",
    errno.ENOENT: "lies in a directory that does not exist; make that first",
    errno.ELOOP: "is another user's link; name the file itself",
}
_ROTATED = re.compile(r"\.(\d{12})(?:~(\d+))?(\.gz)?")


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a writer begins.

    Attributes:
        link: the record that its first one follows.
        said: the fields of `audit.begun`.
        torn: whether the file ends within a line.
    """

    link: ChainLink
    said: dict[str, Any]
    torn: bool = False


def open_log(name: str) -> int:
    """Open or create a file for appending, mode 0600, and lock it against other writers.

    A link is followed if it belongs to us or to root. A FIFO needs its reader beforehand.

    Raises:
        UsageError: it cannot be opened, or another process writes it; the text says what to do.
    """
    try:
        descriptor = _open(name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        number = error.errno if isinstance(error, OSError) else None
        why = _REMEDIES.get(number or 0)
        what = why or f"cannot be opened ({error}); name a file that you may write"
        raise UsageError(f"audit: {name!r} {what}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISBLK(mode):
        os.close(descriptor)
        raise UsageError(f"audit: {name!r} is a disk; name a file on it")
    if stat.S_ISREG(mode) and not _locked(descriptor):
        os.close(descriptor)
        raise UsageError(
            f"audit: {name!r} is being written by another notifyd; give each a file of its own"
        )
    return descriptor


def left_behind(descriptor: int, name: str) -> Begin:
    """Where to continue in a file that was just opened: after its last whole record.

    Raises:
        UsageError: the file cannot be read.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return Begin(START, {"why": "start"})
    try:
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            ends = ends_of(file)
    except OSError as error:
        raise UsageError(
            f"audit: {name!r} cannot be read ({error.strerror}); its chain continues from what is "
            "there: name a file that you may read, too"
        ) from error
    torn = ends.rest > 0
    said: dict[str, Any] = {"torn": ends.rest, "torn_sha256": ends.digest} if torn else {}
    if not ends.is_begun:
        begin = _after_rotation(name)
        return Begin(begin.link, {**begin.said, **said}, torn)
    link = last_link(ends.line)
    if link is None:
        return Begin(START, {"why": "start", **said}, torn)
    return Begin(link, {"why": "restart", "continues": link.digest.hex(), **said}, torn)


def rotated(path: str) -> list[str]:
    """The older files of a log, in the order in which they were written."""
    folder, name = os.path.split(path)
    found: dict[tuple[int, int], str] = {}
    for entry in sorted(os.listdir(folder or ".")):
        match = _ROTATED.fullmatch(entry, len(name)) if entry.startswith(name) else None
        if match is not None:
            # Of one that was just being compressed both are there: the first is whole.
            found.setdefault((int(match[2] or 0), int(match[1])), os.path.join(folder, entry))
    return [found[key] for key in sorted(found)]


def name_of_rotated(path: str, seq: int) -> str:
    """What a file is called that is written no more, by the number of its first record."""
    name, more = f"{path}.{seq:012d}", 0
    while os.path.lexists(name) or os.path.lexists(f"{name}.gz"):
        more += 1
        name = f"{path}.{seq:012d}~{more}"
    return name


def write_all(descriptor: int, data: memoryview) -> tuple[int, int]:
    """Write all of `data`, or as much as goes: bytes written, and the errno that ended it or 0."""
    done = 0
    while done < len(data):
        try:
            done += os.write(descriptor, data[done:])
        except OSError as error:
            return done, error.errno or errno.EIO
    return done, 0


def _after_rotation(name: str) -> Begin:
    """Go on from the newest of the older files: its writer was killed before there was another."""
    try:
        older = rotated(name)
        link = _last_of(older[-1]) if older else None
    except (OSError, EOFError, IndexError):
        link = None
    if link is None:
        return Begin(START, {"why": "start"})
    said = {"why": "rotation", "continues": link.digest.hex(), "file": os.path.basename(older[-1])}
    return Begin(link, said)


def _last_of(path: str) -> ChainLink | None:
    if not path.endswith(".gz"):
        with open(path, "rb") as file:
            return last_link(ends_of(file).line)
    import gzip  # seldom needed, and a run must start fast

    with gzip.open(path, "rb") as packed:
        return last_link(deque(lines_in(cast(BinaryIO, packed)), maxlen=1).pop())


def _locked(descriptor: int) -> bool:
    try:
        return lock(descriptor)
    except OSError:
        return True  # a file system without locks: better written than not


def _open(name: str) -> int:
    # A link in a directory that others may write could lead root anywhere. /dev/stdout and
    # /dev/fd/N are links too, and ours.
    follow = 0
    try:
        link = os.lstat(name)
    except FileNotFoundError:
        follow = os.O_NOFOLLOW
    else:
        if not stat.S_ISLNK(link.st_mode) or link.st_uid not in (0, os.geteuid()):
            follow = os.O_NOFOLLOW
    return os.open(name, _FLAGS | follow, 0o600)
