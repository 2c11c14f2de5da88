"""The control socket: what the daemon tells, and what it does, when it is asked.

Who may ask is in `rights`, what can be asked for in `protocol`.
"""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import trio

from notifyd.daemon import answering, protocol, views
from notifyd.daemon.approval_messages import QuestionsRequest, RevokeRequest
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.lines import IDLE, Lines
from notifyd.daemon.log import rotate
from notifyd.daemon.metrics import metrics_text
from notifyd.daemon.rights import Desk, Forbidden, Reload
from notifyd.errors import PeerError, UsageError
from notifyd.events.followers import MOST_WAITING, Wanted
from notifyd.intake.arrival import Peer
from notifyd.intake.reception import PATIENCE, reception, send_all

__all__ = ["serve_control"]

MOST_FOLLOWERS = 32  # each may make us keep `MOST_WAITING`
GATHER = 0.05  # seconds: so many events go in one piece, and reading along stays cheap
LOOK = 0.5  # seconds between two looks at whether a follower has left, and at what tasks answered
_BROKEN = "an error in notifyd itself, which the log has: please report it"


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
        except Exception as error:  # asking may fail; deciding must continue
            daemon.log.broke(error)
            await send_all(connection, protocol.encode_error(_BROKEN), patience=patience)

    await reception(server, attend, daemon.arrivals.refuse_control)


async def _converse(desk: Desk, connection: socket.socket, peer: Peer, lines: Lines) -> None:
    """Answer one request after the other until the peer leaves."""
    while (line := await lines.next()) is not None:
        request = protocol.parse_request(line)
        try:
            if isinstance(request, protocol.EventsRequest):
                await _follow(desk.daemon, connection, request, lines.patience)
                return
            if isinstance(request, QuestionsRequest):
                left = partial(_hung_up, connection)
                await answering.follow_questions(desk.daemon, connection, left)
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
    name = protocol.command_of(request)
    handler, command = HANDLERS[name], protocol.COMMANDS[name]
    if not command.changes:
        return await handler(desk, peer, request)
    said = {"peer": str(peer), "command": name, **_about(command, request)}
    try:
        if command.answers:
            desk.check_answers(peer, name, getattr(request, "on_behalf_of", None))
        else:
            desk.check_changes(peer, name)
        result = await handler(desk, peer, request)
    except UsageError as error:
        event = "approval.forbidden" if isinstance(error, Forbidden) else "control.refused"
        desk.daemon.log.event(event, "warning", **said, reason=str(error))
        raise
    desk.daemon.log.event("control.command", **said)
    return result


def _about(command: protocol.Command, request: protocol.Request) -> dict[str, Any]:
    """What a request is about, as a field of its event."""
    if not command.answers:
        return {"workload": getattr(request, "id", None)}
    field = "grant" if isinstance(request, RevokeRequest) else "approval"
    on_behalf = getattr(request, "on_behalf_of", None)
    return {
        field: getattr(request, "id", None),
        "by": on_behalf and f"{on_behalf.name} by {on_behalf.face}",
    }


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
    if not rotate(desk.daemon.audit):
        raise UsageError(f"{log.path!r} is not a file, or cannot be written now: see the log")
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
        **answering.HANDLERS,
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
    """Send events until the peer leaves. It may read as slowly as it likes: no one waits for it."""
    if daemon.followers >= MOST_FOLLOWERS:
        raise UsageError(f"{daemon.followers} read the events already: end one of them first")
    bell = _Bell()
    wanted = Wanted(request.workload, request.operation, request.verdict, request.event)
    with daemon.follow(wanted, bell.ring) as follower:
        begun = protocol.encode_result(protocol.Following(MOST_WAITING))
        there = await send_all(connection, begun, patience=patience)
        while there:
            await bell.wait(LOOK)
            daemon.log.flush()  # nothing else passes on the events of tasks for a while
            data = follower.take()
            if data:
                there = await send_all(connection, data, patience=math.inf)
                await trio.sleep(GATHER)
            else:
                there = not _hung_up(connection)


def _hung_up(connection: socket.socket) -> bool:
    """Whether the peer has closed its end. A peer that has only stopped sending may still read."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))  # POLLHUP and POLLERR are always reported
