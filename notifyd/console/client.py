"""The console's end of the control socket: connections that other tasks do not wait for."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from notifyd.daemon import protocol
from notifyd.errors import PeerError, UsageError
from notifyd.events.sanitize import printable
from notifyd.kernel.limits import READ_BYTES

__all__ = ["Control", "control_at"]

DAEMON_TIMEOUT_S = 30.0  # seconds for an answer
MAX_DAEMON_LINE_BYTES = 1 << 24  # bytes of a line: thousands of workloads have 1 MiB
_CREDENTIALS = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid


class Control:
    """A connection to a daemon.

    Args:
        connected: the socket; it stays the caller's.
    """

    def __init__(self, connected: trio.socket.SocketType) -> None:
        self._socket = connected
        self._buffer = bytearray()

    @property
    def believes(self) -> bool:
        """Whether the daemon believes us for whom we speak: we are root, or its own user."""
        packed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(packed)
        return os.geteuid() in (0, uid)

    async def ask(self, request: protocol.ControlRequest) -> Any:
        """Send a request and wait for its result.

        Raises:
            UsageError: there is none; with the daemon's words, or what is wrong with it.
        """
        try:
            with trio.fail_after(DAEMON_TIMEOUT_S):
                await self._send(protocol.encode_request(request))
                line = await self.line()
        except trio.TooSlowError:
            raise UsageError("the daemon does not answer: see its log") from None
        try:
            return protocol.parse_reply(line, protocol.command_of(request))
        except PeerError as error:
            raise UsageError(f"what answers is not a notifyd of this version: {error}") from error

    async def line(self) -> bytes:
        """The next line, without its newline. Waits for ever.

        Raises:
            UsageError: there is none any more.
        """
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            try:
                data = await self._socket.recv(READ_BYTES)
            except OSError as error:
                raise UsageError(f"the daemon broke off ({error.strerror})") from error
            if not data or len(self._buffer) > MAX_DAEMON_LINE_BYTES:
                raise UsageError("the daemon broke off: see its log")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def _send(self, data: bytes) -> None:
        try:
            while data:
                data = data[await self._socket.send(data) :]
        except OSError as error:
            raise UsageError(f"the daemon broke off ({error.strerror})") from error


@asynccontextmanager
async def control_at(path: str) -> AsyncIterator[Control]:
    """Connect to a daemon.

    Args:
        path: of its control socket.

    Raises:
        UsageError: nobody is there, or not for us.
    """
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        try:
            await connected.connect(path)
        except OSError as error:
            shown, why = printable(path, 200), error.strerror or str(error)
            raise UsageError(f"no daemon answers at {shown}: {why}") from error
        yield Control(connected)
