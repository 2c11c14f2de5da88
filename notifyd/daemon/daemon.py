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

from notifyd.approvals.desk import Desk
from notifyd.approvals.store import Store
from notifyd.daemon.arrivals import Arrivals
from notifyd.daemon.belonging import part_of
from notifyd.daemon.door import Door
from notifyd.daemon.first import first_of
from notifyd.daemon.installed import Installed, leads, watched_by
from notifyd.daemon.keeping import Keeper, Kept
from notifyd.daemon.matching import cgroups_of
from notifyd.daemon.policies import Policies
from notifyd.daemon.scenes import Scenes
from notifyd.daemon.supervised import Member, Supervised, open_first
from notifyd.engine.answer import CAUSES
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.engine.workload import Workload
from notifyd.events.followers import Follower, Wanted
from notifyd.events.jsonl import JsonLines
from notifyd.events.stream import EventStream
from notifyd.events.tally import Tally
from notifyd.intake.arrival import Arrival, Refused
from notifyd.kernel.fusectl import Connections

__all__ = ["Daemon"]


class Daemon:
    """Supervises whatever arrives.

    Args:
        policies: whom to supervise under which rules.
        audit: the event log, or None; it stays the caller's.
        store: where answers that last are kept, or None; it stays the caller's.
        keeper: has listeners kept for a successor, or None.

    Attributes:
        workloads: those that have not ended, by id.
        arrivals: takes in what comes to the sockets.
        log: where the daemon's own events go; `audit`, the event log.
        desk: where people are asked.
        scenes: what is known around the questions there.
        past: the counts of those that have ended.
        since: seconds since 1970 when it began; `loaded`, when its policies came into force.
    """

    def __init__(
        self,
        policies: Policies,
        audit: JsonLines | None,
        store: Store | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.policies = policies
        self.supervisor = Supervisor()
        self.workloads: dict[str, Supervised] = {}
        self.log = Reporter(audit=audit, counts=True, narrates=True)
        self.desk = Desk(self.log.event, store)
        self.desk.nobody = (
            "nobody can be asked: the configuration has no sockets.control and no webhook"
        )
        self.scenes = Scenes(self.desk, self.workloads)
        self.past = Tally()
        self.since = self.loaded = time.time()
        self.audit = audit
        log = policies.config.log
        if audit is not None and log is not None and log.on_full == "refuse":
            audit.on_full = self._hold
        self._stream = EventStream() if audit is None else audit
        self._door = Door()
        self.arrivals = Arrivals(self, self._door)
        self._keeper = keeper
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
            nursery.start_soon(self.desk.run)
            nursery.start_soon(self.arrivals.serve, sockets)
            task_status.started()

    @property
    def pending(self) -> int:
        """How many calls wait for their answers."""
        return sum(one.pending for one in self.workloads.values())

    # -- workloads

    def supervise(self, arrival: Arrival, installed: Installed) -> Supervised:
        """Supervise what is behind an arrival; its listener is ours from here on.

        Raises:
            Refused: no section is for it; the listener is closed.
        """
        try:
            supervised = self.joined(arrival) or self._chosen(arrival)
            member = self._admit(supervised, arrival, installed)
        except BaseException:
            arrival.close()
            raise
        # Invariant: nothing is on our lists before it is supervised: it would stay there for ever.
        if not supervised.members:
            self._begin(supervised, member)
        self._join(supervised, member, arrival)
        return supervised

    def joined(self, arrival: Arrival) -> Supervised | None:
        """The workload that an arrival is a part of, if that is here and can be told."""
        return part_of(arrival, self.workloads.values())

    def _chosen(self, arrival: Arrival, kept: Kept | None = None) -> Supervised:
        """A new workload under the section that is for an arrival, or one that was kept."""
        cgroups = cgroups_of(arrival) if kept is None else kept.cgroups
        name = self._unique(arrival.id if kept is None else kept.workload)
        policy = self.policies.choose(arrival, cgroups)
        reporter = Reporter(audit=self.log.audit, counts=True, narrates=True)
        first = first_of(arrival) if kept is None else kept.first
        return Supervised(name, arrival, policy, reporter, cgroups, first)

    def _begin(self, supervised: Supervised, first: Member) -> None:
        self.workloads[supervised.id] = supervised
        supervised.tell_begin(first.pid)

    def _unique(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.workloads:
            number += 1
            name = f"{wanted}~{number}"
        return name

    def _admit(
        self,
        supervised: Supervised,
        arrival: Arrival,
        installed: Installed,
        kept: Kept | None = None,
    ) -> Member:
        """Answer the calls behind an arrival. If this raises, the listener stays the caller's."""
        policy = supervised.policy
        name, ledger = "", None
        if kept is not None:
            name, ledger = kept.name, kept.ledger
        elif self._keeper is not None:
            # A successor chooses by the first arrival, as we did, whichever is left.
            told = replace(supervised.arrival, listener=arrival.listener, pid=arrival.pid)
            name, ledger = self._keeper.keep(supervised, told, installed)
        reported = watched_by(installed, policy.watched)
        workload = Workload(
            supervised.id,
            arrival.listener,
            policy.rules,
            supervised.reporter,
            watched=policy.watched if installed.ours else reported,
            reported=reported,
            killable=installed.killable,
            leads=leads(installed),
            notifier=arrival.notifier,
            desk=self.desk,
            section=policy.name,
            ledger=ledger,
            served=self._connections.any,
        )
        if self._held:
            workload.hold(self._held)
        member = Member(workload, installed, *open_first(arrival), name)
        try:
            self.supervisor.add(workload)
        except BaseException:
            member.close()
            if self._keeper is not None and ledger is not None:
                self._keeper.drop(name)
                ledger.close()
            raise
        return member

    def _join(self, supervised: Supervised, member: Member, arrival: Arrival) -> None:
        if supervised.members:
            supervised.reporter.event(
                "workload.joined",
                workload=supervised.id,
                pid=member.pid or None,
                peer=str(arrival.peer),
                metadata=arrival.metadata or None,
            )
        supervised.members.append(member)
        self._door.enter(arrival.peer)
        supervised.tell_unheard(member)
        if self._nursery is not None:
            self._nursery.start_soon(self._until_end, supervised, member)

    async def _until_end(self, supervised: Supervised, member: Member) -> None:
        try:
            await member.workload.ended.wait()
        finally:
            member.close()
            if self._keeper is not None and not member.workload.left:
                self._keeper.drop(member.kept)
        supervised.members.remove(member)
        self._door.leave(supervised.arrival.peer, shared=member.workload.shared)
        if not supervised.members:
            self._end(supervised)

    def _end(self, supervised: Supervised) -> None:
        if self.workloads.pop(supervised.id, None) is None:
            return
        self.desk.forget_workload(supervised.id)
        self.past.merge(supervised.reporter.tally)
        supervised.tell_end()

    def detach(self, supervised: Supervised) -> None:
        """Let a workload go: what it calls from now on, and its filter reports, fails (ENOSYS)."""
        for member in tuple(supervised.members):
            self.supervisor.remove(member.workload)

    # -- from one daemon to the next

    def leave(self) -> None:
        """End without an answer for calls that wait: a successor finds them on record."""
        for supervised in self.workloads.values():
            for member in supervised.members:
                member.workload.left = bool(member.kept)

    def restore(self, kept: Mapping[str, int]) -> None:
        """Supervise what a predecessor has left, and decide its calls anew.

        Args:
            kept: its descriptors by name; ours from here on.
        """
        restored: dict[str, Supervised] = {}
        for one in self._keeper.restore(kept) if self._keeper is not None else ():
            arrival = one.arrival
            try:
                # Not by what they call themselves: two that are told apart would become one.
                supervised = restored.get(one.workload) or self._chosen(arrival, one)
            except Refused as refused:
                arrival.close()
                one.ledger.close()
                self._keeper.drop(one.name)  # type: ignore[union-attr]
                self.arrivals.refuse(arrival.kind, arrival.peer, str(refused))
                continue
            calls = one.ledger.take()
            member = self._admit(supervised, arrival, one.installed, one)
            restored[one.workload] = supervised
            if not supervised.members:
                self._begin(supervised, member)
            self._join(supervised, member, arrival)
            found = self.supervisor.resume(member.workload, calls)
            self.log.event("workload.restored", workload=supervised.id, waiting=found)

    # -- whoever watches

    @contextmanager
    def follow(self, wanted: Wanted, wake: Callable[[], object]) -> Iterator[Follower]:
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
        for supervised in self.workloads.values():
            supervised.record(stream)

    # -- the audit file

    def _hold(self, full: bool) -> None:
        """Refuse what would be allowed while it cannot be written down."""
        self._held = CAUSES["held"] if full else ""
        for supervised in self.workloads.values():
            supervised.hold(self._held)
