"""signalfd(2): signals read from a descriptor, together with who sent them.

Owns the descriptor and the signals it took out of the thread's mask. Python's own handlers and
trio's do not tell the sender.
"""

from __future__ import annotations

import os
import signal
from struct import Struct
from typing import TYPE_CHECKING

from notifyd.kernel import arch
from notifyd.kernel.libc import syscall

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["SI_KERNEL", "SignalFd"]

SI_KERNEL = 0x80  # the sender is the kernel: the terminal's keys, a fault

_INFO = Struct("=IiiI112x")  # struct signalfd_siginfo, 128 bytes: signo, errno, code, pid, ...
_MAX_RECORDS = 16  # records


class SignalFd:
    """Signals of a set, blocked and readable until closed.

    Make it before other threads: they inherit the mask, and a thread that has not blocked a signal
    takes it away from here. Children inherit it as well and must unblock. On closing, the mask is
    as it was before; a signal that came and was not read is then delivered in the ordinary way.

    Raises:
        OSError: EMFILE, ENFILE, ENOMEM: the mask is then as before.
    """

    __slots__ = ("_before", "_fd")

    def __init__(self, signals: Iterable[int]) -> None:
        wanted = {int(number) for number in signals}
        mask = sum(1 << (number - 1) for number in wanted).to_bytes(8, "little")
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        try:
            flags = os.O_CLOEXEC | os.O_NONBLOCK  # SFD_CLOEXEC, SFD_NONBLOCK
            self._fd = syscall(arch.native().numbers["signalfd4"], -1, mask, len(mask), flags)
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
            raise

    def fileno(self) -> int:
        """Return the descriptor, which stays ours; -1 after closing."""
        return self._fd

    def read(self) -> list[tuple[int, int, int]]:
        """Return what has arrived, without waiting: signal, code and the sender's pid.

        The code is `SI_KERNEL` if the kernel sent it, 0 (SI_USER) after kill(2); the pid is 0 where
        there is none, or none visible in our pid namespace. Several of one kind may show as one.
        """
        try:
            data = os.read(self._fd, _INFO.size * _MAX_RECORDS)
        except BlockingIOError:
            return []
        return [(signo, code, pid) for signo, _, code, pid in _INFO.iter_unpack(data)]

    def close(self) -> None:
        """Close the descriptor and restore the mask. Twice is harmless."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def __enter__(self) -> SignalFd:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
