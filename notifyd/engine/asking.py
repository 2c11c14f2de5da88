"""Having a person decide a call: from the rule's `Ask` to a verdict that can be answered."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from notifyd.approvals.question import Question, QuestionState, Resolution, Scope, Subject
from notifyd.engine.binding import bound_to, is_plain
from notifyd.engine.decide import Decision
from notifyd.errors import NotifydError, TargetGone
from notifyd.events.sanitize import printable
from notifyd.perform import Execution, Moved, SyscallResult, worker
from notifyd.policy.call import ID, PID, Note
from notifyd.policy.operations import Exec
from notifyd.policy.verdicts import Allow, Ask
from notifyd.target.caller import UNKNOWN_UID, Caller, CallerProbe
from notifyd.target.paths import WouldBlock

if TYPE_CHECKING:
    from notifyd.approvals.queue import Approver
    from notifyd.engine.listener import Listener
    from notifyd.target.identity import Identity

__all__ = ["ask_person", "concluded", "what_it_binds", "what_it_comes_to"]

MAX_QUESTION_CHARS = 2000  # characters of a question
MAX_QUESTION_KEY_CHARS = 4000  # characters of its key
_NOBODY = Caller("", "of which notifyd cannot tell the file", "unknown", frozenset({UNKNOWN_UID}))


async def ask_person(
    listener: Listener,
    note: Note,
    decision: Decision,
    about: str,
    identity: Identity | None,
    args: Mapping[str, Any] | None,
    slot: int = 0,
) -> Resolution:
    """Ask, and wait for what comes of it.

    Args:
        listener: whose call it is.
        note: the notification.
        decision: with an `Ask`.
        about: what the question binds; "" if that cannot be told, and nothing is asked.
        identity: who calls.
        args: of the call, as events tell them.
        slot: where the call is on record; 0 for nowhere.

    Raises:
        TargetGone.
    """
    if listener.queue is None:
        return Resolution(QuestionState.UNASKED, why="there is nobody to ask")
    if not about:
        return Resolution(QuestionState.UNASKED, why="what it would be about cannot be read")
    identity = identity or listener.identities.of(note[PID])
    caller = await _caller_of(listener, note, identity.tid)
    program = await _program_of(decision)
    ask: Any = decision.verdict
    known = _is_known(decision, caller, program)
    subject = Subject(
        decision.rule or "",
        printable(ask.key if ask.key is not None else ask.question, MAX_QUESTION_KEY_CHARS),
        identity.uid,
        identity.who[0] or "",
        caller.digest,
        program,
        decision.origin,
        listener.section,
        about,
        _world(listener, note, identity, caller, known=known),
    )
    question = Question(
        0,
        printable(ask.question, MAX_QUESTION_CHARS),
        subject,
        listener.name,
        listener.section,
        identity.who[2],
        identity.pid,
        *listener.named(note, decision.call),
        args or {},
        _scopes(ask, caller, known=known),
        0.0,
        ask.within,
        caller.note,
        caller.owners,
    )
    return await _put(listener, listener.queue, question, slot)


async def _put(listener: Listener, queue: Approver, question: Question, slot: int) -> Resolution:
    """Have a question answered, while the call is on record as one that waits."""
    if listener.in_flight is None:
        return await queue.ask(question)
    listener.in_flight.pause(slot)
    resolution = await queue.ask(question)
    listener.in_flight.go_on(slot)  # not if we are cancelled: it waits for a successor then
    return resolution


async def what_it_binds(decision: Decision) -> str:
    """What a question binds, as `bound_to` has it; "" where that cannot be read.

    Raises:
        TargetGone.
    """
    while True:
        try:
            return bound_to(decision)
        except WouldBlock as look:
            await worker.run(look.look)
        except TargetGone:
            raise
        except NotifydError:
            return ""


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


def _is_known(decision: Decision, caller: Caller, program: str) -> bool:
    """Whether it can be told of a later call that it is like this one."""
    executes = isinstance(decision.call, Exec)
    return bool(caller.digest) and (bool(program) or not executes) and is_plain(decision)


def _world(
    listener: Listener, note: Note, identity: Identity, caller: Caller, *, known: bool
) -> str:
    """Whose names the question is about; of what cannot be told again, this very call's."""
    if not known:
        return f"{listener.name} {identity.who[2]} {note[ID]}"
    return caller.world if caller.lasting else f"{listener.name} {caller.world}"


def _scopes(ask: Ask, caller: Caller, *, known: bool) -> tuple[Scope, ...]:
    """What the person may choose from: what can be kept safely."""
    kept: set[str] = set(ask.remember) if known else set()
    if not caller.lasting:
        kept.discard(Scope.ALWAYS.value)  # another's names may be the same, and mean other things
    return tuple(scope for scope in Scope if scope is Scope.ONCE or scope.value in kept)


async def _caller_of(listener: Listener, note: Note, tid: int) -> Caller:
    """Who calls.

    Raises:
        TargetGone.
    """
    check = listener.target(note).check
    try:
        look = CallerProbe(tid)
    except OSError:
        check()
        return _NOBODY
    with ExitStack() as ours:
        ours.enter_context(look)
        check()  # a number means its target only while the call is known to stand
        owned = ours.pop_all()

    def read() -> Caller:
        # A thread that is left behind must not find another file at that number: it closes it.
        with owned:
            return look.read(listener.digests, check)

    try:
        caller = await worker.run(read)
    except OSError:
        owned.close()  # if there was no thread to do so
        return _NOBODY
    check()
    return caller


async def what_it_comes_to(listener: Listener, call: Exec) -> SyscallResult | None:
    """What an execve gets without anybody's leave: there is no such file. None if it may run.

    Raises:
        TargetGone, NotifydError, OSError: it could not be verified.
    """
    files, digests, killable = listener.files, listener.digests, listener.killable
    try:
        with Execution(files, digests, call, Allow(), killable=killable) as execution:
            expected = await execution.prepare()
    except Moved:
        return None  # it will move again, or not
    return expected if isinstance(expected, SyscallResult) else None


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
