"""What a rule sees as `call.process`: the target's process, looked at when asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from signal import SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU
from typing import Protocol, TypeVar

from notifyd.kernel import proc
from notifyd.target.identity import Identity
from notifyd.target.view import check_named

T = TypeVar("T")
_STOPS = sum(1 << one - 1 for one in (SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU))
_SIGNALS = (b"Sig", b"Shd", b"Threads")  # lines of /proc/TID/status


def has_signal(tid: int, *, for_sure: bool = False) -> bool:
    """Whether a signal waits for a thread that does not block it, and has a handler or is stopped.

    What kills reaches a thread in its call by itself; what is ignored interrupts no call. What
    stops ends it too, and it begins again afterwards: signal(7).

    Args:
        tid: the thread.
        for_sure: count only signals that no other thread can take.
    """
    try:
        with open(f"/proc/{tid}/status", "rb") as status:
            sets = dict(line.split(b":", 1) for line in status if line.startswith(_SIGNALS))
    except OSError:
        return False
    pending = int(sets[b"SigPnd"], 16)
    if not for_sure or int(sets[b"Threads"]) == 1:
        pending |= int(sets[b"ShdPnd"], 16)
    ignored, blocked, caught = (int(sets[one], 16) for one in (b"SigIgn", b"SigBlk", b"SigCgt"))
    return bool(pending & ~blocked & (caught | _STOPS & ~ignored))


class Thread(Protocol):
    """The stopped thread, as far as its process is looked at through it: `StoppedThread`."""

    @property
    def tid(self) -> int:
        """Its id in our pid namespace."""

    @property
    def identity(self) -> Identity:
        """Process, executable and user. Raises TargetGone."""

    def check(self) -> None:
        """Raise TargetGone unless it still waits for our answer."""

    def failure(self, error: OSError) -> Exception:
        """What an error of a look at it means."""

    def look_at_memory(self, look: Callable[[], T], what: str) -> T:
        """What `look` returns, which reads memory of it."""


class TargetProcess:
    """The process of a stopped thread. Every look is checked against the notification."""

    __slots__ = ("_thread",)

    def __init__(self, thread: Thread) -> None:
        self._thread = thread

    @property
    def pid(self) -> int:
        """The thread group's id, in our pid namespace."""
        return self._thread.identity.pid

    @property
    def tid(self) -> int:
        """The calling thread's id, in our pid namespace."""
        return self._thread.tid

    @property
    def ppid(self) -> int:
        """The parent's id."""
        return self._thread.identity.ppid

    @property
    def start(self) -> int:
        """Clock ticks from boot to the process's start."""
        return self._thread.identity.start

    @property
    def exe(self) -> PurePosixPath:
        """The file that it executes, as the kernel names it from our root.

        Raises:
            TargetFault: EACCES: it is in neither's mount namespace, so that this is no name.
        """
        exe = self._thread.identity.exe
        if exe:
            self._named("exe")
        return PurePosixPath(os.fsdecode(exe))

    @property
    def uid(self) -> int:
        """The thread's effective user id, in our user namespace."""
        return self._thread.identity.uid

    @property
    def gid(self) -> int:
        """The thread's effective group id, in our user namespace."""
        return self._thread.identity.gid

    @property
    def cwd(self) -> PurePosixPath:
        """The working directory, as the kernel names it from our root; raises as `exe` does."""
        self._named("cwd")
        return PurePosixPath(os.fsdecode(self._look(proc.cwd)))

    @property
    def cmdline(self) -> tuple[bytes, ...]:
        """Its arguments as it shows them now; it can write there what it likes."""
        # The text is the target's memory.
        look = partial(self._look, proc.cmdline)
        return tuple(self._thread.look_at_memory(look, "cmdline"))

    def _named(self, link: str) -> None:
        try:
            check_named(self._thread.tid, link)
        except OSError as error:
            raise self._thread.failure(error) from error
        self._thread.check()

    def _look(self, reader: Callable[[int], T]) -> T:
        thread = self._thread
        try:
            directory = proc.open_dir(thread.tid)
            try:
                found = reader(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise thread.failure(error) from error
        thread.check()
        return found
