"""Answering: what the kernel is told for each verdict, exactly once.

Everything here is quick and inline. Only `Allow` of what was looked at needs more (`perform/`).
"""

from __future__ import annotations

import errno
import os
import signal
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from notifyd.engine.decide import Decision, shown
from notifyd.errors import TargetFault, TargetGone
from notifyd.kernel import pidfd
from notifyd.kernel.limits import MAX_ERRNO
from notifyd.kernel.memfd import sealed
from notifyd.kernel.unotify import RESPONSE_CONTINUE, Notifier
from notifyd.perform.syscall_result import SyscallResult
from notifyd.policy.call import ID, Note
from notifyd.policy.verdicts import Allow, Continue, Deny, Kill, Return, Supply
from notifyd.target.thread import StoppedThread

MAX_VALUE = (1 << 63) - 1  # of what a system call returns
READ_ONLY = os.O_RDONLY | os.O_CLOEXEC
_Give: TypeAlias = tuple[Callable[[int, int, int], int], int]  # how, and which descriptor


class Response(NamedTuple):
    """What became of a call.

    Attributes:
        verdict: the `kind` of a verdict; never `ask`.
        how: `continued`, `performed`, `verified`, `answered`, or `gone`.
        errno: what the target got, or 0.
        value: what the target got, or None.
        reason: why, where there is a why.
        racy: the kernel reads memory again that a rule looked at.
        cause: why it is not what the rules wanted, one of `CAUSES`; "" where it is.
    """

    verdict: str
    how: str
    errno: int = 0
    value: int | None = None
    reason: str | None = None
    racy: bool = False
    cause: str = ""


HOW_GONE = "gone"

# Why a call was refused although no rule wanted so: the event's `cause`, which programs read. Its
# `reason` says it for people.
CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "ended": "the supervisor ended before there was a verdict",
        "held": "the audit file is full",
        "moving": "what the path means keeps changing",
        "undone": "a rule allowed it, and notifyd could not do it",
        "crowded": "too many calls of the workload wait",
        "short": "notifyd has no thread, process, descriptor or memory left to decide it with",
        "fault": "an error of notifyd itself",
    }
)
_SHORT = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def cause_of(error: Exception) -> str:
    """Which of `CAUSES` it is that something of ours failed: the system's limits, or we."""
    short = isinstance(error, OSError) and error.errno in _SHORT
    return "short" if short or isinstance(error, MemoryError) else "fault"


