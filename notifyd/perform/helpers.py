"""The helpers of a workload: found by context, made when needed, never too many, ended in time.

One helper does one request at a time. It may block where the target itself would; then the next
request of that context goes to another helper. Owns every helper, and the zygote that makes them.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import trio

from notifyd.errors import CannotPerform
from notifyd.perform import worker
from notifyd.perform.backoff import Backoff
from notifyd.perform.helper_process import HELPER_START_TIMEOUT_S, Helper, Key, Sent
from notifyd.perform.placement import HelperPlan
from notifyd.perform.zygote import Zygote

__all__ = ["MAX_HELPERS", "MAX_IDLE_HELPERS", "Helpers"]

MAX_HELPERS = 128  # helpers of one workload; those beyond it would all be waiting for something
MAX_IDLE_HELPERS = 64  # kept for their context's next call
HELPER_IDLE_TIMEOUT_S = 5.0  # seconds without a request after which a helper ends
# seconds in which a busy helper is mostly free again; then another one is made
BUSY_HELPER_WAIT_S = 0.02
MAX_HELPER_POLL_INTERVAL_S = 0.5  # seconds between two looks of a call that waits for a helper
# seconds that the end of a workload waits; whom a server of files holds is left
HELPER_CLOSE_TIMEOUT_S = 0.1


class Helpers:
    """All helpers of one workload.

    Args:
        let_go: closes a descriptor where that may wait.
    """

    def __init__(self, let_go: Callable[[int], None] = os.close) -> None:
        self._let_go = let_go
        self._zygote: Zygote | None = None
        self._idle: dict[Key, list[Helper]] = {}
        self._busy: set[Helper] = set()
        self._by_key: Counter[Key] = Counter()  # how many there are, idle or not
        self._making: set[Key] = set()
        self._moved = 0.0  # when something happened to any of them, in monotonic seconds
        self._lots: dict[Key, trio.lowlevel.ParkingLot] = {}
        self._resting = 0  # how many are idle
        self._zygote_turn = trio.Lock()
        self._lateness = Backoff()

    def take(self, key: Key) -> Helper | None:
        """A helper that is free, for one request. To be given back or dropped."""
        free = self._idle.get(key)
        if not free:
            return None
        self._resting -= 1
        helper = free.pop()
        self._busy.add(helper)
        return helper

    def answer_soon(self, helper: Helper) -> Sent | None:
        """What a helper answers, as `Helper.answer_soon`; not waited for if some were late."""
        if not self._lateness.waits(time.monotonic()):
            return None
        sent = helper.answer_soon()
        if sent is None:
            self._lateness.late(time.monotonic())
        return sent

    def give_back(self, helper: Helper) -> None:
        """It has answered, and is free."""
        self._busy.discard(helper)
        free = self._idle.get(helper.key)
        if free is None:
            free = self._idle[helper.key] = []
        free.append(helper)
        self._resting += 1
        if self._resting > MAX_IDLE_HELPERS:
            self._end_oldest()
        if self._lots:
            self._move(helper.key)

    def drop(self, helper: Helper) -> None:
        """It is gone, or must go."""
        self._busy.discard(helper)
        self._forget(helper)

    async def get(
        self, key: Key, plan: Callable[[ExitStack], tuple[HelperPlan, list[int]]]
    ) -> Helper:
        """A helper for one request: a free one, or one that is made now.

        Args:
            key: the context.
            plan: opens what a new one needs; the stack owns it.

        Raises:
            CannotPerform: it cannot become what it has to be, or too many are busy.
            OSError: EAGAIN: no more processes. ESRCH and others: as `plan` raises.
        """
        pause, begun = BUSY_HELPER_WAIT_S, time.monotonic()
        while (helper := self.take(key)) is None:
            now = time.monotonic()
            # Where there is one already, it is mostly free in no time.
            wanted = now - begun > BUSY_HELPER_WAIT_S or key not in self._by_key
            if wanted and key not in self._making and self._room():
                return await self._make(key, plan)
            if now - max(begun, self._moved) > HELPER_START_TIMEOUT_S:
                raise CannotPerform(f"{MAX_HELPERS} calls that are performed wait already")
            await self._park(key, pause)
            pause = min(2 * pause, MAX_HELPER_POLL_INTERVAL_S)
        return helper

    async def _park(self, key: Key, seconds: float) -> None:
        """Wait until something happens to a helper of a context, or for some time."""
        lot = self._lots.setdefault(key, trio.lowlevel.ParkingLot())
        try:
            with trio.move_on_after(seconds):
                await lot.park()
        finally:
            if not lot and self._lots.get(key) is lot:
                del self._lots[key]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._busy) + len(self._making) + self._resting

    def prune(self) -> None:
        """End those that had nothing to do for some time. To be called now and then.

        With the last of them goes the zygote: of many workloads, most are idle.
        """
        old = time.monotonic() - HELPER_IDLE_TIMEOUT_S
        for key, free in list(self._idle.items()):
            for helper in [one for one in free if one.used <= old]:
                self._end(helper)
            if not self._idle[key]:
                del self._idle[key]
        if not self.count:
            self._end_zygote()

    def close(self) -> None:
        """End all of them, and wait until they are gone."""
        everyone = [*self._busy, *(one for free in self._idle.values() for one in free)]
        for helper in everyone:
            helper.kill()
        end = time.monotonic() + HELPER_CLOSE_TIMEOUT_S
        for helper in everyone:
            helper.close(wait=max(end - time.monotonic(), 0.0))
        self._busy.clear()
        self._by_key.clear()
        self._idle.clear()
        self._resting = 0
        self._end_zygote()

    def _end_zygote(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    async def _make(
        self, key: Key, plan: Callable[[ExitStack], tuple[HelperPlan, list[int]]]
    ) -> Helper:
        self._making.add(key)
        try:
            async with self._zygote_turn:
                helper = await self._fork(key, plan)
        finally:
            self._making.discard(key)
        self._by_key[key] += 1
        self._busy.add(helper)
        try:
            await helper.become()
        except BaseException:
            self.drop(helper)
            raise
        self._move(key)
        return helper

    async def _fork(
        self, key: Key, plan: Callable[[ExitStack], tuple[HelperPlan, list[int]]]
    ) -> Helper:
        if self._zygote is None:
            self._zygote = Zygote()
        zygote = self._zygote
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ExitStack() as stack:
            stack.enter_context(theirs)
            closing = stack.enter_context(ExitStack())
            closing.callback(ours.close)
            wanted, fds = plan(stack)
            with trio.CancelScope(shield=True):  # half an answer would be taken for the next
                process = await worker.run(lambda: zygote.make(wanted, fds, theirs))
            closing.pop_all()
        return Helper(key, ours, process, self._let_go)

    def _move(self, key: Key) -> None:
        """Something happened to a helper of this context: whoever waits for one looks again."""
        self._moved = time.monotonic()
        lot = self._lots.get(key)
        if lot is not None:
            lot.unpark()
            if not lot:
                del self._lots[key]

    def _room(self) -> bool:
        """Whether one more may be made; ends an idle one for it if need be."""
        return self.count < MAX_HELPERS or self._end_oldest()

    def _end_oldest(self) -> bool:
        """End the helper that has been idle for the longest time, if there is one."""
        idle = [helper for free in self._idle.values() for helper in free]
        if not idle:
            return False
        self._end(min(idle, key=lambda one: one.used))
        return True

    def _end(self, helper: Helper) -> None:
        self._idle[helper.key].remove(helper)
        self._resting -= 1
        self._forget(helper)

    def _forget(self, helper: Helper) -> None:
        helper.close()
        self._by_key[helper.key] -= 1
        if not self._by_key[helper.key]:
            del self._by_key[helper.key]
        self._move(helper.key)
