"""The notifications of one listener that are under way, in memory that outlives the supervisor.

The kernel does not offer a received notification again, but whoever holds the listener and knows
the id can answer it (measured). So a supervisor that is killed loses no call, if its successor gets
the listener and this.

The memory is a memfd: first, text about the listener; then slots of one notification each. The
first slot is for the call that is decided inline, the others are for those that wait in tasks. A
slot is not emptied when its call is answered inline: an id that is not valid any more says so.

What killed one supervisor may kill the next. So a call is not decided for ever: the one that was
being decided inline is refused, and the others after some tries. Waiting for a person is no try.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from struct import Struct

from notifyd.kernel.unotify import NOTIF, note_from, recorder
from notifyd.policy.call import Note

__all__ = ["MAX_ABOUT_BYTES", "MAX_DECIDE_TRIES", "SLOTS", "InFlightTable"]

MAX_ABOUT_BYTES = 1 << 19  # bytes of text; it has a container's annotations
SLOTS = 4096  # calls of one listener that can be under way
MAX_DECIDE_TRIES = 3  # supervisors that may begin to decide a call
_LENGTH = Struct("=Q")
_TRIES = Struct("=Q")
_SLOT = NOTIF.size + _TRIES.size
_FIRST = MAX_ABOUT_BYTES + _LENGTH.size
_SIZE = _FIRST + SLOTS * _SLOT
_EMPTY = bytes(_SLOT)


class InFlightTable:
    """Owns a memfd and its mapping.

    Attributes:
        descriptor: the memfd.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over a memfd that was made by `create`.

        Raises:
            ValueError, OSError: it is none; it is closed.
        """
        self.descriptor = descriptor
        try:
            # Longer than the file: ValueError.
            self._memory = mmap.mmap(descriptor, _SIZE)
        except BaseException:
            os.close(descriptor)
            raise
        self._inline = memoryview(self._memory)[_FIRST:]
        self._free = list(range(SLOTS - 1, 0, -1))

    @classmethod
    def create(cls, about: bytes) -> InFlightTable:
        """A new one, with a text about its listener.

        Raises:
            ValueError: the text is too long. OSError: no memory, no descriptor.
        """
        if len(about) > MAX_ABOUT_BYTES:
            raise ValueError(f"{len(about)} bytes about a listener are too many")
        descriptor = os.memfd_create("notifyd-ledger", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, _SIZE)
        except BaseException:
            os.close(descriptor)
            raise
        in_flight = cls(descriptor)
        _LENGTH.pack_into(in_flight._memory, 0, len(about))
        in_flight._memory[_LENGTH.size : _LENGTH.size + len(about)] = about
        return in_flight

    @property
    def about(self) -> bytes:
        """The text."""
        (length,) = _LENGTH.unpack_from(self._memory, 0)
        return self._memory[_LENGTH.size : _LENGTH.size + min(length, MAX_ABOUT_BYTES)]

    def receiver(self, listener: int) -> Callable[[], tuple[int, ...]]:
        """What takes one notification, as `unotify.receiver` does, on record from the start."""
        # Invariant: the id of a received call is on record outside of the process first.
        return recorder(listener, self._inline)

    def enter(self, note: Note, tries: int = 1) -> int:
        """Record a call that is going to wait; its slot, or 0 if there is none left.

        Args:
            note: the notification.
            tries: how many supervisors have begun to decide it, this one included.
        """
        if not self._free:
            return 0
        slot = self._free.pop()
        begin = _FIRST + slot * _SLOT
        NOTIF.pack_into(self._memory, begin, *note)
        _TRIES.pack_into(self._memory, begin + NOTIF.size, tries)
        return slot

    def leave(self, slot: int) -> None:
        """A call that waited is over."""
        if self._memory.closed or not slot:
            return
        begin = _FIRST + slot * _SLOT
        self._memory[begin : begin + _SLOT] = _EMPTY
        self._free.append(slot)

    def begin(self, slot: int, tries: int) -> None:
        """A call on record is going to be decided once more."""
        _TRIES.pack_into(self._memory, _FIRST + slot * _SLOT + NOTIF.size, tries)

    def pause(self, slot: int) -> None:
        """A call on record waits for a person: should we end now, that was not its doing."""
        self._count(slot, -1)

    def go_on(self, slot: int) -> None:
        """The person has answered, and it is decided further."""
        self._count(slot, 1)

    def _count(self, slot: int, change: int) -> None:
        if self._memory.closed or not slot:
            return
        place = _FIRST + slot * _SLOT + NOTIF.size
        (tries,) = _TRIES.unpack_from(self._memory, place)
        _TRIES.pack_into(self._memory, place, tries + change)

    def take(self) -> list[tuple[Note, int, int]]:
        """The calls on record, each once: how often each was begun, and its slot.

        They stay on record until they `leave`: we may be killed as our predecessor was. What was
        being decided inline comes first and counts as begun `MAX_DECIDE_TRIES` times; its slot is 0
        where there is no room for it.
        """
        found: dict[int, tuple[Note, int, int]] = {}
        for slot in range(1, SLOTS):
            begin = _FIRST + slot * _SLOT
            note = note_from(self._memory, begin)
            if note[0]:
                (tries,) = _TRIES.unpack_from(self._memory, begin + NOTIF.size)
                found[note[0]] = note, tries, slot
        used = {slot for _, _, slot in found.values()}
        self._free = [slot for slot in range(SLOTS - 1, 0, -1) if slot not in used]
        inline = note_from(self._memory, _FIRST)
        if not inline[0] or inline[0] in found:
            return list(found.values())
        return [(inline, MAX_DECIDE_TRIES, self.enter(inline, MAX_DECIDE_TRIES)), *found.values()]

    def close(self) -> None:
        """Let go; somebody else's copy stays."""
        if not self._memory.closed:
            self._inline.release()
            self._memory.close()
            os.close(self.descriptor)
