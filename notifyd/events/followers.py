"""Live readers of events: each gets the lines that it asked for, and none slows anybody down.

Owns what waits for a reader. How a reader is reached is not known here.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from notifyd.events.encode import encode_event
from notifyd.events.record import Line

__all__ = ["MAX_FOLLOWER_BACKLOG_BYTES", "EventFilter", "Follower"]

MAX_FOLLOWER_BACKLOG_BYTES = 1 << 20  # bytes kept for a reader that is slow: some 3,000 calls


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What a reader asks for: all of what is given has to fit. Globs, as in a shell; "" is any.

    An event that has no such field does not fit: a verdict has only a call.

    Attributes:
        event: the event's name.
    """

    workload: str = ""
    operation: str = ""
    verdict: str = ""
    event: str = ""


class Follower:
    """One reader.

    Args:
        wanted: what it asks for.
        wake: called when something waits for it; must neither wait nor raise.
        most: how many bytes may wait. What comes while there is no room is lost, and counted.
    """

    def __init__(
        self,
        wanted: EventFilter,
        wake: Callable[[], object],
        most: int = MAX_FOLLOWER_BACKLOG_BYTES,
    ) -> None:
        globs = {one.name: getattr(wanted, one.name) for one in fields(wanted)}
        self._checks = [
            (name, re.compile(fnmatch.translate(glob)).match)
            for name, glob in globs.items()
            if glob
        ]
        self._wake = wake
        self._most = most
        self._waiting: list[bytes] = []
        self._size = 0
        self._lost = 0  # later than all of `_waiting`

    def calls(self, lines: Sequence[Line], pieces: Sequence[bytes]) -> None:
        """Offer calls, with the text of each."""
        if self._checks:
            both = zip(lines, pieces, strict=True)
            pieces = [piece for line, piece in both if self._wants(line)]
        self._keep(pieces)

    def event(self, name: str, values: Mapping[str, Any], piece: bytes) -> None:
        """Offer any other event."""
        for field, match in self._checks:
            value = name if field == "event" else values.get(field)
            if value is None or not match(str(value)):
                return
        self._keep((piece,))

    def take(self) -> bytes:
        """All that waits, whole lines, and then how many are missing after them."""
        if self._lost:
            mark = {"level": "warning", "lines": self._lost, "error": "ENOBUFS"}
            self._waiting.append(encode_event("audit.lost", mark))
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._size = self._lost = 0
        return data

    def _wants(self, line: Line) -> bool:
        for field, match in self._checks:
            value = "call" if field == "event" else getattr(line, field)
            if value is None or not match(value):
                return False
        return True

    def _keep(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            # Once something is lost, so is all that follows: a gap has one place, and one mark.
            if self._lost or self._size + len(piece) > self._most:
                self._lost += 1
            else:
                self._waiting.append(piece)
                self._size += len(piece)
        if pieces:
            self._wake()
