"""seccomp_unotify(2): receiving notifications and answering them.

Owns the three structs, their ioctl numbers, and nothing else: the listener belongs to the caller,
and so does every decision. This is the hot path. What it costs is measured in the tests.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
from struct import Struct
from typing import TYPE_CHECKING, Final

from notifyd.kernel.libc import LIBC, fail

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap

__all__ = [
    "ADDFD",
    "IOCTL_ADDFD",
    "IOCTL_ID_VALID",
    "IOCTL_ID_VALID_WRONG_DIRECTION",
    "IOCTL_RECV",
    "IOCTL_SEND",
    "IOCTL_SET_FLAGS",
    "NOTIF",
    "RECEIVING",
    "RESPONSE",
    "RESPONSE_CONTINUE",
    "SYNC_WAKE_UP",
    "Notifier",
    "note_from",
    "receiver",
    "responder",
]

NOTIF = Struct("=QIIiIQ6Q")
"""id, pid, flags, nr, arch, instruction_pointer, args[6]: 80 bytes."""

RESPONSE = Struct("=QqiI")
"""id, val, error (negative), flags: 24 bytes."""

ADDFD = Struct("=QIIII")
"""id, flags, srcfd, newfd, newfd_flags: 24 bytes."""

IOCTL_RECV: Final = 0xC0502100
IOCTL_SEND: Final = 0xC0182101
IOCTL_ID_VALID: Final = 0x40082102
IOCTL_ID_VALID_WRONG_DIRECTION: Final = 0x80082102  # all that the first kernels know
IOCTL_ADDFD: Final = 0x40182103  # since 5.9
IOCTL_SET_FLAGS: Final = 0x40082104  # since 6.6

RESPONSE_CONTINUE: Final = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE, since 5.5
SYNC_WAKE_UP: Final = 1  # SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, since 6.6

_ID = Struct("=Q")
_pack_id = _ID.pack

_64_BITS: Final = 0x80000000  # the top bit of an AUDIT_ARCH_*: __AUDIT_ARCH_64BIT, linux/audit.h


# Invariant: on a 32-bit entry a register has 32 bits. Code of 64 bits that enters by int 0x80
# leaves what it likes above them, seccomp_data shows it, and the kernel looks at the low halves
# alone (arch/x86/include/asm/syscall_wrapper.h, SC_IA32_REGS_TO_ARGS). So do we, from here on.
def _cut(note: tuple[int, ...]) -> tuple[int, ...]:
    return (*note[:6], *(register & 0xFFFFFFFF for register in note[6:]))


def note_from(data: bytes | mmap, offset: int = 0) -> tuple[int, ...]:
    """The notification that lies in `data`, with registers of the bits that its entry uses."""
    note = NOTIF.unpack_from(data, offset)
    return _cut(note) if note[4] < _64_BITS else note


def receiver(listener: int) -> Callable[[], tuple[int, ...]]:
    """A function that takes one notification; only after poll(2) said POLLIN, and once each time.

    A call with nothing pending waits, even when the listener is O_NONBLOCK. These two are closures
    and no methods because every call of every target passes them.

    Returns:
        A function without arguments. It returns id, pid, flags, nr, arch, instruction_pointer and
        the six args, of 32 bits each behind a 32-bit entry. It raises FileNotFoundError (ENOENT:
        the target went away in between, which is ordinary, or no task has the filter any more and
        poll says POLLHUP), InterruptedError
        (EINTR: poll again), and any other OSError for a mistake of ours.
    """
    ioctl, unpack = fcntl.ioctl, NOTIF.unpack

    def receive() -> tuple[int, ...]:
        # Not zero: EINVAL. A new bytearray is zero, and quicker than clearing an old one.
        buffer = bytearray(80)
        ioctl(listener, IOCTL_RECV, buffer, True)
        note = unpack(buffer)
        return _cut(note) if note[4] < _64_BITS else note

    return receive


def recorder(listener: int, room: memoryview) -> Callable[[], tuple[int, ...]]:
    """The same, where each notification is on record before anybody can be killed who took it.

    The kernel writes it into `room` within the call. fcntl.ioctl would give it a buffer on the
    stack, and copy that when it has Python's lock again.

    Args:
        listener: as of `receiver`.
        room: shared memory; its first 80 bytes become the notification.
    """
    call, unpack, empty = LIBC.ioctl, NOTIF.unpack_from, bytes(NOTIF.size)
    request = ctypes.c_ulong(IOCTL_RECV)
    address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(room)))

    def receive() -> tuple[int, ...]:
        # Not zero: EINVAL. And released memory is not written to: ValueError.
        room[:80] = empty
        if call(listener, request, address) < 0:
            fail("ioctl(SECCOMP_IOCTL_NOTIF_RECV)")
        note = unpack(room)
        return _cut(note) if note[4] < _64_BITS else note

    return receive


RECEIVING: Final = frozenset(
    (receiver(-1).__code__, recorder(-1, memoryview(bytearray(80))).__code__)
)
"""What a thread is at while it waits in RECV, to recognise that from outside."""


def responder(listener: int) -> Callable[[int, int, int, int], bool]:
    """A function that answers a notification. For one thread: its buffer is prepared once.

    Returns:
        A function of the notification's id, the value (signed, 64 bits), the errno (negative, or
        0) and the flags (`RESPONSE_CONTINUE`, with value and errno 0, or 0). It returns False if
        the target is gone: its call was interrupted, or it died. It raises OSError EINPROGRESS if
        this id has an answer already, and struct.error for numbers that do not fit.
    """
    ioctl, pack, response = fcntl.ioctl, RESPONSE.pack_into, bytearray(RESPONSE.size)

    def respond(id: int, value: int, error: int, flags: int) -> bool:  # noqa: A002
        pack(response, 0, id, value, error, flags)
        try:
            ioctl(listener, IOCTL_SEND, response, True)
        except FileNotFoundError:
            return False
        except InterruptedError:  # before anything was sent: waiting for the filter's lock
            return respond(id, value, error, flags)
        return True

    return respond


def _poller(listener: int) -> Callable[[int], list[tuple[int, int]]]:
    """The `poll` of one poll object for one descriptor: half the price of asking an epoll."""
    ready = select.poll()
    ready.register(listener, select.POLLIN)
    return ready.poll


class Notifier:
    """A listener, as a handful of calls. Owns no descriptor; as good as long as the caller's is.

    An `InterruptedError` is not an answer from the kernel, only a signal at a bad moment. Where
    nothing has happened yet the call is made again, and the caller never sees one, except from
    `receive`, where another RECV without POLLIN may wait for ever.

    Attributes:
        poll: waits for so many milliseconds, as `select.poll().poll`: POLLIN before each `receive`;
            events without POLLIN: there will be no more notifications.
        receive: takes one notification; see `receiver`.
        respond: answers one; see `responder`.
    """

    __slots__ = ("_fd", "_id_valid", "_ioctl", "poll", "receive", "respond")

    def __init__(self, listener: int) -> None:
        self._fd = listener
        self._ioctl = fcntl.ioctl
        self._id_valid = IOCTL_ID_VALID
        self.poll = _poller(listener)
        self.receive = receiver(listener)
        self.respond = responder(listener)

    def close(self) -> None:
        """The listener is closed, and its number may soon be another's: nothing uses it any more.

        From here on every target is gone.
        """
        self._fd = -1
        self.respond = _to_nobody

    def gone(self, id: int) -> None:  # noqa: A002
        """A notification ends with no answer, since its target is gone: nothing to do here."""

    def id_valid(self, id: int) -> bool:  # noqa: A002
        """Say whether the target of a notification still waits for its answer.

        Whatever was learnt from a thread id counts only if this held afterwards.
        """
        if self._fd < 0:
            return False
        try:
            # A buffer that may change costs fcntl.ioctl half. Not one that is shared: helper
            # threads ask too.
            self._ioctl(self._fd, self._id_valid, bytearray(_pack_id(id)), True)
        except FileNotFoundError:
            return False
        except InterruptedError:
            return self.id_valid(id)
        except OSError as failure:
            if failure.errno not in (errno.EINVAL, errno.ENOTTY):
                raise
            if self._id_valid == IOCTL_ID_VALID_WRONG_DIRECTION:
                raise
            self._id_valid = IOCTL_ID_VALID_WRONG_DIRECTION
            return self.id_valid(id)
        return True

    def add_fd(self, id: int, srcfd: int, flags: int) -> int:  # noqa: A002
        """Put a copy of our descriptor into the target's table. Since 5.9.

        Args:
            id: The notification's.
            srcfd: Ours, and ours it stays. The kernel refuses an O_PATH one (EBADF).
            flags: O_CLOEXEC or 0, for the target's copy.

        Returns:
            The number in the target's table: the lowest that is free.

        Raises:
            FileNotFoundError: ENOENT: the target is gone.
            OSError: EBADF: `srcfd`. EMFILE: the target's table is full. EINPROGRESS: answered
                already.
        """
        if self._fd < 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        record = ADDFD.pack(id, 0, srcfd, 0, flags)
        try:
            # fcntl.ioctl returns the number only when the buffer may change.
            number: int = self._ioctl(self._fd, IOCTL_ADDFD, bytearray(record), True)
        except InterruptedError:  # not done, and taken back by the kernel
            return self.add_fd(id, srcfd, flags)
        return number

    # Invariant: no descriptor of ours is open when the target continues. One step for both (ADDFD
    # with SEND, since 5.14) lets it continue first: its flock, umount and FIFO meet our copy.
    def give_fd(self, id: int, descriptor: int, flags: int) -> int:  # noqa: A002
        """Answer with a descriptor, and have it no more: the target's copy is the only one.

        Behind a listener without WAIT_KILLABLE_RECV a signal can end the call between the two
        steps. Then the target has the descriptor without knowing (kernel/seccomp.c,
        seccomp_do_user_notification), and it cannot be taken back.

        Args:
            id: The notification's.
            descriptor: Taken over, and closed in every case, before the answer.
            flags: O_CLOEXEC or 0, for the target's copy.

        Returns:
            The number in the target's table.

        Raises:
            FileNotFoundError: ENOENT: the target is gone.
            OSError: As `add_fd`; the call is not answered.
        """
        try:
            number = self.add_fd(id, descriptor, flags)
        finally:
            os.close(descriptor)
        return self._give(id, number)

    def share_fd(self, id: int, srcfd: int, flags: int) -> int:  # noqa: A002
        """As `give_fd`, but ours stays open, and the caller's."""
        return self._give(id, self.add_fd(id, srcfd, flags))

    def _give(self, id: int, number: int) -> int:  # noqa: A002
        if not self.respond(id, number, 0, 0):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return number

    def set_sync_wake_up(self) -> bool:
        """Let the kernel run the target on this CPU right after an answer: half the latency.

        Returns:
            False if the kernel is older than 6.6; everything else works without.
        """
        try:
            # By value. A pointer here is EINVAL, and looks like an old kernel.
            self._ioctl(self._fd, IOCTL_SET_FLAGS, SYNC_WAKE_UP)
        except OSError as failure:
            if failure.errno in (errno.EINVAL, errno.ENOTTY):
                return False
            raise
        return True


def _to_nobody(id: int, value: int, error: int, flags: int) -> bool:  # noqa: A002, ARG001
    return False
