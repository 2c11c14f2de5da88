"""A stopped thread whose memory can make whoever touches it wait for ever.

A workload that makes itself a userfaultfd, or serves a file system of its own (FUSE), can leave a
read waiting as long as it likes, and nothing but SIGKILL ends that wait. From then on its memory is
touched only where that can be left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from notifyd.kernel.unotify import Notifier
from notifyd.policy.call import Note
from notifyd.target.digests import Digests
from notifyd.target.paths import WouldBlock
from notifyd.target.thread import StoppedThread

T = TypeVar("T")


class LazyThread(StoppedThread):
    """As `StoppedThread`; what would touch memory raises WouldBlock, and is there the next time."""

    __slots__ = ("_found",)

    def __init__(self, note: Note, notifier: Notifier, digests: Digests | None = None) -> None:
        super().__init__(note, notifier, digests)
        self._found: dict[tuple[object, ...], Any] = {}

    def read(self, address: int, size: int) -> bytes:
        """As for any thread, at the second time of asking."""
        return self._later(partial(super().read, address, size), "read", address, size)

    def read_some(self, address: int, size: int) -> bytes:
        """As for any thread, at the second time of asking."""
        return self._later(partial(super().read_some, address, size), "some", address, size)

    def read_string(self, address: int, limit: int) -> bytes:
        """As for any thread, at the second time of asking."""
        return self._later(partial(super().read_string, address, limit), "string", address, limit)

    def read_strings(
        self, address: int, word: int, max_strings: int, max_bytes: int, *, cut: bool = False
    ) -> tuple[bytes, ...]:
        """As for any thread, at the second time of asking."""
        look = partial(self._read_vector, (address, word, max_strings, max_bytes, cut))
        return self._later(look, "strings", address, word, max_strings, max_bytes, cut)

    def write(self, address: int, data: bytes) -> None:
        """As for any thread, at the second time of asking."""
        self._later(partial(super().write, address, data), "write", address, data)

    def _later(self, look: Callable[[], T], *key: object) -> T:
        if key not in self._found:
            raise WouldBlock(partial(self._find, key, look))
        found = self._found[key]
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    def _find(self, key: tuple[object, ...], look: Callable[[], object]) -> None:
        try:
            self._found[key] = look()
        except Exception as error:
            self._found[key] = error
