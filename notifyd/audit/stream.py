"""Events on their way to whoever reads them: taken, encoded in batches, handed on in their order.

Knows no engine and no clock. A file is a subclass (`jsonl`); readers come and go.
"""

from __future__ import annotations

from collections.abc import Callable

from notifyd.audit.encode import encode_event, encode_lines, line_of
from notifyd.audit.followers import Follower, Wanted
from notifyd.audit.record import Line, Record

__all__ = ["BATCH", "EventStream"]

BATCH = 256  # events; the engine flushes earlier, whenever it has nothing else to do


class EventStream:
    """Takes events and hands them to its followers. Encoding and handing on never raise or wait.

    Attributes:
        taken: calls that are not encoded yet. The hot path appends to it, and flushes at `BATCH`.
    """

    def __init__(self) -> None:
        self.taken: list[Line] = []  # later than `_lines`
        self._lines: list[bytes] = []
        self._followers: list[Follower] = []

    @property
    def followed(self) -> int:
        """How many follow it."""
        return len(self._followers)

    def follow(self, wanted: Wanted, wake: Callable[[], object]) -> Follower:
        """Let somebody read from now on, until `leave`."""
        self.flush()
        follower = Follower(wanted, wake)
        self._followers.append(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Hand nothing to `follower` any more."""
        self.flush()
        self._followers.remove(follower)

    def add(self, record: Record) -> None:
        """Take the record of a call. It is encoded when the batch is handed on."""
        self.taken.append(line_of(record))
        if len(self.taken) >= BATCH:
            self.flush()

    def event(self, name: str, /, **fields: object) -> None:
        """Take any other event, in order with the calls."""
        self._encode()
        data = encode_event(name, fields)
        self._lines.append(data)
        for follower in self._followers:
            follower.event(name, fields, data)
        if len(self._lines) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand on what was taken. Never raises, never waits."""
        self._encode()
        new = b"".join(self._lines)
        self._lines.clear()
        self._store(new)

    def _encode(self) -> None:
        if not self.taken:
            return
        data = encode_lines(self.taken)
        self._lines.append(data)
        if self._followers:
            pieces = data.splitlines(keepends=True)
            for follower in self._followers:
                follower.calls(self.taken, pieces)
        self.taken.clear()

    def _store(self, new: bytes) -> None:
        """Keep encoded lines, where there is a place for them."""
