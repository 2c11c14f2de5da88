"""Performing the calls on paths of one workload: inline, or by a helper in the target's context.

Owns the helpers, and what is known of the contexts of threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel import namespaces, pidfd, proc
from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.statmount import mount_of
from notifyd.perform.context import Context
from notifyd.perform.deed import FileDeed
from notifyd.perform.draft import Draft
from notifyd.perform.helper import Plan
from notifyd.perform.helpers import Helper, Helpers
from notifyd.perform.inline import Inline
from notifyd.perform.order import Last, Order, Place
from notifyd.perform.recipes import RECIPES, Recipe
from notifyd.perform.room import is_full
from notifyd.policy.call import PID, Call
from notifyd.policy.operations import Open, Truncate
from notifyd.policy.verdicts import Allow
from notifyd.target.identity import Identities, Identity

if TYPE_CHECKING:
    from notifyd.perform.terminals import Terminals
    from notifyd.target.thread import StoppedThread

__all__ = ["Files"]

KEPT = 1024  # contexts
SPECIAL = os.O_CREAT | os.O_TRUNC | os.O_PATH | 0o20000000  # O_TMPFILE's own bit
_LOOK = os.O_PATH | os.O_CLOEXEC
_USER = namespaces.KINDS["user"]


class Files:
    """What performs the file calls of one workload. Close it with the workload.

    Args:
        identities: of the workload; they know when a thread's ids may have changed.

    Attributes:
        terminals: which terminals it may be given; None for all that it may open.
    """

    def __init__(self, identities: Identities) -> None:
        self.terminals: Terminals | None = None
        self._identities = identities
        self._contexts: dict[int, tuple[Identity, Context]] = {}
        self._ways: dict[int, tuple[Identity, int, bool]] = {}  # by thread, for `open_at_once`
        self._keys: dict[tuple[Context, int], int] = {}
        self._moving = False
        self._inline: Inline | None = None
        self._own: Context | None = None
        self._asked: tuple[Call, Helper] | None = None  # what was asked for and is not over
        self.helpers = Helpers()

    def begin(self, call: Call, verdict: Allow, recipe: Recipe | None = None) -> FileDeed:
        """Draft the order for a call; by another recipe than its own, if there is one.

        Raises:
            CannotPerform, TargetFault, TargetGone, WouldBlock.
        """
        helper = self._at_it(call)
        try:
            return self._draft(call, verdict, recipe or RECIPES[type(call)], helper)
        except BaseException:
            if helper is not None:
                self.helpers.drop(helper)
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

    def _draft(self, call: Call, verdict: Allow, recipe: Recipe, helper: Helper | None) -> FileDeed:
        with ExitStack() as stack:
            draft = Draft(call, verdict.changes, recipe.answer, stack)
            drawn = recipe.draw(draft)
            umask = self._umask(draft) if recipe.makes and _makes(drawn.args, drawn.call) else -1
            limit = self._limit(draft, b"Max file size") if isinstance(call, Truncate) else -1
            if isinstance(call, Open) and (call.creates or call.flags & os.O_TRUNC):
                self._check_room(draft)
            places = tuple(draft.places)
            order = Order(drawn.call, places, drawn.args, umask, limit, drawn.fill)
            grant, owned = verdict.grant, draft.hand_over()
            return FileDeed(self, recipe, draft, order, drawn.cloexec, grant, owned, helper)

    def open_at_once(self, call: Open, flags: int) -> tuple[int, int] | None:
        """Open an existing file, if nothing about it is special.

        Hot: it is here for opens that are many, and takes the shortest way to each thing.

        Args:
            call: open or openat.
            flags: the call's own.

        Returns:
            A descriptor, which the caller owns, or -1 and an errno; None if it is for a `FileDeed`.
        """
        tid = call.note[PID]
        way = self._ways.get(tid)
        if way is None or flags & SPECIAL:
            return None
        identity, key, inline = way
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
                start = os.open(f"/proc/{tid}/cwd", _LOOK)
            except OSError:
                return None
        try:
            if seen is not None and not _stands(call.target, start, seen):
                return None
            if inline and self._inline is not None:
                opened = self._inline.open(pathname, start, flags, seen)
                if opened is not None:
                    return opened
            return self._ask_at_once(call, key, pathname, start, flags, seen)
        finally:
            if start >= 0:
                os.close(start)

    def _ask_at_once(
        self,
        call: Open,
        key: int,
        pathname: bytes,
        start: int,
        flags: int,
        seen: bytes | None,
    ) -> tuple[int, int] | None:
        helper = self.helpers.take(key)
        if helper is None:
            return None
        last = Last.NOFOLLOW if flags & os.O_NOFOLLOW else Last.FOLLOW
        place = Place(-1 if start < 0 else 0, pathname, last, seen)
        try:
            helper.send(Order("open", (place,), (flags, 0, 0)), [] if start < 0 else [start])
            sent = helper.answer_soon()
        except (OSError, CannotPerform):
            self.helpers.drop(helper)  # it has gone in the meantime
            return None
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
        return (descriptor, 0) if self._may_have(descriptor) else None

    def _may_have(self, fd: int) -> bool:
        """Whether the workload may be given what was opened; it is closed if not."""
        if self.terminals is None:
            return True
        with ExitStack() as stack:
            stack.callback(os.close, fd)
            if not self.terminals.allows(fd, 0):
                return False
            stack.pop_all()
        return True

    def _umask(self, draft: Draft) -> int:
        try:
            status = proc.read_status(draft.directory)
        except OSError as error:
            raise draft.thread.failure(error) from error
        return max(status.umask, 0)

    def _limit(self, draft: Draft, name: bytes) -> int:
        """A soft limit of the target; -1 for none."""
        try:
            return proc.limit(draft.directory, name)
        except OSError as error:
            raise draft.thread.failure(error) from error

    def _check_room(self, draft: Draft) -> None:
        """EMFILE before anything is made or cut, as the kernel has it, and not after."""
        limit = self._limit(draft, b"Max open files")
        try:
            full = is_full(draft.directory, limit)
        except OSError as error:
            raise draft.thread.failure(error) from error
        if full:
            raise TargetFault("no descriptor left", errno.EMFILE)

    def places_change(self) -> None:
        """A target is about to change its root or a namespace, and others may share it.

        From here on no context is taken for granted.
        """
        self._moving = True
        self._contexts.clear()
        self._ways.clear()

    def mounts_change(self) -> None:
        """A target is about to mount something."""
        if self._inline is not None:
            self._inline.mounts_changed()

    def settle(self) -> None:
        """Let go of every copy of what targets got."""
        self.helpers.settle()

    def close(self) -> None:
        """End all helpers."""
        self.helpers.close()
        if self._inline is not None:
            self._inline.close()
            self._inline = None

    # -- contexts

    def context(self, thread: StoppedThread) -> Context:
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
                context = Context.of(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise thread.failure(error) from error
        thread.check()
        if not self._moving and self._identities.keeps(tid, identity):
            if len(self._contexts) >= KEPT:
                self._contexts.clear()
                self._ways.clear()
            self._contexts[tid] = identity, context
            self._ways[tid] = identity, self.key(context, 0), self.inline(context) is not None
        return context

    def key(self, context: Context, more: int) -> int:
        """A number for a context with `more` powers: comparing those costs more than a call."""
        return self._keys.setdefault((context, more), len(self._keys))

    def inline(self, context: Context) -> Inline | None:
        """What does calls at once for a target with this context; None if it is not ours."""
        if context != self.own():
            return None
        if self._inline is None:
            self._inline = Inline()
        return self._inline

    def own(self) -> Context:
        """The supervisor's own context, looked at once."""
        if self._own is None:
            directory = proc.open_dir(os.getpid())
            try:
                self._own = Context.of(directory)
            finally:
                os.close(directory)
        return self._own

    def plan(self, context: Context, thread: StoppedThread, more: int, stack: ExitStack) -> Any:
        """What a helper for a context has to be, and the descriptors that make it so."""
        own = self.own()
        differ = [
            mine != theirs for mine, theirs in zip(own.namespaces, context.namespaces, strict=True)
        ]
        join = sum(
            flag for flag, other in zip(namespaces.KINDS.values(), differ, strict=True) if other
        )
        powers = context.persona.capabilities
        if join & _USER and more:
            # A power that is granted counts in our user namespace, where its own do not.
            join &= ~_USER
            powers = 0
        persona = context.persona
        ids = persona.euid, persona.fsuid, persona.egid, persona.fsgid
        enter = bool(join & namespaces.KINDS["mnt"]) or context.root != own.root
        try:
            directory = proc.open_dir(thread.tid)
            stack.callback(os.close, directory)
            process = pidfd.open_process(thread.identity.pid)
            stack.callback(os.close, process)
            root = os.open("root", os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
            stack.callback(os.close, root)
        except OSError as error:
            raise thread.failure(error) from error
        thread.check()
        wanted = Plan(join, ids, persona.groups, powers | more, enter, context.whole)
        return wanted, [process, directory, root]


def _stands(thread: Any, start: int, seen: bytes) -> bool:
    """Whether a path begins where it did when a rule looked; False if that needs a second look."""
    if thread.is_apart(seen):
        return False
    return start < 0 or mount_of(start) in thread.mounts(seen)


def _makes(args: Sequence[Any], call: str) -> bool:
    return call not in ("open", "openat2") or bool(args[0] & (os.O_CREAT | 0o20000000))
