"""One life of the console: its sockets, its sessions, its view of the daemon, until a signal."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass

import trio

from notifyd.approvals.question import user_name
from notifyd.console.api import WebContext
from notifyd.console.app import make_app
from notifyd.console.hub import Hub
from notifyd.console.listening import ListenAddress, listening
from notifyd.console.login import serve_logins
from notifyd.console.server import serve_http
from notifyd.console.sessions import Sessions
from notifyd.console.stream import Streams
from notifyd.daemon.loopback import LOOPBACK_NAMES
from notifyd.intake.sockets import ListeningSockets, SocketAt

__all__ = ["ConsoleSettings", "Ready", "serve_console"]

Ready = Callable[[str, Callable[[], str]], None]
"""Called once, with where the console is, and with what makes an address that logs in whoever runs
it."""


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """What the person said.

    Attributes:
        listen: where browsers come.
        control: the daemon's control socket.
        logins: where `notifyd ctl console` comes.
        names: host names besides those of the loopback.
        users: uids that may log in, besides root and us.
    """

    listen: ListenAddress
    control: str
    logins: str
    names: Collection[str] = ()
    users: Collection[int] = ()


def serve_console(settings: ConsoleSettings, told: Callable[[str], None], ready: Ready) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: where and for whom.
        told: what happens, a line each.
        ready: see there.

    Raises:
        UsageError: a socket cannot be opened.
    """
    with ExitStack() as stack:
        web = stack.enter_context(listening(settings.listen))
        mode = 0o666 if settings.users else 0o600
        at = {"logins": SocketAt(settings.logins, mode=mode)}
        logins = stack.enter_context(ListeningSockets(at))["logins"]
        trio.run(_live, settings, web, logins, told, ready)


async def _live(
    settings: ConsoleSettings,
    web: socket.socket,
    logins: socket.socket,
    told: Callable[[str], None],
    ready: Ready,
) -> None:
    sessions, hub = Sessions(), Hub(settings.control)
    port = 0 if settings.listen.path else web.getsockname()[1]
    names = {*LOOPBACK_NAMES, *_own_name(settings.listen), *settings.names}
    queue = WebContext(hub, sessions, Streams(hub, sessions), f"nd{port or ''}")

    def url(token: str) -> str:
        return settings.listen.url(port, token)

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run)
            nursery.start_soon(serve_http, web, make_app(queue, names))
            nursery.start_soon(serve_logins, logins, sessions, url, told, settings.users)
            page = settings.listen.path or settings.listen.page(port)
            ready(page, lambda: url(sessions.mint(os.geteuid(), user_name(os.geteuid()))))
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


def _own_name(listen: ListenAddress) -> Collection[str]:
    if not listen.host:
        return ()
    return (f"[{listen.host}]" if ":" in listen.host else listen.host,)
