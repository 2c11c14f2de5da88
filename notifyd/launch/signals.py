"""Signals of a process that stands in front of another one.

Owns which signals we take, and how they were before, so that the command can get them as if we
were not there. Does not know to whom they go (`terminal`).
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from notifyd.kernel import prctl
from notifyd.kernel.signalfd import SignalFd

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["FORWARDED", "STOPPING", "SignalState", "TakenSignals", "has_job_control"]

STOPPING = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

FORWARDED = frozenset(
    {
        *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM),
        *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
        *(signal.SIGIO, signal.SIGURG, signal.SIGPWR, signal.SIGWINCH, signal.SIGCONT),
        *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
    }
    | STOPPING
)
"""What people send to a process on purpose. Left out: faults, and limits that are our own."""

_PYTHON_IGNORES = frozenset({signal.SIGPIPE, signal.SIGXFSZ})  # at start-up, before any of our code


@dataclass(frozen=True, slots=True)
class SignalState:
    """What execve(2) hands on: which signals are blocked, and which ignored."""

    mask: frozenset[int]
    ignored: frozenset[int]

    @classmethod
    def current(cls) -> SignalState:
        """Return this thread's, as it would be if Python had not started here."""
        ignored = {s for s in signal.valid_signals() if signal.getsignal(s) == signal.SIG_IGN}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return cls(frozenset(mask), frozenset(ignored - _PYTHON_IGNORES))

    def restore_dispositions(self) -> None:
        """Give up every handler in a child of fork(2), where all signals are still blocked.

        Python's handlers would write to the descriptor that wakes the parent's trio.
        """
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            wanted = signal.SIG_IGN if number in self.ignored else signal.SIG_DFL
            if signal.getsignal(number) not in (wanted, None):
                signal.signal(number, wanted)

    def restore_mask(self) -> None:
        """Let pending signals through. Nothing of ours may be handling them any more."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


class TakenSignals:
    """While open, every signal of `FORWARDED` and SIGCHLD is read here and does nothing else.

    Enter it before the command is spawned, before trio runs and before there are other threads (it
    blocks signals for the thread and those it makes), in the main thread; hand `before` to `spawn`.
    It also makes us the reaper of orphans among our descendants (PR_SET_CHILD_SUBREAPER), which
    Yama's scope 1 needs and which keeps them visible, and sets an ignored SIGCHLD to its default,
    without which there is no exit status.

    Attributes:
        before: How signals were when it was entered.
    """

    def __init__(self) -> None:
        self.before = SignalState.current()
        self._fd: SignalFd | None = None
        self._undo = ExitStack()

    def __enter__(self) -> TakenSignals:
        with ExitStack() as undo:
            self.before = SignalState.current()
            if signal.SIGCHLD in self.before.ignored:
                undo.callback(signal.signal, signal.SIGCHLD, signal.SIG_IGN)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            prctl.set_child_subreaper()
            undo.callback(prctl.set_child_subreaper, False)
            self._fd = undo.enter_context(SignalFd(FORWARDED | {signal.SIGCHLD}))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def fileno(self) -> int:
        """Return the signalfd, which stays ours; readable when `read` has something."""
        return -1 if self._fd is None else self._fd.fileno()

    def read(self) -> list[tuple[int, int, int]]:
        """Return signal, code and sender of what has arrived, without waiting."""
        return [] if self._fd is None else self._fd.read()

    def stop(self, number: int, *, group: bool = False) -> bool:
        """Stop ourselves as the command was stopped; return when we are continued.

        Args:
            number: The signal that stopped the command. What the shell says of the job comes
                from it.
            group: Whether it is for our whole process group, as from the keyboard.

        Returns:
            Whether we were stopped and continued. The kernel stops no group that has no shell.
        """
        if number in STOPPING and signal.getsignal(number) == signal.SIG_DFL:
            _blocked_but(number, lambda: _send(number, group=group))
        else:
            os.kill(os.getpid(), signal.SIGSTOP)
        # The SIGCONT that woke us is for us. What the command needs it gets from the relay.
        return signal.sigtimedwait({signal.SIGCONT}, 0) is not None


def _send(number: int, *, group: bool) -> None:
    if group:
        os.killpg(0, number)
    else:
        signal.raise_signal(number)


def _blocked_but(number: int, act: Callable[[], None]) -> None:
    act()
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # stops here
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def has_job_control() -> bool:
    """Say whether our parent is a shell that will notice a stopped job and continue it.

    Otherwise our group is orphaned, and a stopped supervisor would hold up what is not stopped.
    """
    parent = os.getppid()
    try:
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
    except OSError:  # in another pid namespace, or gone
        return False
