"""Serving: Hypercorn's trio worker for each connection, and few, bounded connections.

Hypercorn accepts as many as come, and shields what it sends from being cancelled, so that whoever
does not read would hold up the end. Here connections are counted before it sees them, and sending
has a limit of time below its shield. One too many ends the oldest that has got no answer yet: who
does not finish a request keeps nobody out.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from starlette.types import ASGIApp

__all__ = ["serve_http"]

MOST = 128  # connections at once; a page has one or two
HEAD = 10.0  # seconds until the head of a request is there, and between two requests
SENDING = 15.0  # seconds for a piece of an answer
_PAUSE = 0.1  # seconds, where the system has no descriptor or memory for us


class _Stream(trio.abc.HalfCloseableStream):
    """A connection that takes only so long to send."""

    def __init__(self, inner: trio.SocketStream, sending: float) -> None:
        self._inner = inner
        self._sending = sending
        self.answered = False  # whether anything was sent
        self.socket = inner.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.answered = True
        with trio.move_on_after(self._sending) as scope:
            await self._inner.send_all(data)
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._inner)
            raise trio.BrokenResourceError("a peer that does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def serve_http(
    server: socket.socket,
    app: ASGIApp,
    *,
    most: int = MOST,
    head: float = HEAD,
    sending: float = SENDING,
) -> None:
    """Serve for ever.

    Args:
        server: listening; it stays the caller's.
        app: what is served (ASGI).
        most: connections at once.
        head: seconds until the head of a request is there, and between two requests.
        sending: seconds that a peer may take to read a piece of an answer.
    """
    config, context = _config(head), WorkerContext(None)
    wrapped = ASGIWrapper(app)  # type: ignore[arg-type]
    present: dict[_Stream, trio.CancelScope] = {}  # oldest first

    async def attend(stream: trio.SocketStream) -> None:
        bounded: Any = _Stream(stream, sending)
        scope = present[bounded] = trio.CancelScope()
        try:
            if len(present) > most:
                _make_room(present)
            with scope:
                await TCPServer(wrapped, config, context, ConnectionState({}), bounded)
        finally:
            present.pop(bounded, None)
            await trio.aclose_forcefully(stream)

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(server.dup()))
    async with listener:
        await trio.serve_listeners(attend, [listener])


def _make_room(present: dict[_Stream, trio.CancelScope]) -> None:
    """End the oldest connection that has got no answer; the newest one has none for sure."""
    oldest = next(one for one in present if not one.answered)
    present.pop(oldest).cancel()


def _config(head: float) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("notifyd.console")
    config.keep_alive_timeout = head
    config.h11_max_incomplete_size = 1 << 14
    config.h2_max_concurrent_streams = 16
    config.include_server_header = False
    config.read_timeout = None
    return config
