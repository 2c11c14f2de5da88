"""The daemon: workloads under supervision, from their arrival until it is told to stop.

Owns the supervisor and every workload. Who may come in at all is for `arrivals` to say; who gets
which rules, for the configuration.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import trio

from notifyd.approvals.queue import ApprovalQueue
from notifyd.approvals.store import Store
from notifyd.daemon.admission import Admission
from notifyd.daemon.belonging import part_of
from notifyd.daemon.fd_store import FdStore, StoredListener
from notifyd.daemon.first import first_of
from notifyd.daemon.installed import InstalledFilter, leads, watched_by
from notifyd.daemon.intake import Intake
from notifyd.daemon.matching import cgroups_of
from notifyd.daemon.policies import Policies
from notifyd.daemon.question_context import QuestionContexts
from notifyd.daemon.workload import Workload, WorkloadListener, open_first
from notifyd.engine.answer import CAUSES
from notifyd.engine.listener import Listener
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.events.counters import Counters
from notifyd.events.followers import EventFilter, Follower
from notifyd.events.jsonl import JsonLines
from notifyd.events.stream import EventStream
from notifyd.intake.arrival import Arrival, ArrivalRefused
from notifyd.kernel.fusectl import Connections

__all__ = ["Daemon"]


class Daemon:
    """Supervises whatever arrives.

    Args:
        policies: whom to supervise under which rules.
        audit: the event log, or None; it stays the caller's.
        store: where answers that last are kept, or None; it stays the caller's.
        fd_store: has listeners kept for a successor, or None.

    Attributes:
        workloads: those that have not ended, by id.
        arrivals: takes in what comes to the sockets.
        log: where the daemon's own events go; `audit`, the event log.
        queue: where people are asked.
        question_contexts: what is known around the questions there.
        past: the counts of those that have ended.
        since: seconds since 1970 when it began; `loaded`, when its policies came into force.
    """

    def __init__(
        self,
        policies: Policies,
        audit: JsonLines | None,
        store: Store | None = None,
        fd_store: FdStore | None = None,
    ) -> None:
        self.policies = policies
        self.supervisor = Supervisor()
        self.workloads: dict[str, Workload] = {}
        self.log = Reporter(audit=audit, counts=True, narrates=True)
        self.queue = ApprovalQueue(self.log.event, store)
        self.queue.nobody = (
            "nobody can be asked: the configuration has no sockets.control and no webhook"
        )
        self.question_contexts = QuestionContexts(self.queue, self.workloads)
        self.past = Counters()
        self.since = self.loaded = time.time()
        self.audit = audit
        log = policies.config.log
        if audit is not None and log is not None and log.on_full == "refuse":
            audit.on_full = self._hold
        self._stream = EventStream() if audit is None else audit
        self._admission = Admission()
        self.arrivals = Intake(self, self._admission)
        self._fd_store = fd_store
        self._nursery: trio.Nursery | None = None
        self._held = ""  # why nothing is allowed at the moment
        self._connections = Connections()

    async def run(
        self,
        sockets: Mapping[str, socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled. The sockets stay the caller's.

        Args:
            sockets: listening, by the names of the configuration.
            task_status: started when arrivals are taken.
        """
        with self._connections:
            await self._run(sockets, task_status)

    async def _run(
        self, sockets: Mapping[str, socket.socket], task_status: trio.TaskStatus[None]
    ) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.supervisor.run)
            nursery.start_soon(self.queue.run)
            nursery.start_soon(self.arrivals.serve, sockets)
            task_status.started()

    @property
    def pending(self) -> int:
        """How many calls wait for their answers."""
        return sum(one.pending for one in self.workloads.values())

    # -- workloads

    def supervise(self, arrival: Arrival, installed: InstalledFilter) -> Workload:
        """Supervise what is behind an arrival; its listener is ours from here on.

        Raises:
            ArrivalRefused: no section is for it; the listener is closed.
        """
        try:
            workload = self.joined(arrival) or self._chosen(arrival)
            member = self._admit(workload, arrival, installed)
        except BaseException:
            arrival.close()
            raise
        # Invariant: nothing is on our lists before it is supervised: it would stay there for ever.
        if not workload.members:
            self._begin(workload, member)
        self._join(workload, member, arrival)
        return workload

    def joined(self, arrival: Arrival) -> Workload | None:
        """The workload that an arrival is a part of, if that is here and can be told."""
        return part_of(arrival, self.workloads.values())

    def _chosen(self, arrival: Arrival, kept: StoredListener | None = None) -> Workload:
        """A new workload under the section that is for an arrival, or one that was kept."""
        cgroups = cgroups_of(arrival) if kept is None else kept.cgroups
        name = self._unique(arrival.id if kept is None else kept.workload)
        policy = self.policies.choose(arrival, cgroups)
        reporter = Reporter(audit=self.log.audit, counts=True, narrates=True)
        first = first_of(arrival) if kept is None else kept.first
        return Workload(name, arrival, policy, reporter, cgroups, first)

    def _begin(self, workload: Workload, first: WorkloadListener) -> None:
        self.workloads[workload.id] = workload
        workload.tell_begin(first.pid)

    def _unique(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.workloads:
            number += 1
            name = f"{wanted}~{number}"
        return name

    def _admit(
        self,
        workload: Workload,
        arrival: Arrival,
        installed: InstalledFilter,
        kept: StoredListener | None = None,
    ) -> WorkloadListener:
        """Answer the calls behind an arrival. If this raises, the listener stays the caller's."""
        policy = workload.policy
        name, in_flight = "", None
        if kept is not None:
            name, in_flight = kept.name, kept.in_flight
        elif self._fd_store is not None:
            # A successor chooses by the first arrival, as we did, whichever is left.
            told = replace(workload.arrival, listener=arrival.listener, pid=arrival.pid)
            name, in_flight = self._fd_store.keep(workload, told, installed)
        reported = watched_by(installed, policy.watched)
        listener = Listener(
            workload.id,
            arrival.listener,
            policy.rules,
            workload.reporter,
            watched=policy.watched if installed.ours else reported,
            reported=reported,
            killable=installed.killable,
            leads=leads(installed),
            notifier=arrival.notifier,
            queue=self.queue,
            section=policy.name,
            in_flight=in_flight,
            served=self._connections.any,
        )
        if self._held:
            listener.hold(self._held)
        member = WorkloadListener(listener, installed, *open_first(arrival), name)
        try:
            self.supervisor.add(listener)
        except BaseException:
            member.close()
            if self._fd_store is not None and in_flight is not None:
                self._fd_store.drop(name)
                in_flight.close()
            raise
        return member

    def _join(self, workload: Workload, member: WorkloadListener, arrival: Arrival) -> None:
        if workload.members:
            workload.reporter.event(
                "workload.joined",
                workload=workload.id,
                pid=member.pid or None,
                peer=str(arrival.peer),
                metadata=arrival.metadata or None,
            )
        workload.members.append(member)
        self._admission.enter(arrival.peer)
        workload.tell_unheard(member)
        if self._nursery is not None:
            self._nursery.start_soon(self._until_end, workload, member)

    async def _until_end(self, workload: Workload, member: WorkloadListener) -> None:
        try:
            await member.workload.ended.wait()
        finally:
            member.close()
            if self._fd_store is not None and not member.workload.left:
                self._fd_store.drop(member.kept)
        workload.members.remove(member)
        self._admission.leave(workload.arrival.peer, shared=member.workload.shared)
        if not workload.members:
            self._end(workload)

    def _end(self, workload: Workload) -> None:
        if self.workloads.pop(workload.id, None) is None:
            return
        self.queue.forget_workload(workload.id)
        self.past.merge(workload.reporter.counters)
        workload.tell_end()

    def detach(self, workload: Workload) -> None:
        """Let a workload go: what it calls from now on, and its filter reports, fails (ENOSYS)."""
        for member in tuple(workload.members):
            self.supervisor.remove(member.workload)

    # -- from one daemon to the next

    def leave(self) -> None:
        """End without an answer for calls that wait: a successor finds them on record."""
        for workload in self.workloads.values():
            for member in workload.members:
                member.workload.left = bool(member.kept)

    def restore(self, kept: Mapping[str, int]) -> None:
        """Supervise what a predecessor has left, and decide its calls anew.

        Args:
            kept: its descriptors by name; ours from here on.
        """
        restored: dict[str, Workload] = {}
        for one in self._fd_store.restore(kept) if self._fd_store is not None else ():
            arrival = one.arrival
            try:
                # Not by what they call themselves: two that are told apart would become one.
                workload = restored.get(one.workload) or self._chosen(arrival, one)
            except ArrivalRefused as refused:
                arrival.close()
                one.in_flight.close()
                self._fd_store.drop(one.name)  # type: ignore[union-attr]
                self.arrivals.refuse(arrival.kind, arrival.peer, str(refused))
                continue
            calls = one.in_flight.take()
            member = self._admit(workload, arrival, one.installed, one)
            restored[one.workload] = workload
            if not workload.members:
                self._begin(workload, member)
            self._join(workload, member, arrival)
            found = self.supervisor.resume(member.workload, calls)
            self.log.event("workload.restored", workload=workload.id, waiting=found)

    # -- whoever watches

    @contextmanager
    def follow(self, wanted: EventFilter, wake: Callable[[], object]) -> Iterator[Follower]:
        """Hand events to a reader. Where no file is written, calls are recorded only meanwhile."""
        follower = self._stream.follow(wanted, wake)
        self._record()
        try:
            yield follower
        finally:
            self._stream.leave(follower)
            self._record()

    @property
    def followers(self) -> int:
        """How many follow the events."""
        return self._stream.followed

    def _record(self) -> None:
        stream = self._stream if self._stream.followed else self.audit
        self.log.audit = stream
        for workload in self.workloads.values():
            workload.record(stream)

    # -- the audit file

    def _hold(self, full: bool) -> None:
        """Refuse what would be allowed while it cannot be written down."""
        self._held = CAUSES["held"] if full else ""
        for workload in self.workloads.values():
            workload.hold(self._held)
