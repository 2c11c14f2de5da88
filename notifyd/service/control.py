"""The control socket: what the daemon tells, and what it does, when it is asked.

Who may ask is the configuration's to say (`sockets.control.users`); what can be asked for is in
`protocol`.
"""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import trio

from notifyd.audit.followers import MOST_WAITING, Wanted
from notifyd.errors import PeerError, UsageError
from notifyd.listen.arrival import Peer
from notifyd.listen.reception import PATIENCE, reception, send_all
from notifyd.service import protocol, views
from notifyd.service.daemon import Daemon
from notifyd.service.lines import IDLE, Lines
from notifyd.service.metrics import metrics_text
from notifyd.service.supervised import Supervised

__all__ = ["Reload", "serve_control"]

MOST_FOLLOWERS = 32  # each may make us keep `MOST_WAITING`
GATHER = 0.05  # seconds: so many events go in one piece, and reading along stays cheap
LOOK = 0.5  # seconds between two looks at whether a follower has left, and at what tasks answered
_BROKEN = "an error in notifyd itself, which the log has: please report it"

Reload = Callable[[str], Awaitable[list[str]]]
"""Loads everything anew. Takes who wanted it; returns what does not go as the configuration says, a
line each. Raises UsageError with every mistake."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What commands are done with."""

    daemon: Daemon
    reload: Reload | None

    def find(self, name: str) -> Supervised:
        """A workload by its id.

        Raises:
            UsageError: there is none.
        """
        found = self.daemon.workloads.get(name)
        if found is None:
            raise UsageError(f"no workload {name!r} is supervised: see `notifyd ctl workloads`")
        return found

    def check_reads(self, peer: Peer) -> None:
        """See that a peer may ask at all.

        Raises:
            PeerError: it may not.
        """
        if not self._serves(peer):
            raise PeerError(
                f"{peer} may not use this socket; sockets.control.users of the configuration says "
                "who may"
            )

    def check_changes(self, peer: Peer, command: str) -> None:
        """See that a peer may change something: root, we, and whom the configuration names.

        Raises:
            UsageError: it may not.
        """
        config = self.daemon.policies.config.sockets.control
        # Whoever comes in because anybody may is not trusted with other people's containers.
        named = config is not None and config.users != "any" and self._serves(peer)
        if not named and peer.uid not in (0, os.geteuid()):
            raise UsageError(
                f"uid {peer.uid} may only read: sockets.control.users of the configuration has to "
                f"name whoever may {command}"
            )

    def _serves(self, peer: Peer) -> bool:
        config = self.daemon.policies.config.sockets.control
        own = os.geteuid()
        return peer.uid in (0, own) or (config is not None and config.serves(peer.uid, own))


async def serve_control(
    server: socket.socket,
    daemon: Daemon,
    reload: Reload | None = None,
    *,
    patience: float = PATIENCE,
    idle: float = IDLE,
) -> None:
    """Answer requests for ever.

    Args:
        server: listening, SOCK_STREAM; it stays the caller's.
        daemon: what is asked about.
        reload: how it reloads.
        patience: seconds that a request, and each answer, may take.
        idle: seconds that a connection is kept without a request.
    """
    desk = Desk(daemon, reload)

    async def attend(connection: socket.socket, peer: Peer) -> None:
        try:
            desk.check_reads(peer)
            await _converse(desk, connection, peer, Lines(connection, patience, idle))
        except PeerError as error:
            await send_all(connection, protocol.encode_error(str(error)), patience=patience)
            raise
        except OSError:
            raise  # the connection's
        except Exception as error:  # asking may fail; deciding must go on
            daemon.log.broke(error)
            await send_all(connection, protocol.encode_error(_BROKEN), patience=patience)

    await reception(server, attend, daemon.refuse_control)


async def _converse(desk: Desk, connection: socket.socket, peer: Peer, lines: Lines) -> None:
    """Answer one request after the other until the peer leaves."""
    while (line := await lines.next()) is not None:
        request = protocol.parse_request(line)
        try:
            if isinstance(request, protocol.EventsRequest):
                await _follow(desk.daemon, connection, request, lines.patience)
                return
            reply = protocol.encode_result(await _done(desk, peer, request))
        except UsageError as error:
            reply = protocol.encode_error(str(error))
        if not await send_all(connection, reply, patience=lines.patience):
            return


