"""The supervisor: one nested epoll over every listener, drained in turns; tasks for what waits.

trio watches one descriptor. A wake-up drains the ready listeners, whose turns `Turns` orders, and
then gives other tasks their chance. A call whose rules are plain and whose answer is quick never
costs a task; everything else gets one (`attend`). Between the steps of many tasks the listeners are
looked at as well (`TurnInstrument`).
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Iterable

import trio

from notifyd.engine.hot import Linger, LoopExit, answer_calls
from notifyd.engine.in_flight import MAX_DECIDE_TRIES
from notifyd.engine.listener import Listener
from notifyd.engine.notification import Notification
from notifyd.engine.report import Reporter
from notifyd.engine.turn_instrument import OWNER, TurnInstrument
from notifyd.engine.turns import Share, Turns
from notifyd.engine.watchdog import STACK_CHECK_INTERVAL_S, SharedListener, Watchdog
from notifyd.kernel.unotify import RECEIVING
from notifyd.perform.worker import CREW
from notifyd.policy.call import ID, Note
from notifyd.policy.rule import Rule

# Nanoseconds; a turn is over after the call in which its time was.
TURN_NS = 150_000  # of one listener among several: what a call waits for that comes meanwhile
LONE_TURN_NS = 2_000_000  # of the only listener
DRAIN_SLICE_NS = 5_000_000  # of draining before trio's other tasks run, or what was told is written
BUSY_SLICE_NS = 1_000_000  # the same while calls have tasks
# seconds between two looks at whether the targets of waiting calls are still there
SWEEP_INTERVAL_S = 0.05
PRUNE_INTERVAL_S = 2.0  # seconds between two looks for helpers that are idle
CROWD = 64  # calls with tasks, from which on a workload gets no more before those had their step
MAX_ATTENDED_CALLS = 4096  # calls of a workload that have tasks
READY_BATCH_SIZE = 64  # listeners taken from the epoll at once, and waiting calls looked at

_WATCH = select.EPOLLIN | select.EPOLLONESHOT
_clock = time.perf_counter_ns


class Supervisor:
    """Answers the calls of any number of workloads. Owns them from `add` on."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._shares: dict[int, Share[Listener]] = {}  # by listener
        self._turns: Turns[Listener] = Turns()
        self._telling: set[Reporter] = set()  # those that have something to write
        self._told = 0  # when that was written
        self._linger = Linger().wait
        self._nursery: trio.Nursery | None = None
        self._waiting = trio.Event()
        self._asleep = trio.CancelScope()
        # where a task that is free takes its next case
        self._handover: list[Notification] | None = None
        self._attending = 0  # calls that have a task
        self.attended = 0  # calls that were given a task

    @property
    def workloads(self) -> tuple[Listener, ...]:
        """Those that have not ended."""
        return tuple(share.of for share in self._shares.values())

    def add(self, listener: Listener) -> None:
        """Supervise a workload until its last task is gone or it is removed.

        Raises:
            OSError: it cannot be watched (ENOSPC, ENOMEM: epoll_ctl(2)); it stays the caller's.
        """
        # One-shot: while a listener is being drained, its wake-ups must not climb through two
        # epolls for every single call.
        self._epoll.register(listener.descriptor, _WATCH)
        self._shares[listener.descriptor] = self._turns.open(listener)

    def remove(self, listener: Listener) -> None:
        """End a workload: waiting calls are given up, and its listener is closed."""
        if self._shares.pop(listener.descriptor, None) is None:
            return
        self._epoll.unregister(listener.descriptor)
        for scope in listener.waiting.values():
            scope.cancel()
        listener.close()
        listener.reporter.flush()  # nothing else asks after it from now on

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until cancelled. Then every call that waits is refused, and all is closed."""
        in_main = threading.current_thread() is threading.main_thread()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._sweep)
                nursery.start_soon(self._prune)
                task_status.started()
                watchdog = Watchdog(self._rules, RECEIVING)
                with watchdog if in_main else contextlib.nullcontext():
                    await self._serve()
        finally:
            self.close()

    def close(self) -> None:
        """Close every listener and the epoll."""
        for listener in self.workloads:
            self.remove(listener)
        self._flush()
        self._epoll.close()

    def _rules(self) -> list[Rule]:
        return [rule for listener in self.workloads for rule in listener.rules.rules]

    async def _serve(self) -> None:
        between: TurnInstrument | None = None
        while True:
            several = len(self._shares) > 1
            if between is not None:
                between.check()
            elif several:
                between = TurnInstrument(self._turns, self._glance, TURN_NS)
                trio.lowlevel.add_instrument(between)  # until `run` of trio ends, or it fails
            if self._turns:
                if _clock() - self._told > DRAIN_SLICE_NS:
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
        for descriptor, _ in self._epoll.poll(0, READY_BATCH_SIZE):
            share = self._shares.get(descriptor)
            if share is not None:
                self._turns.enter(share, now)

    def _slice(self) -> None:
        """Give turns until nobody is ready, a call was given a task, or the time is over."""
        attended, now = self.attended, _clock()
        until = now + (BUSY_SLICE_NS if self._attending else DRAIN_SLICE_NS)
        self._look(now)
        while (share := self._turns.take()) is not None:
            now = self._turn(share, now)
            if now > until or self.attended != attended:
                return
            if len(self._shares) > 1:
                self._look(now)

    def _glance(self, now: int) -> None:
        """Between the steps of tasks: a turn's time for those that are first."""
        until, crowds = now + TURN_NS, []
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

    def _turn(self, share: Share[Listener], begun: int) -> int:
        """Give one turn; return when it was over."""
        listener, more = share.of, False
        if listener.descriptor >= 0:
            more = self._drain(listener, begun + self._span())
        now = _clock()
        self._turns.charge(share, now - begun)
        self._turns.expect(share, now - begun)
        if more:
            self._turns.enter(share, now)
        else:
            self._turns.leave(share, now)
        return now

    def _span(self) -> int:
        return TURN_NS if len(self._shares) > 1 else LONE_TURN_NS

    def _drain(self, listener: Listener, until: int) -> bool:
        """Answer calls until the time is over; return whether there may be more."""
        if listener.reporter not in self._telling:
            listener.reporter.set_clock()
            self._telling.add(listener.reporter)
        while True:
            try:
                stop = answer_calls(listener, until, None if self._turns else self._linger)
            except SharedListener:
                self._part(listener)
                return False
            if isinstance(stop, Notification):
                self._attend(stop)
                if _clock() > until:
                    return True
            elif stop is LoopExit.TURN:
                return True
            elif stop is LoopExit.ENDED:
                self.remove(listener)
                return False
            else:
                self._epoll.modify(listener.descriptor, _WATCH)
                return False

    def _part(self, listener: Listener) -> None:
        """Let go of a listener that somebody else reads as well."""
        listener.shared = True
        listener.reporter.event(
            "workload.shared", "error", workload=listener.name, held_s=2 * STACK_CHECK_INTERVAL_S
        )
        self.remove(listener)

    def resume(self, listener: Listener, calls: Iterable[tuple[Note, int, int]]) -> int:
        """Decide calls anew that somebody received before us; return how many still wait.

        The supervisor has to run, and the workload be added.

        Args:
            listener: whose they are.
            calls: from its in-flight table.
        """
        in_flight, found = listener.in_flight, 0
        assert in_flight is not None
        for note, tries, slot in calls:
            if not listener.id_valid(note[ID]):
                in_flight.leave(slot)
                continue
            # Invariant: it stays on record until it is answered, and counts as begun before it is.
            in_flight.begin(slot, tries + 1)
            found += 1
            notification = Notification(listener, note, _clock(), slot)
            if tries >= MAX_DECIDE_TRIES:
                notification.refuse("ended", reason="the supervisor ended while it was decided")
            elif notification.decide() is not None:
                self._attend(notification)
        return found

    def _attend(self, notification: Notification) -> None:
        if notification.listener.attended >= MAX_ATTENDED_CALLS:
            notification.refuse("crowded")
            return
        if not notification.enter_ledger():
            return
        self.attended += 1
        self._attending += 1
        notification.listener.enter()
        self._waiting.set()
        if self._handover is not None and not self._handover:
            self._handover.append(notification)
        elif self._nursery is not None:
            self._nursery.start_soon(self._attend_all, notification)

    async def _attend_all(self, notification: Notification) -> None:
        """Attend a case, and then the next one that needs a task, as long as there is one at once.

        A task for each would cost three times as much where async rules answer quickly.
        """
        listener = notification.listener
        OWNER.set(self._shares.get(listener.descriptor))
        CREW.set(listener.crew)
        until = _clock() + self._span()
        following: Notification | None = notification
        while following is not None:
            try:
                await following.attend()
            finally:
                self._attending -= 1
                listener.leave()
            following = self._following(listener, until)
        self._telling.add(listener.reporter)
        if not self._turns:  # the loop itself may sleep on
            self._flush()

    def _following(self, listener: Listener, until: int) -> Notification | None:
        """Drain once more; the first call that has to wait is for the caller to attend.

        Not if the caller's turn is over, or its workload waits for one: others may stand before it.
        """
        share = self._shares.get(listener.descriptor)
        if share is None or share.queued:
            return None
        taken: list[Notification] = []
        self._handover = taken
        try:
            more = _clock() > until or self._drain(listener, until)
        finally:
            self._handover = None
        if more and listener.descriptor >= 0:
            self._epoll.modify(listener.descriptor, _WATCH)  # the loop goes on with the rest
        self._turns.leave(share, _clock())
        return taken[0] if taken else None

    async def _prune(self) -> None:
        """End helpers that have nothing to do any more, and forget the dead."""
        while True:
            await trio.sleep(PRUNE_INTERVAL_S)
            for listener in self.workloads:
                listener.identities.prune()
                listener.files.prune()

    async def _sweep(self) -> None:
        """Cancel the tasks of calls whose target went away.

        A thread killed while others of its process live gives no poll event at all, so the ids are
        asked for (FD_ID_VALID), as long as anything waits.
        """
        while True:
            await self._waiting.wait()
            await trio.sleep(SWEEP_INTERVAL_S)
            waiting = [
                (listener, identifier, scope)
                for listener in self.workloads
                for identifier, scope in listener.waiting.items()
            ]
            for number, (listener, identifier, scope) in enumerate(waiting, 1):
                if not number % READY_BATCH_SIZE:
                    await trio.lowlevel.checkpoint()
                if listener.descriptor >= 0 and not listener.notifier.id_valid(identifier):
                    scope.cancel()
            if not waiting:
                self._waiting = trio.Event()
