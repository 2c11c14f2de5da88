"""The supervisor: one nested epoll over every listener, drained in turns; tasks for what waits.

trio watches one descriptor. A wake-up drains the ready listeners in turn, within a budget, and then
gives other tasks their chance. A call whose rules are plain and whose answer is quick never costs a
task; everything else gets one (`attend`).
"""

from __future__ import annotations

import select
import time
from collections import deque
from struct import error as StructError  # noqa: N812
from typing import Any

import trio

from notifyd.engine.answer import GONE
from notifyd.engine.case import Case
from notifyd.engine.workload import Workload
from notifyd.kernel.unotify import NOTIF, RESPONSE_CONTINUE
from notifyd.policy.call import ARCH, ID, NR, Call, Note
from notifyd.policy.verdicts import Allow, Deny, Return

TURN = 64  # calls of one listener before the next one has its turn
SLICE = 5_000_000  # nanoseconds of draining before trio's other tasks run
SWEEP = 0.05  # seconds between two looks at whether the targets of waiting calls are still there
BATCH = 64  # listeners taken from the epoll at once

_WATCH = select.EPOLLIN | select.EPOLLONESHOT
_unpack = NOTIF.unpack_from
_clock = time.perf_counter_ns


class Supervisor:
    """Answers the calls of any number of workloads. Owns them from `add` on."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._workloads: dict[int, Workload] = {}
        self._ready: deque[Workload] = deque()
        self._nursery: trio.Nursery | None = None
        self._waiting = trio.Event()
        self.attended = 0  # calls that were given a task

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Those that have not ended."""
        return tuple(self._workloads.values())

    def add(self, workload: Workload) -> None:
        """Supervise a workload until its last task is gone or it is removed."""
        self._workloads[workload.listener] = workload
        # One-shot: while a listener is being drained, its wake-ups must not climb through two
        # epolls for every single call.
        self._epoll.register(workload.listener, _WATCH)

    def remove(self, workload: Workload) -> None:
        """End a workload: waiting calls are given up, and its listener is closed."""
        if self._workloads.pop(workload.listener, None) is None:
            return
        self._epoll.unregister(workload.listener)
        for scope in workload.waiting.values():
            scope.cancel()
        workload.close()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until cancelled. Then every call that waits is refused, and all is closed."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._sweep)
                task_status.started()
                await self._serve()
        finally:
            self.close()

    def close(self) -> None:
        """Close every listener and the epoll."""
        for workload in self.workloads:
            self.remove(workload)
        self._epoll.close()

    async def _serve(self) -> None:
        while True:
            if self._ready:
                await trio.lowlevel.checkpoint()
            else:
                self._flush()
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0, BATCH):
                workload = self._workloads.get(descriptor)
                if workload is not None:
                    self._ready.append(workload)
            self._turns(_clock() + SLICE)

    def _flush(self) -> None:
        for reporter in {id(one.reporter): one.reporter for one in self.workloads}.values():
            reporter.flush()

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
        """Answer up to `TURN` calls; return whether there may be more."""
        poll = workload.poll
        receive = workload.notifier.receive
        handle = self._handle
        for _ in range(TURN):
            # Invariant: poll, then one RECV. A RECV with nothing pending waits for ever, even on
            # an O_NONBLOCK listener.
            events = poll(0)
            if not events:
                self._epoll.modify(workload.listener, _WATCH)
                return False
            if not events[0][1] & select.POLLIN:
                self.remove(workload)  # POLLHUP: the last task with this filter is gone
                return False
            try:
                note = _unpack(receive())
            except (FileNotFoundError, InterruptedError):
                continue  # the target left between poll and RECV, or a signal came: look again
            handle(workload, note)
        return True

    def _handle(self, workload: Workload, note: Note) -> None:
        """Decide and answer one call inline, or leave it to a task."""
        begun = _clock()
        quick = workload.quick.get((note[ARCH], note[NR]))
        if quick is None:
            case = Case(workload, note, begun)
            done = case.decide()
        else:
            operation, variant, function, step = quick
            call = operation(note, variant, workload)
            try:
                verdict = function(call)
            except BaseException as error:  # a rule may raise anything, SystemExit included
                case = Case(workload, note, begun)
                done = case.failed(step, call, error)
            else:
                if workload.bare and _answer(workload, note, call, verdict, begun):
                    return
                case = Case(workload, note, begun)
                done = case.ruled(step, call, verdict)
        if not done:
            self._attend(case)

    def _attend(self, case: Case) -> None:
        assert self._nursery is not None
        self.attended += 1
        self._waiting.set()
        self._nursery.start_soon(case.attend)

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


def _answer(workload: Workload, note: Note, call: Call, verdict: Any, begun: int) -> bool:
    """Answer what needs no record and no second thought; return False for everything else."""
    kind = verdict.__class__
    try:
        if kind is Deny:
            number = verdict.errno
            if not 0 < number < 4096:
                return False
            sent = workload.notifier.respond(note[ID], 0, -number, 0)
            name, how = "deny", "answered"
        elif kind is Return and not verdict.memory:
            sent = workload.notifier.respond(note[ID], verdict.value, 0, 0)
            name, how, number = "return", "answered", 0
        elif kind is Allow and not (call.looked or verdict.changes or verdict.grant):
            sent = workload.notifier.respond(note[ID], 0, 0, RESPONSE_CONTINUE)
            name, how, number = "allow", "continued", 0
        else:
            return False
    except (TypeError, StructError):
        return False  # nonsense in the verdict, and nothing was sent
    call.close()
    workload.reporter.tally.add(
        call.__class__.__name__, name, how if sent else GONE, number, _clock() - begun
    )
    return True
