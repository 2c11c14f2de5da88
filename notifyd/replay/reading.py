"""Reading records line by line: plain or gzip, whole or torn, ours or foreign.

Constant memory for any file. Lines that are not our events are counted, never guessed at.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from notifyd.errors import UsageError
from notifyd.replay.compare import VERDICT_KINDS
from notifyd.replay.event import CALL, Event, event_of

__all__ = ["ReadStatistics", "read"]

MAX_EVENT_LINE_BYTES = 1 << 24  # bytes of a line; an event is cut long before
_GZIP = b"\x1f\x8b"


@dataclass(slots=True)
class ReadStatistics:
    """What was read so far.

    Attributes:
        events: lines that are events of ours, calls or others.
        torn: lines that are no whole JSON, and files that end in the middle.
        foreign: lines that are JSON and no event of ours, or a call that lacks what every call has.
        first_bad: `file:line` of the first torn or foreign one.
        share: how much of the present file was read, 0 to 1.
    """

    events: int = 0
    torn: int = 0
    foreign: int = 0
    first_bad: str | None = None
    share: float = field(default=0.0, compare=False)

    def event(self, line: bytes, place: str) -> Event | None:
        """The event of a line, counted; None if it is not an event."""
        try:
            event = event_of(line)
        except msgspec.ValidationError:
            self.bad("foreign", place)
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.bad("torn", place)
            return None
        if event.event == CALL and (event.verdict not in VERDICT_KINDS or not event.syscall):
            self.bad("foreign", place)
            return None
        self.events += 1
        return event

    def bad(self, kind: str, place: str) -> None:
        """Count a line, or the end of a file, that is `torn` or `foreign`."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.first_bad = self.first_bad or place


def read(path: str, lines: ReadStatistics, tick: Callable[[], None]) -> Iterator[Event]:
    """The events of a file, in order; `tick` is called for every line.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            number = 0
            for number, line in enumerate(_lines(file), 1):
                lines.share = file.tell() / size if size else 0.0
                tick()
                if not line.strip():
                    continue
                event = lines.event(line, f"{path}:{number}")
                if event is not None:
                    yield event
    except (EOFError, zlib.error, gzip.BadGzipFile):
        lines.bad("torn", f"{path}:{number + 1}")  # compressed, and not to its end
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a file of --audit") from error


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of any length; of one that is too long only a piece, which is no JSON."""
    start = file.peek(2)[:2] if hasattr(file, "peek") else b""
    source: BinaryIO = gzip.GzipFile(fileobj=file) if start == _GZIP else file  # type: ignore[assignment]
    while line := source.readline(MAX_EVENT_LINE_BYTES):
        yield line
        while len(line) == MAX_EVENT_LINE_BYTES and not line.endswith(b"\n"):
            line = source.readline(MAX_EVENT_LINE_BYTES)
