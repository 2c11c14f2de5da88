"""The hot loop: receiving calls of one listener and answering the plain ones, one after the other.

Here every instruction is paid for by every call, so names are bound before the loop, and what
nobody asked for is not looked up, counted or timed. Whatever needs more thought becomes a
`Notification` and is handed out.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from os import sched_yield
from select import POLLIN
from time import perf_counter_ns as clock
from typing import Any, TypeAlias

from notifyd.engine.answer import MAX_VALUE
from notifyd.engine.at_once import perform_at_once
from notifyd.engine.fast_answer import PlainAnswer
from notifyd.engine.fast_plan import EventTemplate
from notifyd.engine.listener import Listener
from notifyd.engine.notification import Notification
from notifyd.errors import TargetGone
from notifyd.kernel.arch import native
from notifyd.kernel.limits import MAX_ERRNO
from notifyd.kernel.unotify import RESPONSE_CONTINUE
from notifyd.perform.call_tracer import Expected
from notifyd.policy.call import Call, Note
from notifyd.policy.verdicts import Allow, Deny, Return
from notifyd.target.paths import WouldBlock

# nanoseconds; a target that was only waiting for the core is back much sooner
LINGER_LIMIT_NS = 200_000
SPARED = 50  # times as long as it was; so others have a fiftieth at most

Events: TypeAlias = list[tuple[int, int]]
Poll: TypeAlias = Callable[[int], Events]


class LoopExit(enum.Enum):
    """Why the loop stopped without a case for a task."""

    EMPTY = "nothing is pending"
    ENDED = "the last task with the filter is gone"
    TURN = "others have their turn"


# Invariant: one reader, and poll before each RECV. A RECV with nothing pending waits for ever, even
# on an O_NONBLOCK listener.
def answer_calls(  # noqa: C901
    listener: Listener, until: int, linger: Callable[[Poll], Events] | None
) -> LoopExit | Notification:
    """Answer calls inline; return why it stopped, or a case for a task to attend.

    Hot, and so in one piece.

    Args:
        listener: whose calls.
        until: a call that begins after it is the last one; nanoseconds of perf_counter_ns.
        linger: how the next call is waited for; None if somebody else is ready.
    """
    poll, receive, respond = listener.poll, listener.receive, listener.respond
    fast, unobserved, own_arch = listener.fast_plans.get, listener.unobserved, native().audit
    expected, begun = listener.itself.expected, 0
    while begun <= until:
        events = poll(0) or (linger and linger(poll))
        if not events or not events[0][1] & POLLIN:
            return LoopExit.ENDED if events else LoopExit.EMPTY  # POLLHUP, or nothing at all
        begun = clock()
        try:
            note = receive() if not expected else _next(receive, expected, respond)
        except (FileNotFoundError, InterruptedError):
            continue  # the target left between poll and RECV, or a signal came: look again
        try:
            if (plan := fast(note[3])) is None or note[4] != own_arch:
                notification = Notification(listener, note, begun).decide()
            else:
                operation, variant, function, known = plan
                call = operation(note, variant, listener)
                try:  # nothing but the rule, which may raise anything: our faults are not its own
                    verdict = function(call)
                except BaseException as failure:
                    notification = Notification(listener, note, begun).failed(call, failure)
                else:
                    try:
                        if (answer := _plain(call, verdict)) is None:
                            notification = _at_length(listener, known, call, verdict, begun)
                        elif unobserved:
                            respond(note[0], answer[0], answer[1], answer[2])
                            call._origin = None  # close(), without the price of a method
                            continue
                        else:
                            listener.answer_plainly(known, call, verdict, answer, begun)
                            continue
                    except (WouldBlock, TargetGone) as met:
                        notification = Notification(listener, note, begun).failed(call, met)
            if notification is not None:
                return notification
        except Exception as error:  # ours, not a rule's: refuse this call, keep the others
            listener.broke(note, error)
    return LoopExit.TURN


def _next(
    receive: Callable[[], Note], expected: Expected, respond: Callable[[int, int, int, int], bool]
) -> Note:
    """Receive a call, unless it is the very one that its target is led to, which goes on.

    Raises:
        InterruptedError: it was that one.
        OSError: as `receive`.
    """
    note = receive()
    if expected.pop(note[1], None) != note[3:]:
        return note
    respond(note[0], 0, 0, RESPONSE_CONTINUE)  # decided already; its arguments are in our memory
    raise InterruptedError


def _at_length(
    listener: Listener, known: EventTemplate, call: Any, verdict: Any, begun: int
) -> Notification | None:
    """Answer a call whose verdict needs more than a look; or return it for a task."""
    if perform_at_once(listener, known, call, verdict, begun):
        return None
    return Notification(listener, call.note, begun).ruled(call, verdict)


class Linger:
    """Lets the target have this core for a moment, and looks once more.

    It may only be waiting for this very core, and leaving for trio's loop costs forty times as much
    as letting it run. But whoever else wants the core gets it too, for a slice of the scheduler's:
    after a moment that was long there is none for some time.
    """

    def __init__(self) -> None:
        self._not_before = 0

    def wait(self, poll: Poll) -> Events:
        """What `poll` says after it."""
        before = clock()
        if before < self._not_before:
            return []
        sched_yield()
        after = clock()
        if after - before > LINGER_LIMIT_NS:
            self._not_before = after + SPARED * (after - before)
        return poll(0)


def _plain(call: Call, verdict: Any) -> PlainAnswer | None:
    """The answer of a verdict that needs no second thought."""
    kind = verdict.__class__
    if kind is Deny and verdict.errno.__class__ is int and 0 < verdict.errno <= MAX_ERRNO:
        return 0, -verdict.errno, 0
    if kind is Return and not verdict.memory and verdict.value.__class__ is int:
        return (verdict.value, 0, 0) if -MAX_VALUE - 1 <= verdict.value <= MAX_VALUE else None
    if kind is Allow and not (call.looked or verdict.changes or verdict.grant):
        return _GO_ON
    return None


_GO_ON = 0, 0, RESPONSE_CONTINUE
