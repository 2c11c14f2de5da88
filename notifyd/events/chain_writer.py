"""A chained file that is being written: its descriptor, its place in the chain, what it refused.

A record that the file does not take has no number and no place in the chain: those who come later
follow the last one that is there.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Sequence

from notifyd.events.chain import ChainLink, digest_of, last_link, seal, seal_signed
from notifyd.events.logfile import write_all
from notifyd.events.signing import Signer

__all__ = ["MAX_UNWRITTEN_BYTES", "ChainWriter"]

# bytes kept for a reader that is slow; four times a pipe's own buffer
MAX_UNWRITTEN_BYTES = 1 << 18


class ChainWriter:
    """Appends records to a file, and keeps some that it does not take at once.

    Args:
        descriptor: open for appending and not blocking; this object owns it from now on.
        link: the record that the first one follows.
        torn: whether the file ends within a line.
        patient: the errnos for which records are kept, up to `MAX_UNWRITTEN_BYTES`; with any other
            they are dropped.

    Attributes:
        link: the place of the last record that is written or waits.
        error: the errno that ended the last write; 0 if all was written.
        written: bytes, so far.
    """

    def __init__(
        self, descriptor: int, link: ChainLink, *, torn: bool, patient: frozenset[int]
    ) -> None:
        self.descriptor = descriptor
        self.link = self._written = link  # `_written`: the last one of which all is in the file
        self.error = 0
        self.written = 0
        self._torn = torn
        self._patient = patient
        self._waiting = b""  # whole lines
        self._done = 0  # bytes of their first one that are written

    @property
    def waiting(self) -> bool:
        """Whether any record waits."""
        return bool(self._waiting)

    def append(self, records: Sequence[bytes]) -> list[bytes]:
        """Write what waits, and then `records`.

        Returns:
            The lines that are dropped, of those that waited and of `records`: always the last ones.
        """
        sealed, link = seal(records, self.link)
        return self._push(sealed, link)

    def append_signed(self, record: bytes, signer: Signer) -> list[bytes]:
        """The same for one record that is signed."""
        signature = signer.sign(digest_of(record, self.link))
        return self._push(*seal_signed(record, signature, self.link))

    def wait_for_reader(self, seconds: float) -> list[bytes]:
        """Write what waits for a reader that is slow, for so long at most; what is dropped."""
        dropped: list[bytes] = []
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        while self._waiting and self.error == errno.EAGAIN:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                break
            dropped += self.append(())
        return dropped

    def drop(self) -> list[bytes]:
        """Wait no longer with what waits."""
        dropped, self._waiting = self._waiting.splitlines(), b""
        self._done, self.link = 0, self._written
        return dropped

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: the file system tells only now that it could not write, as NFS does: close(2).
        """
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)

    def _push(self, sealed: bytes, link: ChainLink) -> list[bytes]:
        data = self._waiting + sealed
        count = self._write(memoryview(data)[self._done :])
        end = self._done + count
        if end == len(data):
            self._waiting, self._done = b"", 0
            self.link = self._written = link
            return []
        whole = data.rfind(b"\n", 0, end) + 1
        if whole:
            self._written = last_link(data[:whole]) or self._written
        kept = self._kept(data, whole, end)
        self._waiting = data[whole:kept]
        self._done = end - whole if kept > whole else 0
        self.link = (last_link(data[:kept]) if kept else None) or self._written
        return data[kept:].splitlines()

    def _write(self, data: memoryview) -> int:
        if self._torn:  # what a crash has torn stays as it is: `audit.begun` says so
            count, self.error = write_all(self.descriptor, memoryview(b"\n"))
            if not count:
                return 0
            self._torn = False
        count, self.error = write_all(self.descriptor, data)
        self.written += count
        return count

    def _kept(self, data: bytes, whole: int, end: int) -> int:
        """Up to where `data` is written or worth keeping: whole lines, and the rest of a torn one.

        A file must not end within a line for good: the next line would be glued to it. A pipe whose
        reader left begins anew with the next reader.

        Args:
            data: all lines.
            whole: up to where whole lines are written.
            end: up to where anything is.
        """
        kept = whole
        if self.error in self._patient:
            kept = max(kept, data.rfind(b"\n", whole, whole + MAX_UNWRITTEN_BYTES) + 1)
        if end > whole and self.error != errno.EPIPE:
            kept = max(kept, data.find(b"\n", end) + 1)
        return kept
