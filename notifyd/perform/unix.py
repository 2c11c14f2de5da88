"""AF_UNIX paths: the socket that a rule judged by its path is the one that is reached.

An address is text, which the kernel would walk again. So the path is pinned first, and the call
gets a name that cannot lead elsewhere: one in /proc/self/fd, or in the pinned directory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from socket import AF_UNIX
from struct import Struct
from typing import Any

from notifyd.errors import CannotPerform
from notifyd.kernel.files import AT_FDCWD
from notifyd.perform.deed import Moved
from notifyd.perform.draft import as_path
from notifyd.perform.pin import Cannot, NeedSelves, Pinned, Pinner
from notifyd.perform.stage import Stage

__all__ = ["UnixPlace"]

MAX_PATH = 107  # bytes of sockaddr_un.sun_path without its NUL: unix(7)
_FAMILY = Struct("=H")


@dataclass(frozen=True, slots=True)
class UnixPlace:
    """A path that a rule judged, or put in the place of another.

    Attributes:
        own: the open directory /proc/self/fd.
        path: the text, from the root or the working directory.
        seen: the name that the rule saw, absolute; None if it changed the path.
        stage: where the text is walked again, once it is known where it leads.
    """

    own: int
    path: bytes
    seen: bytes | None
    stage: Stage

    @classmethod
    def of(cls, call: Any, changes: Mapping[str, Any], stack: ExitStack) -> UnixPlace | None:
        """The place that a call is about; None where no rule looked at its path.

        Raises:
            CannotPerform: a change that is no path.
        """
        seen = getattr(call, "seen", {}).get("path")
        if "path" in changes:
            path, seen = as_path("path", changes["path"]), None
        elif seen is not None:
            path, seen = call.address.path, bytes(seen)
        else:
            return None
        own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, own)
        return cls(own, path, seen, Stage(stack))

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
            pinner = stack.enter_context(Pinner(self.own, None))
            try:
                pinned = (
                    pinner.name(start, self.path)
                    if makes
                    else Pinned(pinner.thing(start, self.path, True))
                )
            except (NeedSelves, Cannot) as error:
                raise CannotPerform(f"a socket's path that leads through /proc: {error}") from error
            if self._has_moved(pinner, pinned):
                raise Moved
            if makes and self._is_staged(pinned):
                act(_FAMILY.pack(AF_UNIX) + self.path + b"\0")
            else:
                act(self._address(pinned))

    def _has_moved(self, pinner: Pinner, pinned: Pinned) -> bool:
        if self.seen is None or pinned.name.rstrip(b"/") in (b".", b"..") or pinned.fd == AT_FDCWD:
            return False  # changed by the rule, or a name that no socket can have
        return pinner.named(pinned) != self.seen

    def _is_staged(self, pinned: Pinned) -> bool:
        """Whether the very text leads to what was pinned, now and in this thread alone."""
        head, slash, _ = self.path.rstrip(b"/").rpartition(b"/")
        if not slash or not pinned.name or pinned.fd == AT_FDCWD or len(self.path) > MAX_PATH:
            return False
        return self.stage.enter(head + slash, pinned.fd)

    def _address(self, pinned: Pinned) -> bytes:
        name = pinned.name or b"%d" % pinned.fd
        if len(name) > MAX_PATH:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if pinned.fd != AT_FDCWD:
            os.fchdir(pinned.fd if pinned.name else self.own)
        return _FAMILY.pack(AF_UNIX) + name + b"\0"
