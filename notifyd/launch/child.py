"""The child between fork(2) and execve(2): from a copy of us to a command behind a filter.

Owns the order of the steps. Everything that may fail or needs a system call comes before the
filter, and is reported to the parent over the socket; after it there is execve(2) alone.

Nothing here returns: an exception that unwound into the parent's code would run that code twice.
"""

from __future__ import annotations

import contextlib
import gc
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from notifyd.kernel import capability, prctl, seccomp, unix
from notifyd.launch.command import Command, exit_status, search
from notifyd.launch.courier import send_courier
from notifyd.launch.spawned import EXEC_FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from notifyd.launch.signals import SignalState
    from notifyd.launch.user import User

__all__ = ["COURIER", "FAILURE_RECORD", "FIND", "INSTALL", "ChildPlan", "become"]

COURIER = struct.Struct("=ci")  # b"D" and the courier's pid
FAILURE_RECORD = struct.Struct("=ci")  # b"E" and an errno; the name of the step follows

FIND = "find the command"
INSTALL = "install the filter"


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """All that the child needs, looked up by the parent.

    Attributes:
        argv: The command and its arguments.
        environment: What the command shall have.
        program: The filter, `struct sock_filter` records.
        flags: `seccomp.FILTER_FLAG_*`.
        user: Whom to become; None to stay.
        signals: The signal state to hand on.
    """

    argv: list[bytes]
    environment: Mapping[bytes, bytes]
    program: bytes
    flags: int
    user: User | None
    signals: SignalState

    @property
    def listens(self) -> bool:
        """Whether there will be a listener to hand over."""
        return bool(self.flags & seccomp.FILTER_FLAG_NEW_LISTENER)


def become(plan: ChildPlan, end: int, other: int) -> NoReturn:
    """Become the command. Called in the child with all signals blocked; never returns.

    Args:
        plan: What to do.
        end: The close-on-exec socket to the parent, which takes the messages of this module.
        other: The parent's end, closed here.
    """
    try:
        # If the parent died, a copy would keep the listener in flight for ever, and us in execve.
        os.close(other)
        gc.disable()  # no finalizer of the parent's objects may run here
        command = _prepare(plan, end)
        if plan.listens:
            with _step(end, "make the courier"):
                courier = send_courier(end)
                unix.send_fds(end, COURIER.pack(b"D", courier), [])
        plan.signals.restore_mask()
        with _step(end, INSTALL):
            seccomp.install(plan.program, plan.flags)
        # Invariant: from here on any call may be trapped, so execve is the only one.
        _execute(command, end)
    finally:
        os._exit(126)


def _prepare(plan: ChildPlan, end: int) -> Command:
    """Do all that works without the filter, in the order in which rights are lost."""
    with _step(end, "restore the signals"):
        plan.signals.restore_dispositions()
    with _step(end, "change to the user"):
        if plan.user:
            plan.user.assume()
    with _step(end, FIND):
        path = search(plan.argv[0], plan.environment)
        command = Command(path, plan.argv, plan.environment)
        command.rehearse()
    with _step(end, "give up privileges"):
        # A user named on purpose gets no way back; otherwise only where the filter needs it, so
        # that set-user-ID programs go on working for root.
        if plan.user or not capability.has("CAP_SYS_ADMIN"):
            prctl.set_no_new_privs()
    return command


@contextlib.contextmanager
def _step(end: int, name: str) -> Iterator[None]:
    """Report a failure with the name of the step, and leave."""
    try:
        yield
    except OSError as error:
        unix.send_fds(end, FAILURE_RECORD.pack(b"E", error.errno or 0) + name.encode(), [])
        os._exit(exit_status(error))


def _execute(command: Command, end: int) -> NoReturn:
    try:
        command.execute()
    except OSError as error:
        os.write(end, EXEC_FAILED.pack(b"X", error.errno or 0))
        os._exit(exit_status(error))