class Answerer:
    """Gives the answers of one listener."""

    __slots__ = ("_notifier",)

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def answer(self, note: Note, decision: Decision) -> Response | None:
        """Answer a decided call.

        Returns:
            What became of it, or None if it has to be performed first.
        """
        verdict = decision.verdict
        if isinstance(verdict, Allow):
            if decision.looked or verdict.changes or verdict.grant:
                return None
            return self.go_on(note, "allow", decision.reason)
        try:
            found = _BY_VERDICT.get(type(verdict)) or next(
                one for kind, one in _BY_VERDICT.items() if isinstance(verdict, kind)
            )
            return found(self, note, decision)
        except TargetGone:
            return Response(verdict.kind, HOW_GONE, reason=decision.reason)
        except TargetFault as fault:
            return self.refuse(note, verdict.kind, fault.errno, str(fault))
        except Exception as error:
            # Nonsense inside a verdict: an errno of 0, a closed descriptor, a value of 2**70.
            return self.refuse(note, "deny", errno.EPERM, f"{shown(verdict)}: {error}")

    def refuse(
        self, note: Note, verdict: str, number: int, reason: str | None, cause: str = ""
    ) -> Response:
        """Answer with an errno; `cause` where no rule wanted that."""
        sent = self._notifier.respond(note[ID], 0, -number, 0)
        return Response(
            verdict, "answered" if sent else HOW_GONE, number, reason=reason, cause=cause
        )

    def performed(self, note: Note, decision: Decision, done: SyscallResult) -> Response:
        """Answer with what was done for the target; takes over the descriptor of `done`.

        Raises:
            WouldBlock: memory that is written has to be waited for.
            TargetGone.
        """
        if done.fd is not None:
            flags = os.O_CLOEXEC if done.cloexec else 0
            return self.injected(note, done.fd, flags, decision.reason)
        try:
            for address, data in done.memory:
                decision.call.target.write(address, data)  # type: ignore[union-attr]
        except TargetFault as fault:
            return self.gave(note, 0, fault.errno, str(fault))
        return self.gave(note, done.value, done.errno, decision.reason)

    def not_performed(self, note: Note, error: Exception, cause: str) -> Response:
        """Answer that a call could not be done; `cause` unless that is the target's own fault."""
        if isinstance(error, TargetFault):
            return self.gave(note, 0, error.errno, str(error))
        return self.refuse(note, "deny", errno.EPERM, f"not done: {error}", cause)

    def gave(self, note: Note, value: int, number: int, reason: str | None) -> Response:
        """Answer with what the kernel gave us for the target: a value, or an errno if not 0."""
        sent = self._notifier.respond(note[ID], 0 if number else value, -number, 0)
        how = "performed" if sent else HOW_GONE
        return Response("allow", how, number, None if number else value, reason)

    def go_on(self, note: Note, verdict: str, reason: str | None, racy: bool = False) -> Response:
        """Let the kernel do the call by itself."""
        sent = self._notifier.respond(note[ID], 0, 0, RESPONSE_CONTINUE)
        return Response(verdict, "continued" if sent else HOW_GONE, reason=reason, racy=racy)

    def _deny(self, note: Note, decision: Decision) -> Response:
        verdict: Deny = decision.verdict  # type: ignore[assignment]
        if not 0 < verdict.errno <= MAX_ERRNO:
            raise ValueError(f"an errno is a number from 1 to {MAX_ERRNO}")
        return self.refuse(note, "deny", int(verdict.errno), decision.reason)

    def _return(self, note: Note, decision: Decision) -> Response:
        verdict: Return = decision.verdict  # type: ignore[assignment]
        struct.pack("=q", verdict.value)  # nonsense must show before the memory is written
        for address, data in verdict.memory.items():
            decision.call.target.write(address, data)  # type: ignore[union-attr]
        sent = self._notifier.respond(note[ID], verdict.value, 0, 0)
        how = "answered" if sent else HOW_GONE
        return Response("return", how, value=verdict.value, reason=decision.reason)

    def _supply(self, note: Note, decision: Decision) -> Response:
        verdict: Supply = decision.verdict  # type: ignore[assignment]
        cloexec = _close_on_exec(decision) if verdict.cloexec is None else verdict.cloexec
        flags = os.O_CLOEXEC if cloexec else 0
        give: _Give
        if isinstance(verdict.source, int):  # the rule's own, which stays open
            give = self._notifier.share_fd, verdict.source
        else:
            give = self._notifier.give_fd, _file_of(verdict.source)
        return self._inject(note, give, flags, decision.reason)

    def injected(self, note: Note, descriptor: int, flags: int, reason: str | None) -> Response:
        """Answer a performed call with a descriptor, which this takes over.

        `flags` are O_CLOEXEC or 0, for the target's.
        """
        found = self._inject(note, (self._notifier.give_fd, descriptor), flags, reason)
        how = "performed" if found.how == "answered" and not found.errno else found.how
        return found._replace(verdict="allow", how=how)

    def _inject(self, note: Note, give: _Give, flags: int, reason: str | None) -> Response:
        function, descriptor = give
        try:
            number = function(note[ID], descriptor, flags)
        except OSError as error:
            return self.not_given(note, error, reason)
        return Response("supply", "answered", value=number, reason=reason)

    def not_given(self, note: Note, error: OSError, reason: str | None) -> Response:
        """Go on where a descriptor was not given: nobody is there, or there is no room for it."""
        if isinstance(error, FileNotFoundError | ProcessLookupError):
            return Response("supply", HOW_GONE, reason=reason)
        if error.errno != errno.EMFILE:
            raise error
        return self.refuse(note, "supply", errno.EMFILE, reason)

    def _kill(self, note: Note, decision: Decision) -> Response:
        verdict: Kill = decision.verdict  # type: ignore[assignment]
        wanted = signal.Signals(verdict.signal)
        thread = StoppedThread(note, self._notifier)
        # Invariant: a pid is used only through something opened before an ID_VALID that held.
        descriptor = _open_process(thread)
        try:
            thread.check()
            pidfd.send_signal(descriptor, wanted)
        finally:
            os.close(descriptor)
        # Most often ENOENT, since the signal ended the wait; a target that it spared gets EPERM.
        self._notifier.respond(note[ID], 0, -errno.EPERM, 0)
        return Response("kill", "answered", errno.EPERM, reason=decision.reason)

    def _continue(self, note: Note, decision: Decision) -> Response:
        return self.go_on(note, "continue", decision.reason, racy=decision.looked)


_BY_VERDICT: Mapping[type, Callable[[Any, Note, Decision], Response]] = MappingProxyType(
    {
        Deny: Answerer._deny,
        Return: Answerer._return,
        Supply: Answerer._supply,
        Kill: Answerer._kill,
        Continue: Answerer._continue,
    }
)


def _open_process(thread: StoppedThread) -> int:
    try:
        return pidfd.open_process(thread.identity.pid)
    except OSError as error:
        raise thread.failure(error) from error


def _file_of(data: bytes) -> int:
    """A read-only descriptor for `data`, at its start. The caller owns it."""
    # Sealed, since the target can open it for writing by /proc/self/fd.
    memory = sealed("notifyd", data)
    try:
        # Opened anew, so that the target has an offset of its own.
        return os.open(f"/proc/self/fd/{memory}", READ_ONLY)
    finally:
        os.close(memory)


def _close_on_exec(decision: Decision) -> bool:
    flags = getattr(decision.call, "flags", 0)
    return bool(isinstance(flags, int) and flags & os.O_CLOEXEC)
