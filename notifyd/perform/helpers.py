"""The helpers of a workload: found by context, made when needed, never too many, ended in time.

One helper does one order at a time. It may block where the target itself would; then the next order
of that context goes to another helper. Owns every helper, and the zygote that makes them.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeAlias

import msgspec
import trio

from notifyd.errors import CannotPerform
from notifyd.kernel import pidfd, unix
from notifyd.perform import worker
from notifyd.perform.helper import MAX_ORDER, PING, READY, Plan
from notifyd.perform.lateness import Lateness
from notifyd.perform.order import Order, Reply
from notifyd.perform.zygote import Zygote

__all__ = ["MOST", "MOST_IDLE", "Helper", "Helpers", "Key"]

MOST = 128  # helpers of one workload; those beyond it would all be waiting for something
MOST_IDLE = 64  # kept for their context's next call
IDLE = 5.0  # seconds without an order after which a helper ends
PATIENCE = 10.0  # seconds that a helper may take to become one, or all to make no progress
HURRY = 0.02  # seconds in which a busy helper is mostly free again; then another one is made
MOST_PAUSE = 0.5  # seconds between two looks of a call that waits for a helper
LAST = 1.0  # seconds that the end of the workload waits for one that does not die at once
SOON = 1  # milliseconds; the supervisor waits that long for what is mostly there much sooner

Key: TypeAlias = bytes
Sent: TypeAlias = tuple[Reply, int | None]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode


class Helper:
    """One helper process. Owns its channel and its pidfd.

    Attributes:
        key: its context.
        used: when it got its last order, in seconds of the monotonic clock.
    """

    __slots__ = ("_buffer", "_channel", "_gave", "_pidfd", "_poll", "key", "used")

    def __init__(self, key: Key, channel: socket.socket, process: int) -> None:
        self.key = key
        self.used = time.monotonic()
        self._channel = channel
        self._pidfd = process
        self._gave = False
        self._buffer = bytearray(MAX_ORDER)
        channel.setblocking(True)
        # Not SO_RCVTIMEO, which counts in the kernel's ticks: 1 ms is 8 if there are 250 a second.
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    async def become(self) -> None:
        """Wait until it is where it has to be.

        Raises:
            CannotPerform: it cannot be.
        """
        with trio.move_on_after(PATIENCE):
            await trio.lowlevel.wait_readable(self._channel)
            said = self._channel.recv(4096)
            if said != READY:
                text = said.decode(errors="replace")
                raise CannotPerform(f"no helper can be where the target is: {text or 'it ended'}")
            return
        raise CannotPerform("a helper takes too long to be where the target is")

    def send(self, order: Order, fds: list[int]) -> None:
        """Give it an order; the answer has to be taken before the next one.

        Raises:
            OSError: EPIPE, ECONNRESET: it is gone.
        """
        self.used = time.monotonic()
        if not fds:
            self._channel.send(_encode(order))
        elif len(fds) == 1:
            unix.post_fds(self._channel, _encode(order), fds[0])
        else:
            unix.send_fds(self._channel, _encode(order), fds)

    def settle(self) -> None:
        """See that it has closed the descriptor that it gave us, as it does right after.

        Raises:
            OSError: EPIPE, ECONNRESET: it is gone. ETIMEDOUT: it takes too long, and what it says
                then would be taken for the next answer.
        """
        if not self._gave:
            return
        self._gave = False
        self._channel.send(PING)
        if not _readable(self._channel.fileno(), LAST):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        self._channel.recv(len(PING))

    def answer_soon(self) -> Sent | None:
        """The answer, if it comes within `SOON`; the caller owns the descriptor in it."""
        # Waiting in the kernel hands the core over at once; looking again and again does not.
        if not self._poll.poll(SOON):
            return None
        try:
            return self._receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    async def answer(self) -> Sent:
        """Wait for the answer.

        Raises:
            CannotPerform: the helper is gone.
        """
        while True:
            await trio.lowlevel.wait_readable(self._channel)
            with suppress(BlockingIOError):
                return self._receive(socket.MSG_DONTWAIT)

    def _receive(self, flags: int) -> Sent:
        try:
            size, fds, cut = unix.recv_fds_into(self._channel, self._buffer, 1, flags)
        except ConnectionResetError:
            size, fds, cut = 0, [], False
        if not size:
            raise CannotPerform("the helper process ended while it did the call")
        try:
            reply = _decode(memoryview(self._buffer)[:size])
        except msgspec.DecodeError as error:
            for fd in fds:
                os.close(fd)
            raise CannotPerform(f"the helper process said nonsense: {error}") from error
        if cut:  # no room for it here; said as the kernel says that the machine has none
            return Reply(errno=errno.ENFILE), None
        if not fds:
            return reply, None
        self._gave = True
        return reply, fds[0]

    def nudge(self) -> None:
        """End the system call that it waits in."""
        with suppress(OSError):
            pidfd.send_signal(self._pidfd, worker.NUDGE)

    def kill(self) -> None:
        """End it, wherever it is."""
        with suppress(OSError):
            pidfd.send_signal(self._pidfd, signal.SIGKILL)

    def close(self, wait: float = 0.0) -> None:
        """Kill it, and `wait` some seconds for that. What it had not answered is dropped."""
        self._channel.close()
        if self._pidfd >= 0:
            self.kill()
            if wait:
                _readable(self._pidfd, wait)
            os.close(self._pidfd)
            self._pidfd = -1


def _readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Helpers:
    """All helpers of one workload."""

    def __init__(self) -> None:
        self._zygote: Zygote | None = None
        self._idle: dict[Key, list[Helper]] = {}
        self._busy: set[Helper] = set()
        self._by_key: Counter[Key] = Counter()  # how many there are, idle or not
        self._making: set[Key] = set()
        self._moved = 0.0  # when something happened to any of them, in monotonic seconds
        self._lots: dict[Key, trio.lowlevel.ParkingLot] = {}
        self._resting = 0  # how many are idle
        self._zygote_turn = trio.Lock()
        self._lateness = Lateness()

    def take(self, key: Key) -> Helper | None:
        """A helper that is free, for one order. To be given back or dropped."""
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
        if self._resting > MOST_IDLE:
            self._end_oldest()
        if self._lots:
            self._move(helper.key)

    def drop(self, helper: Helper) -> None:
        """It is gone, or must go."""
        self._busy.discard(helper)
        self._forget(helper)

    async def get(self, key: Key, plan: Callable[[ExitStack], tuple[Plan, list[int]]]) -> Helper:
        """A helper for one order: a free one, or one that is made now.

        Args:
            key: the context.
            plan: opens what a new one needs; the stack owns it.

        Raises:
            CannotPerform: it cannot become what it has to be, or too many are busy.
            OSError: EAGAIN: no more processes. ESRCH and others: as `plan` raises.
        """
        pause, begun = HURRY, time.monotonic()
        while (helper := self.take(key)) is None:
            now = time.monotonic()
            # Where there is one already, it is mostly free in no time.
            wanted = now - begun > HURRY or key not in self._by_key
            if wanted and key not in self._making and self._room():
                return await self._make(key, plan)
            if now - max(begun, self._moved) > PATIENCE:
                raise CannotPerform(f"{MOST} calls that are performed wait already")
            await self._park(key, pause)
            pause = min(2 * pause, MOST_PAUSE)
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

    def tidy(self) -> None:
        """End those that had nothing to do for some time. To be called now and then.

        With the last of them goes the zygote: of many workloads, most are idle.
        """
        old = time.monotonic() - IDLE
        for key, free in list(self._idle.items()):
            for helper in [one for one in free if one.used <= old]:
                self._end(helper)
            if not self._idle[key]:
                del self._idle[key]
        if not self.count:
            self._end_zygote()

    def settle(self) -> None:
        """See that no helper holds a copy of a descriptor that a target got: it keeps files busy.

        A program that is being written cannot be executed: ETXTBSY in execve(2).
        """
        for free in list(self._idle.values()):
            for helper in list(free):
                try:
                    helper.settle()
                except OSError:
                    self._end(helper)

    def close(self) -> None:
        """End all of them, and wait until they are gone."""
        everyone = [*self._busy, *(one for free in self._idle.values() for one in free)]
        for helper in everyone:
            helper.kill()
        for helper in everyone:
            helper.close(wait=LAST)
        self._busy.clear()
        self._by_key.clear()
        self._idle.clear()
        self._resting = 0
        self._end_zygote()

    def _end_zygote(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    async def _make(self, key: Key, plan: Callable[[ExitStack], tuple[Plan, list[int]]]) -> Helper:
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

    async def _fork(self, key: Key, plan: Callable[[ExitStack], tuple[Plan, list[int]]]) -> Helper:
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
        return Helper(key, ours, process)

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
        return self.count < MOST or self._end_oldest()

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
