"""The audit file: lines of JSON, appended. Owns its descriptor; knows no engine.

Whatever goes wrong with the file, the engine must go on. So writing never raises and never waits
for a reader: what cannot be written is counted, told once, and the gap is marked in the file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
import time
from collections.abc import Callable
from typing import Self

from notifyd.audit.encode import encode_event
from notifyd.audit.errnos import errno_name
from notifyd.audit.stream import EventStream
from notifyd.errors import UsageError

BACKLOG = 1 << 18  # bytes kept for a reader that is slow; four times a pipe's own buffer
PATIENCE = 2.0  # seconds that closing waits for such a reader

# Without O_NONBLOCK a FIFO that nobody reads would hang the open, and a full one every write.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_REMEDIES = {
    errno.EISDIR: "is a directory; name a file in it",
    errno.ENXIO: "has no reader; start its reader first, and give a file or FIFO, not a socket",
    errno.ENOENT: "lies in a directory that does not exist; make that first",
    errno.ELOOP: "is a link of somebody else; name the file itself",
}


class JsonLines(EventStream):
    """A stream that appends to a file. Use it as a context manager, or call `close`.

    Args:
        descriptor: open for appending and not blocking; this object owns it from now on.
        path: for messages.
        complain: is told, in one line, of the first loss and at the end of the total.

    Attributes:
        lost: events that could not be written, so far.
    """

    def __init__(self, descriptor: int, path: str, complain: Callable[[str], None]) -> None:
        super().__init__()
        self.lost = 0
        self._descriptor = descriptor
        self._path = path
        self._complain = complain
        self._waiting = b""  # encoded, and refused so far by the file
        self._torn = False  # whether the file ends within a line, whose rest `_waiting` begins with
        self._gap = 0  # events lost since the file last heard of it
        self._gap_error = 0
        self._error = 0  # of the last write

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], complain: Callable[[str], None] | None = None
    ) -> Self:
        """Open or create `path`, mode 0600. Its end is where events go.

        A link is followed if it belongs to us or to root. A FIFO needs its reader beforehand.

        Args:
            path: a file, a FIFO or a character device; no directory and no disk.
            complain: default writes to standard error.

        Raises:
            UsageError: it cannot be opened; the text says what to do.
        """
        name = os.fspath(path)
        try:
            descriptor = _open(name)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            number = error.errno if isinstance(error, OSError) else None
            why = _REMEDIES.get(number or 0)
            what = why or f"cannot be opened ({error}); name a file that you may write"
            raise UsageError(f"audit: {name!r} {what}") from error
        if stat.S_ISBLK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UsageError(f"audit: {name!r} is a disk; name a file on it")
        return cls(descriptor, name, complain or _to_stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left, tell of the losses, close the file. A second time does nothing.

        The only method that may wait: up to `PATIENCE` for a reader that is slow.
        """
        if self._descriptor < 0:
            return
        self.flush()
        self._wait_for_reader()
        descriptor, self._descriptor = self._descriptor, -1
        if self._waiting:
            self._lose(_count(self._waiting), self._error)
            self._waiting = b""
        try:
            os.close(descriptor)
        except OSError as error:  # NFS tells here that it could not write: close(2)
            self._complain(f"audit: {self._path!r}: {error.strerror}; its end may be missing")
        if self.lost:
            self._complain(f"audit: {self.lost} events in all are missing in {self._path!r}")

    def _store(self, new: bytes) -> None:
        # In one write if the file takes it all. EAGAIN (a slow reader) keeps up to 256 KiB for
        # later; any other error loses the batch.
        if (new or self._waiting) and self._descriptor >= 0:
            self._put(new)

    def _put(self, new: bytes) -> None:
        """Write what waits, a mark for what was lost after that, and what is new."""
        waiting = self._waiting
        mark = self._mark()
        data = b"".join((waiting, mark, new))
        done, self._error = _write(self._descriptor, data)
        if done:
            self._torn = data[done - 1] != 0x0A
        self._waiting = data[done:]
        if mark:
            # A torn mark will be completed before all else, except on a pipe that nobody reads.
            if done >= len(waiting) + (len(mark) if self._error == errno.EPIPE else 1):
                self._gap = 0
            else:
                self._waiting = waiting[done:] + new
        if self._waiting:
            self._drop(self._kept())

    def _wait_for_reader(self) -> None:
        end = time.monotonic() + PATIENCE
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while self._waiting and self._error == errno.EAGAIN:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return
            self.flush()

    def _mark(self) -> bytes:
        if not self._gap:
            return b""
        return encode_event(
            "audit.lost", {"lines": self._gap, "error": errno_name(self._gap_error)}
        )

    def _kept(self) -> int:
        """How many bytes of `_waiting` are worth keeping: whole lines, and the rest of a torn one.

        A file must not end within a line for good: the next line would be glued to it. A pipe whose
        reader left begins anew with the next reader.
        """
        if self._error == errno.EAGAIN:
            size = min(len(self._waiting), BACKLOG)
            whole = self._waiting.rfind(b"\n", 0, size) + 1
        else:
            whole = 0
        if self._torn and self._error != errno.EPIPE:
            whole = max(whole, self._waiting.find(b"\n") + 1)
        return whole

    def _drop(self, kept: int) -> None:
        lost = _count(self._waiting[kept:])
        self._waiting = self._waiting[:kept]
        if not kept:
            self._torn = False
        if lost:
            self._lose(lost, self._error)

    def _lose(self, lines: int, error: int) -> None:
        first = not self.lost
        self.lost += lines
        self._gap += lines
        self._gap_error = error
        if first:
            why = os.strerror(error)
            self._complain(f"audit: {self._path!r}: {why}; events are being lost")


def _open(name: str) -> int:
    # A link in a directory that others may write could lead root anywhere. /dev/stdout and
    # /dev/fd/N are links too, and ours.
    follow = 0
    try:
        link = os.lstat(name)
    except FileNotFoundError:
        follow = os.O_NOFOLLOW
    else:
        if not stat.S_ISLNK(link.st_mode) or link.st_uid not in (0, os.geteuid()):
            follow = os.O_NOFOLLOW
    return os.open(name, _FLAGS | follow, 0o600)


def _write(descriptor: int, data: bytes) -> tuple[int, int]:
    """Write all of `data`, or as much as goes: bytes written, and the errno that ended it or 0."""
    view = memoryview(data)
    done = 0
    while done < len(data):
        try:
            done += os.write(descriptor, view[done:])
        except OSError as error:
            return done, error.errno or errno.EIO
    return done, 0


def _count(lines: bytes) -> int:
    return lines.count(b"\n")


def _to_stderr(text: str) -> None:
    with contextlib.suppress(OSError):  # its reader may be gone
        print(f"notifyd: {text}", file=sys.stderr)
