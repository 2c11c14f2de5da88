"""Where a walk of one component at a time has come to."""

from __future__ import annotations

import os

__all__ = ["Steps"]


class Steps:
    """Where a walk has come: a directory, and names that are not there, or lead no further.

    Owns what is there, but the two places that it began with.

    Attributes:
        here: the directory, or what a link of /proc led to.
        tail: the names behind it.
    """

    def __init__(self, root: int, start: int) -> None:
        self._kept = root, start
        self.here = start
        self.tail: list[bytes] = []
        self._last = -1

    @property
    def thing(self) -> int:
        """What all of that means; -1 if it is not there."""
        if not self.tail:
            return self.here
        return self._last if len(self.tail) == 1 else -1

    def go(self, fd: int) -> None:
        """Be at `fd`, which is owned from here on."""
        self.close()
        self.here = fd

    def go_to_root(self) -> None:
        """Be where absolute paths begin."""
        self.go(self._kept[0])

    def arrive(self, fd: int, name: bytes, *, directory: bool) -> None:
        """Come to what is no link that is followed; -1 if nothing is there."""
        if directory:
            self.go(fd)
            return
        self.drop_thing()
        self._last = fd
        self.tail.append(name)

    def drop(self) -> None:
        """Go back from the last name."""
        self.drop_thing()
        self.tail.pop()

    def drop_thing(self) -> None:
        """Let go of what the last name means: there is more behind it."""
        if self._last >= 0:
            os.close(self._last)
        self._last = -1

    def close(self) -> None:
        """Let go of it."""
        self.drop_thing()
        if self.here not in self._kept:
            os.close(self.here)
            self.here = self._kept[0]
