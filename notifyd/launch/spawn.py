"""Starting a command behind a filter, and getting its listener.

Owns the parent's half: the fork, the messages of the child and the courier, what is said when it
fails, and that nothing half-started is left. The child's half is `child`, the courier's `courier`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from notifyd.kernel import pidfd, seccomp, unix
from notifyd.launch.child import COURIER, FAILURE_RECORD, FIND, INSTALL, ChildPlan, become
from notifyd.launch.command import CannotStart, exit_status, native_environment
from notifyd.launch.monitor import Monitor, OwnTerminal, lead
from notifyd.launch.signals import SignalState
from notifyd.launch.spawned import EXEC_FAILED, Spawned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from notifyd.launch.user import User

__all__ = ["is_killable", "listener_flags", "spawn"]

SPAWN_TIMEOUT_S = 10.0  # seconds; longer than the courier's, and than any set-up on a busy machine

_MESSAGE = 256  # bytes, more than any message has


@dataclass(slots=True)
class _Start:
    """What is known about a child so far, to be undone if the start fails."""

    pid: int
    pidfd: int
    courier: int = 0
    monitor: Monitor | None = None
    listener: int | None = None
    exec_failure: bytes = b""


def listener_flags() -> int:
    """The `FILTER_FLAG_*` to install a program with that needs a listener."""
    flags = seccomp.FILTER_FLAG_NEW_LISTENER
    if seccomp.filter_flag_supported(seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV):
        # Without it every signal cancels the call that is being decided, and it comes again.
        flags |= seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV
    return flags


def is_killable(flags: int) -> bool:
    """Whether only what kills disturbs a call that was received."""
    return bool(flags & seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV)


def spawn(
    command: Sequence[str | bytes],
    program: bytes,
    *,
    flags: int,
    user: User | None = None,
    signals: SignalState | None = None,
    own: OwnTerminal | None = None,
) -> Spawned:
    """Start a command behind a filter. It runs with our files, terminal and process group.

    The filter is in force from the command's execve(2) on, including that call. No call has to be
    answered before this returns. Takes some milliseconds, at most `SPAWN_TIMEOUT_S`. The system has
    to have what supervising needs: see `ground`.

    Args:
        command: Name and arguments; the name is looked for along PATH, as by execvp(3).
        program: `struct sock_filter` records of 8 bytes.
        flags: `seccomp.FILTER_FLAG_*`. With NEW_LISTENER the result has a listener, which the
            parent of the command never has to be given by the command: nothing is exempt from the
            filter. Without, this returns when execve(2) is over.
        user: Whom the command runs as; it then cannot gain privileges (no_new_privs). Without,
            no_new_privs is set only when CAP_SYS_ADMIN is missing.
        signals: The mask and the ignored signals for the command: `TakenSignals.before`. By
            default those of the calling thread.
        own: A terminal of its own: it leads a process group of that one's session, and every
            descriptor that would be our terminal is that one. Its parent is then a monitor.

    Returns:
        The started command; the caller closes it, and waits for the process. Its execve(2) may
        still fail: see `Spawned.exec_error`.

    Raises:
        CannotStart: The person can mend it: no such command, not executable, a listener is in
            force already (EBUSY), no right to become `user`.
        OSError: Our own limits: EMFILE, ENOMEM, EAGAIN; ETIMEDOUT.
    """
    plan = _plan(command, program, flags, user, signals)
    with ExitStack() as undo:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.enter_context(ours)
        with theirs:
            start = _fork(plan, theirs.fileno(), ours.fileno(), own)
        undo.callback(_abandon, start)
        ours.settimeout(SPAWN_TIMEOUT_S)
        _listen_to(start, ours, plan)
        if start.courier:
            _wait(start.courier)
        undo.pop_all()
        failure, monitor = start.exec_failure, start.monitor
        return Spawned(start.pid, start.pidfd, start.listener, ours.detach(), failure, monitor)


def _plan(
    command: Sequence[str | bytes],
    program: bytes,
    flags: int,
    user: User | None,
    signals: SignalState | None,
) -> ChildPlan:
    argv = [os.fsencode(argument) for argument in command]
    if not argv:
        raise CannotStart("no command given: put it at the end, as in `-- ls -l`")
    if any(b"\0" in argument for argument in argv):
        raise CannotStart("an argument of the command contains a NUL byte: leave it out")
    environment = native_environment()
    if user:
        environment = user.environment(environment)
    return ChildPlan(argv, environment, program, flags, user, signals or SignalState.current())


def _fork(plan: ChildPlan, end: int, ours: int, own: OwnTerminal | None) -> _Start:
    if own is None:
        pid = _forked(partial(become, plan, end, ours))
        try:
            return _Start(pid, pidfd.open_process(pid))
        except OSError:
            os.kill(pid, signal.SIGKILL)
            _wait(pid)
            raise
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        leading = partial(lead, own, theirs, plan.signals, partial(become, plan, end, ours))
        monitor = Monitor(_forked(leading), mine)
    try:
        return _Start(*monitor.command(SPAWN_TIMEOUT_S), monitor=monitor)
    except OSError:
        monitor.close()
        raise


def _forked(life: Callable[[], NoReturn]) -> int:
    """Fork with every signal blocked, so that no handler of ours ever runs in the child."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns where there are threads. The child takes no lock of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            life()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _listen_to(start: _Start, ours: socket.socket, plan: ChildPlan) -> None:
    """Read messages until the child is on its way, or raise why it is not."""
    while start.listener is None:
        try:
            data, fds, _ = unix.recv_fds(ours, _MESSAGE, 1)
        except TimeoutError as error:
            raise OSError(errno.ETIMEDOUT, "the command's set-up hangs") from error
        if not data:
            return _end_of_messages(start, plan)
        if fds:
            start.listener = fds[0]
        elif data[:1] == b"D":
            _, start.courier = COURIER.unpack(data)
        elif data[:1] == b"E":
            _, number = FAILURE_RECORD.unpack_from(data)
            _explain(
                OSError(number, os.strerror(number)), data[FAILURE_RECORD.size :].decode(), plan
            )
        elif len(data) == EXEC_FAILED.size:
            start.exec_failure = data
    return None


