"""Lines from a peer over a socket: bounded in length and in time."""

from __future__ import annotations

import socket

import trio

from notifyd.daemon.protocol import MAX_CONTROL_REQUEST_BYTES
from notifyd.errors import PeerError
from notifyd.intake.reception import discard
from notifyd.kernel import unix
from notifyd.kernel.limits import READ_BYTES

__all__ = ["CONNECTION_IDLE_TIMEOUT_S", "LineReader"]

CONNECTION_IDLE_TIMEOUT_S = 300.0  # seconds; a connection costs a descriptor, and a new one nothing


class LineReader:
    """What a peer sends, line by line.

    Args:
        connection: does not block; it stays the caller's.
        patience: seconds from the first byte of a line to its end.
        idle: seconds without a byte between two lines.
    """

    def __init__(
        self, connection: socket.socket, patience: float, idle: float = CONNECTION_IDLE_TIMEOUT_S
    ) -> None:
        self.patience = patience
        self._connection = connection
        self._idle = idle
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """The next line that is not empty, without its newline; None if the peer left, or idles.

        Raises:
            PeerError: the line is too long, too slow, or cut short.
            OSError: the connection is broken.
        """
        await trio.lowlevel.checkpoint()  # one that has sent many lines at once must not keep us
        while True:
            while (end := self._end()) < 0:
                if not await self._filled():
                    return None
                await self._rest()
            line = bytes(self._buffer[:end]).strip()
            del self._buffer[: end + 1]
            if line:
                return line

    async def _rest(self) -> None:
        """Wait for the end of a line that has begun."""
        try:
            with trio.fail_after(self.patience):
                while self._end() < 0:
                    if not await self._more():
                        raise PeerError(f"a line that ends after {len(self._buffer)} bytes")
        except trio.TooSlowError:
            raise PeerError(f"no whole line within {self.patience:g} seconds") from None

    async def _filled(self) -> bool:
        """Wait for the first byte of a line."""
        if self._buffer:
            return True
        with trio.move_on_after(self._idle):
            return await self._more()
        return False

    async def _more(self) -> bool:
        """Receive a piece; False at the end."""
        while True:
            await trio.lowlevel.wait_readable(self._connection)
            try:
                # With room for descriptors, though none is wanted: without it the kernel lets go
                # of them within recv(2), and that may wait (SO_LINGER).
                data, fds, _ = unix.recv_fds(self._connection, READ_BYTES, unix.SCM_MAX_FD)
            except BlockingIOError:
                continue
            await discard(fds)
            self._buffer += data
            return bool(data)

    def _end(self) -> int:
        """Where the newline of a line stands that is here already; -1 for none."""
        end = self._buffer.find(b"\n", 0, MAX_CONTROL_REQUEST_BYTES)
        if end < 0 and len(self._buffer) >= MAX_CONTROL_REQUEST_BYTES:
            raise PeerError(f"a line of more than {MAX_CONTROL_REQUEST_BYTES} bytes")
        return end
