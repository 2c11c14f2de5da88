"""The metrics on a port of the loopback, for Prometheus to fetch."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from notifyd.errors import UsageError
from notifyd.service.daemon import Daemon
from notifyd.service.metrics import metrics_text

__all__ = ["open_port", "serve_metrics"]

MOST_BYTES = 8192  # of a request's head
PATIENCE = 10  # seconds for a request
PAUSE = 1.0  # seconds, after Hypercorn itself has failed

Send = Callable[[dict[str, Any]], Awaitable[None]]


def open_port(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1 alone; the caller owns it.

    Raises:
        UsageError: it cannot be had; the text says what to do.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", port))
        found.listen(16)
    except OSError as error:
        found.close()
        raise UsageError(
            f"metrics-port: 127.0.0.1:{port}: {error.strerror}: give another port"
        ) from error
    return found


async def serve_metrics(
    server: socket.socket,
    daemon: Daemon,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer HTTP for ever: the metrics at `/metrics`, to whoever is on this machine.

    Args:
        server: as `open_port` makes it; it stays the caller's.
        daemon: whose counts.
        task_status: started at once: whoever comes first waits in the socket's queue.
    """
    task_status.started()
    while True:
        try:
            await _serve(server, daemon)
        except Exception as error:  # an HTTP server that fails must not end the deciding
            trace = "".join(traceback.format_exception(error))
            daemon.log.event("supervisor.error", "error", error=repr(error), traceback=trace)
        await trio.sleep(PAUSE)


async def _serve(server: socket.socket, daemon: Daemon) -> None:
    from hypercorn.config import Config
    from hypercorn.trio import serve

    config = Config()
    config.accesslog = config.errorlog = None
    config.h11_max_incomplete_size = MOST_BYTES
    config.read_timeout = PATIENCE
    config.graceful_timeout = 0.0
    config.include_server_header = False
    config.bind = [f"fd://{server.dup().detach()}"]  # Hypercorn closes what it is given
    await serve(_app(daemon), config, mode="asgi")  # type: ignore[arg-type]


def _app(daemon: Daemon) -> Callable[[Any, Any, Send], Awaitable[None]]:
    """The ASGI application."""

    async def app(scope: Any, receive: Any, send: Send) -> None:  # noqa: ARG001
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            await trio.sleep_forever()
        if scope["type"] != "http":
            return
        found = scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD")
        body = metrics_text(daemon).encode() if found else b"the metrics are at /metrics\n"
        kind = b"text/plain; version=0.0.4; charset=utf-8"
        await send(
            {
                "type": "http.response.start",
                "status": 200 if found else 404,
                "headers": [(b"content-type", kind), (b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})

    return app
