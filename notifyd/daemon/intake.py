"""What arrives at the sockets: who may come in at all, and what is known of the filter.

Who gets which rules, the configuration says; the daemon supervises.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from notifyd.daemon.admission import Admission
from notifyd.daemon.installed import UNKNOWN_FILTER, InstalledFilter, of_bundle
from notifyd.daemon.matching import cgroups_of
from notifyd.daemon.refusal_log import RefusalLog
from notifyd.daemon.workload import Workload
from notifyd.intake.arrival import Arrival, ArrivalKind, ArrivalRefused, Peer
from notifyd.intake.native_wire import Handover, Offer
from notifyd.intake.protocols import PROTOCOLS
from notifyd.threads import in_thread

if TYPE_CHECKING:
    from notifyd.daemon.policies import Policies
    from notifyd.engine.report import Reporter

__all__ = ["Intake"]


class Supervises(Protocol):
    """What takes over the listeners that were let in: the daemon."""

    log: Reporter
    policies: Policies

    def supervise(self, arrival: Arrival, installed: InstalledFilter) -> Workload:
        """Supervise what is behind an arrival. Raises ArrivalRefused."""

    def joined(self, arrival: Arrival) -> Workload | None:
        """The workload that an arrival is a part of."""


class Intake:
    """Lets in what arrives for a daemon, or refuses it.

    Attributes:
        refused: how many came to nothing, by how they came.
    """

    def __init__(self, daemon: Supervises, admission: Admission) -> None:
        self.refused: Counter[str] = Counter()
        self._daemon = daemon
        self._admission = admission
        self._refusal_log = RefusalLog(daemon.log)

    async def serve(self, sockets: Mapping[str, socket.socket]) -> None:
        """Take what arrives until cancelled. The sockets stay the caller's.

        Args:
            sockets: listening, by the names of the configuration.
        """
        async with trio.open_nursery() as nursery:
            for kind, protocol in PROTOCOLS.items():
                if server := sockets.get(kind):
                    told = partial(self.refuse, kind), partial(self._welcome, kind)
                    nursery.start_soon(protocol.serve, server, self, *told)
            nursery.start_soon(self._refusal_log.run)

    def take(self, arrival: Arrival, installed: InstalledFilter = UNKNOWN_FILTER) -> Workload:
        """Supervise what is behind an arrival; its listener is ours from here on.

        Raises:
            ArrivalRefused: nobody wants it; the listener is closed.
        """
        try:
            self._check(arrival)
        except BaseException:
            arrival.close()
            raise
        return self._daemon.supervise(arrival, installed)

    async def take_container(self, arrival: Arrival) -> None:
        """The same, for a container of which the bundle is looked at first.

        Raises:
            ArrivalRefused: as `take`.
        """
        installed, bundle = UNKNOWN_FILTER, self._bundle_of(arrival)
        if bundle and self._admission.trusts(arrival.peer):
            # A runtime may keep its bundles on any file system.
            try:
                installed = await in_thread(
                    partial(of_bundle, bundle),
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),  # one that hangs is alone
                )
            except BaseException as error:
                arrival.close()
                if isinstance(error, OSError):
                    raise ArrivalRefused(f"its bundle cannot be looked at: {error}") from error
                raise
        self.take(replace(arrival, killable=installed.killable), installed)

    def _bundle_of(self, arrival: Arrival) -> str:
        """Where the `config.json` lies that its filter was made from; "" if nobody can say."""
        # crun 1.8 says "." of a process that is executed into a container (measured).
        joined = self._daemon.joined(arrival)
        told = (arrival, joined.arrival) if joined is not None else (arrival,)
        return next((one.bundle for one in told if os.path.isabs(one.bundle)), "")

    def take_handover(self, arrival: Arrival, digest: str) -> Handover:
        """The same, for a program that has installed a filter of its own, or ours.

        Raises:
            ArrivalRefused: as `take`.
        """
        installed = replace(UNKNOWN_FILTER, killable=arrival.killable)
        for policy in self._daemon.policies.sections:
            if digest == policy.digest:
                profile = policy.profile if self._admission.trusts(arrival.peer) else None
                installed = replace(installed, profile=profile, ours=True)
        workload = self.take(arrival, installed)
        return Handover(workload.id, workload.policy.name)

    def offer(self, arrival: Arrival) -> Offer:
        """The program to install for what is about to be handed over.

        Raises:
            ArrivalRefused: nobody would take it.
        """
        self._check(arrival)
        policy = self._daemon.policies.choose(arrival, cgroups_of(arrival))
        return Offer(
            policy.name, policy.program, policy.digest, policy.notifies, policy.section.rules
        )

    def refuse(self, socket: str, peer: Peer, why: str) -> None:
        """Tell of an arrival, or of a connection to the control socket, that came to nothing."""
        self.refused[socket] += 1
        self._refusal_log.add(socket, peer, why)

    def _welcome(self, kind: ArrivalKind, peer: Peer) -> None:
        self._admission.welcome(self._daemon.policies.config, kind, peer)

    def _check(self, arrival: Arrival) -> None:
        self._welcome(arrival.kind, arrival.peer)
        self._admission.check_room(arrival.peer)
