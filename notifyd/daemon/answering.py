"""The commands of the control socket that are about questions, answers and grants."""

from __future__ import annotations

import math
import pwd
import socket
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import trio

from notifyd.approvals.history import HistoryFilter
from notifyd.approvals.memory import Grant
from notifyd.approvals.question import Answer, Person, Scope
from notifyd.daemon import approval_messages as messages
from notifyd.daemon import protocol
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.rights import Desk
from notifyd.daemon.scenes import decision_view
from notifyd.errors import UsageError
from notifyd.events.harmless import printable, whole
from notifyd.intake.arrival import Peer
from notifyd.intake.reception import send_all

__all__ = ["HANDLERS", "follow_questions", "grant_view"]

GATHER = 0.05  # seconds between two lists: a flood of questions is sent together
LOOK = 0.5  # seconds between two looks at whether a reader has left


async def _pending(desk: Desk, _peer: Peer, _request: Any) -> list[messages.QuestionView]:
    return await desk.daemon.scenes.pending()


async def _approve(desk: Desk, peer: Peer, request: Any) -> messages.Answered:
    question = desk.daemon.desk.find(request.id)
    desk.check_own(peer, question, request.on_behalf_of)
    return await _answer(desk, peer, request, granted=True)


async def _deny(desk: Desk, peer: Peer, request: Any) -> messages.Answered:
    return await _answer(desk, peer, request, granted=False)


async def _answer(desk: Desk, peer: Peer, request: Any, *, granted: bool) -> messages.Answered:
    answer = Answer(
        granted,
        person_of(peer, request.on_behalf_of),
        Scope(request.scope),
        request.minutes,
        printable(request.reason, 1000),
    )
    question = await desk.daemon.desk.answer(request.id, answer)
    return messages.Answered(
        question.id, question.text, question.workload, granted, answer.scope.value
    )


async def _grants(desk: Desk, _peer: Peer, _request: Any) -> list[messages.GrantView]:
    return [grant_view(one) for one in desk.daemon.desk.grants]


async def _revoke(desk: Desk, peer: Peer, request: Any) -> messages.GrantView:
    person = person_of(peer, request.on_behalf_of)
    return grant_view(await desk.daemon.desk.revoke(request.id, str(person)))


async def _history(desk: Desk, _peer: Peer, request: Any) -> list[messages.DecisionView]:
    if not desk.daemon.desk.keeps:  # whatever path a reload has brought
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
    return [decision_view(row) for row in await desk.daemon.desk.history(wanted)]


HANDLERS: Mapping[str, Callable[[Desk, Peer, Any], Awaitable[Any]]] = MappingProxyType(
    {
        "pending": _pending,
        "approve": _approve,
        "deny": _deny,
        "grants": _grants,
        "revoke": _revoke,
        "history": _history,
    }
)


def person_of(peer: Peer, on_behalf: messages.OnBehalf | None) -> Person:
    """Who answers: the peer, or whom it speaks for."""
    if on_behalf is not None:
        uid = peer.uid if on_behalf.uid is None else on_behalf.uid
        name, place = printable(on_behalf.name), printable(on_behalf.place)
        return Person(name, uid, on_behalf.face, place)
    try:
        name = pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        name = f"uid {peer.uid}"
    return Person(name, peer.uid, "ctl", f"pid {peer.pid}")


def grant_view(grant: Grant) -> messages.GrantView:
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
        version = daemon.desk.version
        if version != told:
            told = version
            line = protocol.encode_result(await daemon.scenes.pending())
            if not await send_all(connection, line, patience=math.inf):
                return
            await trio.sleep(GATHER)
        with trio.move_on_after(LOOK):
            await daemon.desk.wait_change(told)
