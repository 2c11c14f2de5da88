"""Building a request: from a call and what its rule changed to places, arguments and descriptors.

What the request holds is read once: a field that the rule looked at is the very copy that it saw.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel import pidfd, proc, unix
from notifyd.kernel.files import AT_EMPTY_PATH, AT_FDCWD, PATH_FLAGS
from notifyd.kernel.openat2 import RESOLVE_IN_ROOT
from notifyd.kernel.statmount import mount_of
from notifyd.perform.closing import Closing
from notifyd.perform.fd_limit import is_full, keep_spare
from notifyd.perform.helper_request import ArgumentUse, LastComponent, Place, Slot
from notifyd.perform.taken_socket import TakenSocket, protocol_of
from notifyd.policy.call import Call
from notifyd.policy.changed import check_changes
from notifyd.target.thread import StoppedThread
from notifyd.target.view import no_name

__all__ = ["RequestBuilder"]


class RequestBuilder:
    """The parts of a request, as they are gathered. `stack` owns what is opened.

    Args:
        call: with the changes made to it (`policy.changed`).
        changes: what rules changed, and so what was not the target's own choice.
        answer: names of changes that are made to the answer.
        stack: becomes the owner of what is opened.
        closing: knows what may wait when it is closed, and closes that if nobody else does.

    Attributes:
        slow: copies of the target's descriptors for which that may wait; they are in `fds`, too.
        fds: the descriptors that go along.
        places: the paths.
        answer: changes that are made to what the kernel answered.
        only_looks: whether it does not matter how a descriptor was opened, but only what is behind.
        taken: the socket that the call is about, if there is one.
    """

    def __init__(
        self,
        call: Call,
        changes: Mapping[str, Any],
        answer: Sequence[str],
        stack: ExitStack,
        closing: Closing,
    ) -> None:
        self.call = call
        self.answer = {name: changes[name] for name in answer if name in changes}
        self.fds: list[int] = []
        self.slow: list[int] = []
        self.only_looks = False
        self.taken: TakenSocket | None = None
        self.places: list[Place] = []
        self._changed = changes.keys() - set(answer)
        if self._changed:
            check_changes(call, {name: changes[name] for name in self._changed})
        self._stack = stack
        self._closing = closing
        self._stack.callback(self._let_go)
        self._directory = -1
        self._task = -1

    @property
    def thread(self) -> StoppedThread:
        """The target."""
        thread: Any = self.call.target
        return thread  # type: ignore[no-any-return]

    @property
    def stack(self) -> ExitStack:
        """The owner of what is opened."""
        return self._stack

    def umask(self) -> int:
        """The target's; 0 where it cannot be told."""
        try:
            status = proc.read_status(self.directory, groups=False)
        except OSError as error:
            raise self.thread.failure(error) from error
        return max(status.umask, 0)

    def limit(self, name: bytes) -> int:
        """A soft limit of the target; -1 for none."""
        try:
            return proc.limit(self.directory, name)
        except OSError as error:
            raise self.thread.failure(error) from error

    def check_room(self) -> None:
        """EMFILE before anything is made or cut, as the kernel has it, and not after."""
        limit = self.limit(b"Max open files")
        try:
            full = is_full(self.directory, limit)
        except OSError as error:
            raise self.thread.failure(error) from error
        if full:
            raise TargetFault("no descriptor left", errno.EMFILE)

    def hand_over(self) -> ExitStack:
        """The owner of all that it has opened, and will open yet: the caller's to close."""
        self._stack = self._stack.pop_all()
        return self._stack

    @property
    def directory(self) -> int:
        """The open /proc/TID of the target."""
        if self._directory < 0:
            self._directory = self._looked(proc.open_dir, self.thread.tid)
        return self._directory

    @property
    def task(self) -> int:
        """A pidfd of the target's thread."""
        if self._task < 0:
            self._task = self._looked(StoppedThread.open, self.thread)
        return self._task

    @property
    def nested(self) -> bool:
        """Whether the target is in a pid namespace below ours."""
        try:
            return len(proc.read_status(self.directory, groups=False).thread_ids) > 1
        except OSError as error:
            raise self.thread.failure(error) from error

    def ours(self, pid: int) -> int:
        """A process or thread of the target's pid namespace, by its number in ours.

        Raises:
            CannotPerform: the two are not the same, and so numbers say nothing.
        """
        if self.nested:
            raise CannotPerform("another process of a pid namespace that is not ours")
        return pid

    # -- values

    def value(self, name: str) -> Any:
        """A field as the rule saw or changed it."""
        return getattr(self.call, name)

    def number(self, name: str) -> int:
        """A field that is a number, as 64 unsigned bits hold it."""
        return int(self.value(name))

    def flags(self, known: int, name: str = "flags") -> int:
        """Flags of an *at call. The kernel refuses unknown ones before it looks at the path."""
        found = self.number(name)
        if found & ~known:
            raise TargetFault("flags that this call does not know", errno.EINVAL)
        return found

    def has(self, name: str) -> bool:
        """Whether this call has a field, or was given it."""
        return name in self.call.variant.sources or name in self._changed

    # -- descriptors

    def own(self, name: str = "fd") -> Slot:
        """The target's own descriptor behind a field."""
        return Slot(ArgumentUse.OWN, self._send(self.take(int(getattr(self.call, name)))))

    def take(self, number: int) -> int:
        """A copy of a descriptor of the target.

        Raises:
            TargetFault: EBADF: it has none of that number.
        """
        task = self.task
        fd = self._opened(lambda _: pidfd.get_fd(task, number), None)
        if self._closing.waits(fd, self.thread.tid):
            self.slow.append(fd)
        else:
            self._stack.callback(os.close, fd)
        return fd

    def protocol(self) -> bytes:
        """Of the socket behind `fd`, which is not taken: `protocol_of`.

        Raises:
            TargetFault: EBADF, ENOTSOCK.
        """
        try:
            return protocol_of(self.thread.tid, int(self.value("fd")))
        except OSError as error:
            raise self.thread.failure(error) from error

    def socket(self) -> tuple[TakenSocket, Slot]:
        """The target's own socket behind `fd`, of which `protocol` said that it is one."""
        number, task = int(self.value("fd")), self.task
        fd = self._opened(lambda _: pidfd.get_fd(task, number), None)
        with ExitStack() as stack:
            stack.callback(self._closing.let_go, fd)
            keep_spare(fd)
            self.taken = taken = TakenSocket.of(fd)
            stack.pop_all()
        if taken.closes_at_once:
            self._stack.callback(os.close, fd)
        else:
            self.slow.append(fd)
        return taken, Slot(ArgumentUse.OWN, self._send(fd))

    def _let_go(self) -> None:
        """Close what is left where closing may wait, and nobody waits for it."""
        slow, self.slow = self.slow, []
        if slow:
            self._closing.later(partial(unix.close_all, slow))

    def _send(self, fd: int) -> int:
        self.fds.append(fd)
        return len(self.fds) - 1

    def _looked(self, opener: Any, argument: Any) -> int:
        fd = self._opened(opener, argument)
        self._stack.callback(os.close, fd)
        return fd

    def _opened(self, opener: Any, argument: Any) -> int:
        try:
            return opener(argument)  # type: ignore[no-any-return]
        except OSError as error:
            raise self.thread.failure(error) from error

    # -- paths

    def place(
        self,
        last: LastComponent,
        pathname: str = "pathname",
        dirfd: str = "dirfd",
        path: str = "path",
        *,
        empty: bool = False,
    ) -> int:
        """Add a path to the request; return its number.

        Args:
            last: what its last component is.
            pathname: the field with the text; `dirfd` the one with its start; `path` the resolved
                one, which the rule may have looked at or changed.
            dirfd: see above.
            path: see above.
            empty: whether an empty text means the descriptor itself.
        """
        text, judged = getattr(self.call, pathname), self.call.seen.get(path)
        seen = bytes(judged) if judged is not None else None  # the name that it must have
        changed = path in self._changed or pathname in self._changed
        number = AT_FDCWD if changed or not self.has(dirfd) else int(getattr(self.call, dirfd))
        if not text:
            if not empty:  # the kernel says so before it looks for the descriptor
                raise TargetFault("an empty path", errno.ENOENT)
            last = LastComponent.ITSELF
        absolute = text.startswith(b"/") and (changed or not self._in_root())
        start = -1 if absolute else self._send(self._start(number, last))
        return self._add(start, text, last, seen)

    def _add(self, start: int, text: bytes, last: LastComponent, seen: bytes | None) -> int:
        mounts: tuple[int, ...] = ()
        apart = seen is not None and self.thread.is_apart(seen)
        if apart and last in (LastComponent.NAME, LastComponent.MOUNTED):
            raise no_name()  # what is made or removed by a name could be on another mount by then
        if seen is not None and seen.startswith(b"/"):
            mounts = self.thread.mounts(seen)
            if start >= 0 and mount_of(self.fds[start]) not in mounts:
                seen = b""  # exchanged since the rule looked: what it has become has no such name
        self.places.append(Place(start, text, last, seen, mounts, apart))
        return len(self.places) - 1

    def _in_root(self) -> bool:
        """Whether even a path with a slash first starts at the call's descriptor."""
        return self.has("resolve_flags") and bool(self.number("resolve_flags") & RESOLVE_IN_ROOT)

    def _start(self, number: int, last: LastComponent) -> int:
        if number == AT_FDCWD:
            return self._looked(lambda _: os.open("cwd", PATH_FLAGS, dir_fd=self.directory), None)
        if last == LastComponent.ITSELF and not self.only_looks:
            return self.take(number)
        if number < 0:
            raise TargetFault("no such descriptor", errno.EBADF)
        try:
            fd = os.open(f"fd/{number}", PATH_FLAGS, dir_fd=self.directory)
        except FileNotFoundError as error:
            raise TargetFault("no such descriptor", errno.EBADF) from error
        except OSError as error:
            raise self.thread.failure(error) from error
        self._stack.callback(os.close, fd)
        return fd

    def thing(self, flags: str = "flags") -> int:
        """Add the place of what a call is about, by its own `follows` and flags."""
        empty = self.has(flags) and bool(self.number(flags) & AT_EMPTY_PATH)
        follows = getattr(self.call, "follows", True)
        return self.place(LastComponent.FOLLOW if follows else LastComponent.NOFOLLOW, empty=empty)

    def cwd(self) -> Slot:
        """The target's working directory."""
        return Slot(ArgumentUse.OWN, self._send(self._start(AT_FDCWD, LastComponent.FOLLOW)))

    def address_place(self, text: bytes) -> int:
        """Add the place of an AF_UNIX address; it starts at the working directory."""
        judged = self.call.seen.get("path")
        start = (
            -1 if text.startswith(b"/") else self._send(self._start(AT_FDCWD, LastComponent.FOLLOW))
        )
        seen = bytes(judged) if judged is not None else None
        return self._add(start, text, LastComponent.FOLLOW, seen)

    @property
    def is_changed(self) -> bool:
        """Whether rules changed anything of the call."""
        return bool(self._changed)

    def text_place(self, text: bytes) -> int:
        """Add a place for a text that is no path field; it starts at the working directory."""
        start = (
            -1 if text.startswith(b"/") else self._send(self._start(AT_FDCWD, LastComponent.FOLLOW))
        )
        self.places.append(Place(start, text, LastComponent.FOLLOW))
        return len(self.places) - 1
