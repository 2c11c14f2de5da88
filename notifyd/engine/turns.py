"""Whose turn it is: the loop's time, shared among the workloads that have something to do.

Owns the queue of those that are ready, and the accounts. Knows no clock, no listener and no call;
all times are nanoseconds that the caller has measured.

Each workload has an account of the time that was spent on it. Whoever is ready and has spent least
is next, once what its turn will probably cost is added: of two equals the cheap one goes first, so
that a crowd whose calls are dear does not stand before a call that is not. A workload that has
nothing to do is paid back a part of what it spent, so that one that calls now and then stands
before all that call without a pause, as if they were not there. Neither is without bounds: nobody
is ahead of the level by more than CREDIT, and the level rises with all that is spent, so that even
the one that spent most has its turn, and at least half of an equal share.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

__all__ = ["MAX_CREDIT_NS", "Share", "Turns"]

MAX_CREDIT_NS = 5_000_000  # nanoseconds; what a workload that was away may spend before all others
PAID_BACK = 8  # nanoseconds of having nothing to do that pay for one that was spent
FORGETS = 8  # turns, or so, after which one that was dear is not expected any more

T = TypeVar("T")


class Share(Generic[T]):
    """One workload's account. To be used with the `Turns` that opened it.

    Attributes:
        of: whose it is.
        queued: whether it waits for its turn.
    """

    __slots__ = ("_away", "_likely", "_spent", "of", "queued")

    def __init__(self, of: T, level: int) -> None:
        self.of = of
        self.queued = False
        self._spent = level
        self._likely = 0  # what its next turn is expected to cost
        self._away = -1  # since when it has nothing to do; negative if it has


class Turns(Generic[T]):
    """The workloads that are ready, in the order of their turns."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, int, Share[T]]] = []
        self._entered = 0  # of equals, the one that waits longer is first
        self._level = 0

    def __len__(self) -> int:
        return len(self._queue)

    def open(self, of: T) -> Share[T]:
        """An account for a workload, equal to those that wait."""
        return Share(of, self._level)

    def enter(self, share: Share[T], now: int) -> None:
        """It has something to do. One that is queued already keeps its place."""
        if share.queued:
            return
        if share._away >= 0:
            share._spent -= max(0, now - share._away) // PAID_BACK
            share._away = -1
        share._spent = max(share._spent, self._level - MAX_CREDIT_NS)
        share.queued = True
        self._entered += 1
        heappush(self._queue, (share._spent + share._likely, self._entered, share))

    def take(self) -> Share[T] | None:
        """The next one; None if nobody waits."""
        if not self._queue:
            return None
        share = heappop(self._queue)[2]
        share.queued = False
        self._level = max(self._level, share._spent)
        return share

    def charge(self, share: Share[T], cost: int) -> None:
        """So much was spent on it, in its turn or beside it."""
        share._spent += cost
        self._level += cost // (2 * (len(self._queue) + 1))

    def expect(self, share: Share[T], cost: int) -> None:
        """Its turn took so long, and the next one will hardly be much cheaper."""
        share._likely = max(cost, share._likely - share._likely // FORGETS)

    def leave(self, share: Share[T], now: int) -> None:
        """It has nothing to do for the time being."""
        if not share.queued:
            share._away = now
