"""seccomp(2): what the kernel's filter can answer, and putting a program in force.

Owns the numbers of linux/seccomp.h that have to do with filters. Knows neither what is in a
program (bytes) nor how notifications are answered (`unotify`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import threading

from notifyd.kernel import arch, prctl
from notifyd.kernel.libc import syscall
from notifyd.kernel.limits import BPF_MAXINSNS
from notifyd.kernel.unotify import NOTIF, RESPONSE, Notifier

__all__ = [
    "DATA_SIZE",
    "FILTER_FLAG_LOG",
    "FILTER_FLAG_NEW_LISTENER",
    "FILTER_FLAG_SPEC_ALLOW",
    "FILTER_FLAG_TSYNC",
    "FILTER_FLAG_TSYNC_ESRCH",
    "FILTER_FLAG_WAIT_KILLABLE_RECV",
    "RET_ACTION_FULL",
    "RET_ALLOW",
    "RET_DATA",
    "RET_ERRNO",
    "RET_KILL_PROCESS",
    "RET_KILL_THREAD",
    "RET_LOG",
    "RET_TRACE",
    "RET_TRAP",
    "RET_USER_NOTIF",
    "action_available",
    "can_give_fds",
    "check_notif_sizes",
    "filter_flag_supported",
    "install",
    "is_listener",
    "notif_sizes",
]

# Actions, strongest first: when several filters answer, the first in this order wins.
RET_KILL_PROCESS = 0x80000000  # since 4.14
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000  # the errno is in RET_DATA; the kernel caps it at 4095
RET_USER_NOTIF = 0x7FC00000  # since 5.0
RET_TRACE = 0x7FF00000
RET_LOG = 0x7FFC0000  # since 4.14
RET_ALLOW = 0x7FFF0000

RET_ACTION_FULL = 0xFFFF0000
RET_DATA = 0x0000FFFF

_PASSING = struct.pack("=HBBI", 0x06, 0, 0, RET_ALLOW)  # BPF_RET of that
_NONE = (1 << 32) - 1  # no descriptor

FILTER_FLAG_TSYNC = 1
FILTER_FLAG_LOG = 2  # since 4.14
FILTER_FLAG_SPEC_ALLOW = 4  # since 4.17
FILTER_FLAG_NEW_LISTENER = 8  # since 5.0
FILTER_FLAG_TSYNC_ESRCH = 16  # since 5.7
FILTER_FLAG_WAIT_KILLABLE_RECV = 32  # since 5.19

DATA_SIZE = 64  # bytes of struct seccomp_data, inside struct seccomp_notif

_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_GET_NOTIF_SIZES = 3

_INSTRUCTION = 8  # bytes of struct sock_filter, =HBBI


class _Program(ctypes.Structure):
    """`struct sock_fprog`: a count of instructions, and where they are."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _seccomp(operation: int, flags: int, argument: object) -> int:
    return syscall(arch.native().numbers["seccomp"], operation, flags, argument)


def notif_sizes() -> tuple[int, int, int]:
    """Return how many bytes the kernel has for seccomp_notif, seccomp_notif_resp, seccomp_data.

    Raises:
        OSError: EINVAL: the kernel is older than 5.0 and has no user notification.
    """
    sizes = (ctypes.c_uint16 * 3)()
    _seccomp(_GET_NOTIF_SIZES, 0, ctypes.byref(sizes))
    return sizes[0], sizes[1], sizes[2]


def check_notif_sizes() -> None:
    """Make sure that the kernel's structs are the ones that notifyd reads and writes.

    Raises:
        OSError: EINVAL: the kernel's are larger or smaller, so notifyd would misread them.
            ENOSYS: the kernel has no user notification (older than 5.0, or built without).
    """
    ours = (NOTIF.size, RESPONSE.size, DATA_SIZE)
    try:
        kernel = notif_sizes()
    except OSError as error:
        text = f"the kernel has no seccomp user notification (Linux 5.0 has): {error.strerror}"
        raise OSError(errno.ENOSYS, text) from error
    if kernel != ours:
        text = f"the kernel's notification structs have {kernel} bytes, notifyd knows {ours}"
        raise OSError(errno.EINVAL, text)


