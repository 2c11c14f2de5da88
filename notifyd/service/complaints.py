"""Refused arrivals in the log: each peer is named, and none can fill the log."""

from __future__ import annotations

from collections import Counter

import trio

from notifyd.engine.report import Reporter
from notifyd.listen.arrival import Peer

__all__ = ["Complaints"]

PERIOD = 10.0  # seconds
MOST = 5  # lines about one user in a period; the rest is counted


class Complaints:
    """Tells of refused arrivals, at most `MOST` a user and period one by one."""

    def __init__(self, log: Reporter) -> None:
        self._log = log
        self._told: Counter[int] = Counter()

    def add(self, arrival: str, peer: Peer, why: str) -> None:
        """Tell of one, or count it."""
        self._told[peer.uid] += 1
        if self._told[peer.uid] <= MOST:
            self._log.event(
                "arrival.refused", "warning", arrival=arrival, peer=str(peer), reason=why
            )

    async def run(self) -> None:
        """Tell of those that were only counted, period by period, for ever."""
        while True:
            await trio.sleep(PERIOD)
            told, self._told = self._told, Counter()
            for uid, number in told.items():
                if number > MOST:
                    self._log.event(
                        "arrivals.refused", "warning", uid=uid, count=number - MOST, period_s=PERIOD
                    )
