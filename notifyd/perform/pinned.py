"""What a path was pinned to, and what cannot be done for a target."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Pinned", "Unperformable"]


class Unperformable(Exception):
    """This cannot be done for somebody else. The text says what."""


class Pinned(NamedTuple):
    """A path that was walked.

    Attributes:
        fd: O_PATH, of the thing, or of its directory where `name` is not empty.
        name: the last component, with a slash where the path ended in one.
    """

    fd: int
    name: bytes = b""
