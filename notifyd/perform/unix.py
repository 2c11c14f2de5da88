"""AF_UNIX paths: the socket that a rule judged by its path is the one that is reached.

An address is text, which the kernel would walk again. So the path is pinned first, and the call
gets a name that cannot lead elsewhere: one in /proc/self/fd, or in the pinned directory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from socket import AF_UNIX
from typing import Any

from notifyd.errors import CannotPerform
from notifyd.kernel import capability, credentials
from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.statmount import mount_of
from notifyd.kernel.structs import SA_FAMILY
from notifyd.perform.performed_call import Moved, selves
from notifyd.perform.pin import NeedLook, NeedSelves, Pinner
from notifyd.perform.pinned import Pinned, Unperformable
from notifyd.perform.process_context import Selves
from notifyd.perform.stage import Stage
from notifyd.perform.tasks import ProcAccess
from notifyd.policy.operations import SendTo

__all__ = ["CAP_PTRACE_BIT", "UnixPlace"]

# What the thread has to keep, not in effect, to see what of /proc/TID is the target's alone.
CAP_PTRACE_BIT = 1 << capability.CAPABILITY_NUMBERS["CAP_SYS_PTRACE"]
CAP_PTRACE_BIT |= 1 << capability.CAPABILITY_NUMBERS["CAP_DAC_READ_SEARCH"]
MAX_PROC_LINKS = 2
MAX_PATH = 107  # bytes of sockaddr_un.sun_path without its NUL: unix(7)


@dataclass(frozen=True, slots=True)
class UnixPlace:
    """A path that a rule judged, or put in the place of another.

    Attributes:
        own: the open directory /proc/self/fd.
        path: the text, from the root or the working directory.
        seen: the name that the rule saw, absolute; None if it changed the path, or saw the text.
        stage: where the text is walked again, once it is known where it leads.
        selves: what /proc/self is to the target, as in `HelperRequest`.
        directory: the open /proc/TID of the target; -1 if it is not needed.
        mounts: with `seen`, where the path may begin, and links of /proc may lead to.
        apart: as in `Place`.
    """

    own: int
    path: bytes
    seen: bytes | None
    stage: Stage
    selves: Selves | None = None
    directory: int = -1
    mounts: tuple[int, ...] = ()
    apart: bool = False

    @classmethod
    def of(cls, call: Any, directory: int, stack: ExitStack) -> UnixPlace | None:
        """The place that a call is about; None where its address is no path.

        Args:
            call: a Connect, Bind or SendTo.
            directory: the open /proc/TID of the target.
            stack: becomes the owner of what is opened.
        """
        seen = getattr(call, "seen", {}).get("path")
        path: bytes
        if isinstance(call, SendTo):
            path = b""  # each message has its own
        elif call.address is not None and (call.address.path or b"\0")[0]:
            path, seen = call.address.path, bytes(seen) if seen is not None else None
        else:
            return None
        own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, own)
        mounts = call.target.mounts(seen) if seen is not None else ()
        apart = seen is not None and call.target.is_apart(seen)
        found = selves(directory)
        return cls(own, path, seen, Stage(stack), found, directory, mounts, apart)

    def reach(self, act: Callable[[bytes], None], *, makes: bool) -> None:
        """Do `act` with an address of the place, in a thread with the target's root and cwd.

        Changes the working directory of the thread.

        Args:
            act: connect(2) or bind(2).
            makes: whether the last component is a name to be made.

        Raises:
            Moved: the path means something else than the rule saw.
            CannotPerform: it leads through /proc/self.
            OSError: as from the kernel.
        """
        with ExitStack() as stack:
            start = AT_FDCWD
            if not self.path.startswith(b"/"):
                start = os.open(".", os.O_PATH | os.O_CLOEXEC)
                stack.callback(os.close, start)
                if self.seen is not None and mount_of(start) not in self.mounts:
                    raise Moved
            looked: dict[tuple[bytes, bool], int] = {}
            pinner = stack.enter_context(Pinner(self.own, self.selves, looked))
            pinned = self._pinned(pinner, start, looked, stack, makes=makes)
            if self._has_moved(pinner, pinned):
                raise Moved
            if makes and self._keeps_text(pinned):
                act(SA_FAMILY.pack(AF_UNIX) + self.path + b"\0")
            else:
                act(self._address(pinned))

    def _pinned(
        self,
        pinner: Pinner,
        start: int,
        looked: dict[tuple[bytes, bool], int],
        stack: ExitStack,
        *,
        makes: bool,
    ) -> Pinned:
        while True:
            try:
                if makes:
                    return pinner.name(start, self.path)
                return Pinned(pinner.thing(start, self.path, True))
            except NeedLook as wanted:
                key = wanted.path, wanted.how is ProcAccess.BEHIND
                if key in looked or len(looked) > MAX_PROC_LINKS:
                    raise CannotPerform(f"a socket's path that leads through {wanted}") from wanted
                looked[key] = self._look(wanted)
                stack.callback(os.close, looked[key])
            except (NeedSelves, Unperformable) as error:
                raise CannotPerform(f"a socket's path that leads through /proc: {error}") from error

    def _look(self, wanted: NeedLook) -> int:
        """Open what of /proc/TID only the target itself may see, with the powers kept for that."""
        flags = os.O_PATH | os.O_CLOEXEC
        if wanted.how is not ProcAccess.BEHIND:
            flags |= os.O_NOFOLLOW
        held = capability.get(0)
        more = held.effective | CAP_PTRACE_BIT & held.permitted
        credentials.set_capabilities(more, held.permitted)
        try:
            return os.open(wanted.path, flags, dir_fd=self.directory)
        except PermissionError as error:
            raise CannotPerform(f"a socket's path that leads through {wanted}") from error
        finally:
            credentials.set_capabilities(held.effective, held.permitted)

    def send(self, act: Callable[[bytes], int], address: bytes) -> int:
        """Do `act` with an address of the socket behind another one, a path, and come back.

        Raises:
            CannotPerform: it leads through what cannot be looked at.
            OSError: as from the kernel.
        """
        sent: list[int] = []
        path = address[SA_FAMILY.size :].partition(b"\0")[0]
        here = os.open(".", os.O_PATH | os.O_CLOEXEC)
        try:
            there = replace(self, path=path)
            there.reach(lambda found: sent.append(act(found)), makes=False)
        finally:
            os.fchdir(here)
            os.close(here)
        return sent[0]

    def _has_moved(self, pinner: Pinner, pinned: Pinned) -> bool:
        if self.seen is None or pinned.name.rstrip(b"/") in (b".", b"..") or pinned.fd == AT_FDCWD:
            return False  # changed by the rule, or a name that no socket can have
        return not pinner.is_called(pinned, self.seen, self.mounts, apart=self.apart)

    def _keeps_text(self, pinned: Pinned) -> bool:
        """Whether the very text can be bound to: it leads to what was pinned, and cannot be moved.

        On the stage that is so for this thread alone. Without one it counts only where the text is
        what the rule decided about.
        """
        if len(self.path) > MAX_PATH or pinned.fd == AT_FDCWD:
            return False
        head, slash, _ = self.path.rstrip(b"/").rpartition(b"/")
        if slash and pinned.name and self.stage.enter(head + slash, pinned.fd):
            return True
        if self.seen is not None:
            return False
        try:
            return os.path.samestat(os.stat(head + slash or b"."), os.fstat(pinned.fd))
        except OSError:
            return False

    def _address(self, pinned: Pinned) -> bytes:
        name = pinned.name or b"%d" % pinned.fd
        if len(name) > MAX_PATH:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if pinned.fd != AT_FDCWD:
            os.fchdir(pinned.fd if pinned.name else self.own)
        return SA_FAMILY.pack(AF_UNIX) + name + b"\0"
