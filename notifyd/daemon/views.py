"""The daemon as those see it who ask: numbers and names, as of this moment."""

from __future__ import annotations

import os
from collections import Counter

from notifyd import __version__
from notifyd.daemon.config import as_list
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.protocol import DaemonStatus, SectionView, WorkloadView
from notifyd.daemon.workload import Workload
from notifyd.events.counters import Counters
from notifyd.events.sanitize import whole

__all__ = ["sections", "status", "workload"]


def status(daemon: Daemon) -> DaemonStatus:
    """How the daemon is."""
    policies = daemon.policies
    sockets = {
        name: getattr(policies.config.sockets, name)
        for name in policies.config.sockets.__struct_fields__
    }
    present = tuple(daemon.workloads.values())
    all_counters = [daemon.past, *(one.reporter.counters for one in present)]
    counts = [_counts(counters) for counters in all_counters]
    return DaemonStatus(
        version=__version__,
        pid=os.getpid(),
        since=daemon.since,
        config=whole(str(policies.path)),
        loaded=daemon.loaded,
        sockets={name: one.path for name, one in sockets.items() if one is not None},
        audit=policies.config.log.path if policies.config.log else "",
        workloads=len(present),
        listeners=sum(len(one.members) for one in present),
        calls=sum(calls for calls, _ in counts),
        refused=sum(refused for _, refused in counts),
        pending=sum(one.pending for one in present),
        rule_errors=sum(counters.errors for counters in all_counters),
        arrivals_refused=dict(daemon.arrivals.refused),
        followers=daemon.followers,
    )


def workload(one: Workload) -> WorkloadView:
    """One workload."""
    counters = one.reporter.counters
    calls, refused = _counts(counters)
    return WorkloadView(
        id=one.id,
        arrival=one.arrival.kind,
        section=one.policy.name,
        peer=str(one.arrival.peer),
        pid=next((member.pid for member in one.members if member.pid), 0),
        since=one.since,
        listeners=len(one.members),
        calls=calls,
        refused=refused,
        pending=one.pending,
        slowest_us=max((each.slowest_ns for each in counters.sums().values()), default=0) / 1000,
        name=one.arrival.id,
        bundle=whole(one.arrival.bundle),
    )


def sections(daemon: Daemon) -> list[SectionView]:
    """The sections of the configuration, in their order."""
    present = Counter(one.policy.name for one in daemon.workloads.values())
    found = []
    for policy in daemon.policies.sections:
        section = policy.section
        options = {key: [str(one) for one in as_list(v)] for key, v in section.options.items()}
        found.append(
            SectionView(
                name=policy.name,
                rules=section.rules,
                files=[whole(str(file)) for file in policy.files],
                options=options,
                kernel=list(policy.kernel),
                otherwise=section.otherwise,
                strict=section.strict,
                workloads=present[policy.name],
            )
        )
    return found


def _counts(counters: Counters) -> tuple[int, int]:
    """Calls, and how many of them were refused."""
    return sum(one.count for one in counters.sums().values()), counters.refused
