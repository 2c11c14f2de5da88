"""process_vm_readv(2), process_vm_writev(2): another process's memory, as it is now.

Follows the thread's current address space, also across execve, which a kept /proc/TID/mem does
not. Knows nothing of notifications: whether what was read still counts is the caller's to ask.

A page that a file system in user space (or userfaultfd) has to fetch makes a call wait as long as
the target likes. The GIL is released meanwhile; a caller that must not wait uses a thread which
can be abandoned.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from struct import Struct
from typing import Any

from notifyd.kernel import arch
from notifyd.kernel.libc import LIBC, fail
from notifyd.kernel.structs import IOVEC

__all__ = ["PAGE_SIZE", "is_there", "read", "read_some", "read_string", "write"]

PAGE_SIZE = os.sysconf("SC_PAGESIZE")  # bytes
_FIRST_READ_BYTES = 256  # bytes; nearly every path is shorter
_TOP = 1 << 64
_IOV_MAX = 1024  # IOV_MAX

_ONE = ctypes.c_ulong(1)
_NONE = ctypes.c_ulong(0)

_readv: Any = LIBC.process_vm_readv
_readv.restype = ctypes.c_ssize_t
# Without a copy of errno, which costs a fifth of the call. A failure is done again with it.
_quick_readv: Any = ctypes.CDLL(None).process_vm_readv
_quick_readv.restype = ctypes.c_ssize_t
_writev: Any = LIBC.process_vm_writev
_writev.restype = ctypes.c_ssize_t
_syscall: Any = ctypes.CDLL(None).syscall
_syscall.restype = ctypes.c_long
_MOVE_PAGES = ctypes.c_long(arch.native().numbers["move_pages"])


class _VmBuffers:
    """One page and two iovecs, prepared once: setting them up costs 3 us a time."""

    __slots__ = (
        *("base", "keep", "local", "pack", "page", "remote", "vectors", "view"),
        *("asked", "asks", "node", "tells"),
    )

    def __init__(self) -> None:
        self.page = ctypes.create_string_buffer(PAGE_SIZE)
        self.view = memoryview(self.page).cast("B")
        self.base = ctypes.addressof(self.page)
        vectors = bytearray(2 * IOVEC.size)
        self.pack = Struct("=QQQQ").pack_into
        self.vectors = vectors
        local = ctypes.c_char.from_buffer(vectors)
        remote = ctypes.c_char.from_buffer(vectors, IOVEC.size)
        self.keep = (local, remote)
        self.local = ctypes.byref(local)
        self.remote = ctypes.byref(remote)
        self.asked, self.node = ctypes.c_uint64(), ctypes.c_int()
        self.asks, self.tells = ctypes.byref(self.asked), ctypes.byref(self.node)

    def fill(self, tid: int, address: int, size: int) -> int:
        """Read up to a page into `page`; return how many bytes came."""
        self.pack(self.vectors, 0, self.base, size, address, size)
        count: int = _readv(tid, self.local, _ONE, self.remote, _ONE, _NONE)
        if count < 0:
            fail()
        return count


class _VmScratch(threading.local):
    """Buffers for each thread: the GIL is released while the kernel fills them."""

    def __init__(self) -> None:
        self.mine = _VmBuffers()


_scratch = _VmScratch()


def _fault() -> OSError:
    return OSError(errno.EFAULT, os.strerror(errno.EFAULT))


def _check(address: int, size: int) -> None:
    """Refuse what no process can have mapped, which the kernel would call EINVAL."""
    if size < 0:
        raise ValueError(f"{size} bytes")
    if address < 0 or address + size > _TOP:
        raise _fault()


def read(tid: int, address: int, size: int) -> bytes:
    """Return exactly `size` bytes of a thread's memory.

    Args:
        tid: A thread in our pid namespace.
        address: Where, in its memory.
        size: How many bytes. A buffer of that size is made first: bound what a target asks for.

    Raises:
        OSError: EFAULT: not all of it can be read.
        ProcessLookupError: ESRCH: no such thread, or it has no memory any more.
        PermissionError: EPERM: needs PTRACE_MODE_ATTACH_REALCREDS.
    """
    _check(address, size)
    if not size:
        return b""
    if size <= PAGE_SIZE:
        scratch = _scratch.mine
        if scratch.fill(tid, address, size) != size:
            raise _fault()
        return scratch.page.raw if size == PAGE_SIZE else bytes(scratch.view[:size])
    data = _read_pages(tid, address, size)
    if len(data) != size:
        raise _fault()
    return data


def read_some(tid: int, address: int, size: int) -> bytes:
    """Return up to `size` bytes, fewer where an unmapped page comes in between.

    Args and errors are those of `read`; EFAULT only if not even the first byte can be read.
    """
    _check(address, min(size, 1))
    size = min(size, _TOP - address)
    if not size:
        return b""
    return _read_pages(tid, address, size)


def _read_pages(tid: int, address: int, size: int) -> bytes:
    buffer = ctypes.create_string_buffer(size)
    done = 0
    while done < size:
        wanted = min(size - done, (_IOV_MAX - 1) * PAGE_SIZE)
        try:
            count = _transfer(_readv, tid, ctypes.addressof(buffer) + done, address + done, wanted)
        except OSError as error:
            if not done or error.errno != errno.EFAULT:
                raise
            break
        done += count
        if count < wanted:
            break
    return ctypes.string_at(buffer, done)


def _transfer(call: Any, tid: int, ours: int, theirs: int, size: int) -> int:
    # One iovec a page: process_vm_readv(2) promises a partial result only between iovecs.
    packed = bytearray()
    at, end = theirs, theirs + size
    while at < end:
        stop = min(end, (at // PAGE_SIZE + 1) * PAGE_SIZE)
        packed += IOVEC.pack(at, stop - at)
        at = stop
    remote = ctypes.c_char.from_buffer(packed)
    count = ctypes.c_ulong(len(packed) // IOVEC.size)
    local = ctypes.create_string_buffer(IOVEC.pack(ours, size), IOVEC.size)
    done: int = call(tid, local, _ONE, ctypes.byref(remote), count, _NONE)
    if done < 0:
        fail()
    return done


def read_string(tid: int, address: int, limit: int) -> bytes:
    """Return the bytes before the first NUL. Never touches a page after the one that holds it.

    Args:
        tid: A thread in our pid namespace.
        address: Where the string begins.
        limit: How many bytes it may have, the NUL counted, as PATH_MAX does (4096 for a path).

    Raises:
        OSError: ENAMETOOLONG: no NUL within `limit` bytes. EFAULT: unmapped before the NUL.
        ProcessLookupError: ESRCH, as for `read`.
        PermissionError: EPERM, as for `read`.
    """
    if not 0 <= address < _TOP:
        raise _fault()
    # The way of nearly every string, in one call and with nothing looked up that is not needed.
    scratch = _scratch.mine
    size = PAGE_SIZE - address % PAGE_SIZE
    if size > _FIRST_READ_BYTES:
        size = _FIRST_READ_BYTES
    if size <= limit:
        scratch.pack(scratch.vectors, 0, scratch.base, size, address, size)
        count: int = _quick_readv(tid, scratch.local, _ONE, scratch.remote, _ONE, _NONE)
        if count > 0:
            piece: bytes = scratch.page.value
            if len(piece) < count:
                return piece
    return _read_string_in_pieces(tid, address, limit)


def _read_string_in_pieces(tid: int, address: int, limit: int) -> bytes:
    scratch = _scratch.mine
    found = b""
    size = _FIRST_READ_BYTES
    while limit > 0:
        size = min(size, PAGE_SIZE - address % PAGE_SIZE, limit)
        count = scratch.fill(tid, address, size)
        piece: bytes = scratch.page.value  # up to a NUL, which may be an older one behind count
        if len(piece) < count:
            return found + piece if found else piece
        found += piece[:count]
        limit -= count
        address += count
        if count < size or address == _TOP:
            raise _fault()
        size = PAGE_SIZE
    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def is_there(tid: int, address: int) -> bool:
    """Whether the page of an address is mapped now: move_pages(2), which then moves none.

    False as well if the kernel does not say.
    """
    scratch = _scratch.mine
    scratch.asked.value = address - address % PAGE_SIZE
    told = _syscall(_MOVE_PAGES, tid, _ONE, scratch.asks, None, scratch.tells, _NONE)
    return told >= 0 and scratch.node.value >= 0


def write(tid: int, address: int, data: bytes) -> None:
    """Write all of `data` into a thread's memory.

    Raises:
        OSError: EFAULT: not all of it can be written; the first pages may have been.
        ProcessLookupError: ESRCH, as for `read`.
        PermissionError: EPERM, as for `read`.
    """
    _check(address, len(data))
    source = ctypes.create_string_buffer(data, max(len(data), 1))
    done = 0
    while done < len(data):
        wanted = min(len(data) - done, (_IOV_MAX - 1) * PAGE_SIZE)
        ours = ctypes.addressof(source) + done
        if _transfer(_writev, tid, ours, address + done, wanted) != wanted:
            raise _fault()
        done += wanted
