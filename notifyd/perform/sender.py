"""Who a performed message says that sent it: the credentials of unix(7).

The kernel tells a receiver the process that called, which is ours, unless control data of the
message names another one. Root may name the target. Any other user may name only itself.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel import capability, credentials, proc, ptrace
from notifyd.kernel import socket as raw
from notifyd.kernel.structs import UCRED
from notifyd.perform.credentials import shares_user

__all__ = ["POWERS", "Sender", "in_effect", "may_name"]

_SETUID, _SETGID = (
    1 << capability.CAPABILITY_NUMBERS[name] for name in ("CAP_SETUID", "CAP_SETGID")
)
POWERS = capability.SYS_ADMIN | _SETUID | _SETGID
"""What has to be in effect while a message is sent in somebody else's name."""

_INIT = 1  # a process that every pid namespace has
_NO_ID = 0xFFFFFFFF  # (uid_t) -1, which setresuid(2) leaves alone


@dataclass(frozen=True, slots=True)
class Sender:
    """A target, as a receiver of its messages may know it.

    Attributes:
        status: of the target.
        capabilities: effective ones, none of them from another user namespace than ours.
        maps: where its user namespace is another than ours, the texts of its uid_map and gid_map.
        names: whether messages can name it: we may name others, and it is in sight.
    """

    status: proc.TaskStatus
    capabilities: int
    maps: tuple[bytes, bytes] | None
    names: bool

    @classmethod
    def of(cls, directory: int) -> Sender:
        """The thread whose open /proc/TID is `directory`. Raises OSError as reading there does."""
        status = proc.read_status(directory)
        if shares_user(directory):
            return cls(status, status.cap_effective, None, may_name())
        return cls(status, 0, proc.read_maps(directory), may_name())

    def said(self) -> bytes:
        """Control data for a message whose sender names nobody: who it is."""
        status = self.status
        pid = status.tgid if self.names else os.getpid()
        return raw.credentials(pid, status.uid[1], status.gid[1])

    def says(self, body: bytes) -> bytes:
        """What a message that names somebody itself is sent with, if its sender may say so.

        Args:
            body: a `struct ucred`, as the target gave it.

        Returns:
            A `struct ucred`.

        Raises:
            TargetFault: EPERM: it may not, as scm_check_creds() in net/core/scm.c has it. EINVAL.
            CannotPerform: we may not say it for the sender.
        """
        if len(body) != UCRED.size:
            raise TargetFault("credentials of another size", errno.EINVAL)
        pid, uid, gid = UCRED.unpack(body)
        status = self.status
        user, group = self._mapped(0, uid), self._mapped(1, gid)
        if not self._may(_SETUID, user, status.uid) or not self._may(_SETGID, group, status.gid):
            raise TargetFault("another's user or group id", errno.EPERM)
        own = pid == (status.process_ids or (status.tgid,))[-1]
        if not own and not (
            self.capabilities & capability.SYS_ADMIN and len(status.process_ids) == 1
        ):
            raise TargetFault("another's process id", errno.EPERM)
        if not self.names and not own:
            raise CannotPerform("naming another process needs a supervisor that runs as root")
        named = status.tgid if own else pid
        return UCRED.pack(named if self.names else os.getpid(), user, group)

    def _may(self, power: int, number: int, own: tuple[int, ...]) -> bool:
        return number in own[:3] or bool(self.capabilities & power)

    def _mapped(self, which: int, number: int) -> int:
        """An id of the target's user namespace, as it is in ours."""
        if number == _NO_ID:
            raise TargetFault("no user or group", errno.EINVAL)
        if self.maps is None:
            return number
        for line in self.maps[which].splitlines():
            inside, outside, count = map(int, line.split())
            if inside <= number < inside + count:
                return outside + number - inside
        raise TargetFault("no user or group of its namespace", errno.EINVAL)

    def hold(self, tid: int) -> None:
        """See that the process's number stays its own until the calling thread ends.

        A thread that is traced is not gone before its tracer has seen that, and its process not
        before it. Where somebody else traces it, nobody can.
        """
        if self.names:
            with suppress(OSError):
                ptrace.seize(tid, 0)


@contextmanager
def in_effect(powers: int) -> Iterator[None]:
    """Have capabilities in effect that the calling thread has kept, and give them up after it."""
    held = capability.get(0)
    more = held.effective | powers & held.permitted
    if more == held.effective:
        yield
        return
    credentials.set_capabilities(more, held.permitted)
    try:
        yield
    finally:
        credentials.set_capabilities(held.effective, held.permitted)


@cache
def may_name() -> bool:
    """Whether messages of ours may name other processes: CAP_SYS_ADMIN over our pid namespace."""
    if not capability.get(0).effective & capability.SYS_ADMIN:
        return False
    one, other = socket.socketpair()
    with one, other:
        try:
            raw.sendmsg(one.fileno(), [b"?"], 0, None, raw.credentials(_INIT, 0, 0))
        except OSError:
            return False
    return True
