"""A stopped thread whose memory can make whoever touches it wait for ever.

Behind a page there can be a userfaultfd, or a file system that somebody serves (FUSE): a read waits
as long as they like, and nothing but SIGKILL ends that wait. Another thread can put such a page
there between any check and the read. So memory that may be of that kind is touched only in threads
that can be left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from notifyd.kernel.unotify import Notifier
from notifyd.policy.call import Note
from notifyd.target.digests import Digests
from notifyd.target.paths import WouldBlock
from notifyd.target.reader import Pending, Readers
from notifyd.target.thread import StoppedThread

T = TypeVar("T")
MayBlock: TypeAlias = Callable[[int, int, int], bool]


class NonBlockingThread(StoppedThread):
    """As `StoppedThread`; a look at memory that takes longer raises WouldBlock, and is kept.

    Args:
        note, notifier, digests: as for any thread.
        readers: of the workload.
        read_may_block: asked before each look whether it has to be done by a reader; with the
            thread, the address, and how many bytes (0 where nobody knows).
    """

    __slots__ = ("_found", "_read_may_block", "_readers")

    def __init__(
        self,
        note: Note,
        notifier: Notifier,
        digests: Digests | None = None,
        readers: Readers | None = None,
        read_may_block: MayBlock = lambda *_: True,
    ) -> None:
        super().__init__(note, notifier, digests)
        self._readers = readers
        self._read_may_block = read_may_block
        self._found: dict[tuple[object, ...], Any] = {}

    def read(self, address: int, size: int) -> bytes:
        """As for any thread, at once or at the second time of asking."""
        return self._later(partial(super().read, address, size), address, size, "read")

    def read_some(self, address: int, size: int) -> bytes:
        """As for any thread, at once or at the second time of asking."""
        return self._later(partial(super().read_some, address, size), address, size, "some")

    def read_string(self, address: int, limit: int) -> bytes:
        """As for any thread, at once or at the second time of asking."""
        return self._later(partial(super().read_string, address, limit), address, 1, limit)

    def read_strings(
        self, address: int, word: int, max_strings: int, max_bytes: int, *, cut: bool = False
    ) -> tuple[bytes, ...]:
        """As for any thread, at once or at the second time of asking."""
        look = partial(super().read_strings, address, word, max_strings, max_bytes, cut=cut)
        return self._later(look, address, 0, word, max_strings, max_bytes, cut)

    def write(self, address: int, data: bytes) -> None:
        """As for any thread, at once or at the second time of asking."""
        self._later(partial(super().write, address, data), address, len(data), data)

    def look_at_memory(self, look: Callable[[], T], *key: object) -> T:
        """Another look that touches its memory; at once or at the second time of asking."""
        return self._later(look, 0, 0, *key)

    def _later(self, look: Callable[[], T], address: int, size: int, *more: object) -> T:
        key = (address, size, *more)
        if key not in self._found:
            if not self._read_may_block(self.tid, address, size):
                return look()
            self._begin(key, look)
        found = self._found[key]
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    def _begin(self, key: tuple[object, ...], look: Callable[[], object]) -> None:
        """Have a reader look; raise WouldBlock if that takes longer."""
        pending = self._readers.start(look) if self._readers is not None else None
        if pending is None:
            raise WouldBlock(partial(self._find, key, look))
        if not pending.over:
            raise WouldBlock(partial(self._await, key, pending))
        self._find(key, pending.result)

    def _await(self, key: tuple[object, ...], pending: Pending[object]) -> None:
        pending.wait()
        self._find(key, pending.result)

    def _find(self, key: tuple[object, ...], look: Callable[[], object]) -> None:
        try:
            self._found[key] = look()
        except Exception as error:
            self._found[key] = error
