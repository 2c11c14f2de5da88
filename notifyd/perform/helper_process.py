"""One helper, as the supervisor has it: its process, its channel, and what it gives.

What runs in the process itself is `helper`.
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
from typing import TypeAlias

import msgspec
import trio

from notifyd.errors import CannotPerform, TargetGone
from notifyd.kernel import pidfd, unix
from notifyd.perform import worker
from notifyd.perform.helper import CLOSED, MAX_REQUEST_BYTES, READY
from notifyd.perform.helper_request import OPENED, HelperReply, HelperRequest
from notifyd.perform.travel import NOWHERE

__all__ = ["HELPER_START_TIMEOUT_S", "Helper", "Key", "Sent"]

# seconds that a helper may take to become one, or all to make no progress
HELPER_START_TIMEOUT_S = 10.0
# milliseconds; the supervisor waits that long for what is mostly there much sooner
INLINE_REPLY_TIMEOUT_MS = 1

Key: TypeAlias = bytes
Sent: TypeAlias = tuple[HelperReply, int | None]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(HelperReply).decode


class Helper:
    """One helper process. Owns its channel, its pidfd, and the socket for what it gives.

    Attributes:
        key: its context.
        used: when it got its last request, in seconds of the monotonic clock.
    """

    __slots__ = ("_buffer", "_channel", "_gifts", "_let_go", "_pidfd", "_poll", "key", "used")

    def __init__(
        self,
        key: Key,
        channel: socket.socket,
        process: int,
        let_go: Callable[[int], None] = os.close,
    ) -> None:
        self.key = key
        self.used = time.monotonic()
        self._channel = channel
        self._pidfd = process
        self._let_go = let_go  # closes a descriptor where that may wait
        self._gifts = channel  # until it has said which
        self._buffer = bytearray(MAX_REQUEST_BYTES)
        channel.setblocking(True)
        # Not SO_RCVTIMEO, which counts in the kernel's ticks: 1 ms is 8 if there are 250 a second.
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    async def become(self) -> None:
        """Wait until it is where it has to be.

        Raises:
            CannotPerform: it cannot be.
        """
        with trio.move_on_after(HELPER_START_TIMEOUT_S):
            await trio.lowlevel.wait_readable(self._channel)
            said, fds, _ = unix.recv_fds(self._channel, 4096, 1)
            if fds:
                self._gifts = socket.socket(fileno=fds[0])
            if said != READY:
                text = said.decode(errors="replace")
                raise CannotPerform(f"{NOWHERE}: {text or 'it ended'}")
            return
        raise CannotPerform("a helper takes too long to be where the target is")

    def send(self, request: HelperRequest, fds: list[int]) -> None:
        """Give it a request; the answer has to be taken before the next one.

        Raises:
            OSError: EPIPE, ECONNRESET: it is gone.
        """
        self.used = time.monotonic()
        if not fds:
            self._channel.send(_encode(request))
        elif len(fds) == 1:
            unix.post_fds(self._channel, _encode(request), fds[0])
        else:
            unix.send_fds(self._channel, _encode(request), fds)

    def answer_soon(self) -> Sent | None:
        """The answer, if it comes within `INLINE_REPLY_TIMEOUT_MS`.

        The caller owns the descriptor in it.
        """
        # Waiting in the kernel hands the core over at once; looking again and again does not.
        if not self._poll.poll(INLINE_REPLY_TIMEOUT_MS):
            return None
        try:
            return self._receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    async def answer(self, target: int = -1) -> Sent:
        """Wait for the answer, or until its target has ended.

        Args:
            target: a pidfd; -1 where it is enough to be cancelled some time afterwards.

        Raises:
            CannotPerform: the helper is gone.
            TargetGone: the target is.
        """
        with ExitStack() as stack:
            waited = self._channel.fileno()
            if target >= 0:
                with suppress(OSError):  # EMFILE: it is seen a little later then
                    waited = self._either(target, stack)
            while True:
                await trio.lowlevel.wait_readable(waited)
                with suppress(BlockingIOError):
                    return self._receive(socket.MSG_DONTWAIT)
                if target >= 0 and not pidfd.alive(target):
                    raise TargetGone("the target ended while a helper did its call")

    def _either(self, target: int, stack: ExitStack) -> int:
        """What is readable when the helper has answered or the target has ended."""
        either = stack.enter_context(select.epoll())
        either.register(self._channel, select.EPOLLIN)
        either.register(target, select.EPOLLIN)
        return either.fileno()

    def _receive(self, flags: int) -> Sent:
        try:
            size = self._channel.recv_into(self._buffer, 0, flags)
        except ConnectionResetError:
            size = 0
        if not size:
            raise CannotPerform("the helper process ended while it did the call")
        try:
            if size > len(CLOSED):
                return _decode(memoryview(self._buffer)[:size]), None
            _, fds, _ = unix.recv_fds_into(self._gifts, self._buffer, 1, socket.MSG_DONTWAIT)
        except (msgspec.DecodeError, BlockingIOError) as error:
            raise CannotPerform(f"the helper process said nonsense: {error}") from error
        if not fds:  # no room for it here; said as the kernel says that the machine has none
            return HelperReply(errno=errno.ENFILE), None
        return OPENED, fds[0]

    def nudge(self) -> None:
        """End the system call that it waits in."""
        with suppress(OSError):
            pidfd.send_signal(self._pidfd, worker.NUDGE)

    def kill(self) -> None:
        """End it, wherever it is."""
        with suppress(OSError):
            pidfd.send_signal(self._pidfd, signal.SIGKILL)

    def _let_go_of_gifts(self) -> None:
        """Take what nobody will ask for: the kernel closes within our close(2) what is left."""
        if self._gifts is self._channel:
            return
        with suppress(OSError):
            while True:
                _, fds, _ = unix.recv_fds_into(self._gifts, self._buffer, 1, socket.MSG_DONTWAIT)
                if not fds:
                    return
                self._let_go(fds[0])

    def close(self, wait: float = 0.0) -> None:
        """Kill it, and `wait` some seconds for that. What it had not answered is dropped."""
        self._channel.close()
        self._let_go_of_gifts()
        self._gifts.close()
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
