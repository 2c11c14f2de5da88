"""A sheet: memory that one process can read, and that nobody but notifyd can change.

It is a sealed file in memory, mapped into a target by the target's own calls, for reading only, and
then sealed in its place (mseal(2), Linux 6.10): no thread can take it away, lay something else over
it or make it writable, and no other process can write to it through /proc/PID/mem. It stays there
until the process executes or ends. What it makes by fork(2) does not have it (MADV_DONTFORK), and
no other process gets the same sheet: what lies in it are addresses of the target's memory.
"""

from __future__ import annotations

import os
import secrets
import threading
from mmap import PAGESIZE

from notifyd.errors import CannotPerform
from notifyd.kernel import procmap
from notifyd.kernel.memfd import SharedMemfd

__all__ = ["PLACE", "SIZE", "Sheet", "Sheets"]

PLACES = 8  # calls of one process at a time
PLACE = 4096  # bytes for one of them
SIZE = -(-PLACES * PLACE // PAGESIZE) * PAGESIZE
MAX_SHEETS = 128  # processes of a workload that have one
# Where nothing else is put by itself: above heaps, below libraries; of 47 bits, without a page.
_LOWEST, _HIGHEST = 0x2000_0000_0000, 0x5000_0000_0000


class Sheet:
    """The sheet of one process. Raises OSError: there is no memory, or no descriptor.

    Attributes:
        address: where it is, or will be.
        laying: held by the thread of ours that has it laid, or looks whether it is.
    """

    def __init__(self, address: int) -> None:
        self.address = address
        self.laying = threading.Lock()
        self._memory = SharedMemfd("notifyd", SIZE)
        self._lock = threading.Lock()
        self._free = list(range(PLACES))
        self._retired = False

    def retire(self) -> None:
        """It is given to nobody any more, and gone when all places are given back."""
        with self._lock:
            self._retired = True
            self._close_if_over()

    def _close_if_over(self) -> None:
        if self._retired and len(self._free) == PLACES:
            self._memory.close()

    @property
    def descriptor(self) -> int:
        """Its file, for reading only, until it is `laid`; -1 from then on. Its own."""
        return self._memory.descriptor

    def laid(self) -> None:
        """It is where it has to be, and its file is needed no more."""
        self._memory.close_file()

    def take(self) -> int:
        """The number of a place that the caller has for itself until `give_back`.

        Raises:
            CannotPerform: there is none.
        """
        with self._lock:
            if not self._free:
                raise CannotPerform("too many calls at a time")
            return self._free.pop()

    def give_back(self, place: int) -> None:
        """Nobody reads a place any more."""
        with self._lock:
            self._free.append(place)
            self._close_if_over()

    def at(self, place: int) -> int:
        """Where a place is in the target."""
        return self.address + place * PLACE

    def write(self, place: int, data: bytes) -> None:
        """Write `data`, of at most `PLACE` bytes, into a place."""
        self._memory.write(place * PLACE, data)

    def is_in(self, tid: int) -> bool:
        """Whether it lies in a target's memory. Not that it stays: that, sealing it says.

        Raises:
            CannotPerform: something else is there.
            OSError: as `procmap.area`.
        """
        found = procmap.area(tid, self.address)
        if found is None or found.start >= self.address + SIZE:
            return False
        how = procmap.READABLE | procmap.SHARED
        wanted = self.address, self.address + SIZE, how, 0, self._memory.identity
        if found != wanted:
            raise CannotPerform("something else lies where notifyd's memory has to be")
        return True


class Sheets:
    """Those of a workload, by process. For several threads of ours."""

    def __init__(self) -> None:
        # The same address for all, so that two names of one process cannot have two of them.
        pages = (_HIGHEST - _LOWEST) // PAGESIZE
        self._address = _LOWEST + secrets.randbelow(pages) * PAGESIZE
        self._lock = threading.Lock()
        self._sheets: dict[int, Sheet] = {}
        self._closed = False

    def of(self, pid: int) -> tuple[Sheet, int]:
        """The sheet of a process and a place in it, which the caller gives back.

        Raises:
            CannotPerform: there are too many.
            OSError: there is no memory, or no descriptor.
        """
        with self._lock:
            if self._closed:
                raise CannotPerform("the workload has ended")
            sheet = self._sheets.get(pid)
            if sheet is None:
                self._make_room()
                sheet = self._sheets[pid] = Sheet(self._address)
            return sheet, sheet.take()

    def anew(self, pid: int, old: Sheet) -> None:
        """A process has another program, or is another one: what it had belongs to nobody."""
        with self._lock:
            if self._sheets.get(pid) is old:
                del self._sheets[pid]
                old.retire()

    def _make_room(self) -> None:
        full = len(self._sheets) >= MAX_SHEETS
        for pid, sheet in list(self._sheets.items()):
            # Few are not laid: calls that wait to be, and those of targets that were killed then.
            if (full or sheet.descriptor >= 0) and not os.path.exists(f"/proc/{pid}"):
                del self._sheets[pid]
                sheet.retire()
        if len(self._sheets) >= MAX_SHEETS:
            raise CannotPerform("too many processes that call by themselves")

    def close(self) -> None:
        """No more calls. What is under way goes on, with a sheet that nobody else has."""
        with self._lock:
            self._closed = True
            for sheet in self._sheets.values():
                sheet.retire()
            self._sheets.clear()
