"""Standing between a person's terminal and a command, without being noticed.

The command runs in our process group and session, so the terminal's keys reach it from the kernel
and are not passed on a second time. What somebody sends to *us* with kill(2) is meant for it and is
passed on. When it is stopped we stop as well, and the shell sees a stopped job. A command with a
terminal of its own hears nothing from the kernel that we hear: `relay` does at its terminal what
happens at ours.

Owns the relay and the reaping of children; does not know what the command is behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import trio

from notifyd.kernel import proc
from notifyd.kernel.signalfd import SI_KERNEL
from notifyd.launch.signals import has_job_control

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from notifyd.launch.relay import Relay
    from notifyd.launch.signals import TakenSignals
    from notifyd.launch.spawned import Spawned

__all__ = ["relay_signals", "wait_status"]

_END = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP})


async def wait_status(spawned: Spawned) -> int:
    """Wait until the command itself has ended; its descendants may go on.

    One task at a time. Returns n, or 128 + signal, as shells show it.

    Raises:
        ChildProcessError: ECHILD: somebody else waited for it.
    """
    while (status := spawned.reap()) is None:
        await trio.lowlevel.wait_readable(spawned.pidfd)
    return status


async def relay_signals(
    spawned: Spawned,
    signals: TakenSignals,
    *,
    want_end: trio.Event,
    spare: Container[int] = (),
    heard: Callable[[int], object] = bool,
    relay: Relay | None = None,
) -> None:
    """Live with the command at the terminal, until cancelled.

    Args:
        spawned: The command. Its status is left to `wait_status`.
        signals: Taken before the command was spawned. Stays the caller's.
        want_end: Set when a person wants an end (SIGINT, SIGQUIT, SIGTERM, SIGHUP, also from the
            keyboard) and the command has ended already, so that only its descendants are left; or
            if the terminal is gone, whose descendants get their SIGHUP when we end.
        heard: Told of every signal that came for us.
        spare: Pids of other children that have somebody to wait for them. All others behind a
            filter that we are not behind are reaped as orphans of the workload.
        relay: Where the command has a terminal of its own, what is between it and ours.
    """
    while True:
        await trio.lowlevel.wait_readable(signals.fileno())
        for number, code, sender in signals.read():
            if number == signal.SIGCHLD:
                continue
            heard(number)
            hung_up = _is_hangup(number, code)
            if relay is not None and (code == SI_KERNEL or number == signal.SIGCONT):
                _pass_by(relay, number)
            elif spawned.running:
                _pass_on(spawned, number, code, sender, alone=hung_up)
            if hung_up or (number in _END and not spawned.running):
                want_end.set()
        _follow(spawned, signals)
        _reap_orphans(spawned.pid, spare)


def _is_hangup(number: int, code: int) -> bool:
    """Say whether our terminal is gone, which the kernel tells the session's leader alone.

    Its process group is told when the leader ends: tty_signal_session_leader, drivers/tty.
    """
    return number == signal.SIGHUP and code == SI_KERNEL and os.getsid(0) == os.getpid()


def _pass_by(relay: Relay, number: int) -> None:
    """Do at the command's terminal what happened at ours: the kernel told our group alone."""
    if number == signal.SIGWINCH:
        relay.resize()
    elif number == signal.SIGHUP:
        relay.hang_up()
    elif number == signal.SIGCONT:
        relay.resume()
    else:
        relay.key(number)


def _pass_on(spawned: Spawned, number: int, code: int, sender: int, *, alone: bool) -> None:
    """Send the command what was sent to us alone."""
    # The terminal signals a whole process group (SI_KERNEL), and so does `kill 0` in the workload.
    if not alone and (code == SI_KERNEL or (sender and _is_descendant(sender))):
        return
    with contextlib.suppress(PermissionError):
        spawned.send_signal(number)


def _follow(spawned: Spawned, signals: TakenSignals) -> None:
    """Stop if the command was stopped, and let it go on when we do."""
    while (number := _stop_signal(spawned)) and has_job_control():
        signals.stop(number)
        # `fg` continues the whole group; `kill -CONT` perhaps only us. It may also have been
        # continued and stopped again before we woke, and that stop must not be undone: the state
        # first, then whether there is news.
        still = _field(spawned.pid, 0) == b"T"
        if still and not _stop_signal(spawned, os.WNOWAIT):
            with contextlib.suppress(PermissionError):
                spawned.send_signal(signal.SIGCONT)


def _stop_signal(spawned: Spawned, peek: int = 0) -> int:
    """Return the signal by which the command was stopped since we last asked; 0 if it was not."""
    if not spawned.running:
        return 0
    try:
        stopped = os.waitid(os.P_PID, spawned.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        # While a thread of ours traces it, its stops show here too. To take one would leave that
        # thread waiting for ever. A stop of the other kind stays one meanwhile: it ends where the
        # command calls execve(2), and nobody but this thread can go on to trace it then.
        if stopped is None or stopped.si_code == os.CLD_TRAPPED:
            return 0
        if not peek:
            os.waitid(os.P_PID, spawned.pid, os.WSTOPPED | os.WNOHANG)
    except ChildProcessError:  # ended this moment
        return 0
    return stopped.si_status


def _is_descendant(pid: int) -> bool:
    """Say whether a process is of the workload. Orphans of it are, for we are their reaper."""
    us = os.getpid()
    while pid not in (0, 1, us):
        try:
            pid = int(_field(pid, 1))
        except OSError:
            return False
    return pid == us


def _field(pid: int, index: int) -> bytes:
    """Return one field of /proc/PID/stat, counted from behind the name: 0 state, 1 parent."""
    directory = proc.open_dir(pid)
    try:
        return proc.read_stat(directory).rpartition(b")")[2].split()[index]
    finally:
        os.close(directory)


def _reap_orphans(command: int, spare: Container[int]) -> None:
    """Wait for the children that nobody else waits for; those that cannot be told apart now, later.

    Where there are no more descriptors, say: the next child that ends is another occasion.
    """
    # Not waitpid(-1): that would take the status of the command, or of a helper, from its owner.
    with contextlib.suppress(OSError):
        ours = proc.confinement(os.getpid())
        for pid in _children():
            if pid != command and pid not in spare:
                with contextlib.suppress(ChildProcessError, FileNotFoundError, ProcessLookupError):
                    _reap(pid, ours)


def _reap(pid: int, ours: tuple[int, int]) -> None:
    """Wait for a child if it has ended, and is of the workload."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    # One that a thread of ours traces shows its stops here, which are that thread's. And what a
    # rule started is the rule's: subprocess takes a status that somebody else took for success.
    if found is not None and found.si_code != os.CLD_TRAPPED and proc.confinement(pid) > ours:
        os.waitpid(pid, os.WNOHANG)


def _children() -> list[int]:
    """Return the pids of our children, by /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN)."""
    found: list[int] = []
    for thread in os.listdir("/proc/self/task"):
        with (
            contextlib.suppress(FileNotFoundError, ProcessLookupError),
            open(f"/proc/self/task/{thread}/children", "rb") as file,
        ):
            found += map(int, file.read().split())
    return found
