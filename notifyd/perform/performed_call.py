"""One call on files on its way to being done: tried at once, or waited for.

Owns the descriptors of its order, and the helper that is at it. Knows nothing of rules and answers.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from notifyd.errors import CannotPerform
from notifyd.kernel import pidfd, proc
from notifyd.perform.credentials import granted
from notifyd.perform.helper_process import Helper
from notifyd.perform.helper_request import HelperReply, HelperRequest, Need
from notifyd.perform.performers import Performer
from notifyd.perform.process_context import Selves
from notifyd.perform.request_builder import RequestBuilder
from notifyd.perform.syscall_result import Signals, SyscallResult
from notifyd.policy.operations import Access
from notifyd.policy.verdicts import Grants

if TYPE_CHECKING:
    from notifyd.perform.closing import Closing
    from notifyd.perform.helpers import Helpers
    from notifyd.perform.inline import Inline
    from notifyd.perform.placement import HelperPlacement, HelperPlan
    from notifyd.perform.process_context import ProcessContext
    from notifyd.perform.terminals import Terminals
    from notifyd.target.thread import StoppedThread

__all__ = ["Moved", "PerformedCall", "selves"]

MAX_LOOKED_FDS = 2  # descriptors that come to those of a request; see `helper.MAX_REQUEST_FDS`
_OPENABLE = os.O_ACCMODE | os.O_NONBLOCK | os.O_DIRECTORY | os.O_NOFOLLOW
_CLOSED = "its own /proc is closed to notifyd: it made itself undumpable, and notifyd is no root"
# seconds between two looks at whether a target has a signal to attend to
SIGNAL_POLL_INTERVAL_S = 0.1


class Moved(Exception):
    """A path means something else by now than when the rule looked. The rule is asked again."""


class Performing(Protocol):
    """What a workload's calls on files are done with: `Files`."""

    closing: Closing
    helpers: Helpers
    terminals: Terminals | None
    waiting_sockets: int

    def own(self) -> ProcessContext:
        """The context of notifyd itself."""

    def context(self, thread: StoppedThread) -> ProcessContext:
        """That of a target."""

    def inline(self, context: ProcessContext) -> Inline | None:
        """What does calls at once for a target with this context; None if it is not ours."""

    def where(self, context: ProcessContext, more: int) -> HelperPlacement:
        """Where a helper for a context with `more` powers has to be."""

    def plan(
        self, context: ProcessContext, thread: StoppedThread, more: int, stack: ExitStack
    ) -> tuple[HelperPlan, list[int]]:
        """What a helper for a context has to be, and the descriptors that make it so."""

    def send(
        self,
        helper: Helper,
        request: HelperRequest,
        fds: list[int],
        where: HelperPlacement,
        thread: StoppedThread,
    ) -> None:
        """Give a helper a request. Raises OSError: it is gone."""