async def _done(desk: Desk, peer: Peer, request: protocol.Request) -> Any:
    """Do what a request says. What changes something is in the log, done or not.

    Raises:
        UsageError: it cannot be done, or not by this peer.
    """
    command = protocol.command_of(request)
    handler = HANDLERS[command]
    if not protocol.COMMANDS[command].changes:
        return await handler(desk, peer, request)
    said = {"peer": str(peer), "command": command, "workload": getattr(request, "id", None)}
    try:
        desk.check_changes(peer, command)
        result = await handler(desk, peer, request)
    except UsageError as error:
        desk.daemon.log.event("control.refused", "warning", **said, reason=str(error))
        raise
    desk.daemon.log.event("control.command", **said)
    return result


# -- the commands


async def _status(desk: Desk, _peer: Peer, _request: Any) -> protocol.Status:
    return views.status(desk.daemon)


async def _workloads(desk: Desk, _peer: Peer, _request: Any) -> list[protocol.WorkloadView]:
    return [views.workload(one) for one in desk.daemon.workloads.values()]


async def _rules(desk: Desk, _peer: Peer, _request: Any) -> list[protocol.SectionView]:
    return views.sections(desk.daemon)


async def _reload(desk: Desk, peer: Peer, _request: Any) -> protocol.Reloaded:
    if desk.reload is None:
        raise UsageError("this daemon cannot reload: restart it")
    return protocol.Reloaded(await desk.reload(f"reload by {peer}"))


async def _rotate(desk: Desk, _peer: Peer, _request: Any) -> protocol.Rotated:
    log = desk.daemon.policies.config.log
    if log is None:
        raise UsageError("no audit file is written: name one with `audit` in the configuration")
    if not desk.daemon.rotate():
        raise UsageError(f"{log.path!r} is no file, or takes nothing now: see the log")
    return protocol.Rotated(log.path)


async def _detach(desk: Desk, _peer: Peer, request: Any) -> protocol.Detached:
    supervised = desk.find(request.id)
    listeners = len(supervised.members)
    desk.daemon.detach(supervised)
    return protocol.Detached(listeners)


async def _kill(desk: Desk, _peer: Peer, request: Any) -> protocol.Killed:
    killed = desk.find(request.id).kill()
    if not killed:
        raise UsageError(
            f"{request.id!r}: its processes are not known, or gone: stop it with whatever started "
            "it, or let it go with `notifyd ctl detach`"
        )
    return protocol.Killed(killed)


async def _metrics(desk: Desk, _peer: Peer, _request: Any) -> protocol.Metrics:
    return protocol.Metrics(metrics_text(desk.daemon))


HANDLERS: Mapping[str, Callable[[Desk, Peer, Any], Awaitable[Any]]] = MappingProxyType(
    {
        "status": _status,
        "workloads": _workloads,
        "rules": _rules,
        "reload": _reload,
        "rotate": _rotate,
        "detach": _detach,
        "kill": _kill,
        "metrics": _metrics,
    }
)


# -- live events


class _Bell:
    """Rung from anywhere; one task waits for it."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Wait until it was rung since the last time, but no longer than so many seconds."""
        with trio.move_on_after(seconds):
            await self._rung.wait()
        self._rung = trio.Event()


async def _follow(
    daemon: Daemon, connection: socket.socket, request: protocol.EventsRequest, patience: float
) -> None:
    """Send events until the peer leaves. It may read as slowly as it likes: nobody waits for it."""
    if daemon.followers >= MOST_FOLLOWERS:
        raise UsageError(f"{daemon.followers} read the events already: end one of them first")
    bell = _Bell()
    wanted = Wanted(request.workload, request.operation, request.verdict, request.event)
    with daemon.follow(wanted, bell.ring) as follower:
        begun = protocol.encode_result(protocol.Following(MOST_WAITING))
        there = await send_all(connection, begun, patience=patience)
        while there:
            await bell.wait(LOOK)
            daemon.log.flush()  # what tasks have answered is handed on by nobody else for a while
            data = follower.take()
            if data:
                there = await send_all(connection, data, patience=math.inf)
                await trio.sleep(GATHER)
            else:
                there = not _hung_up(connection)


def _hung_up(connection: socket.socket) -> bool:
    """Whether nobody is at the other end. One that only sends no more may still read."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))  # POLLHUP and POLLERR are always told
