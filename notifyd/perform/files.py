"""Performing the calls on paths of one workload: inline, or by a helper in the target's context.

Owns the helpers, and what is known of the contexts of threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

import msgspec

from notifyd.errors import CannotPerform
from notifyd.kernel import proc
from notifyd.kernel.files import AT_FDCWD, PATH_FLAGS, TMPFILE_BIT
from notifyd.kernel.statmount import mount_of
from notifyd.perform.closing import Closing
from notifyd.perform.entrance import eldest, way_to
from notifyd.perform.helper_process import Helper
from notifyd.perform.helper_request import HelperRequest, LastComponent, Place
from notifyd.perform.helpers import Helpers
from notifyd.perform.inline import Inline
from notifyd.perform.opening import UNUSUAL_OPEN_FLAGS
from notifyd.perform.performed_call import PerformedCall
from notifyd.perform.performers import FILE_PERFORMERS, SOCKET_PERFORMERS, ByThread, Performer
from notifyd.perform.placement import HelperPlacement, HelperPlan, plan_for
from notifyd.perform.process_context import ProcessContext
from notifyd.perform.request_builder import RequestBuilder
from notifyd.policy.call import PID, Call
from notifyd.policy.operations import Open, Truncate
from notifyd.policy.verdicts import Allow
from notifyd.target.identity import Identities, Identity

if TYPE_CHECKING:
    from notifyd.perform.terminals import Terminals
    from notifyd.target.thread import StoppedThread

__all__ = ["Files"]

CONTEXT_CACHE_SIZE = 1024  # contexts
MAX_WAITING_SOCKETS = 64  # helpers that may wait for a peer; the others are for calls on files
MAX_CACHED_GROUPS = 1 << 16  # in all of those: a thread may have as many by itself
_encode = msgspec.msgpack.Encoder().encode


class Files:
    """What performs the file calls of one workload. Close it with the workload.

    Args:
        identities: of the workload; they know when a thread's ids may have changed.

    Attributes:
        terminals: which terminals it may be given; None for all that it may open.
        closing: what closes copies of its descriptors where that may wait.
        waiting_sockets: helpers that wait for the peer of a socket.
    """

    def __init__(self, identities: Identities) -> None:
        self.terminals: Terminals | None = None
        self._identities = identities
        self._contexts: dict[int, tuple[Identity, ProcessContext]] = {}
        self._groups = 0  # in what is kept of contexts
        # by thread, for `open_at_once`
        self._ways: dict[int, tuple[Identity, HelperPlacement, bool]] = {}
        self._places: dict[tuple[ProcessContext, int], HelperPlacement] = {}
        self._moving = False
        self.waiting_sockets = 0
        self._inline: Inline | None = None
        self._own: ProcessContext | None = None
        self._asked: tuple[Call, Helper] | None = None  # what was asked for and is not over
        self._opened: tuple[Call, int] | None = None  # what was opened, and closing it may wait
        self.closing = Closing()
        self.helpers = Helpers(self.closing.let_go)

    def takes(self, call: Call) -> bool:
        """Whether calls like this one are performed here."""
        return type(call) in FILE_PERFORMERS

    def is_own(self, thread: StoppedThread) -> bool:
        """Whether the context of a target is the supervisor's own; raises as `context`."""
        way = self._ways.get(thread.tid)
        if way is not None and self._identities.of(thread.tid) is way[0]:
            return way[2]
        return self.context(thread) == self.own()

    def begin(
        self, call: Call, verdict: Allow, performer: Performer | None = None
    ) -> PerformedCall:
        """Draft the request for a call; by another performer than its own, if there is one.

        Raises:
            ByThread: it is not performed here after all, or too many helpers wait already.
            CannotPerform, TargetFault, TargetGone, WouldBlock.
        """
        if self.waiting_sockets >= MAX_WAITING_SOCKETS and type(call) in SOCKET_PERFORMERS:
            raise ByThread
        helper, opened = self._at_it(call), self._opened_for(call)
        try:
            self.closing.check_room()
            return self._builder(
                call, verdict, performer or FILE_PERFORMERS[type(call)], helper, opened
            )
        except BaseException:
            if helper is not None:
                self.helpers.drop(helper)
            if opened is not None:
                self.closing.let_go(opened)
            raise

    def _at_it(self, call: Call) -> Helper | None:
        """The helper that `open_at_once` has asked for this very call already."""
        asked, self._asked = self._asked, None
        if asked is None:
            return None
        if asked[0] is call:
            return asked[1]
        self.helpers.drop(asked[1])
        return None

    def _opened_for(self, call: Call) -> int | None:
        """What `open_at_once` has opened for this very call already; the caller owns it."""
        opened, self._opened = self._opened, None
        if opened is None:
            return None
        if opened[0] is call:
            return opened[1]
        self.closing.let_go(opened[1])
        return None

    def _builder(
        self,
        call: Call,
        verdict: Allow,
        performer: Performer,
        helper: Helper | None,
        opened: int | None,
    ) -> PerformedCall:
        with ExitStack() as stack:
            builder = RequestBuilder(call, verdict.changes, performer.answer, stack, self.closing)
            drawn = performer.draw(builder)
            makes = performer.makes and _makes(drawn.args, drawn.call)
            umask = builder.umask() if makes else -1
            limit = builder.limit(b"Max file size") if isinstance(call, Truncate) else -1
            if isinstance(call, Open) and (call.creates or call.flags & os.O_TRUNC):
                builder.check_room()
            places = tuple(builder.places)
            request = HelperRequest(drawn.call, places, drawn.args, umask, limit, drawn.fill)
            grant, owned = verdict.grant, builder.hand_over()
            return PerformedCall(
                self, performer, builder, request, drawn.cloexec, grant, owned, helper, opened
            )

    def open_at_once(self, call: Open, flags: int) -> tuple[int, int] | None:
        """Open an existing file, if nothing about it is special.

        Hot: it is here for opens that are many, and takes the shortest way to each thing.

        Args:
            call: open or openat.
            flags: the call's own.

        Returns:
            A descriptor, which the caller owns, or -1 and an errno; None if it is for a
            `PerformedCall`.
        """
        tid = call.note[PID]
        way = self._ways.get(tid)
        if way is None or flags & UNUSUAL_OPEN_FLAGS:
            return None
        identity, where, inline = way
        if self._identities.of(tid) is not identity:
            del self._ways[tid]
            return None
        pathname, start = call.pathname, -1
        judged = call.seen.get("path")
        seen = bytes(judged) if judged is not None else None
        if not pathname.startswith(b"/"):
            if call.dirfd != AT_FDCWD:
                return None
            try:
                start = os.open(f"/proc/{tid}/cwd", PATH_FLAGS)
            except OSError:
                return None
        try:
            if seen is not None and not _stands(call.target, start, seen):
                return None
            if inline and self._inline is not None:
                opened = self._inline.open(pathname, start, flags, seen)
                if opened is not None:
                    return opened
            return self._ask_at_once(call, where, pathname, start, flags, seen)
        finally:
            if start >= 0:
                os.close(start)

    def _ask_at_once(
        self,
        call: Open,
        where: HelperPlacement,
        pathname: bytes,
        start: int,
        flags: int,
        seen: bytes | None,
    ) -> tuple[int, int] | None:
        helper = self.helpers.take(where.key)
        if helper is None:
            return None
        last = LastComponent.NOFOLLOW if flags & os.O_NOFOLLOW else LastComponent.FOLLOW
        place = Place(-1 if start < 0 else 0, pathname, last, seen)
        request, thread = (
            HelperRequest("open", (place,), (flags, 0, 0)),
            cast("StoppedThread", call.target),
        )
        try:
            self.send(helper, request, [] if start < 0 else [start], where, thread)
            sent = self.helpers.answer_soon(helper)
        except (OSError, CannotPerform):
            self.helpers.drop(helper)  # it has gone in the meantime
            return None
        except BaseException:
            self.helpers.drop(helper)
            raise
        if sent is None:
            # It waits for something, and must not be ended for that: who opens a FIFO is seen by
            # its other end. The call's deed goes on with it.
            self._asked = call, helper
            return None
        self.helpers.give_back(helper)
        reply, descriptor = sent
        if reply.need:
            return None
        if descriptor is None:
            return -1, reply.errno
        if not self._may_have(descriptor):
            return None
        if self.closing.waits(descriptor, call.note[PID]):
            self._opened = call, descriptor  # the call's deed goes on with it
            return None
        return descriptor, 0

    def _may_have(self, fd: int) -> bool:
        """Whether the workload may be given what was opened; it is closed if not."""
        if self.terminals is None:
            return True
        with ExitStack() as stack:
            stack.callback(self.closing.let_go, fd)
            if not self.terminals.allows(fd, 0):
                return False
            stack.pop_all()
        return True

    def places_change(self) -> None:
        """A target is about to change its root or a namespace, and others may share it.

        From here on no context is taken for granted.
        """
        self._moving = True
        self._forget()

    def mounts_change(self) -> None:
        """A target is about to mount something."""
        self.closing.mounts_changed()
        if self._inline is not None:
            self._inline.mounts_changed()

    def close(self) -> None:
        """End all helpers."""
        self.helpers.close()
        if self._inline is not None:
            self._inline.close()
            self._inline = None

    # -- contexts

    def context(self, thread: StoppedThread) -> ProcessContext:
        """Where a target is, and who; looked at again whenever it may have changed.

        Raises:
            TargetGone, RuleError.
        """
        tid = thread.tid
        identity = self._identities.of(tid)
        known = self._contexts.get(tid)
        if known is not None and known[0] is identity:
            return known[1]
        try:
            directory = proc.open_dir(tid)
            try:
                context = ProcessContext.of(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise thread.failure(error) from error
        thread.check()
        if not self._moving and self._identities.keeps(tid, identity):
            where = self.where(context, 0)
            self._make_room(context)
            self._contexts[tid] = identity, context
            self._ways[tid] = identity, where, self.inline(context) is not None
        return context

    def _forget(self) -> None:
        self._contexts.clear()
        self._ways.clear()
        self._places.clear()
        self._groups = 0

    def prune(self) -> None:
        """End helpers that have nothing to do any more, and forget threads that are gone."""
        self.helpers.prune()
        for tid in self._contexts.keys() - self._identities.entries.keys():
            del self._contexts[tid]
            self._ways.pop(tid, None)

    def _make_room(self, context: ProcessContext) -> None:
        """Before one more context is kept: a target can have any number of them."""
        most = max(len(self._contexts), len(self._places))
        if most >= CONTEXT_CACHE_SIZE or self._groups > MAX_CACHED_GROUPS:
            self._forget()
        self._groups += len(context.creds.groups)

    def where(self, context: ProcessContext, more: int) -> HelperPlacement:
        """Where a helper for a context with `more` powers has to be."""
        found = self._places.get((context, more))
        if found is None:
            self._make_room(context)
            plan = plan_for(context, self.own(), more)
            # What stays is for one place; all others are home again before they answer.
            shared = plan, (context.namespaces, context.root) if plan.stays else None
            # A digest, since a target can have any number of them.
            found = HelperPlacement(blake2b(_encode(shared), digest_size=32).digest(), plan)
            self._places[context, more] = found
        return found

    def inline(self, context: ProcessContext) -> Inline | None:
        """What does calls at once for a target with this context; None if it is not ours."""
        if context != self.own():
            return None
        if self._inline is None:
            self._inline = Inline()
        return self._inline

    def own(self) -> ProcessContext:
        """The supervisor's own context, looked at once."""
        if self._own is None:
            directory = proc.open_dir(os.getpid())
            try:
                self._own = ProcessContext.of(directory)
            finally:
                os.close(directory)
        return self._own

    def plan(
        self, context: ProcessContext, thread: StoppedThread, more: int, stack: ExitStack
    ) -> tuple[HelperPlan, list[int]]:
        """What a helper for a context has to be, and the descriptors that make it so."""
        plan = self.where(context, more).plan
        if not plan.stays:
            return plan, []
        identity = self._identities.of(thread.tid)
        return plan, [*way_to(thread, stack), eldest(thread, identity, context.user, stack)]

    def send(
        self,
        helper: Helper,
        request: HelperRequest,
        fds: list[int],
        where: HelperPlacement,
        thread: StoppedThread,
    ) -> None:
        """Give a helper a request, and what it needs to get to its target.

        Raises:
            OSError: EPIPE, ECONNRESET: the helper is gone.
            TargetGone, RuleError.
        """
        if where.plan.stays:
            request = msgspec.structs.replace(request, pid=self._identities.of(thread.tid).pid)
        if not where.plan.travels:
            helper.send(request, fds)
            return
        with ExitStack() as stack:
            helper.send(request, [*fds, *way_to(thread, stack)])


def _stands(thread: Any, start: int, seen: bytes) -> bool:
    """Whether a path begins where it did when a rule looked; False if that needs a second look."""
    if thread.is_apart(seen):
        return False
    return start < 0 or mount_of(start) in thread.mounts(seen)


def _makes(args: Sequence[Any], call: str) -> bool:
    return call not in ("open", "openat2") or bool(args[0] & (os.O_CREAT | TMPFILE_BIT))
