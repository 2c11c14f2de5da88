"""Places in the file system that options of rule files name: they have to be there.

A place is an absolute path with no symbolic link in it, as `call.path` is, so that the two can be
compared.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath

__all__ = ["existing", "existing_directory", "existing_file"]


def existing(text: str) -> PurePosixPath:
    """The place that an option names, whatever it is: for `option(..., convert=existing)`.

    Raises:
        ValueError: nothing is there, or the text is empty, which is no path (an unset variable).
        OSError: it cannot be looked at.
    """
    if not text:
        raise ValueError("it is empty: give a path")
    try:
        return PurePosixPath(os.path.realpath(text, strict=True))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError("nothing is there: correct the path, or make it first") from None


def existing_directory(text: str) -> PurePosixPath:
    """The directory that an option names; raises as `existing` does, and for all that is none."""
    place = existing(text)
    if not os.path.isdir(place):
        raise ValueError("it is no directory: give one")
    return place


def existing_file(text: str) -> PurePosixPath:
    """The file that an option names; raises as `existing` does, and for all that is none."""
    place = existing(text)
    if not os.path.isfile(place):
        raise ValueError("it is no file: give one")
    return place
