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
from notifyd.daemon.line_reader import CONNECTION_IDLE_TIMEOUT_S, LineReader
from notifyd.daemon.log import rotate
from notifyd.daemon.metrics import metrics_text
from notifyd.daemon.rights import ControlContext, Forbidden, Reload
from notifyd.errors import PeerError, UsageError
from notifyd.events.followers import MAX_FOLLOWER_BACKLOG_BYTES, EventFilter
from notifyd.intake.arrival import Peer
from notifyd.intake.reception import MESSAGE_TIMEOUT_S, reception, send_all

__all__ = ["serve_control"]

MAX_FOLLOWERS = 32  # each may make us keep `MAX_FOLLOWER_BACKLOG_BYTES`
# seconds: so many events go in one piece, and reading along stays cheap
EVENT_BATCH_INTERVAL_S = 0.05
# seconds between two looks at whether a follower has left, and at what tasks answered
FOLLOWER_POLL_INTERVAL_S = 0.5
_BROKEN = "an error in notifyd itself, which the log has: please report it"


async def serve_control(
    server: socket.socket,
    daemon: Daemon,
    reload: Reload | None = None,
    *,
    patience: float = MESSAGE_TIMEOUT_S,
    idle: float = CONNECTION_IDLE_TIMEOUT_S,
) -> None:
    """Answer requests for ever.

    Args:
        server: listening, SOCK_STREAM; it stays the caller's.
        daemon: what is asked about.
        reload: how it reloads.
        patience: seconds that a request, and each answer, may take.
        idle: seconds that a connection is kept without a request.
    """
    context = ControlContext(daemon, reload)

    async def attend(connection: socket.socket, peer: Peer) -> None:
        try:
            context.check_reads(peer)
            await _converse(context, connection, peer, LineReader(connection, patience, idle))
        except PeerError as error:
            await send_all(connection, protocol.encode_error(str(error)), patience=patience)
            raise
        except OSError:
            raise  # the connection's
        except Exception as error:  # asking may fail; deciding must continue
            daemon.log.broke(error)
            await send_all(connection, protocol.encode_error(_BROKEN), patience=patience)

    await reception(server, attend, partial(daemon.arrivals.refuse, "control"))


async def _converse(
    context: ControlContext, connection: socket.socket, peer: Peer, lines: LineReader
) -> None:
    """Answer one request after the other until the peer leaves."""
    while (line := await lines.next()) is not None:
        request = protocol.parse_request(line)
        try:
            if isinstance(request, protocol.EventsRequest):
                await _follow(context.daemon, connection, request, lines.patience)
                return
            if isinstance(request, QuestionsRequest):
                left = partial(_hung_up, connection)
                await answering.follow_questions(context.daemon, connection, left)
                return
            reply = protocol.encode_result(await _done(context, peer, request))
        except UsageError as error:
            reply = protocol.encode_error(str(error))
        if not await send_all(connection, reply, patience=lines.patience):
            return


async def _done(context: ControlContext, peer: Peer, request: protocol.ControlRequest) -> Any:
    """Do what a request says. What changes something is in the log, done or not.

    Raises:
        UsageError: it cannot be done, or not by this peer.
    """
    name = protocol.command_of(request)
    handler, command = COMMAND_HANDLERS[name], protocol.CONTROL_COMMANDS[name]
    if not command.changes:
        return await handler(context, peer, request)
    said = {"peer": str(peer), "command": name, **_about(command, request)}
    try:
        if command.answers:
            context.check_answers(peer, name, getattr(request, "on_behalf_of", None))
        else:
            context.check_changes(peer, name)
        result = await handler(context, peer, request)
    except UsageError as error:
        event = "approval.forbidden" if isinstance(error, Forbidden) else "control.refused"
        context.daemon.log.event(event, "warning", **said, reason=str(error))
        raise
    context.daemon.log.event("control.command", **said)
    return result


def _about(command: protocol.ControlCommand, request: protocol.ControlRequest) -> dict[str, Any]:
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


async def _status(context: ControlContext, _peer: Peer, _request: Any) -> protocol.DaemonStatus:
    return views.status(context.daemon)


async def _workloads(
    context: ControlContext, _peer: Peer, _request: Any
) -> list[protocol.WorkloadView]:
    return [views.workload(one) for one in context.daemon.workloads.values()]


async def _rules(context: ControlContext, _peer: Peer, _request: Any) -> list[protocol.SectionView]:
    return views.sections(context.daemon)


async def _reload(context: ControlContext, peer: Peer, _request: Any) -> protocol.Reloaded:
    if context.reload is None:
        raise UsageError("this daemon cannot reload: restart it")
    return protocol.Reloaded(await context.reload(f"reload by {peer}"))


async def _rotate(context: ControlContext, _peer: Peer, _request: Any) -> protocol.Rotated:
    log = context.daemon.policies.config.log
    if log is None:
        raise UsageError("no audit file is written: name one with `audit` in the configuration")
    if not rotate(context.daemon.audit):
        raise UsageError(f"{log.path!r} is not a file, or cannot be written now: see the log")
    return protocol.Rotated(log.path)


async def _detach(context: ControlContext, _peer: Peer, request: Any) -> protocol.Detached:
    workload = context.find(request.id)
    listeners = len(workload.members)
    context.daemon.detach(workload)
    return protocol.Detached(listeners)


async def _kill(context: ControlContext, _peer: Peer, request: Any) -> protocol.Killed:
    killed = context.find(request.id).kill()
    if not killed:
        raise UsageError(
            f"{request.id!r}: its processes are not known, or gone: stop it with whatever started "
            "it, or let it go with `notifyd ctl detach`"
        )
    return protocol.Killed(killed)


async def _metrics(context: ControlContext, _peer: Peer, _request: Any) -> protocol.Metrics:
    return protocol.Metrics(metrics_text(context.daemon))


COMMAND_HANDLERS: Mapping[str, Callable[[ControlContext, Peer, Any], Awaitable[Any]]] = (
    MappingProxyType(
        {
            "status": _status,
            "workloads": _workloads,
            "rules": _rules,
            "reload": _reload,
            "rotate": _rotate,
            "detach": _detach,
            "kill": _kill,
            "metrics": _metrics,
            **answering.ANSWER_HANDLERS,
        }
    )
)


# -- live events


class _WakeUp:
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
    if daemon.followers >= MAX_FOLLOWERS:
        raise UsageError(f"{daemon.followers} read the events already: end one of them first")
    bell = _WakeUp()
    wanted = EventFilter(request.workload, request.operation, request.verdict, request.event)
    with daemon.follow(wanted, bell.ring) as follower:
        begun = protocol.encode_result(protocol.Following(MAX_FOLLOWER_BACKLOG_BYTES))
        there = await send_all(connection, begun, patience=patience)
        while there:
            await bell.wait(FOLLOWER_POLL_INTERVAL_S)
            daemon.log.flush()  # nothing else passes on the events of tasks for a while
            data = follower.take()
            if data:
                there = await send_all(connection, data, patience=math.inf)
                await trio.sleep(EVENT_BATCH_INTERVAL_S)
            else:
                there = not _hung_up(connection)


def _hung_up(connection: socket.socket) -> bool:
    """Whether the peer has closed its end. A peer that has only stopped sending may still read."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))  # POLLHUP and POLLERR are always reported
