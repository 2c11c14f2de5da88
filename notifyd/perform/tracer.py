"""Letting a target execute, and holding it at the exec stop until it was compared.

The order is what makes it safe. While its call waits in seccomp the thread is seized and told to
stop. With WAIT_KILLABLE_RECV that does not disturb the call. Then the call is answered, and there
are three ways: it executes and stops before the first instruction of the new program; the call
fails and the thread stops on its way back; it dies.

A tracer is a thread of ours, one for each call: ptrace requests have to come from the thread that
seized, and waiting for a stop blocks. Whatever goes wrong in it after the answer ends it with the
target still seized, and then the kernel kills the target (PTRACE_O_EXITKILL), as it does if all of
notifyd is killed.
"""

from __future__ import annotations

import _thread
import enum
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import trio

from notifyd.errors import CannotPerform, TargetGone
from notifyd.kernel import pidfd, proc, ptrace
from notifyd.kernel.unotify import RESPONSE_CONTINUE, Notifier
from notifyd.perform.expected import Difference, Expected

__all__ = ["ExecResult", "Fate", "Tracer"]

KILLED_TARGET_TIMEOUT_S = 1.0  # seconds that the end of a run waits for a target that was killed
RESTARTS = range(512, 517)  # linux/errno.h: ERESTARTSYS and its kin, never seen by programs


class Fate(enum.Enum):
    """What became of a call to execute."""

    RUNS = "what the rule saw was executed"
    FAILED = "nothing was executed: the kernel refused it"
    KILLED = "something else was executed, and killed before its first instruction"
    GONE = "the target died, or was gone before"


class ExecResult(NamedTuple):
    """What came of a call.

    Attributes:
        errno: what the target got, if it failed and that is known; else 0.
        pid: the process that was killed, and what differed.
        reason: why, where there is a why.
    """

    fate: Fate
    errno: int = 0
    pid: int = 0
    difference: Difference | None = None
    reason: str | None = None


