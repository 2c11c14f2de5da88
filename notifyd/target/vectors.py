"""Vectors of strings in a target's memory: argv and envp of execve(2), which may have megabytes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Literal

from notifyd.errors import TargetFault
from notifyd.kernel.process_vm import PAGE_SIZE, read, read_string

__all__ = ["MAX_INLINE_STRINGS", "TooManyStrings", "Vector"]

MAX_STRING = 32 * PAGE_SIZE  # MAX_ARG_STRLEN: execve(2)
MAX_INLINE_STRINGS = 512  # strings that are read while everybody waits, about 1 us each
MAX_INLINE_STRING_BYTES = 1 << 17
_WORDS: dict[int, Literal["I", "Q"]] = {8: "Q", 4: "I"}


class TooManyStrings(Exception):
    """There are more strings than may be read while everybody waits."""


class Vector:
    """One vector of `word`-byte pointers that ends with a null pointer.

    Args:
        tid: whose memory it is in.
        address: where; 0 for an empty one.
        word: 8 or 4.
    """

    def __init__(self, tid: int, address: int, word: int) -> None:
        self._tid = tid
        self._address = address
        self._word = word
        self._page, self._at = b"", -1  # the last page that a string began in, and its address

    def strings(
        self, max_strings: int, max_bytes: int, *, cut: bool, at_once: bool
    ) -> tuple[bytes, ...]:
        """The strings without their NULs.

        Args:
            max_strings: how many there may be.
            max_bytes: how long they may be together.
            cut: whether what is more is cut off.
            at_once: whether everybody waits for it.

        Raises:
            TargetFault: E2BIG: there are more, or one is longer than execve(2) takes.
            TooManyStrings: they have to be read where only the target waits.
            OSError: as of `process_vm.read`.
        """
        found: list[bytes] = []
        size = 0
        for pointer in self._pointers():
            if len(found) == max_strings or size >= max_bytes:
                if cut:
                    break
                raise TargetFault("argument list without an end", errno.E2BIG)
            if at_once and (len(found) == MAX_INLINE_STRINGS or size > MAX_INLINE_STRING_BYTES):
                raise TooManyStrings
            found.append(self._string(pointer))
            size += len(found[-1]) + 1
        return tuple(found)

    def _pointers(self) -> Iterator[int]:
        """The pointers up to the null pointer that ends them, a page at a time."""
        address, word = self._address, self._word
        while address:
            size = PAGE_SIZE - address % PAGE_SIZE
            size = size // word * word or word  # a pointer may lie across two pages
            for pointer in memoryview(read(self._tid, address, size)).cast(_WORDS[word]):
                if not pointer:
                    return
                yield pointer
            address += size

    def _string(self, pointer: int) -> bytes:
        """One string. They mostly lie one behind the other: a page is read once, and no other."""
        start = pointer - pointer % PAGE_SIZE
        if start != self._at:
            self._page, self._at = read(self._tid, start, PAGE_SIZE), start
        end = self._page.find(b"\0", pointer - start)
        if end >= 0:
            return self._page[pointer - start : end]
        first = self._page[pointer - start :]
        try:
            return first + read_string(self._tid, start + PAGE_SIZE, MAX_STRING - len(first))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise TargetFault("a string without an end", errno.E2BIG) from error
