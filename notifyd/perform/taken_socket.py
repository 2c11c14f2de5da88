"""A target's own socket, taken for one call, and what is known of how that call goes on."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, MSG_DONTWAIT, MSG_MORE, SOCK_DGRAM, SOCK_STREAM

from notifyd.errors import TargetFault
from notifyd.kernel import proc
from notifyd.kernel.files import PATH_FLAGS
from notifyd.kernel.socket import sends_for_ever, socket_info

__all__ = ["MAX_UNIX", "UDP", "TakenSocket", "protocol_of"]

UDP = frozenset({b"UDP", b"UDPv6"})
_PROTOCOL = "system.sockprotoname"  # an attribute of sockets, since Linux 2.6.39
MAX_UNIX = 110  # sizeof(struct sockaddr_un)


@dataclass(slots=True)
class TakenSocket:
    """A copy of a descriptor of the target.

    Attributes:
        fd: the copy; somebody else's.
        domain: AF_*.
        kind: SOCK_*.
        pipe: whether the target gets SIGPIPE where the call fails by EPIPE.
    """

    fd: int
    domain: int
    kind: int
    pipe: bool = False

    @classmethod
    def of(cls, fd: int) -> TakenSocket:
        """Look at a socket; it stays the caller's.

        Raises:
            TargetFault: ENOTSOCK, EBADF: it is none, or opened with O_PATH: the target's mistake.
        """
        try:
            domain, kind = socket_info(fd)
        except OSError as error:
            raise TargetFault(str(error), error.errno or errno.EIO) from error
        return cls(fd, domain, kind)

    @property
    def is_stream(self) -> bool:
        """Whether what is sent on it has no borders."""
        return self.kind == SOCK_STREAM

    @property
    def is_plain(self) -> bool:
        """Whether it is of UDP, where no call waits but for another one that has locked it.

        Streams are none: whoever has one, too, could clear O_NONBLOCK while it is connected, and
        closing the last copy can wait.
        """
        return self.domain in (AF_INET, AF_INET6) and self.kind == SOCK_DGRAM

    def sends_quickly(self, flags: int) -> bool:
        """Whether one message that is sent with MSG_DONTWAIT is sent whole or not at all.

        Args:
            flags: those of the call itself.
        """
        return self.is_plain and (not flags & MSG_MORE or not self.waits(flags))

    def waits(self, flags: int) -> bool:
        """Whether a call with these flags waits until something can be sent."""
        return not flags & MSG_DONTWAIT and not self.never_waits

    @property
    def closes_at_once(self) -> bool:
        """Whether closing the last copy never waits: not by SO_LINGER, and it holds no other files.

        What an AF_UNIX socket has not delivered can hold one that lingers.
        """
        return self.is_plain

    @property
    def never_waits(self) -> bool:
        """Whether it is O_NONBLOCK now; another thread can change that."""
        return not os.get_blocking(self.fd)

    @property
    def restarts(self) -> bool:
        """Whether a call that a signal ends begins again, if its handler has SA_RESTART."""
        return sends_for_ever(self.fd)


def protocol_of(tid: int, number: int) -> bytes:
    """The protocol of a socket that is a descriptor of a thread: b"UDP", b"UNIX-STREAM".

    It is not taken for that: it may be a served file, and closing the last copy of a socket may
    wait. By its time of being taken it may be another. What then is no socket is closed elsewhere.

    Raises:
        TargetFault: ENOTSOCK, EBADF.
        OSError: it cannot be looked into; ENOENT also where the thread is gone.
    """
    try:
        found = os.open(f"/proc/{tid}/fd/{number}", PATH_FLAGS)
        try:
            here = f"/proc/self/fd/{found}"
            if os.readlink(here).startswith("socket:["):  # a path has a slash first
                return os.getxattr(here, _PROTOCOL).rstrip(b"\0")
        finally:
            os.close(found)
        directory = proc.open_dir(tid)
        try:
            is_path = proc.open_flags(directory, number) & os.O_PATH
        finally:
            os.close(directory)
    except FileNotFoundError as error:
        if not os.path.exists(f"/proc/{tid}"):
            raise
        raise TargetFault(os.strerror(errno.EBADF), errno.EBADF) from error
    wrong = errno.EBADF if is_path else errno.ENOTSOCK
    raise TargetFault(os.strerror(wrong), wrong)
