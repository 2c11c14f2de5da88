"""A workload as people see it: a container or a command, with one listener or several.

A process that is executed into a container brings a listener of its own; it is decided, counted and
named with the container that it joins.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from notifyd.daemon.first import FirstProcess, is_ours
from notifyd.daemon.installed import InstalledFilter, unheard
from notifyd.daemon.policies import Policy
from notifyd.engine.listener import Listener
from notifyd.engine.report import Reporter
from notifyd.events.stream import EventStream
from notifyd.intake.arrival import Arrival, ArrivalKind
from notifyd.intake.lxc import LXC
from notifyd.kernel import pidfd, proc

__all__ = ["Key", "Workload", "WorkloadListener"]

Key = tuple[ArrivalKind, int, str, str]
"""What arrivals of one workload have in common: how and from whom they came, the id, and LXC's
cookie. Others may have it, too: see `belonging`."""


@dataclass(frozen=True, slots=True, eq=False)
class WorkloadListener:
    """One listener of a workload.

    Attributes:
        installed: what is known of its filter.
        pidfd: its first process; -1 where that is not known. Closed with the member.
        kept: by which name a successor would get it; "" if none would.
    """

    workload: Listener
    installed: InstalledFilter
    pid: int
    pidfd: int
    kept: str = ""

    def close(self) -> None:
        """Let go of the process."""
        if self.pidfd >= 0:
            os.close(self.pidfd)


@dataclass(slots=True, eq=False)
class Workload:
    """One workload.

    Attributes:
        id: unique among those that are supervised now.
        arrival: the first one: what the section was chosen by.
        policy: what decides.
        reporter: counts its calls.
        cgroups: of its first process on arrival: by now, its pid may be reused.
        first: its first process, by which it is known; None if unknown.
        since: seconds since 1970; `begun` is the same moment on the monotonic clock.
    """

    id: str
    arrival: Arrival
    policy: Policy
    reporter: Reporter
    cgroups: Sequence[str] = ()
    first: FirstProcess | None = None
    members: list[WorkloadListener] = field(default_factory=list)
    since: float = field(default_factory=time.time)
    begun: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> Key:
        """What later arrivals have in common with it, if they are its own."""
        return key_of(self.arrival)

    @property
    def pending(self) -> int:
        """How many of its calls wait for their answers."""
        return sum(len(member.workload.waiting) for member in self.members)

    def use(self, policy: Policy) -> None:
        """Decide by other rules from the next call on."""
        self.policy = policy
        for member in self.members:
            member.workload.use(policy.rules)

    def record(self, audit: EventStream | None) -> None:
        """Write its calls down from the next one on, or only count them."""
        self.reporter.audit = audit
        for member in self.members:
            member.workload.record(audit)

    def tell_begin(self, pid: int) -> None:
        """Log that it is supervised from now on, with its first process as far as it is known."""
        arrival, section = self.arrival, self.policy.section
        self.reporter.event(
            "workload.started",
            workload=self.id,
            pid=pid or None,
            arrival=arrival.kind,
            peer=str(arrival.peer),
            section=section.name,
            bundle=arrival.bundle or None,
            metadata=arrival.metadata or None,
            annotations=dict(arrival.annotations) or None,
            rules=list(section.rules),
            otherwise=section.otherwise,
            strict=section.strict,
        )

    def tell_unheard(self, member: WorkloadListener) -> tuple[str, ...]:
        """Report what the rules ask for and the filter, which cannot be changed, never reports."""
        missing = unheard(member.installed, self.policy)
        if missing:
            self.reporter.event(
                "workload.unheard",
                "warning",
                workload=self.id,
                section=self.policy.name,
                syscalls=list(missing),
            )
        return missing

    def tell_end(self) -> None:
        """Log that nothing is left of it."""
        rows = self.reporter.counters.rows()
        self.reporter.event(
            "workload.ended",
            workload=self.id,
            calls=sum(row.count for row in rows),
            refused=self.reporter.counters.refused,
            lasted_s=round(time.monotonic() - self.begun, 6),
        )

    def hold(self, reason: str) -> None:
        """Refuse what would be allowed, for a reason; with none, do not."""
        for member in self.members:
            member.workload.hold(reason)

    def kill(self) -> int:
        """Kill the first process of each listener; return how many there were."""
        killed = 0
        for member in self.members:
            if member.pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    pidfd.send_signal(member.pidfd, signal.SIGKILL)
                    killed += 1
        return killed


def key_of(arrival: Arrival) -> Key:
    """What an arrival has in common with others of its workload."""
    cookie = arrival.metadata if arrival.kind == LXC else ""
    return arrival.kind, arrival.peer.uid, arrival.id, cookie


def open_first(arrival: Arrival) -> tuple[int, int]:
    """The first process behind an arrival: its pid and a pidfd; 0 and -1 where that is not known.

    A peer may name any number. What is not theirs to signal is not taken for theirs; and the
    numbers of a peer in another pid namespace, who has none here, mean nothing.
    """
    if not is_ours(arrival.pid, arrival.peer):
        return 0, -1
    try:
        descriptor = pidfd.open_process(arrival.pid)
    except (OSError, OverflowError):  # a peer's number may be larger than any that the kernel has
        return 0, -1
    try:
        directory = proc.open_dir(arrival.pid)
        try:
            owner = proc.read_status(directory).uid[0]
        finally:
            os.close(directory)
        alive = pidfd.alive(descriptor)
    except OSError:
        alive, owner = False, -1
    if alive and arrival.peer.uid in (0, os.geteuid(), owner):
        return arrival.pid, descriptor
    os.close(descriptor)
    return 0, -1
