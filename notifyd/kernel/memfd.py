"""Files that are only memory: memfd_create(2), and the seals of fcntl(2)."""

from __future__ import annotations

import ctypes
import fcntl
import os
from mmap import MAP_SHARED, PROT_READ, PROT_WRITE
from typing import Any

from notifyd.kernel.libc import LIBC, fail

__all__ = ["SharedMemfd", "sealed"]

_FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE, since 5.1: Python 3.13 has a name for it
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_SHOWN = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _FUTURE_WRITE

_FAILED = 2**64 - 1  # MAP_FAILED of mmap(2)
_map: Any = LIBC.mmap
_map.restype = ctypes.c_size_t
_map.argtypes = (
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
)  # fmt: skip


def sealed(name: str, data: bytes) -> int:
    """A sealed file with `data`.

    Returns:
        Its descriptor, close-on-exec; the caller owns it.

    Raises:
        OSError: out of memory.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class SharedMemfd:
    """A file of zeros that others may map and read, and that only `write` can change.

    Attributes:
        descriptor: the file, for reading only, close-on-exec; -1 once `close_file` was called.
        identity: its device and inode.

    Raises:
        OSError: out of memory, or no descriptor.
    """

    def __init__(self, name: str, size: int) -> None:
        self.descriptor = -1
        self._size = size
        writable = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(writable, size)
            # Not mmap.mmap, which keeps a descriptor as long as the memory.
            self._memory = _map(None, size, PROT_READ | PROT_WRITE, MAP_SHARED, writable, 0)
            if self._memory == _FAILED:
                fail()
            try:
                fcntl.fcntl(writable, fcntl.F_ADD_SEALS, _SHOWN)
                found = os.fstat(writable)
                self.identity = found.st_dev, found.st_ino
                self.descriptor = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
            except BaseException:
                self.close()
                raise
        finally:
            os.close(writable)

    def write(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset`. Raises ValueError: it does not fit, or the memory is gone."""
        if not self._memory or not 0 <= offset <= self._size - len(data):
            raise ValueError(f"{len(data)} bytes at {offset} do not fit")
        ctypes.memmove(self._memory + offset, data, len(data))

    def close_file(self) -> None:
        """Only the memory is needed any more. Idempotent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of both. Idempotent; those who have mapped it keep it."""
        self.close_file()
        memory, self._memory = self._memory, 0
        if memory:
            LIBC.munmap(ctypes.c_void_p(memory), ctypes.c_size_t(self._size))
