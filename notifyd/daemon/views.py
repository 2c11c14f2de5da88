"""The daemon as those see it who ask: numbers and names, as of this moment."""

from __future__ import annotations

import os
from collections import Counter

from notifyd import __version__
from notifyd.daemon.config import as_list
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.protocol import SectionView, Status, WorkloadView
from notifyd.daemon.supervised import Supervised
from notifyd.events.harmless import whole
from notifyd.events.tally import Tally

__all__ = ["sections", "status", "workload"]


def status(daemon: Daemon) -> Status:
    """How the daemon is."""
    policies = daemon.policies
    sockets = {
        name: getattr(policies.config.sockets, name)
        for name in policies.config.sockets.__struct_fields__
    }
    present = tuple(daemon.workloads.values())
    tallies = [daemon.past, *(one.reporter.tally for one in present)]
    counts = [_counts(tally) for tally in tallies]
    return Status(
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
        rule_errors=sum(tally.errors for tally in tallies),
        arrivals_refused=dict(daemon.arrivals.refused),
        followers=daemon.followers,
    )


def workload(one: Supervised) -> WorkloadView:
    """One workload."""
    tally = one.reporter.tally
    calls, refused = _counts(tally)
    return WorkloadView(
        id=one.id,
        arrival=one.arrival.kind.value,
        section=one.policy.name,
        peer=str(one.arrival.peer),
        pid=next((member.pid for member in one.members if member.pid), 0),
        since=one.since,
        listeners=len(one.members),
        calls=calls,
        refused=refused,
        pending=one.pending,
        slowest_us=max((each.slowest_ns for each in tally.sums().values()), default=0) / 1000,
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


def _counts(tally: Tally) -> tuple[int, int]:
    """Calls, and how many of them were refused."""
    return sum(one.count for one in tally.sums().values()), tally.refused
