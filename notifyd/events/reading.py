"""Reading logs back: the lines of a file, packed or not, and the files of a log in their order."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

from notifyd.errors import UsageError
from notifyd.events.line_reader import lines_in
from notifyd.events.logfile import rotated
from notifyd.kernel.flock import is_locked

__all__ = ["files_of", "is_written", "lines_of", "logs_of"]

# What a file has after its name once it is moved, by us or by logrotate.
_MOVED = re.compile(r"(?:\.[0-9]{1,12}(?:~[0-9]+)?|-[0-9]{8}(?:-[0-9]+)?)(?:\.gz)?$")


def files_of(paths: Iterable[str]) -> list[str]:
    """The files to read: before each that is named, the older ones that it was rotated to.

    Raises:
        UsageError: one is not there.
    """
    found: dict[str, None] = {}
    for path in paths:
        try:
            older = rotated(path)
        except OSError:
            older = []
        if not os.path.exists(path):
            hint = f"; there are {len(older)} older files: name those" if older else ""
            raise UsageError(f"{path!r} is not there: name an audit file{hint}")
        found.update(dict.fromkeys([*older, path]))
    return list(found)


def logs_of(files: Iterable[str]) -> dict[str, list[str]]:
    """Files by the log to which they belong: the name of the one that is written."""
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(_MOVED.sub("", file), []).append(file)
    return found


def lines_of(path: str) -> Iterator[bytes]:
    """The lines of a file, as `lines_in` has them.

    Raises:
        UsageError: it cannot be read, or is not a complete gzip file.
    """
    try:
        with cast(BinaryIO, gzip.open(path) if path.endswith(".gz") else open(path, "rb")) as file:
            yield from lines_in(file)
    except OSError as error:  # gzip's own is one, too
        raise UsageError(f"{path!r} cannot be read: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise UsageError(
            f"{path!r} is not a complete gzip file ({error}): it was cut or changed"
        ) from error


def is_written(path: str) -> bool:
    """Whether a daemon or a run writes a file at this moment."""
    try:
        with open(path, "rb") as file:
            return is_locked(file.fileno())
    except OSError:
        return False
