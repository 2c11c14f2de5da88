"""A sink that may wait: what it takes is kept for a thread, which hands it on.

The engine never waits for it. If it is slower than events come for long, they are lost, counted
and told; the audit file has them all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from notifyd.events.encode import encode_event
from notifyd.threads import start_thread

__all__ = ["MAX_SINK_BACKLOG_BYTES", "BackgroundSink", "EventWriter", "EventWriterError"]

MAX_SINK_BACKLOG_BYTES = 1 << 24  # bytes: some 40,000 calls
SINK_CLOSE_TIMEOUT_S = 10.0  # seconds that closing waits for what was taken


class EventWriterError(Exception):
    """Events could not be kept; the text says why."""


class EventWriter(Protocol):
    """Keeps events. Used by one thread alone, in which it may wait."""

    def keep(self, data: bytes) -> None:
        """Keep whole lines of JSON, all of them.

        Raises:
            EventWriterError: they are not kept.
        """

    def close(self) -> None:
        """There are no more."""


class BackgroundSink:
    """A sink in front of a writer, with a thread of its own.

    Args:
        make: makes the writer, in the thread.
        name: what it is called in complaints.
        complain: gets one line when events begin to be lost, and at the end how many.

    Attributes:
        lost: how many, so far.
    """

    def __init__(
        self, make: Callable[[], EventWriter], name: str, complain: Callable[[str], None]
    ) -> None:
        self.lost = 0
        self._make = make
        self._name = name
        self._complain = complain
        self._ready = threading.Condition()
        self._pieces: list[bytes] = []
        self._size = 0
        self._gap = 0  # events lost since the writer last heard of it
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"audit-{name}", daemon=True)
        start_thread(self._thread)

    def put(self, data: bytes) -> None:
        """Take whole lines. Neither raises nor waits."""
        with self._ready:
            if self._gap or self._size + len(data) > MAX_SINK_BACKLOG_BYTES:
                self._lose(data.count(b"\n"), "it is slower than events come")
                self._gap += data.count(b"\n")
            else:
                self._pieces.append(data)
                self._size += len(data)
            self._ready.notify()

    def close(self) -> None:
        """Wait a while for what was taken, and end."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join(SINK_CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            with self._ready:
                self._lose(sum(piece.count(b"\n") for piece in self._pieces), "it does not end")
        if self.lost:
            self._complain(f"audit: {self.lost} events in all are missing in the {self._name}")

    def _run(self) -> None:
        writer: EventWriter | None = None
        while data := self._next():
            try:
                writer = writer or self._make()
                writer.keep(data)
            except EventWriterError as error:
                with self._ready:
                    self._lose(data.count(b"\n"), str(error))
        if writer is not None:
            writer.close()

    def _next(self) -> bytes:
        """What waits, and then how much is missing; nothing at the end."""
        with self._ready:
            while not (self._pieces or self._gap or self._closing):
                self._ready.wait()
            if self._gap:
                mark = {"level": "warning", "lines": self._gap, "error": "ENOBUFS"}
                self._pieces.append(encode_event("audit.lost", mark))
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = self._gap = 0
            return data

    def _lose(self, lines: int, why: str) -> None:
        if lines and not self.lost:
            self._complain(f"audit: the {self._name}: {why}; events are being lost there")
        self.lost += lines
