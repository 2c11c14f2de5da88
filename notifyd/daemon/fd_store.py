"""Workloads that outlive the daemon: what a successor needs, kept by the service manager.

For each listener there are two descriptors in systemd's fd store: the listener, and its in-flight
table, which has the calls under way and, as JSON, what is known of the arrival.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from notifyd.bpf.profile import Profile
from notifyd.daemon.first import FirstProcess, is_ours, start_of
from notifyd.daemon.installed import InstalledFilter
from notifyd.daemon.sd_notify import Manager
from notifyd.daemon.workload import Workload
from notifyd.engine.in_flight import MAX_ABOUT_BYTES, InFlightTable
from notifyd.intake.arrival import Arrival, ArrivalKind, Peer
from notifyd.kernel import seccomp

__all__ = ["FdStore", "StoredListener"]


class _StoredState(msgspec.Struct):
    """What is known of a listener and of the workload that it is a part of, for a successor."""

    workload: str
    kind: str
    peer: tuple[int, int, int, str]
    id: str
    pid: int
    start: int
    metadata: str
    annotations: dict[str, str]
    section: str
    killable: bool
    profile: Profile | None
    cgroups: list[str]
    ours: bool
    first: tuple[int, int] | None = None
    bundle: str = ""


@dataclass(frozen=True, slots=True)
class StoredListener:
    """A listener that a predecessor had.

    Attributes:
        name: of its descriptors in the store; in the order in which they came.
        workload: the id of what it is a part of.
        arrival: the workload's first, with the listener and the pid of this one.
        in_flight: owned by the receiver of this, as is the arrival's listener.
        first: of the workload, by which it is known; it may have ended.
    """

    name: str
    workload: str
    arrival: Arrival
    installed: InstalledFilter
    cgroups: tuple[str, ...]
    in_flight: InFlightTable
    first: FirstProcess | None


class FdStore:
    """Has listeners kept."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    @property
    def keeps(self) -> bool:
        """Whether there is anybody to keep them."""
        return self._manager.keeps

    def keep(
        self, workload: Workload, arrival: Arrival, installed: InstalledFilter
    ) -> tuple[str, InFlightTable | None]:
        """Have a listener kept; the name by which it is, and its in-flight table.

        "" and None if it is not.

        LXC's are not: its monitors keep them, and connect again.

        Args:
            workload: what it is a part of.
            arrival: as in `StoredListener`. The listener stays its owner's.
            installed: of this listener.
        """
        if not self._manager.keeps or arrival.notifier is not None:
            return "", None
        about = msgspec.json.encode(_about(workload, arrival, installed))
        if len(about) > MAX_ABOUT_BYTES:  # of a long profile nothing is known then
            unknown = replace(installed, profile=None)
            about = msgspec.json.encode(_about(workload, arrival, unknown))
        try:
            in_flight = InFlightTable.create(about)
        except (OSError, ValueError):
            return "", None
        # Microseconds since boot: names sort as they came, also those of the next daemon.
        name = f"{time.monotonic_ns() // 1000:012x}{secrets.token_hex(2)}"
        self._manager.keep(f"{name}.ledger", in_flight.descriptor)
        self._manager.keep(f"{name}.listener", arrival.listener)
        return name, in_flight

    def drop(self, name: str) -> None:
        """A listener is kept no more."""
        if name:
            self._manager.drop(f"{name}.listener")
            self._manager.drop(f"{name}.ledger")

    def restore(self, kept: Mapping[str, int]) -> Iterator[StoredListener]:
        """What a predecessor had, of what came from the store. All descriptors are owned then."""
        left = dict(kept)
        for name in sorted({one.partition(".")[0] for one in kept}):
            listener = left.pop(f"{name}.listener", -1)
            memory = left.pop(f"{name}.ledger", -1)
            found = _restored(name, listener, memory)
            if found is None:
                self.drop(name)
            else:
                yield found


def _restored(name: str, listener: int, memory: int) -> StoredListener | None:
    try:
        in_flight = InFlightTable(memory) if memory >= 0 else None
    except (OSError, ValueError):
        in_flight = None
    if in_flight is not None and listener >= 0 and seccomp.is_listener(listener):
        try:
            about = msgspec.json.decode(in_flight.about, type=_StoredState)
            arrival, cgroups = _arrival(about, listener), tuple(about.cgroups)
            first = FirstProcess(*about.first) if about.first else None
            return StoredListener(
                name, about.workload, arrival, _installed(about), cgroups, in_flight, first
            )
        except (msgspec.DecodeError, ValueError):
            pass
    if in_flight is not None:
        in_flight.close()
    if listener >= 0:
        os.close(listener)
    return None


def _about(workload: Workload, arrival: Arrival, installed: InstalledFilter) -> _StoredState:
    peer = arrival.peer
    pid = arrival.pid if is_ours(arrival.pid, peer) else 0
    return _StoredState(
        workload.id,
        arrival.kind,
        (peer.pid, peer.uid, peer.gid, peer.name),
        arrival.id,
        pid,
        start_of(pid),
        arrival.metadata,
        dict(arrival.annotations),
        arrival.section,
        installed.killable,
        installed.profile,
        list(workload.cgroups),
        installed.ours,
        workload.first,
        arrival.bundle,
    )


def _arrival(about: _StoredState, listener: int) -> Arrival:
    return Arrival(
        ArrivalKind(about.kind),
        Peer(*about.peer),
        about.id,
        listener,
        pid=about.pid if about.start == start_of(about.pid) else 0,
        metadata=about.metadata,
        annotations=about.annotations,
        bundle=about.bundle,
        section=about.section,
        killable=about.killable,
    )


def _installed(about: _StoredState) -> InstalledFilter:
    return InstalledFilter(about.profile, about.killable, about.ours)
