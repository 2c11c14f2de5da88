"""The commands of the control socket that are about questions, answers and grants."""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import trio

from notifyd.approvals.answer_cache import StoredAnswer
from notifyd.approvals.history import HistoryFilter
from notifyd.approvals.question import Answer, Person, Scope, user_name
from notifyd.daemon import approval_messages as messages
from notifyd.daemon import protocol
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.question_context import decision_view
from notifyd.daemon.rights import ControlContext
from notifyd.errors import UsageError
from notifyd.events.sanitize import printable, whole
from notifyd.intake.arrival import Peer
from notifyd.intake.reception import send_all

__all__ = ["ANSWER_HANDLERS", "follow_questions", "grant_view"]

QUESTION_BATCH_INTERVAL_S = 0.05  # seconds between two lists: a flood of questions is sent together
READER_POLL_INTERVAL_S = 0.5  # seconds between two looks at whether a reader has left


async def _pending(
    context: ControlContext, _peer: Peer, _request: Any
) -> list[messages.QuestionView]:
    return await context.daemon.question_contexts.pending()


async def _approve(context: ControlContext, peer: Peer, request: Any) -> messages.Answered:
    question = context.daemon.queue.find(request.id)
    context.check_own(peer, question, request.on_behalf_of)
    return await _answer(context, peer, request, granted=True)


async def _deny(context: ControlContext, peer: Peer, request: Any) -> messages.Answered:
    return await _answer(context, peer, request, granted=False)


async def _answer(
    context: ControlContext, peer: Peer, request: Any, *, granted: bool
) -> messages.Answered:
    answer = Answer(
        granted,
        person_of(peer, request.on_behalf_of),
        Scope(request.scope),
        request.minutes,
        printable(request.reason, 1000),
    )
    question = await context.daemon.queue.answer(request.id, answer)
    return messages.Answered(
        question.id, question.text, question.workload, granted, answer.scope.value
    )


async def _grants(context: ControlContext, _peer: Peer, _request: Any) -> list[messages.GrantView]:
    return [grant_view(one) for one in context.daemon.queue.grants]


async def _revoke(context: ControlContext, peer: Peer, request: Any) -> messages.GrantView:
    person = person_of(peer, request.on_behalf_of)
    return grant_view(await context.daemon.queue.revoke(request.id, str(person)))


async def _history(
    context: ControlContext, _peer: Peer, request: Any
) -> list[messages.DecisionView]:
    if not context.daemon.queue.keeps:  # whatever path a reload has brought
        raise UsageError("nothing is kept: have approvals.path name a file, and restart notifyd")
    wanted = HistoryFilter(
        workload=request.workload,
        rule=request.rule,
        operation=request.operation,
        exe=request.exe,
        person=request.by,
        state=request.state,
        most=request.limit,
    )
    return [decision_view(row) for row in await context.daemon.queue.history(wanted)]


ANSWER_HANDLERS: Mapping[str, Callable[[ControlContext, Peer, Any], Awaitable[Any]]] = (
    MappingProxyType(
        {
            "pending": _pending,
            "approve": _approve,
            "deny": _deny,
            "grants": _grants,
            "revoke": _revoke,
            "history": _history,
        }
    )
)


def person_of(peer: Peer, on_behalf: messages.ActingFor | None) -> Person:
    """Who answers: the peer, or whom it speaks for."""
    if on_behalf is not None:
        uid = peer.uid if on_behalf.uid is None else on_behalf.uid
        name, place = printable(on_behalf.name), printable(on_behalf.place)
        return Person(name, uid, on_behalf.face, place)
    return Person(user_name(peer.uid), peer.uid, "ctl", f"pid {peer.pid}")


def grant_view(grant: StoredAnswer) -> messages.GrantView:
    """A grant as it is sent."""
    subject, person = grant.subject, grant.person
    return messages.GrantView(
        id=grant.id,
        granted=grant.granted,
        rule=whole(subject.rule),
        key=subject.key,
        uid=subject.uid,
        exe=whole(subject.exe),
        by=person.name,
        face=person.face,
        place=person.place,
        reason=grant.reason,
        question=grant.question,
        made=grant.made,
        until=grant.until,
    )


async def follow_questions(
    daemon: Daemon, connection: socket.socket, left: Callable[[], bool]
) -> None:
    """Send the questions that wait, and again whenever they change, until the peer has left.

    It may read as slowly as it likes: changes in the meantime are sent in one piece.
    """
    told = -1
    while not left():
        version = daemon.queue.version
        if version != told:
            told = version
            line = protocol.encode_result(await daemon.question_contexts.pending())
            if not await send_all(connection, line, patience=math.inf):
                return
            await trio.sleep(QUESTION_BATCH_INTERVAL_S)
        with trio.move_on_after(READER_POLL_INTERVAL_S):
            await daemon.queue.wait_change(told)
