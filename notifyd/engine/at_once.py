"""The short way of calls that are performed at once: opening files, connecting and binding sockets.

What is plain, and allowed by a plain rule, needs neither a notification nor a request. Whatever is
not that plain goes the ordinary way, which is slower and knows everything.
"""

from __future__ import annotations

import os
from typing import Any, TypeAlias

from notifyd.engine.answer import Response
from notifyd.engine.fast_plan import EventTemplate
from notifyd.engine.listener import Listener
from notifyd.kernel.files import KNOWN_OPEN_FLAGS
from notifyd.perform import SyscallResult
from notifyd.perform.socket_at_once import give_address, send
from notifyd.policy.call import ARG0, ID, PID
from notifyd.policy.operations import Bind, Connect, Open, SendTo
from notifyd.policy.sources import Reg
from notifyd.policy.verdicts import Allow
from notifyd.policy.wording import words
from notifyd.target.identity import Identity

__all__ = ["on_socket_at_once", "perform_at_once"]

_Told: TypeAlias = tuple[Identity, dict[str, Any] | None]
_ON_SOCKETS = (Bind, Connect, SendTo)


def perform_at_once(
    listener: Listener, known: EventTemplate, call: Any, verdict: Any, begun: int
) -> bool:
    """Perform and answer a call, if it is plain; return whether it was.

    Raises:
        TargetGone.
    """
    if verdict.__class__ is not Allow or verdict.changes or verdict.grant:
        return False
    if call.__class__ is Open:
        return not listener.may_block and _open(listener, known, call, begun)
    if call.__class__ in _ON_SOCKETS:
        return _on_socket(listener, known, call, verdict, begun)
    return False


def _open(listener: Listener, known: EventTemplate, call: Any, begun: int) -> bool:
    source = call.variant.sources["flags"]
    if source.__class__ is not Reg:  # creat makes files, and openat2 has more to it
        return False
    flags = call.note[ARG0 + source.index] & KNOWN_OPEN_FLAGS
    opened = listener.files.open_at_once(call, flags)
    if opened is None:
        return False
    descriptor, error = opened
    if listener.unobserved:
        _give(listener, call, flags, descriptor, error)
    else:
        _give_and_tell(listener, known, call, flags, opened, begun)
    call.close()
    return True


def _on_socket(
    listener: Listener, known: EventTemplate, call: Any, verdict: Allow, begun: int
) -> bool:
    # Invariant: nothing that may have to be tried again comes between the effect and the answer.
    told = None if listener.unobserved else _told(listener, known, call)
    done = on_socket_at_once(listener, call, verdict)
    if done is None:
        return False
    response = listener.answerer.gave(call.note, done.value, done.errno, None)
    if told is not None:
        _tell(listener, known, call, told, response, begun)
    call.close()
    return True


def on_socket_at_once(listener: Listener, call: Any, verdict: Allow) -> SyscallResult | None:
    """Do a Connect, Bind or SendTo that was allowed as it is, if it does not wait.

    Returns:
        None if it was not done.

    Raises:
        TargetGone, WouldBlock, RuleError.
    """
    if call.__class__ not in _ON_SOCKETS or verdict.changes or verdict.grant:
        return None
    target: Any = call.target
    if listener.socket_may_be_locked(target.tid) or not listener.files.is_own(target):
        return None
    let_go = listener.files.closing.let_go
    if isinstance(call, SendTo):
        return send(call, target, let_go)
    return give_address(call, target, let_go)


def _give(listener: Listener, call: Any, flags: int, descriptor: int, error: int) -> None:
    """Answer where nobody wants to know of it: by the shortest way."""
    if descriptor < 0:
        listener.answerer.gave(call.note, 0, error, None)
        return
    try:
        listener.notifier.give_fd(call.note[ID], descriptor, flags & os.O_CLOEXEC)
    except OSError as failure:
        listener.answerer.not_given(call.note, failure, None)


def _give_and_tell(
    listener: Listener,
    known: EventTemplate,
    call: Any,
    flags: int,
    opened: tuple[int, int],
    begun: int,
) -> None:
    """Answer, count, and write down. May raise TargetGone; the descriptor is closed then."""
    descriptor, error = opened
    try:
        told = _told(listener, known, call)
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        raise
    answerer, note = listener.answerer, call.note
    if descriptor < 0:
        response = answerer.gave(note, 0, error, None)
    else:
        response = answerer.injected(note, descriptor, flags & os.O_CLOEXEC, None)
    _tell(listener, known, call, told, response, begun)


def _told(listener: Listener, known: EventTemplate, call: Any) -> _Told:
    """What an event tells of a call and of its caller, which stands still now. As `identify`."""
    args = words(call, known.parts) if known.parts is not None else None
    return listener.identify(call.note[PID]), args


def _tell(
    listener: Listener,
    known: EventTemplate,
    call: Any,
    told: _Told,
    response: Response,
    begun: int,
) -> None:
    identity, args = told
    named = known.title, known.syscall
    listener.reporter.call(
        listener.name,
        call.note,
        begun,
        named,
        response,
        identity=identity,
        args=args,
        rule=known.rule,
    )
