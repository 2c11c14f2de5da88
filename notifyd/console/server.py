"""Serving: few, bounded connections, and HTTP/1.1 on each.

One too many ends the oldest that has got no answer yet, or its last one: a peer that does not
finish a request, or does not leave, keeps nobody out.
"""

from __future__ import annotations

import socket

import trio
from starlette.types import ASGIApp

from notifyd.console.http1 import Http1Connection

__all__ = ["serve_http"]

MAX_CONSOLE_CONNECTIONS = 128  # connections at once; a page has one or two
HEAD_TIMEOUT_S = 10.0  # seconds until the head of a request is there, and between two requests
SEND_TIMEOUT_S = 15.0  # seconds for a piece of an answer


async def serve_http(
    server: socket.socket,
    app: ASGIApp,
    *,
    most: int = MAX_CONSOLE_CONNECTIONS,
    head: float = HEAD_TIMEOUT_S,
    sending: float = SEND_TIMEOUT_S,
) -> None:
    """Serve for ever.

    Args:
        server: listening; it stays the caller's.
        app: what is served (ASGI).
        most: connections at once.
        head: seconds until the head of a request is there, and between two requests.
        sending: seconds that a peer may take to read a piece of an answer.
    """
    present: dict[Http1Connection, trio.CancelScope] = {}  # oldest first

    async def attend(stream: trio.SocketStream) -> None:
        connection = Http1Connection(stream, app, head=head, sending=sending)
        scope = present[connection] = trio.CancelScope()
        try:
            if len(present) > most:
                _make_room(present)
            with scope:
                await connection.serve()
        finally:
            present.pop(connection, None)
            await trio.aclose_forcefully(stream)

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(server.dup()))
    async with listener:
        await trio.serve_listeners(attend, [listener])


def _make_room(present: dict[Http1Connection, trio.CancelScope]) -> None:
    """End the oldest connection that holds no place; the newest one holds none for sure."""
    oldest = next(one for one in present if not one.holds)
    present.pop(oldest).cancel()
