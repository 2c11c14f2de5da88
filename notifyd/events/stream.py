"""Events on their way to their readers: taken, encoded in batches, passed on in their order.

Knows no engine and no clock. A file is a subclass (`jsonl`); readers come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from notifyd.events.encode import encode_event, encode_lines, line_of
from notifyd.events.followers import EventFilter, Follower
from notifyd.events.record import CallRecord, Line
from notifyd.events.redact import Redactor

__all__ = ["FLUSH_BATCH_SIZE", "EventStream", "Sink"]

FLUSH_BATCH_SIZE = 256  # events; the engine flushes earlier, whenever it has nothing else to do


class Sink(Protocol):
    """Another place for events: the journal, a database."""

    def put(self, data: bytes) -> None:
        """Take whole lines. Neither raises nor waits."""

    def close(self) -> None:
        """Keep what was taken, as far as that can be, and end."""


class EventStream:
    """Takes events and hands them to its followers. Encoding and handing on never raise or wait.

    Args:
        redactor: hides fields before anybody sees them.

    Attributes:
        taken: calls that are not encoded yet. The hot path appends to it, and flushes at
            `FLUSH_BATCH_SIZE`.
    """

    def __init__(self, redactor: Redactor | None = None) -> None:
        self.taken: list[Line] = []  # later than `_lines`
        self._redactor = redactor
        self._sinks: list[Sink] = []
        self._lines: list[bytes] = []
        self._followers: list[Follower] = []

    @property
    def followed(self) -> int:
        """How many follow it."""
        return len(self._followers)

    def follow(self, wanted: EventFilter, wake: Callable[[], object]) -> Follower:
        """Let a reader follow from now on, until `leave`."""
        self.flush()
        follower = Follower(wanted, wake)
        self._followers.append(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Hand nothing to `follower` any more."""
        self.flush()
        self._followers.remove(follower)

    def send_to(self, sink: Sink) -> None:
        """Have a sink take all events from now on. It is ours: `close` closes it."""
        self._sinks.append(sink)

    def close(self) -> None:
        """Hand on what was taken, and close the sinks."""
        self.flush()
        while self._sinks:
            self._sinks.pop().close()

    def hidden(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of an event as anybody may see them."""
        return fields if self._redactor is None else self._redactor.fields(fields)

    def add(self, record: CallRecord) -> None:
        """Take the record of a call. It is encoded when the batch is handed on."""
        self.taken.append(line_of(record))
        if len(self.taken) >= FLUSH_BATCH_SIZE:
            self.flush()

    def event(self, name: str, /, **fields: object) -> None:
        """Take any other event, in order with the calls."""
        self._encode()
        shown = self.hidden(fields)
        data = encode_event(name, shown)
        self._lines.append(data)
        for follower in self._followers:
            follower.event(name, shown, data)
        if len(self._lines) >= FLUSH_BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Hand on what was taken. Never raises, never waits."""
        self._encode()
        new = b"".join(self._lines)
        self._lines.clear()
        if new:
            for sink in self._sinks:
                sink.put(new)
        self._store(new)

    def _encode(self) -> None:
        if not self.taken:
            return
        if self._redactor is not None:
            for line in self.taken:
                self._redactor.line(line)
        data = encode_lines(self.taken)
        self._lines.append(data)
        if self._followers:
            pieces = data.splitlines(keepends=True)
            for follower in self._followers:
                follower.calls(self.taken, pieces)
        self.taken.clear()

    def _store(self, new: bytes) -> None:
        """Keep encoded lines, where there is a place for them."""