class Tracer:
    """One call on its way through the kernel.

    Args:
        tid: the target's thread.
        leads: whether it leads its process.
        id: of its notification.
        listener: of the workload. It stays the caller's.
        process: a pidfd of the target's process. Taken over, unless this raises.
        expected: what has to be executed.
        let_go: closes what is `expected`; called before the target goes on, and once more.

    Raises:
        OSError: EMFILE.
    """

    def __init__(
        self,
        tid: int,
        leads: bool,
        id: int,  # noqa: A002
        listener: int,
        process: int,
        expected: Expected,
        let_go: Callable[[], None],
    ) -> None:
        self._tid = tid
        self._leads = leads
        self._id = id
        self._process = process
        self._expected = expected
        self._turn = threading.Lock()
        self._given_up = False
        self._answered = False
        self._came: ExecResult | Exception | None = None
        self._let_go = let_go
        # A copy, since the workload may end before the thread, and the number be another's.
        self._listener = os.dup(listener)
        self._notifier = Notifier(self._listener)
        self._over = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def run(self) -> ExecResult:
        """Let it execute, and wait for what comes of it. If cancelled, it is killed.

        Raises:
            CannotPerform: it cannot be traced; the call is not answered.
            TargetGone: likewise.
            OSError: likewise; EAGAIN: no more threads.
        """
        try:
            # Not by threading.Thread, which waits until the new thread has begun: that is a tenth
            # of the whole. Nobody waits for its end either; a tracer may never end.
            _thread.start_new_thread(self._work, ())
        except RuntimeError as error:
            self._close()
            raise CannotPerform("no thread can be started to trace it") from error
        try:
            await self._over.wait()
        except trio.Cancelled:
            self._give_up()
            with trio.move_on_after(KILLED_TARGET_TIMEOUT_S, shield=True):
                await self._over.wait()
            if not isinstance(self._came, ExecResult):
                raise
        if isinstance(self._came, Exception):
            raise self._came
        assert self._came is not None
        return self._came

    def _give_up(self) -> None:
        """Nobody waits for it any more: what was not compared yet must not begin."""
        with self._turn:
            self._given_up = True
            if self._answered and self._came is None:
                self._kill()

    # -- in the thread

    def _work(self) -> None:
        came: ExecResult | Exception
        try:
            came = self._trace()
        except Exception as error:
            came = error
            if self._answered:
                reason = f"it could not be compared: {error}"
                came = ExecResult(Fate.KILLED, 0, self._tid, None, reason)
        with self._turn:  # from here on nobody kills by a descriptor that is being closed
            self._came = came
        self._close()
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._over.set)

    def _close(self) -> None:
        self._notifier.close()
        os.close(self._listener)
        os.close(self._process)
        self._let_go()

    def _trace(self) -> ExecResult:
        self._seize()
        with suppress(ProcessLookupError):
            ptrace.interrupt(self._tid)
        with self._turn:
            # Invariant: one answer. Who gave up before this gives it, and else nobody but we do.
            # A thread that was seized in place of the target has no valid id, and gets none.
            if not self._given_up:
                self._answered = self._notifier.respond(self._id, 0, 0, RESPONSE_CONTINUE)
        return self._follow()

    def _seize(self) -> None:
        try:
            ptrace.seize(self._tid, ptrace.O_TRACEEXEC | ptrace.O_EXITKILL)
        except ProcessLookupError as error:
            raise TargetGone("the target is gone") from error
        except InterruptedError as error:
            raise CannotPerform("tracing it was interrupted") from error
        except PermissionError as error:
            raise CannotPerform(_why_not(self._tid)) from error

    def _follow(self) -> ExecResult:
        while True:
            try:
                stop = ptrace.wait()
            except ChildProcessError:  # another thread has executed, and taken its place
                return ExecResult(Fate.GONE)
            if stop.ended:
                if not self._leads and stop.pid == self._tid:
                    ptrace.reap(self._tid)
                return ExecResult(Fate.GONE)
            try:
                if stop.event == ptrace.EVENT_EXEC:
                    return self._at_exec(stop.pid)
                if stop.event == ptrace.EVENT_STOP:
                    return self._failed(stop.pid)
                ptrace.go_on(stop.pid, 0 if stop.event else stop.signal)
            except ProcessLookupError:
                continue  # killed just now, and the next wait says so

    def _at_exec(self, pid: int) -> ExecResult:
        if not self._answered:  # a stranger that was seized in place of the target
            ptrace.detach(pid)
            return ExecResult(Fate.GONE)
        difference = self._compare(pid)
        self._let_go()
        with self._turn:
            if difference is None and not self._given_up:
                # Invariant: nobody lets go of a program but who compared it.
                came = ExecResult(Fate.RUNS)
                ptrace.detach(pid)
                self._came = came
                return came
        self._kill()
        return ExecResult(Fate.KILLED, 0, pid, difference)

    def _compare(self, pid: int) -> Difference | None:
        """Compare; a process that was killed meanwhile has no memory and no file any more.

        Raises:
            ProcessLookupError: it was killed.
        """
        try:
            difference = self._expected.compare(pid)
        except OSError:
            ptrace.former_tid(pid)  # raises, if it does not stand still any more
            raise
        if difference is not None:
            ptrace.former_tid(pid)
        return difference

    def _kill(self) -> None:
        with suppress(OSError):  # where we may not, the end of the tracer does it all the same
            pidfd.send_signal(self._process, signal.SIGKILL)

    def _failed(self, pid: int) -> ExecResult:
        result = ptrace.result(pid)
        self._let_go()
        ptrace.detach(pid)
        if not self._answered or result is None:
            return ExecResult(Fate.FAILED if self._answered else Fate.GONE)
        number = -result if -4096 < result < 0 else 0
        if number in RESTARTS:
            return ExecResult(Fate.FAILED, reason="interrupted; the call comes again")
        return ExecResult(Fate.FAILED, number)


def _why_not(tid: int) -> str:
    """Why a thread cannot be traced."""
    with suppress(OSError, ValueError):
        directory = proc.open_dir(tid)
        try:
            tracer = proc.tracer(directory)
        finally:
            os.close(directory)
        if tracer:
            return f"it is traced already, by process {tracer}, and so it cannot be verified"
    return (
        "it cannot be traced, and so not be verified: it runs as another user, made itself "
        "undumpable, or Yama's ptrace_scope forbids it"
    )
