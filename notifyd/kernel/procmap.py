"""/proc/PID/maps, asked for one address: ioctl PROCMAP_QUERY, since Linux 6.11."""

from __future__ import annotations

import fcntl
import os
from struct import Struct
from typing import NamedTuple

__all__ = ["READABLE", "SHARED", "Area", "area"]

READABLE, SHARED = 1, 8
_COVERING_OR_NEXT = 0x10
_QUERY = 0xC0686611
_RECORD = Struct("=9Q4I2Q")  # struct procmap_query, linux/fs.h
_ZEROS = (0,) * 12


class Area(NamedTuple):
    """A piece of a process's memory.

    Attributes:
        start: its first address.
        end: the address behind its last one.
        flags: READABLE 1, writable 2, executable 4, SHARED 8.
        offset: where in the file it begins.
        file: device and inode of the file; (0, 0) of memory without one.
    """

    start: int
    end: int
    flags: int
    offset: int
    file: tuple[int, int]


def area(tid: int, address: int) -> Area | None:
    """What of a thread's memory lies at an address, or else next above it; None if nothing does.

    Raises:
        OSError: ESRCH, ENOENT: it has ended. EACCES: not ours to look into. ENOTTY: an older
            kernel.
    """
    maps = os.open(f"/proc/{int(tid)}/maps", os.O_RDONLY | os.O_CLOEXEC)
    try:
        record = bytearray(_RECORD.pack(_RECORD.size, _COVERING_OR_NEXT, address, *_ZEROS))
        fcntl.ioctl(maps, _QUERY, record, True)
    except FileNotFoundError:
        return None
    finally:
        os.close(maps)
    _, _, _, start, end, flags, _, offset, inode, major, minor, *_ = _RECORD.unpack(record)
    return Area(start, end, flags, offset, (os.makedev(major, minor), inode))
