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
from collections.abc import Callable
from contextlib import ExitStack, suppress
from struct import Struct
from typing import TypeAlias

import msgspec
import trio

from notifyd.errors import CannotPerform
from notifyd.kernel import pidfd, unix
from notifyd.perform import worker
from notifyd.perform.helper import MAX_ORDER, PING, READY, Plan
from notifyd.perform.order import Order, Reply
from notifyd.perform.zygote import Zygote

__all__ = ["MOST", "MOST_IDLE", "Helper", "Helpers"]

MOST = 128  # helpers of one workload; those beyond it would all be waiting for something
MOST_IDLE = 16  # kept for their context's next call
IDLE = 5.0  # seconds without an order after which a helper ends
PATIENCE = 10.0  # seconds that becoming a helper may take: /proc of the target may be slow
LAST = 1.0  # seconds that the end of the workload waits for one that does not die at once
SOON = 1000  # microseconds; the supervisor waits that long for what is mostly there much sooner

Key: TypeAlias = int
Sent: TypeAlias = tuple[Reply, int | None]

_TIMEVAL = Struct("@ll")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode


class Helper:
    """One helper process. Owns its channel and its pidfd.

    Attributes:
        key: its context.
        used: when it got its last order, in seconds of the monotonic clock.
    """

    __slots__ = ("_buffer", "_channel", "_gave", "_pidfd", "key", "used")

    def __init__(self, key: Key, channel: socket.socket, process: int) -> None:
        self.key = key
        self.used = time.monotonic()
        self._channel = channel
        self._pidfd = process
        self._gave = False
        self._buffer = bytearray(MAX_ORDER)
        channel.setblocking(True)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(0, SOON))

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
            OSError: EAGAIN, ECONNRESET: it is gone, or will be.
        """
        if not self._gave:
            return
        self._gave = False
        self._channel.send(PING)
        select.select([self._channel], [], [], LAST)
        self._channel.recv(len(PING))

    def answer_soon(self) -> Sent | None:
        """The answer, if it comes within `SOON`; the caller owns the descriptor in it."""
        # Waiting in the kernel hands the core over at once; looking again and again does not.
        try:
            return self._receive(0)
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
            size, fds, _ = unix.recv_fds_into(self._channel, self._buffer, 1, flags)
        except ConnectionResetError:
            size, fds = 0, []
        if not size:
            raise CannotPerform("the helper process ended while it did the call")
        reply = _decode(memoryview(self._buffer)[:size])
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
                select.select([self._pidfd], [], [], wait)
            os.close(self._pidfd)
            self._pidfd = -1


class Helpers:
    """All helpers of one workload."""

    def __init__(self) -> None:
        self._zygote: Zygote | None = None
        self._idle: dict[Key, list[Helper]] = {}
        self._busy: set[Helper] = set()
        self._making = 0
        self._room = trio.Event()
        self._waited_for = 0
        self._zygote_turn = trio.Lock()

    def take(self, key: Key) -> Helper | None:
        """A helper that is free, for one order. To be given back or dropped."""
        free = self._idle.get(key)
        if free is None:
            return None
        helper = free.pop()
        if not free:
            del self._idle[key]
        self._busy.add(helper)
        return helper

    def give_back(self, helper: Helper) -> None:
        """It has answered, and is free."""
        self._busy.discard(helper)
        free = self._idle.get(helper.key)
        if free is not None:
            free.append(helper)
            return
        self._idle[helper.key] = [helper]
        if self._waited_for or len(self._idle) > MOST_IDLE:
            self._room.set()
            self._tidy(MOST_IDLE)

    def drop(self, helper: Helper) -> None:
        """It is gone, or must go."""
        self._busy.discard(helper)
        helper.close()
        self._room.set()

    async def get(self, key: Key, plan: Callable[[ExitStack], tuple[Plan, list[int]]]) -> Helper:
        """A helper for one order: a free one, or one that is made now.

        Args:
            key: the context.
            plan: opens what a new one needs; the stack owns it.

        Raises:
            CannotPerform: it cannot become what it has to be, or too many are busy.
            OSError: EAGAIN: no more processes. ESRCH and others: as `plan` raises.
        """
        while True:
            helper = self.take(key)
            if helper is not None:
                return helper
            if self.count < MOST or self._tidy(MOST_IDLE - 1):
                break
            self._room = trio.Event()
            self._waited_for += 1
            try:
                with trio.move_on_after(PATIENCE) as scope:
                    await self._room.wait()
            finally:
                self._waited_for -= 1
            if scope.cancelled_caught:
                raise CannotPerform(f"{MOST} calls that are performed wait already")
        self._making += 1
        try:
            helper = await self._make(key, plan)
        finally:
            self._making -= 1
        self._busy.add(helper)
        return helper

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._busy) + self._making + sum(map(len, self._idle.values()))

    def tidy(self) -> None:
        """End those that had nothing to do for some time. To be called now and then."""
        old = time.monotonic() - IDLE
        for key, free in list(self._idle.items()):
            kept = [helper for helper in free if helper.used > old]
            for helper in free:
                if helper.used <= old:
                    helper.close()
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]

    def settle(self) -> None:
        """See that no helper holds a copy of a descriptor that a target got: it keeps files busy.

        A program that is being written cannot be executed: ETXTBSY in execve(2).
        """
        for free in list(self._idle.values()):
            for helper in list(free):
                with suppress(OSError):
                    helper.settle()

    def close(self) -> None:
        """End all of them, and wait until they are gone."""
        everyone = [*self._busy, *(one for free in self._idle.values() for one in free)]
        for helper in everyone:
            helper.kill()
        for helper in everyone:
            helper.close(wait=LAST)
        self._busy.clear()
        self._idle.clear()
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    async def _make(self, key: Key, plan: Callable[[ExitStack], tuple[Plan, list[int]]]) -> Helper:
        async with self._zygote_turn:
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
        helper = Helper(key, ours, process)
        try:
            await _until_ready(ours)
        except BaseException:
            helper.close()
            raise
        return helper

    def _tidy(self, most: int) -> bool:
        """End the longest idle ones beyond `most`; return whether any was ended."""
        idle = sorted(
            (helper for free in self._idle.values() for helper in free), key=lambda one: one.used
        )
        gone = idle[: max(0, len(idle) - most)]
        for helper in gone:
            self._idle[helper.key].remove(helper)
            if not self._idle[helper.key]:
                del self._idle[helper.key]
            helper.close()
        return bool(gone)


async def _until_ready(channel: socket.socket) -> None:
    with trio.move_on_after(PATIENCE) as scope:
        await trio.lowlevel.wait_readable(channel)
        said = channel.recv(4096)
        if said != READY:
            text = said.decode(errors="replace")
            raise CannotPerform(f"no helper can be where the target is: {text or 'it ended'}")
    if scope.cancelled_caught:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