def _end_of_messages(start: _Start, plan: ChildPlan) -> None:
    """Both ends are closed: by execve(2) without a listener, otherwise because the child died."""
    if not plan.listens:
        return
    ended = select.poll()
    ended.register(start.pidfd, select.POLLIN)
    if not ended.poll(SPAWN_TIMEOUT_S * 1000):
        raise OSError(errno.EPROTO, "the command started, but its listener never came")
    number = _killed_by(start)
    raise CannotStart(f"the command was ended by signal {number} before it ran", 128 + number)


def _killed_by(start: _Start) -> int:
    """The signal that ended a child; 0 if none did."""
    if start.monitor is not None:
        select.select([start.monitor], [], [], SPAWN_TIMEOUT_S)
        start.monitor.news()
        return max(0, (start.monitor.status or 0) - 128)
    how = os.waitid(os.P_PID, start.pid, os.WEXITED | os.WNOWAIT)
    return how.si_status if how and how.si_code != os.CLD_EXITED else 0


def _explain(error: OSError, step: str, plan: ChildPlan) -> NoReturn:
    name = os.fsdecode(plan.argv[0])
    if step == FIND:
        text = f"{name}: cannot be executed ({error.strerror}): check its path and its x bit"
        if error.errno == errno.ENOENT:
            text = f"{name}: no such command; check its spelling, or give its path"
        raise CannotStart(text, exit_status(error))
    if step == INSTALL and error.errno == errno.EBUSY:
        raise CannotStart(
            "another seccomp supervisor holds a listener for this process, and the kernel allows"
            " one: start notifyd outside of it"
        )
    if error.errno in (errno.EMFILE, errno.ENOMEM, errno.EAGAIN):
        raise OSError(error.errno, f"cannot {step}: {error.strerror}")
    who = f" (as {plan.user.name or plan.user.uid})" if plan.user else ""
    raise CannotStart(
        f"cannot {step}{who}: {error.strerror}; is this kernel or container too strict?"
    )


def _abandon(start: _Start) -> None:
    """Leave nothing: neither the child, nor its courier, nor a descriptor."""
    pidfd.send_signal(start.pidfd, signal.SIGKILL)
    _wait(start.pid)
    if start.courier:
        _wait(start.courier)  # it ends when it sees that the child has
    if start.monitor is not None:
        start.monitor.close()
    for fd in (start.pidfd, start.listener):
        if fd is not None:
            os.close(fd)


def _wait(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # it may have been reaped elsewhere
        os.waitpid(pid, 0)
