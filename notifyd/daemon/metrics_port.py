"""The metrics on a port of the loopback, for Prometheus to fetch.

Everybody on this machine can connect, so every connection is bounded, in time and in number. One
too many ends the oldest: unfinished requests keep no one out. None can keep the daemon
from ending.
"""

from __future__ import annotations

import socket

import h11
import trio

from notifyd.daemon.daemon import Daemon
from notifyd.daemon.loopback import LOOPBACK_NAMES, host_of
from notifyd.daemon.metrics import metrics_text
from notifyd.errors import UsageError

__all__ = ["open_port", "serve_metrics"]

MAX_METRICS_CONNECTIONS = 32  # connections at once; Prometheus needs one
MAX_METRICS_REQUEST_BYTES = 8192  # of a request's head
METRICS_TIMEOUT_S = 10.0  # seconds for a request and its answer
_CHUNK = 4096
_HELP = b"the metrics are at /metrics\n"
_NOT_OURS = b"this port is not called so: ask for 127.0.0.1 or localhost\n"
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def open_port(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1 alone; the caller owns it.

    Raises:
        UsageError: it cannot be had; the text says what to do.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", port))
        found.listen(MAX_METRICS_CONNECTIONS)
    except OSError as error:
        found.close()
        raise UsageError(
            f"metrics-port: 127.0.0.1:{port}: {error.strerror}: give another port"
        ) from error
    return found


async def serve_metrics(
    server: socket.socket, daemon: Daemon, *, patience: float = METRICS_TIMEOUT_S
) -> None:
    """Answer HTTP for ever: the metrics at `/metrics`.

    Args:
        server: as `open_port` makes it; it stays the caller's.
        daemon: whose counts.
        patience: seconds for a request and its answer.
    """
    present: dict[trio.CancelScope, None] = {}  # oldest first

    async def attend(stream: trio.SocketStream) -> None:
        scope = trio.move_on_after(patience)
        present[scope] = None
        if len(present) > MAX_METRICS_CONNECTIONS:
            oldest = next(iter(present))
            del present[oldest]
            oldest.cancel()
        try:
            with scope:
                await _answer(stream, daemon)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it left
        except Exception as error:  # counting may fail; deciding must continue
            daemon.log.broke(error)
        finally:
            present.pop(scope, None)
            await trio.aclose_forcefully(stream)

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(server.dup()))
    async with listener:
        await trio.serve_listeners(attend, [listener])


async def _answer(stream: trio.SocketStream, daemon: Daemon) -> None:
    """Answer one request; a connection has no more."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_METRICS_REQUEST_BYTES)
    try:
        while (request := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_CHUNK))
    except h11.RemoteProtocolError:
        return
    if not isinstance(request, h11.Request):
        return
    status, body = _reply(request, daemon)
    headers = [("content-type", _TYPE), ("content-length", str(len(body))), ("connection", "close")]
    response = h11.Response(status_code=status, headers=headers)
    sent = connection.send(response) or b""
    await stream.send_all(sent if request.method == b"HEAD" else sent + body)
    await stream.send_eof()
    # Closing while something is unread resets the connection, and the answer may be lost.
    while await stream.receive_some(_CHUNK):
        pass


def _reply(request: h11.Request, daemon: Daemon) -> tuple[int, bytes]:
    """Status and body of the answer."""
    hosts = [value.decode("latin-1") for name, value in request.headers if name == b"host"]
    # A client without one, as in HTTP/1.0, is not a browser.
    if not all(host_of(one) in LOOPBACK_NAMES for one in hosts):
        return 421, _NOT_OURS
    if request.method not in (b"GET", b"HEAD") or request.target.partition(b"?")[0] != b"/metrics":
        return 404, _HELP
    return 200, metrics_text(daemon).encode()
