"""Having a person decide a call: from the rule's `Ask` to a verdict that can be answered."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from notifyd.approvals.question import Question, Resolution, Scope, State, Subject
from notifyd.audit.harmless import printable
from notifyd.engine.decide import Decision
from notifyd.errors import TargetGone
from notifyd.perform import Done, Execution, Moved, worker
from notifyd.policy.call import PID, Note
from notifyd.policy.operations import Exec
from notifyd.policy.verdicts import Allow, Ask
from notifyd.target.paths import WouldBlock

if TYPE_CHECKING:
    from notifyd.engine.workload import Workload
    from notifyd.target.identity import Identity

__all__ = ["ask_person", "concluded", "same_question", "what_it_comes_to"]

MOST_TEXT = 2000  # characters of a question
MOST_KEY = 4000  # characters of its key


async def ask_person(
    workload: Workload,
    note: Note,
    decision: Decision,
    identity: Identity | None,
    args: Mapping[str, Any] | None,
    slot: int = 0,
) -> Resolution:
    """Ask, and wait for what comes of it.

    Args:
        workload: whose call it is.
        note: the notification.
        decision: with an `Ask`.
        identity: who calls.
        args: of the call, as events tell them.
        slot: where the call is on record; 0 for nowhere.

    Raises:
        TargetGone.
    """
    if workload.desk is None:
        return Resolution(State.UNASKED, why="there is nobody to ask")
    identity = identity or workload.identities.of(note[PID])
    ask: Any = decision.verdict
    subject = Subject(
        decision.rule or "",
        printable(ask.key if ask.key is not None else ask.question, MOST_KEY),
        identity.uid,
        identity.who[0] or "",
        await _digest_of(workload, note, identity.tid),
        await _program_of(decision),
    )
    call = decision.call
    operation, syscall = workload.named(note, call)
    question = Question(
        0,
        printable(ask.question, MOST_TEXT),
        subject,
        workload.name,
        workload.section,
        identity.who[2],
        identity.pid,
        operation,
        syscall,
        args or {},
        _scopes(ask, subject, decision),
        0.0,
        ask.within,
    )
    if workload.ledger is None:
        return await workload.desk.ask(question)
    workload.ledger.pause(slot)
    resolution = await workload.desk.ask(question)
    workload.ledger.go_on(slot)  # not if we are cancelled: it waits for a successor then
    return resolution


def concluded(decision: Decision, resolution: Resolution) -> Decision:
    """What a decision to ask comes to, now that it was asked."""
    ask, then = decision.verdict, decision.then
    assert isinstance(ask, Ask)
    if not resolution.granted:
        return decision._replace(verdict=ask.otherwise, reason=resolution.reason, then=None)
    if then is None:
        return decision._replace(verdict=Allow(), reason=resolution.reason)
    if isinstance(then.verdict, Allow):  # and it is the person who allows it
        return then._replace(rule=decision.rule, reason=resolution.reason)
    return then


def same_question(one: Ask, other: Ask) -> bool:
    """Whether an answer to one of two questions of a call is one to the other."""
    return (one.key or one.question) == (other.key or other.question)


def _scopes(ask: Ask, subject: Subject, decision: Decision) -> tuple[Scope, ...]:
    """What the person may choose from. What lasts needs to know whom it lasts for."""
    known = subject.digest and (subject.program or not isinstance(decision.call, Exec))
    return tuple(
        scope
        for scope in Scope
        if scope is Scope.ONCE or (scope.value in ask.remember and (known or not scope.lasts))
    )


async def _digest_of(workload: Workload, note: Note, tid: int) -> str:
    """The digest of the program that calls; "" where it cannot be read."""
    try:
        descriptor = os.open(f"/proc/{tid}/exe", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return ""
    check = workload.target(note).check
    with ExitStack() as ours:
        ours.callback(os.close, descriptor)
        check()  # a number means its target only while the call is known to stand
        owned = ours.pop_all()

    def compute() -> str:
        # A thread that is left behind must not find another file at that number: it closes it.
        with owned:
            # Held: what is being executed cannot be written (ETXTBSY). And whoever is killed again
            # and again must not leave a thread each time that reads a large file to its end.
            return workload.digests.compute(descriptor, held=True, go_on=check)

    try:
        return await worker.run(compute)
    except OSError as error:
        owned.close()  # if there was no thread to do so
        if error.errno == errno.ENOENT:
            raise TargetGone("the target is gone") from error
        return ""


async def what_it_comes_to(workload: Workload, call: Exec) -> Done | None:
    """What an execve gets without anybody's leave: there is no such file. None if it may run.

    Raises:
        TargetGone, NotifydError, OSError: it could not be verified.
    """
    files, digests, killable = workload.files, workload.digests, workload.killable
    try:
        with Execution(files, digests, call, Allow(), killable=killable) as execution:
            expected = await execution.prepare()
    except Moved:
        return None  # it will move again, or not
    return expected if isinstance(expected, Done) else None


async def _program_of(decision: Decision) -> str:
    """Of an execve, the digest of what is to be executed: that is a part of the question."""
    call = decision.call
    if not isinstance(call, Exec):
        return ""
    while True:
        try:
            return call.sha256
        except WouldBlock as look:
            await worker.run(look.look)