def can_give_fds() -> bool:
    """Say whether descriptors can be put into a target (SECCOMP_IOCTL_NOTIF_ADDFD): since 5.9.

    Asked with a descriptor that does not exist, in a thread whose filter allows everything. True as
    well if that cannot be tried: notifyd itself is supervised (EBUSY), or no thread can start.
    """
    found = list[int]()

    def ask() -> None:
        prctl.set_no_new_privs()  # of this thread alone, as the filter
        listener = install(_PASSING, FILTER_FLAG_NEW_LISTENER)
        try:
            Notifier(listener).add_fd(0, _NONE, 0)
        finally:
            os.close(listener)

    def asking() -> None:
        try:
            ask()
        except OSError as error:
            found.append(error.errno or 0)

    thread = threading.Thread(target=asking)
    with contextlib.suppress(RuntimeError):
        thread.start()
        thread.join()
    return not {errno.EINVAL, errno.ENOTTY}.intersection(found)


def action_available(action: int) -> bool:
    """Say whether the kernel knows a filter action, one of `RET_*`. Since 4.14."""
    try:
        _seccomp(_GET_ACTION_AVAIL, 0, ctypes.byref(ctypes.c_uint32(action)))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise
    return True


def filter_flag_supported(flag: int) -> bool:
    """Say whether the kernel knows a filter flag, one of `FILTER_FLAG_*`.

    Asked by offering no program at all: a kernel that knows the flag then reads the program
    (EFAULT), one that does not stops at the flag (EINVAL).
    """
    if flag & FILTER_FLAG_WAIT_KILLABLE_RECV:  # alone it is EINVAL on every kernel
        flag |= FILTER_FLAG_NEW_LISTENER
    try:
        _seccomp(_SET_MODE_FILTER, flag, None)
    except OSError as error:
        if error.errno in (errno.EFAULT, errno.EINVAL):
            return error.errno == errno.EFAULT
        raise
    raise AssertionError("the kernel installed a filter from a null pointer")


def install(program: bytes, flags: int) -> int:
    """Put a program in force for the calling thread, for ever.

    Source: seccomp(2), SECCOMP_SET_MODE_FILTER. `FILTER_FLAG_TSYNC` extends it to every thread of
    the process; together with `FILTER_FLAG_NEW_LISTENER` it needs `FILTER_FLAG_TSYNC_ESRCH`.

    Args:
        program: Whole `struct sock_filter` records of 8 bytes (`=HBBI`), 1 to 4096 of them.
        flags: `FILTER_FLAG_*`, added up.

    Returns:
        With `FILTER_FLAG_NEW_LISTENER` the listener, a close-on-exec descriptor which the caller
        owns; otherwise 0.

    Raises:
        OSError: EACCES: neither no_new_privs nor CAP_SYS_ADMIN. EBUSY: one of the filters in force
            already has a listener. EINVAL: the program or a flag is not valid. ESRCH: with TSYNC,
            a thread could not take the filter. ENOMEM: the filters in force are too long.
    """
    if not program or len(program) % _INSTRUCTION or len(program) > BPF_MAXINSNS * 8:
        raise OSError(errno.EINVAL, f"{len(program)} bytes are no BPF program")
    record = _Program(len(program) // _INSTRUCTION, program)
    result = _seccomp(_SET_MODE_FILTER, flags, ctypes.byref(record))
    if result and not flags & FILTER_FLAG_NEW_LISTENER:
        # TSYNC without TSYNC_ESRCH reports its failure as the id of the thread in the way.
        raise OSError(errno.ESRCH, f"thread {result} cannot take the filter")
    return result


def is_listener(fd: int) -> bool:
    """Whether a descriptor is a listener: the kernel names it so (kernel/seccomp.c).

    False if no descriptor has that number.
    """
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:seccomp notify"
    except FileNotFoundError:
        return False
