"""The supervisor: one nested epoll over every listener, drained in turns; tasks for what waits.

trio watches one descriptor. A wake-up drains the ready listeners in turn, within a budget, and then
gives other tasks their chance. A call whose rules are plain and whose answer is quick never costs a
task; everything else gets one (`attend`).
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections import deque
from collections.abc import Iterable

import trio

from notifyd.engine.case import Case
from notifyd.engine.hot import Stop, answer_calls
from notifyd.engine.ledger import TRIES
from notifyd.engine.report import Reporter
from notifyd.engine.watchdog import LOOK, SharedListener, Watchdog
from notifyd.engine.workload import Workload
from notifyd.kernel.unotify import RECEIVING
from notifyd.policy.call import ID, Note
from notifyd.policy.rule import Rule

TURN = 2_000_000  # nanoseconds for one listener; then, after a whole call, the next has its turn
SLICE = 5_000_000  # nanoseconds of draining before trio's other tasks run
SWEEP = 0.05  # seconds between two looks at whether the targets of waiting calls are still there
TIDY = 2.0  # seconds between two looks for helpers that are idle
BATCH = 64  # listeners taken from the epoll at once

_WATCH = select.EPOLLIN | select.EPOLLONESHOT
_clock = time.perf_counter_ns


class Supervisor:
    """Answers the calls of any number of workloads. Owns them from `add` on."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._workloads: dict[int, Workload] = {}
        self._ready: deque[Workload] = deque()
        self._telling: set[Reporter] = set()  # those that have something to write
        self._nursery: trio.Nursery | None = None
        self._waiting = trio.Event()
        self._handover: list[Case] | None = None  # where a task that is free takes its next case
        self.attended = 0  # calls that were given a task

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Those that have not ended."""
        return tuple(self._workloads.values())

    def add(self, workload: Workload) -> None:
        """Supervise a workload until its last task is gone or it is removed.

        Raises:
            OSError: it cannot be watched (ENOSPC, ENOMEM: epoll_ctl(2)); it stays the caller's.
        """
        # One-shot: while a listener is being drained, its wake-ups must not climb through two
        # epolls for every single call.
        self._epoll.register(workload.listener, _WATCH)
        self._workloads[workload.listener] = workload

    def remove(self, workload: Workload) -> None:
        """End a workload: waiting calls are given up, and its listener is closed."""
        if self._workloads.pop(workload.listener, None) is None:
            return
        self._epoll.unregister(workload.listener)
        for scope in workload.waiting.values():
            scope.cancel()
        workload.close()
        workload.reporter.flush()  # nothing else asks after it from now on

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until cancelled. Then every call that waits is refused, and all is closed."""
        in_main = threading.current_thread() is threading.main_thread()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._sweep)
                nursery.start_soon(self._tidy)
                task_status.started()
                watchdog = Watchdog(self._rules, RECEIVING)
                with watchdog if in_main else contextlib.nullcontext():
                    await self._serve()
        finally:
            self.close()

    def close(self) -> None:
        """Close every listener and the epoll."""
        for workload in self.workloads:
            self.remove(workload)
        self._flush()
        self._epoll.close()

    def _rules(self) -> list[Rule]:
        return [rule for workload in self.workloads for rule in workload.rules.rules]

    async def _serve(self) -> None:
        while True:
            self._flush()
            if self._ready:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0, BATCH):
                workload = self._workloads.get(descriptor)
                if workload is not None:
                    self._ready.append(workload)
            self._turns(_clock() + SLICE)

    def _flush(self) -> None:
        """Have written what the workloads told that had calls; of many, most are idle."""
        for reporter in self._telling:
            reporter.flush()
        self._telling.clear()

    def _turns(self, until: int) -> None:
        """Drain the ready listeners in turn until none is ready or the time is over."""
        attended = self.attended
        while self._ready:
            workload = self._ready.popleft()
            if workload.listener >= 0 and self._drain(workload):
                self._ready.append(workload)
            if _clock() > until or self.attended != attended:
                return

    def _drain(self, workload: Workload) -> bool:
        """Answer a turn of calls; return whether there may be more."""
        if workload.reporter not in self._telling:
            workload.reporter.set_clock()
            self._telling.add(workload.reporter)
        until = _clock() + TURN
        while True:
            try:
                stop = answer_calls(workload, until)
            except SharedListener:
                self._part(workload)
                return False
            if isinstance(stop, Case):
                self._attend(stop)
                if _clock() > until:
                    return True
            elif stop is Stop.TURN:
                return True
            elif stop is Stop.ENDED:
                self.remove(workload)
                return False
            else:
                self._epoll.modify(workload.listener, _WATCH)
                return False

    def _part(self, workload: Workload) -> None:
        """Let go of a listener that somebody else reads as well."""
        workload.shared = True
        workload.reporter.event("workload.shared", "error", workload=workload.name, held_s=2 * LOOK)
        self.remove(workload)

    def resume(self, workload: Workload, calls: Iterable[tuple[Note, int, int]]) -> int:
        """Decide calls anew that somebody received before us; return how many still wait.

        The supervisor has to run, and the workload be added.

        Args:
            workload: whose they are.
            calls: from its ledger.
        """
        ledger, found = workload.ledger, 0
        assert ledger is not None
        for note, tries, slot in calls:
            if not workload.id_valid(note[ID]):
                ledger.leave(slot)
                continue
            # Invariant: it stays on record until it is answered, and counts as begun before it is.
            ledger.begin(slot, tries + 1)
            found += 1
            case = Case(workload, note, _clock(), slot)
            if tries >= TRIES:
                case.give_up("the supervisor ended while it was decided", "ended")
            elif case.decide() is not None:
                self._attend(case)
        return found

    def _attend(self, case: Case) -> None:
        if not case.enter_ledger():
            return
        self.attended += 1
        case.workload.enter()
        self._waiting.set()
        if self._handover is not None and not self._handover:
            self._handover.append(case)
        elif self._nursery is not None:
            self._nursery.start_soon(self._attend_all, case)

    async def _attend_all(self, case: Case) -> None:
        """Attend a case, and then the next one that needs a task, as long as there is one at once.

        A task for each would cost three times as much where async rules answer quickly.
        """
        until = _clock() + SLICE
        while True:
            try:
                await case.attend()
            finally:
                case.workload.leave()
            following = self._following(case.workload)
            if following is None:
                case.workload.reporter.flush()  # the loop itself may sleep on
                return
            case = following
            if _clock() > until:
                await trio.lowlevel.checkpoint()
                until = _clock() + SLICE

    def _following(self, workload: Workload) -> Case | None:
        """Drain once more; the first call that has to wait is for the caller to attend."""
        if workload.listener < 0:
            return None
        taken: list[Case] = []
        self._handover = taken
        try:
            if self._drain(workload):
                self._epoll.modify(workload.listener, _WATCH)  # the loop goes on with the rest
        finally:
            self._handover = None
        return taken[0] if taken else None

    async def _tidy(self) -> None:
        """End helpers that have nothing to do any more, and forget the dead."""
        while True:
            await trio.sleep(TIDY)
            for workload in self.workloads:
                workload.files.helpers.tidy()
                workload.identities.tidy()

    async def _sweep(self) -> None:
        """Cancel the tasks of calls whose target went away.

        A thread killed while others of its process live gives no poll event at all, so the ids are
        asked for (FD_ID_VALID), as long as anything waits.
        """
        while True:
            await self._waiting.wait()
            await trio.sleep(SWEEP)
            waiting = False
            for workload in self.workloads:
                valid = workload.notifier.id_valid
                for identifier, scope in list(workload.waiting.items()):
                    waiting = True
                    if not valid(identifier):
                        scope.cancel()
            if not waiting:
                self._waiting = trio.Event()
