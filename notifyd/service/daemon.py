"""The daemon: arrivals in, workloads under supervision, until it is told to stop.

Owns the supervisor and every workload. Who may come in at all is `door`'s to say; who gets which
rules, the configuration's.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import trio

from notifyd.audit.followers import Follower, Wanted
from notifyd.audit.jsonl import JsonLines
from notifyd.audit.stream import EventStream
from notifyd.audit.tally import Tally
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.engine.workload import Workload
from notifyd.listen.arrival import Arrival, Kind, Peer, Refused
from notifyd.listen.lxc import serve_lxc
from notifyd.listen.native import serve_native
from notifyd.listen.native_wire import Handover, Offer
from notifyd.listen.oci import serve_oci
from notifyd.service.complaints import Complaints
from notifyd.service.door import Door
from notifyd.service.installed import UNKNOWN, Installed, of_bundle, unheard, watched_by
from notifyd.service.log import HELD
from notifyd.service.matching import cgroups_of
from notifyd.service.policies import Policies, Policy
from notifyd.service.supervised import Key, Member, Supervised, key_of, open_first

__all__ = ["Daemon"]


class Daemon:
    """Supervises whatever arrives.

    Args:
        policies: whom to supervise under which rules.
        audit: the event log, or None; it stays the caller's.

    Attributes:
        workloads: those that have not ended, by id.
        refused: arrivals that came to nothing, by how they came.
        log: where the daemon's own events go.
        past: the counts of those that have ended.
        since: seconds since 1970 when it began; `loaded`, when its policies came into force.
    """

    def __init__(self, policies: Policies, audit: JsonLines | None) -> None:
        self.policies = policies
        self.supervisor = Supervisor()
        self.workloads: dict[str, Supervised] = {}
        self.refused: Counter[str] = Counter()
        self.log = Reporter(audit=audit, counts=True, narrates=True)
        self.past = Tally()
        self.since = self.loaded = time.time()
        self._audit = audit
        log = policies.config.log
        if audit is not None and log is not None and log.on_full == "refuse":
            audit.on_full = self._hold
        self._stream = EventStream() if audit is None else audit
        self._by_key: dict[Key, Supervised] = {}
        self._door = Door()
        self._complaints = Complaints(self.log)
        self._nursery: trio.Nursery | None = None
        self._held = ""  # why nothing is allowed at the moment

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
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.supervisor.run)
            if "oci" in sockets:
                refuse = partial(self.refuse, Kind.OCI)
                welcome = partial(self._welcome, Kind.OCI)
                nursery.start_soon(serve_oci, sockets["oci"], self.take_container, refuse, welcome)
            if "lxc" in sockets:
                refuse = partial(self.refuse, Kind.LXC)
                nursery.start_soon(serve_lxc, sockets["lxc"], self.take, refuse)
            if "native" in sockets:
                refuse = partial(self.refuse, Kind.NATIVE)
                welcome = partial(self._welcome, Kind.NATIVE)
                take, give = self.take_handover, self.offer
                nursery.start_soon(serve_native, sockets["native"], take, give, refuse, welcome)
            nursery.start_soon(self._complaints.run)
            task_status.started()

    @property
    def pending(self) -> int:
        """How many calls wait for their answers."""
        return sum(one.pending for one in self.workloads.values())

    # -- arrivals

    def take(self, arrival: Arrival, installed: Installed = UNKNOWN) -> Supervised:
        """Supervise what is behind an arrival; its listener is ours from here on.

        Raises:
            Refused: nobody wants it; the listener is closed.
        """
        try:
            self._check(arrival)
            supervised = self._joined(arrival)
            if supervised is None:
                policy = self.policies.choose(arrival, partial(cgroups_of, arrival))
                supervised = self._begin(arrival, policy)
        except BaseException:
            arrival.close()
            raise
        self._join(supervised, arrival, installed)
        return supervised

    async def take_container(self, arrival: Arrival) -> None:
        """The same, for a container of which the bundle is looked at first.

        Raises:
            Refused: as `take`.
        """
        installed = UNKNOWN
        if arrival.bundle and self._door.trusts(arrival.peer):
            # A runtime may keep its bundles on any file system.
            try:
                installed = await trio.to_thread.run_sync(
                    of_bundle,
                    arrival.bundle,
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),  # one that hangs is alone
                )
            except BaseException:
                arrival.close()
                raise
        self.take(replace(arrival, killable=installed.killable), installed)

    def take_handover(self, arrival: Arrival, digest: str) -> Handover:
        """The same, for a program that has installed a filter of its own, or ours.

        Raises:
            Refused: as `take`.
        """
        installed = replace(UNKNOWN, killable=arrival.killable)
        for policy in self.policies.sections:
            if digest == policy.digest:
                heard = policy.heard if self._door.trusts(arrival.peer) else None
                installed = replace(installed, heard=heard, ours=True)
        supervised = self.take(arrival, installed)
        return Handover(supervised.id, supervised.policy.name)

    def offer(self, arrival: Arrival) -> Offer:
        """The program to install for what is about to be handed over.

        Raises:
            Refused: nobody would take it.
        """
        self._check(arrival)
        policy = self.policies.choose(arrival, partial(cgroups_of, arrival))
        return Offer(
            policy.name, policy.program, policy.digest, bool(policy.heard), policy.section.rules
        )

    def refuse(self, kind: Kind, peer: Peer, why: str) -> None:
        """Tell of an arrival that came to nothing."""
        self.refused[kind.value] += 1
        self._complaints.add(kind.value, peer, why)

    def refuse_control(self, peer: Peer, why: str) -> None:
        """Tell of a connection to the control socket that came to nothing."""
        self.refused["control"] += 1
        self._complaints.add("control", peer, why)

    def _welcome(self, kind: Kind, peer: Peer) -> None:
        self._door.welcome(self.policies.config, kind, peer)

    def _check(self, arrival: Arrival) -> None:
        self._welcome(arrival.kind, arrival.peer)
        self._door.check_room(arrival.peer)

    # -- workloads

    def _joined(self, arrival: Arrival) -> Supervised | None:
        """The workload that an arrival is a part of, if it is there already."""
        return self._by_key.get(key_of(arrival)) if arrival.joins else None

    def _begin(self, arrival: Arrival, policy: Policy) -> Supervised:
        reporter = Reporter(audit=self.log.audit, counts=True, narrates=True)
        supervised = Supervised(self._unique(arrival.id), arrival, policy, reporter)
        self.workloads[supervised.id] = supervised
        self._by_key[supervised.key] = supervised
        section = policy.section
        reporter.event(
            "workload.started",
            workload=supervised.id,
            pid=arrival.pid or None,
            arrival=arrival.kind.value,
            peer=str(arrival.peer),
            section=policy.name,
            metadata=arrival.metadata or None,
            annotations=dict(arrival.annotations) or None,
            rules=list(section.rules),
            otherwise=section.otherwise,
            strict=section.strict,
        )
        return supervised

    def _unique(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.workloads:
            number += 1
            name = f"{wanted}~{number}"
        return name

    def _join(self, supervised: Supervised, arrival: Arrival, installed: Installed) -> None:
        policy = supervised.policy
        reported = watched_by(installed, policy.watched)
        workload = Workload(
            supervised.id,
            arrival.listener,
            policy.rules,
            supervised.reporter,
            watched=policy.watched if installed.ours else reported,
            reported=reported,
            killable=installed.killable,
            notifier=arrival.notifier,
        )
        if self._held:
            workload.hold(self._held)
        pid, descriptor = open_first(arrival)
        member = Member(workload, installed, pid, descriptor)
        if supervised.members:
            supervised.reporter.event(
                "workload.joined",
                workload=supervised.id,
                pid=pid or None,
                peer=str(arrival.peer),
                metadata=arrival.metadata or None,
            )
        supervised.members.append(member)
        self._door.enter(arrival.peer)
        self.tell_unheard(supervised, member)
        self.supervisor.add(workload)
        if self._nursery is not None:
            self._nursery.start_soon(self._until_end, supervised, member)

    def tell_unheard(self, supervised: Supervised, member: Member) -> tuple[str, ...]:
        """Report what the rules ask for and the filter, which cannot be changed, never reports."""
        missing = unheard(member.installed, supervised.policy)
        if missing:
            supervised.reporter.event(
                "workload.unheard",
                "warning",
                workload=supervised.id,
                section=supervised.policy.name,
                syscalls=list(missing),
            )
        return missing

    async def _until_end(self, supervised: Supervised, member: Member) -> None:
        try:
            await member.workload.ended.wait()
        finally:
            member.close()
        supervised.members.remove(member)
        self._door.leave(supervised.arrival.peer, shared=member.workload.shared)
        if not supervised.members:
            self._end(supervised)

    def _end(self, supervised: Supervised) -> None:
        if self.workloads.pop(supervised.id, None) is None:
            return
        if self._by_key.get(supervised.key) is supervised:
            del self._by_key[supervised.key]
        rows = supervised.reporter.tally.rows()
        self.past.merge(supervised.reporter.tally)
        supervised.reporter.event(
            "workload.ended",
            workload=supervised.id,
            calls=sum(row.count for row in rows),
            refused=sum(row.count for row in rows if row.verdict in ("deny", "kill")),
            lasted_s=round(time.monotonic() - supervised.begun, 6),
        )

    def detach(self, supervised: Supervised) -> None:
        """Let a workload go: what it calls from now on, and its filter reports, fails (ENOSYS)."""
        for member in tuple(supervised.members):
            self.supervisor.remove(member.workload)

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
        stream = self._stream if self._stream.followed else self._audit
        self.log.audit = stream
        for supervised in self.workloads.values():
            supervised.record(stream)

    # -- the audit file

    def keep_log(self) -> None:
        """Do what is due there; called now and then."""
        if self._audit is not None:
            self._audit.tick()

    def rotate(self) -> bool:
        """Begin a new audit file; whether that could be."""
        return self._audit is not None and self._audit.rotate()

    def _hold(self, full: bool) -> None:
        """Refuse what would be allowed while it cannot be written down."""
        self._held = HELD if full else ""
        for supervised in self.workloads.values():
            supervised.hold(self._held)

    # -- rules

    def adopt(self, policies: Policies) -> list[str]:
        """Decide by a new configuration, for those that are here and those that come.

        A workload that no section fits any more keeps the rules that it has.

        Returns:
            What does not go as the configuration says, a line each.
        """
        self.policies = policies
        self.loaded = time.time()
        notes = []
        for supervised in tuple(self.workloads.values()):
            arrival = supervised.arrival
            try:
                policy = policies.choose(arrival, partial(cgroups_of, arrival))
            except Refused as refused:
                notes.append(f"{supervised.id} keeps its rules: {refused}")
                continue
            supervised.use(policy)
            for member in supervised.members:
                missing = self.tell_unheard(supervised, member)
                if missing:
                    notes.append(
                        f"{supervised.id}: its filter does not report {', '.join(missing)}"
                    )
        return notes
