"""The supervisor: one nested epoll over every listener, drained in turns; tasks for what waits.

trio watches one descriptor. A wake-up drains the ready listeners, whose turns `Turns` orders, and
then gives other tasks their chance. A call whose rules are plain and whose answer is quick never
costs a task; everything else gets one (`attend`). Between the steps of many tasks the listeners are
looked at as well (`Between`).
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Iterable

import trio

from notifyd.engine.answer import CAUSES
from notifyd.engine.between import OWNER, Between
from notifyd.engine.case import Case
from notifyd.engine.hot import Linger, Stop, answer_calls
from notifyd.engine.ledger import TRIES
from notifyd.engine.report import Reporter
from notifyd.engine.turns import Share, Turns
from notifyd.engine.watchdog import LOOK, SharedListener, Watchdog
from notifyd.engine.workload import Workload
from notifyd.kernel.unotify import RECEIVING
from notifyd.perform.worker import CREW
from notifyd.policy.call import ID, Note
from notifyd.policy.rule import Rule

# Nanoseconds; a turn is over after the call in which its time was.
TURN = 150_000  # of one listener among several: what a call waits for that comes meanwhile
ALONE = 2_000_000  # of the only listener
SLICE = 5_000_000  # of draining before trio's other tasks run, or what was told is written
BRIEF = 1_000_000  # the same while calls have tasks
SWEEP = 0.05  # seconds between two looks at whether the targets of waiting calls are still there
TIDY = 2.0  # seconds between two looks for helpers that are idle
CROWD = 64  # calls with tasks, from which on a workload gets no more before those had their step
MOST_ATTENDED = 4096  # calls of a workload that have tasks
BATCH = 64  # listeners taken from the epoll at once, and waiting calls looked at

_WATCH = select.EPOLLIN | select.EPOLLONESHOT
_clock = time.perf_counter_ns


class Supervisor:
    """Answers the calls of any number of workloads. Owns them from `add` on."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._shares: dict[int, Share[Workload]] = {}  # by listener
        self._turns: Turns[Workload] = Turns()
        self._telling: set[Reporter] = set()  # those that have something to write
        self._told = 0  # when that was written
        self._linger = Linger()
        self._nursery: trio.Nursery | None = None
        self._waiting = trio.Event()
        self._asleep = trio.CancelScope()
        self._handover: list[Case] | None = None  # where a task that is free takes its next case
        self._attending = 0  # calls that have a task
        self.attended = 0  # calls that were given a task

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Those that have not ended."""
        return tuple(share.of for share in self._shares.values())

    def add(self, workload: Workload) -> None:
        """Supervise a workload until its last task is gone or it is removed.

        Raises:
            OSError: it cannot be watched (ENOSPC, ENOMEM: epoll_ctl(2)); it stays the caller's.
        """
        # One-shot: while a listener is being drained, its wake-ups must not climb through two
        # epolls for every single call.
        self._epoll.register(workload.listener, _WATCH)
        self._shares[workload.listener] = self._turns.open(workload)

    def remove(self, workload: Workload) -> None:
        """End a workload: waiting calls are given up, and its listener is closed."""
        if self._shares.pop(workload.listener, None) is None:
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
        between: Between | None = None
        while True:
            several = len(self._shares) > 1
            if between is not None:
                between.check()
            elif several:
                between = Between(self._turns, self._glance, TURN)
                trio.lowlevel.add_instrument(between)  # until `run` of trio ends, or it fails
            if self._turns:
                if _clock() - self._told > SLICE:
                    self._flush()
                await trio.lowlevel.checkpoint()
            else:
                self._flush()
                await self._sleep(several)
            self._slice()

    async def _sleep(self, several: bool) -> None:
        """Wait until somebody is ready; where there are several, or until the scope is cancelled.

        A scope would cost the only workload a tenth of a call that is waited for.
        """
        if several:
            with trio.CancelScope() as self._asleep:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
        else:
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    def _flush(self) -> None:
        """Have written what the workloads told that had calls; of many, most are idle."""
        self._told = _clock()
        for reporter in self._telling:
            reporter.flush()
        self._telling.clear()

    def _look(self, now: int) -> None:
        """Queue those that became ready."""
        for descriptor, _ in self._epoll.poll(0, BATCH):
            share = self._shares.get(descriptor)
            if share is not None:
                self._turns.enter(share, now)

    def _slice(self) -> None:
        """Give turns until nobody is ready, a call was given a task, or the time is over."""
        attended, now = self.attended, _clock()
        until = now + (BRIEF if self._attending else SLICE)
        self._look(now)
        while (share := self._turns.take()) is not None:
            now = self._turn(share, now)
            if now > until or self.attended != attended:
                return
            if len(self._shares) > 1:
                self._look(now)

    def _glance(self, now: int) -> None:
        """Between the steps of tasks: a turn's time for those that are first."""
        until, crowds = now + TURN, []
        try:
            self._look(now)
            while now <= until and (share := self._turns.take()) is not None:
                if share.of.attended >= CROWD:
                    # Who kills what waits makes more calls than tasks could ever see through.
                    crowds.append(share)
                else:
                    now = self._turn(share, now)
            for share in crowds:
                self._turns.enter(share, now)
        except BaseException:
            self._asleep.cancel()
            raise
        if self._turns or self._telling:
            self._asleep.cancel()  # what was looked at here does not wake the loop any more

    def _turn(self, share: Share[Workload], begun: int) -> int:
        """Give one turn; return when it was over."""
        workload, more = share.of, False
        if workload.listener >= 0:
            more = self._drain(workload, begun + self._span())
        now = _clock()
        self._turns.charge(share, now - begun)
        self._turns.expect(share, now - begun)
        if more:
            self._turns.enter(share, now)
        else:
            self._turns.leave(share, now)
        return now

    def _span(self) -> int:
        return TURN if len(self._shares) > 1 else ALONE

    def _drain(self, workload: Workload, until: int) -> bool:
        """Answer calls until the time is over; return whether there may be more."""
        if workload.reporter not in self._telling:
            workload.reporter.set_clock()
            self._telling.add(workload.reporter)
        while True:
            try:
                stop = answer_calls(workload, until, None if self._turns else self._linger)
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
        if case.workload.attended >= MOST_ATTENDED:
            case.give_up(CAUSES["crowded"], "crowded")
            return
        if not case.enter_ledger():
            return
        self.attended += 1
        self._attending += 1
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
        workload = case.workload
        OWNER.set(self._shares.get(workload.listener))
        CREW.set(workload.crew)
        until = _clock() + self._span()
        following: Case | None = case
        while following is not None:
            try:
                await following.attend()
            finally:
                self._attending -= 1
                workload.leave()
            following = self._following(workload, until)
        self._telling.add(workload.reporter)
        if not self._turns:  # the loop itself may sleep on
            self._flush()

    def _following(self, workload: Workload, until: int) -> Case | None:
        """Drain once more; the first call that has to wait is for the caller to attend.

        Not if the caller's turn is over, or its workload waits for one: others may stand before it.
        """
        share = self._shares.get(workload.listener)
        if share is None or share.queued:
            return None
        taken: list[Case] = []
        self._handover = taken
        try:
            more = _clock() > until or self._drain(workload, until)
        finally:
            self._handover = None
        if more and workload.listener >= 0:
            self._epoll.modify(workload.listener, _WATCH)  # the loop goes on with the rest
        self._turns.leave(share, _clock())
        return taken[0] if taken else None

    async def _tidy(self) -> None:
        """End helpers that have nothing to do any more, and forget the dead."""
        while True:
            await trio.sleep(TIDY)
            for workload in self.workloads:
                workload.identities.tidy()
                workload.files.tidy()

    async def _sweep(self) -> None:
        """Cancel the tasks of calls whose target went away.

        A thread killed while others of its process live gives no poll event at all, so the ids are
        asked for (FD_ID_VALID), as long as anything waits.
        """
        while True:
            await self._waiting.wait()
            await trio.sleep(SWEEP)
            waiting = [
                (workload, identifier, scope)
                for workload in self.workloads
                for identifier, scope in workload.waiting.items()
            ]
            for number, (workload, identifier, scope) in enumerate(waiting, 1):
                if not number % BATCH:
                    await trio.lowlevel.checkpoint()
                if workload.listener >= 0 and not workload.notifier.id_valid(identifier):
                    scope.cancel()
            if not waiting:
                self._waiting = trio.Event()
