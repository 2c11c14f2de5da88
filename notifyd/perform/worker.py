"""Threads for what may wait for ever: each does one thing, and can be left behind.

trio's own threads are used again for anything else; one that took on somebody's credentials must
never be, and one that hangs must not hold a place that others need. A thread that is left behind is
nudged with a signal until the system call it waits in gives up (EINTR), so that it lets go of what
it holds. Only a page fault that is never served (userfaultfd, FUSE) cannot be nudged.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

import outcome
import trio

from notifyd.errors import NotifydError
from notifyd.kernel import threads
from notifyd.threads import start_thread

__all__ = [
    "CREW",
    "MAX_ABANDONED_THREADS",
    "MAX_THREADS",
    "NUDGE",
    "ThreadPool",
    "TooManyThreads",
    "run",
]

T = TypeVar("T")

# Ends a system call and does nothing else, as long as the watchdog has a handler for it; without
# one it is not sent. Linux itself never sends it.
NUDGE = signal.SIGSTKFLT
# seconds between two looks at whether a target has a signal to attend to
THREAD_POLL_INTERVAL_S = 0.1
# seconds between two looks at whether a thread that has nothing to do is gone
THREAD_EXIT_POLL_INTERVAL_S = 0.0005
MAX_NUDGES = 50  # at most, ever further apart; a nudge that comes too early is lost
MAX_THREADS = 1024  # threads of one workload; a connect that waits has one
MAX_ABANDONED_THREADS = 64  # of those, threads that were left behind and will not go


class TooManyThreads(NotifydError):
    """A workload has as many threads as it may have. The call is refused."""


class ThreadPool:
    """The threads of one workload: a target can see to it that they never come back."""

    def __init__(self) -> None:
        self._jobs: set[_Job[Any]] = set()  # threads take themselves out

    def __len__(self) -> int:
        return len(self._jobs)

    def enter(self, job: _Job[Any]) -> None:
        """One more.

        Raises:
            TooManyThreads: there are too many.
        """
        if len(self._jobs) >= MAX_THREADS:
            raise TooManyThreads(f"{MAX_THREADS} threads wait for this workload already")
        if (
            len(self._jobs) >= MAX_ABANDONED_THREADS
            and sum(one.left for one in tuple(self._jobs)) >= MAX_ABANDONED_THREADS
        ):
            raise TooManyThreads(
                f"{MAX_ABANDONED_THREADS} threads of this workload were left behind, and do not end"
            )
        self._jobs.add(job)

    def leave(self, job: _Job[Any]) -> None:
        """It has ended; may be said by any thread."""
        self._jobs.discard(job)


# Whose threads a task starts; by default they are nobody's, and not counted.
CREW: ContextVar[ThreadPool | None] = ContextVar("CREW", default=None)


async def run(
    function: Callable[[], T],
    *,
    disturbed: Callable[[], bool] | None = None,
    to_its_end: bool = False,
) -> T:
    """Call `function` in a thread of its own and wait for it.

    If the caller is cancelled the thread is left to itself and its result is dropped. It is a
    daemon: it cannot keep the supervisor from ending.

    Args:
        function: what to do; a system call of it that waits may end with EINTR.
        disturbed: asked now and then; once it says yes, the thread is nudged.
        to_its_end: wait until the thread itself is gone. One that has a working directory, a root
            or a mount namespace of its own keeps mounts busy until then.

    Raises:
        TooManyThreads: the workload has too many, and `function` was not called.
        OSError: EAGAIN: no thread could be started, and `function` was not called.
        Whatever `function` raises.
    """
    crew = CREW.get()
    if crew is None:
        crew = ThreadPool()
    job: _Job[T] = _Job(function, crew)
    crew.enter(job)
    try:
        start_thread(job.thread)
    except OSError:
        crew.leave(job)
        raise
    try:
        while not job.done.is_set():
            with trio.move_on_after(
                THREAD_POLL_INTERVAL_S if disturbed is not None else float("inf")
            ):
                await job.done.wait()
            if disturbed is not None and not job.done.is_set() and disturbed():
                job.nudge()
    except trio.Cancelled:
        job.left = True
        job.nudge()
        with suppress(OSError):  # one nudge has to do, if there are no more threads
            name = "notifyd-nudger"
            start_thread(threading.Thread(target=job.drive_out, name=name, daemon=True))
        raise
    if to_its_end:
        with trio.CancelScope(shield=True):  # no cancellation between an effect and its answer
            await _end_of(job.thread)
    return job.result()


async def _end_of(thread: threading.Thread) -> None:
    assert thread.native_id is not None
    for _ in range(3):
        if not threads.is_there(thread.native_id):
            return
        os.sched_yield()  # it may only be waiting for this very core
    while threads.is_there(thread.native_id):
        await trio.sleep(THREAD_EXIT_POLL_INTERVAL_S)


class _Job(Generic[T]):
    """One thread and what comes of it."""

    def __init__(self, function: Callable[[], T], crew: ThreadPool) -> None:
        self.done = trio.Event()
        self.left = False  # whether nobody waits for it any more
        self._crew = crew
        self._function = function
        self._outcome: outcome.Maybe[T] | None = None
        self._token = trio.lowlevel.current_trio_token()
        self.thread = threading.Thread(target=self._work, name="notifyd-worker", daemon=True)

    def _work(self) -> None:
        self._outcome = outcome.capture(self._function)
        self._crew.leave(self)
        with suppress(trio.RunFinishedError):  # the supervisor ended first
            self._token.run_sync_soon(self.done.set)

    def result(self) -> T:
        """What the function returned, or raise what it raised."""
        assert self._outcome is not None
        return self._outcome.unwrap()

    def nudge(self) -> None:
        """End the system call that the thread waits in."""
        identity = self.thread.ident
        if identity is not None and self.thread.is_alive() and callable(signal.getsignal(NUDGE)):
            with suppress(ProcessLookupError):
                signal.pthread_kill(identity, NUDGE)

    def drive_out(self) -> None:
        """Nudge until the thread is gone, or will not go."""
        for at in range(MAX_NUDGES):
            self.nudge()
            self.thread.join(min(0.001 * 2**at, THREAD_POLL_INTERVAL_S))
            if not self.thread.is_alive():
                return