class PerformedCall:
    """One call on its way to being done. Owns the descriptors of its request until it is closed."""

    def __init__(
        self,
        performing: Performing,
        performer: Performer,
        builder: RequestBuilder,
        request: HelperRequest,
        cloexec: bool,
        grant: Grants,
        owned: ExitStack,
        helper: Helper | None,
        opened: int | None = None,
    ) -> None:
        self._files = performing
        self._recipe = performer
        self._builder = builder
        self._request = request
        self._cloexec = cloexec
        self._owned = owned
        self._helper = helper  # that is at it already
        self._opened: int | None = None  # what it came to, if closing that may wait
        self._signals = Signals(builder.thread.tid)
        self._target = -1  # a pidfd of its thread, where its end has to be seen at once
        with ExitStack() as stack:
            stack.callback(owned.close)
            call, context = builder.call, performing.context(builder.thread)
            if isinstance(call, Access) and not int(getattr(call, "flags", 0)) & 0x200:
                self._context = context.for_access()
            else:
                self._context = context
            here = grant is None and not builder.thread.is_far
            self._inline = performing.inline(context) if here else None
            # What it holds in another user namespace is not the power that a rule means.
            same = context.user == performing.own().user
            held = self._context.creds.capabilities if same else 0
            self._more = granted(grant) & ~held
            self._where = performing.where(self._context, self._more)
            stack.pop_all()
        self._opened = opened

    def now(self) -> SyscallResult | None:
        """Do it, if that takes no time; None if it has to be waited for.

        Raises:
            Moved: the rule has to be asked again.
            CannotPerform, TargetFault, TargetGone.
        """
        request = self._request
        # Invariant: no effect before the id is known to be valid.
        self._builder.thread.check()
        if self._helper is not None or self._opened is not None or self._builder.slow:
            return None
        if self._inline is not None and len(request.places) == 1 and self._builder.taken is None:
            start = request.places[0].start
            found = self._inline.run(request, self._builder.fds[start] if start >= 0 else -1)
            if found is not None:
                return self._finish(*found)
        helper = self._files.helpers.take(self._where.key)
        if helper is None:
            return None
        return self._ask_now(helper)

    def _ask_now(self, helper: Helper) -> SyscallResult | None:
        self._helper = helper
        if not self._send():
            return None  # it has gone in the meantime, and another one will be asked
        # One that ends from here on may have done it: nobody else is asked.
        sent = self._files.helpers.answer_soon(helper)
        done = self._answered(*sent) if sent is not None else None
        if done is None or not done.slow:
            return done
        self._opened = done.fd
        return None

    def _send(self) -> bool:
        """Give the helper the request; False if it has gone in the meantime."""
        assert self._helper is not None
        files, builder = self._files, self._builder
        try:
            files.send(self._helper, self._request, builder.fds, self._where, builder.thread)
        except ConnectionError:
            self._drop()
            return False
        return True

    async def wait(self) -> SyscallResult:
        """Do it, however long it takes; raises as `now`. Its order's descriptors are closed."""
        opened, self._opened = self._opened, None
        done = (
            None if opened is None else SyscallResult(fd=opened, cloexec=self._cloexec, slow=True)
        )
        on_socket = self._builder.taken is not None
        self._files.waiting_sockets += on_socket
        try:
            while done is None:
                done = await self._wait()
        finally:
            self._files.waiting_sockets -= on_socket
        slow, self._builder.slow = self._builder.slow, []
        if slow:
            await self._closed(done, slow)
        return done

    async def _closed(self, done: SyscallResult, slow: list[int]) -> None:
        """Close copies of the target's descriptors before it is answered: see `Closing`."""
        with ExitStack() as stack:
            if done.fd is not None:
                stack.callback(self._files.closing.let_go, done.fd)
            await self._files.closing.close(slow)
            stack.pop_all()

    async def _wait(self) -> SyscallResult | None:
        while self._helper is None:
            thread = self._builder.thread
            plan = partial(self._files.plan, self._context, thread, self._more)
            self._helper = await self._files.helpers.get(self._where.key, plan)
            thread.check()
            self._send()
        helper = self._helper
        if self._target < 0 and (self._where.plan.is_elsewhere or self._builder.taken):
            # Killed, it has left already what the helper keeps alive until that is ended.
            with suppress(OSError):  # EMFILE
                self._target = self._builder.task
        while True:
            with trio.move_on_after(SIGNAL_POLL_INTERVAL_S):
                sent = await helper.answer(self._target)
                return self._answered(*sent)
            # The kernel would end the call for a signal that the target does not block.
            if self._signals():
                helper.nudge()

    def _answered(self, reply: HelperReply, fd: int | None) -> SyscallResult | None:
        assert self._helper is not None
        helper, self._helper = self._helper, None
        self._files.helpers.give_back(helper)
        if reply.need in (Need.SELVES, Need.TTY):
            self._request = self._completed(reply.need)
            return None
        if reply.need in (Need.LOOK, Need.BEHIND, Need.OPEN):
            return self._looked_up(reply.need, reply.path)
        return self._finish(reply, fd)

    def _completed(self, need: int) -> HelperRequest:
        """The request, with what could not be known before."""
        found, tty = self._request.selves, self._request.tty
        try:
            if need == Need.TTY:
                told = proc.read_stat(self._builder.directory)
                tty = proc.terminal(told), proc.session(told)
            else:
                found = selves(self._builder.directory)
        except OSError as error:
            raise self._builder.thread.failure(error) from error
        return msgspec.structs.replace(self._request, selves=found, tty=tty)

    def _looked_up(self, need: int, path: bytes) -> SyscallResult | None:
        """Get what the target may have of its own /proc/TID, and whoever does its call may not.

        A process that is undumpable (it dropped its privileges, or executes what it may not read)
        has its /proc/TID closed to all others, and to their helpers: proc(5), ptrace(2).
        """
        thread, request = self._builder.thread, self._request
        flags = os.O_PATH | (0 if need == Need.BEHIND else os.O_NOFOLLOW)
        if need == Need.OPEN:
            flags = int(request.args[0]) & _OPENABLE  # type: ignore[arg-type]
        try:
            fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=self._builder.directory)
        except OSError as error:
            thread.check()
            if error.errno in (errno.EACCES, errno.EPERM):
                raise CannotPerform(f"{path.decode()} of {_CLOSED}") from error
            return SyscallResult(0, error.errno or errno.EIO)
        self._owned.callback(os.close, fd)
        thread.check()
        if need == Need.OPEN:
            return self._finish(HelperReply(), os.dup(fd))
        if len(request.looked) >= MAX_LOOKED_FDS:
            raise CannotPerform("too many links of /proc in one path")
        self._builder.fds.append(fd)
        looked = path, need == Need.BEHIND, len(self._builder.fds) - 1
        self._request = msgspec.structs.replace(request, looked=(*request.looked, looked))
        return None

    def _finish(self, reply: HelperReply, fd: int | None) -> SyscallResult:
        if reply.need == Need.MOVED:
            raise Moved
        if reply.need == Need.CANNOT:
            self._builder.thread.check()
            raise CannotPerform(f"{self._builder.call.operation}: {reply.text}")
        if reply.errno:
            if reply.errno == errno.EFBIG and self._request.limit >= 0:
                _send_signal(self._builder.thread, signal.SIGXFSZ)
            taken = self._builder.taken
            if reply.errno == errno.EINTR and (taken is None or taken.restarts):
                return self._signals.interrupted()
            if reply.errno == errno.EPIPE and taken is not None and taken.pipe:
                _send_signal(self._builder.thread, signal.SIGPIPE)
            return SyscallResult(0, reply.errno)
        if fd is None:
            return self._recipe.finish(self._builder, reply)
        with ExitStack() as stack:
            stack.callback(self._files.closing.let_go, fd)
            self._check_may_have(fd)
            looks = self._request.call == "pin"  # O_PATH, which nobody flushes
            slow = not looks and self._files.closing.waits(fd, self._builder.thread.tid)
            stack.pop_all()
        return SyscallResult(fd=fd, cloexec=self._cloexec, slow=slow)

    def _check_may_have(self, fd: int) -> None:
        if self._files.terminals is None:
            return
        if not self._files.terminals.allows(fd, self._builder.thread.identity.pid):
            raise CannotPerform(
                f"{self._builder.call.operation}: another terminal than its own, or the memory of "
                "another process"
            )

    def close(self) -> None:
        """Let go of everything; a helper that is still at it is ended."""
        self._drop()
        opened, self._opened = self._opened, None
        if opened is not None:
            self._files.closing.let_go(opened)
        self._owned.close()

    def _drop(self) -> None:
        helper, self._helper = self._helper, None
        if helper is not None:
            self._files.helpers.drop(helper)


def selves(directory: int) -> Selves:
    """What /proc/self and /proc/thread-self mean to the thread behind /proc/TID.

    See `HelperRequest`.
    """
    status = proc.read_status(directory, groups=False)
    return status.process_ids, status.thread_ids


def _send_signal(thread: StoppedThread, number: signal.Signals) -> None:
    with suppress(OSError):
        descriptor = thread.open()
        try:
            thread.check()
            pidfd.send_signal(descriptor, number)
        finally:
            os.close(descriptor)
