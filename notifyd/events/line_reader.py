"""Lines of a file that anybody may have written: bounded, whatever the file holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from notifyd.kernel.limits import READ_BYTES

__all__ = ["MAX_LINE_BYTES", "Ends", "ends_of", "lines_in"]

MAX_LINE_BYTES = 1 << 24  # bytes of a line; no record has so many


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a file ends.

    Attributes:
        line: the last whole line with its newline; empty if there is none, or it is too long.
        is_begun: whether there is a whole line at all.
        rest: how many bytes come after it.
        digest: SHA-256 of those, as hexadecimal text.
    """

    line: bytes
    is_begun: bool
    rest: int
    digest: str


def lines_in(source: BinaryIO) -> Iterator[bytes]:
    """Lines with their newlines; the last one may have none.

    Of one that is too long the first `MAX_LINE_BYTES` bytes come, without a newline, so that it
    cannot be taken for a line that ends there.
    """
    while line := source.readline(MAX_LINE_BYTES + 1):
        too_long = len(line) > MAX_LINE_BYTES
        yield line[:MAX_LINE_BYTES] if too_long else line
        while too_long and line and not line.endswith(b"\n"):
            line = source.readline(MAX_LINE_BYTES)


def ends_of(file: BinaryIO) -> Ends:
    """Look at the end of a file that can be sought in, in constant memory."""
    size = file.seek(0, os.SEEK_END)
    end = _after_newline(file, size)
    start = _after_newline(file, end - 1) if end else 0
    line = b""
    if end - start <= MAX_LINE_BYTES:
        file.seek(start)
        line = file.read(end - start)
    file.seek(end)
    digest, left = sha256(), size - end
    while left and (piece := file.read(min(READ_BYTES, left))):
        digest.update(piece)
        left -= len(piece)
    return Ends(line, end > 0, size - end, digest.hexdigest())


def _after_newline(file: BinaryIO, end: int) -> int:
    """The place after the last newline before `end`; 0 if there is none."""
    while end > 0:
        begin = max(0, end - READ_BYTES)
        file.seek(begin)
        at = file.read(end - begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0
