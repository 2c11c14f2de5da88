"""ptrace(2): holding a thread at its next stop, and letting it go. Since 3.4 (PTRACE_SEIZE).

All requests for a thread have to come from the thread of ours that seized it. If that one ends, the
kernel lets go of what it holds, and kills it where `EXITKILL` was asked for.
"""

from __future__ import annotations

import ctypes
import os
from struct import Struct
from typing import Any, NamedTuple

from notifyd.kernel.libc import LIBC, fail
from notifyd.kernel.structs import IOVEC

__all__ = [
    "EVENT_EXEC",
    "EVENT_STOP",
    "O_EXITKILL",
    "O_TRACEEXEC",
    "O_TRACESYSGOOD",
    "SYSCALL_STOP",
    "PtraceStop",
    "block",
    "blocked",
    "detach",
    "former_tid",
    "go_on",
    "interrupt",
    "reap",
    "registers",
    "result",
    "seize",
    "set_options",
    "set_registers",
    "wait",
]

EVENT_EXEC = 4
EVENT_STOP = 128
O_TRACESYSGOOD = 1
O_TRACEEXEC = 1 << EVENT_EXEC
SYSCALL_STOP = 0x80 | 5
"""The `signal` of a thread that stands before or behind a system call, with O_TRACESYSGOOD."""
O_EXITKILL = 1 << 20  # since 3.8

_CONT, _DETACH, _SYSCALL, _SETOPTIONS, _GETEVENTMSG = 7, 17, 24, 0x4200, 0x4201
_GETREGSET, _SETREGSET, _SEIZE, _INTERRUPT = 0x4204, 0x4205, 0x4206, 0x4207
_GETSIGMASK, _SETSIGMASK, _MASK_SIZE = 0x420A, 0x420B, 8  # since 3.11
_PRSTATUS = 1  # NT_PRSTATUS, linux/elf.h
_MAX_REGISTER_BYTES = 512  # bytes of registers; x86-64 has 216, i386 68, aarch64 272
# By the size of a record of registers: where the result of a call is, and how it is packed.
_RESULTS = {216: (80, "<q"), 68: (24, "<i"), 272: (0, "<q")}  # rax, eax, x0

_WALL = 0x40000000  # linux/wait.h
_WNOTHREAD = 0x20000000
_OURS = _WALL | _WNOTHREAD

_ptrace: Any = LIBC.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


class PtraceStop(NamedTuple):
    """Why a seized thread stands still.

    Attributes:
        pid: its id by now: a thread that executed has its leader's.
        event: `EVENT_EXEC`, `EVENT_STOP`, another one, or 0: a signal is about to be delivered.
        signal: the signal, or `SYSCALL_STOP`; of `EVENT_STOP` SIGTRAP, or what stopped the whole
            process.
        ended: whether it ended instead.
    """

    pid: int
    event: int
    signal: int
    ended: bool


def seize(tid: int, options: int) -> None:
    """Become the tracer of a thread, which keeps running.

    Waits while another thread of its process is in execve(2).

    Raises:
        ProcessLookupError: ESRCH: it does not exist.
        PermissionError: EPERM: it is traced already, or we may not trace it.
        InterruptedError: EINTR.
    """
    _request(_SEIZE, tid, 0, options)


def interrupt(tid: int) -> None:
    """Let a seized thread stop (`EVENT_STOP`) before it is in user space again.

    What it sleeps in is interrupted, if it can be. Raises ProcessLookupError if it has ended.
    """
    _request(_INTERRUPT, tid)


def set_options(pid: int, options: int) -> None:
    """Change the options of a stopped thread. Raises ProcessLookupError if it died."""
    _request(_SETOPTIONS, pid, 0, options)


def go_on(pid: int, signal: int, *, to_call: bool = False) -> None:
    """Continue a stopped thread, with a signal delivered. Raises ProcessLookupError if it died.

    Args:
        pid: its id.
        signal: 0 for none.
        to_call: only until it enters a system call or comes out of one (`SYSCALL_STOP`).
    """
    _request(_SYSCALL if to_call else _CONT, pid, 0, signal)


def detach(pid: int, signal: int = 0) -> None:
    """Let go of a stopped thread for good. Raises ProcessLookupError if it died."""
    _request(_DETACH, pid, 0, signal)


def blocked(pid: int) -> int:
    """The signals that a stopped thread blocks, bit n for signal n + 1."""
    mask = ctypes.c_uint64()
    _request(_GETSIGMASK, pid, _MASK_SIZE, ctypes.addressof(mask))
    return mask.value


def block(pid: int, signals: int) -> None:
    """Have a stopped thread block these signals and no others."""
    mask = ctypes.c_uint64(signals)
    _request(_SETSIGMASK, pid, _MASK_SIZE, ctypes.addressof(mask))


def former_tid(pid: int) -> int:
    """At `EVENT_EXEC`, the id that the thread had before. Raises ProcessLookupError if it died."""
    found = ctypes.c_ulong()
    _request(_GETEVENTMSG, pid, 0, ctypes.addressof(found))
    return found.value


def result(pid: int) -> int | None:
    """The result of the call from which a stopped thread returns; None if unknown.

    Raises:
        ProcessLookupError: it died.
    """
    record = registers(pid)
    if len(record) not in _RESULTS:
        return None
    offset, form = _RESULTS[len(record)]
    value: int = Struct(form).unpack_from(record, offset)[0]
    return value


def registers(pid: int) -> bytes:
    """All registers of a stopped thread: `struct user_regs_struct` of its architecture.

    Raises:
        ProcessLookupError: it died.
    """
    record = ctypes.create_string_buffer(_MAX_REGISTER_BYTES)
    vector = ctypes.create_string_buffer(IOVEC.pack(ctypes.addressof(record), _MAX_REGISTER_BYTES))
    _request(_GETREGSET, pid, _PRSTATUS, ctypes.addressof(vector))
    _, size = IOVEC.unpack_from(vector)
    return record.raw[:size]


def set_registers(pid: int, record: bytes) -> None:
    """Put all registers of a stopped thread back. Raises ProcessLookupError if it died."""
    held = ctypes.create_string_buffer(record, len(record))
    vector = ctypes.create_string_buffer(IOVEC.pack(ctypes.addressof(held), len(record)))
    _request(_SETREGSET, pid, _PRSTATUS, ctypes.addressof(vector))


def wait() -> PtraceStop:
    """Wait until a thread that was seized by the calling thread stops or ends.

    No child is reaped: the status of a process belongs to its parent, which may be ourselves.

    Raises:
        ChildProcessError: ECHILD: no child is left.
    """
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WSTOPPED | os.WNOWAIT | _OURS)
    assert found is not None
    ended = found.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED)
    if not ended:
        # Taken, or the kernel refuses requests for a thread that has its leader's id since it
        # executed: looks_like_a_spurious_pid() in kernel/ptrace.c.
        os.waitid(os.P_PID, found.si_pid, os.WSTOPPED | os.WNOHANG | _OURS)
    event, signal = found.si_status >> 8, found.si_status & 0xFF
    return PtraceStop(found.si_pid, 0 if ended else event, signal, ended)


def reap(tid: int) -> None:
    """Let a thread that ended and does not lead its process be gone.

    An execve(2) of another thread waits for that.
    """
    os.waitid(os.P_PID, tid, os.WEXITED | os.WNOHANG | _OURS)


def _request(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if _ptrace(request, pid, address, data) < 0:
        fail()
