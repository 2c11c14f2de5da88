"""Refused arrivals in the log: each peer is named, and none can fill the log."""

from __future__ import annotations

from collections import Counter

import trio

from notifyd.engine.report import Reporter
from notifyd.intake.arrival import Peer

__all__ = ["RefusalLog"]

REFUSAL_PERIOD_S = 10.0  # seconds
MAX_REFUSALS_PER_USER = 5  # lines about one user in a period; the rest is counted
MAX_REFUSALS = 50  # lines: one person may have thousands of user ids (subuid(5))


class RefusalLog:
    """Tells of refused arrivals, at most `MAX_REFUSALS_PER_USER` a user and period one by one.

    The rest is counted, and the largest counts are logged with their users.
    """

    def __init__(self, log: Reporter) -> None:
        self._log = log
        self._told: Counter[int] = Counter()
        self._lines = 0
        self._untold: Counter[int] = Counter()

    def add(self, arrival: str, peer: Peer, why: str) -> None:
        """Tell of one, or count it."""
        if self._told[peer.uid] >= MAX_REFUSALS_PER_USER or self._lines >= MAX_REFUSALS:
            self._untold[peer.uid] += 1
        else:
            self._told[peer.uid] += 1
            self._lines += 1
            self._log.event(
                "arrival.refused", "warning", arrival=arrival, peer=str(peer), reason=why
            )

    async def run(self) -> None:
        """Tell of those that were only counted, period by period, for ever."""
        while True:
            await trio.sleep(REFUSAL_PERIOD_S)
            untold, self._untold = self._untold, Counter()
            self._told, self._lines = Counter(), 0
            for uid, number in untold.most_common(MAX_REFUSALS):
                self._log.event(
                    "arrivals.refused", "warning", uid=uid, count=number, period_s=REFUSAL_PERIOD_S
                )
