"""A target's own socket, taken for one call, and what is known of how that call goes on."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, MSG_DONTWAIT, MSG_MORE, SOCK_DGRAM, SOCK_STREAM

from notifyd.errors import TargetFault
from notifyd.kernel import proc
from notifyd.kernel.socket import closes_at_once, sends_for_ever, socket_info

__all__ = ["MAX_UNIX", "TakenSocket", "check_is_socket"]

MAX_UNIX = 110  # sizeof(struct sockaddr_un)


@dataclass(slots=True)
class TakenSocket:
    """A copy of a descriptor of the target.

    Attributes:
        fd: the copy; -1 when it is closed.
        domain: AF_*.
        kind: SOCK_*.
        pipe: whether the target gets SIGPIPE where the call fails by EPIPE.
    """

    fd: int
    domain: int
    kind: int
    pipe: bool = False
    _for_ever: bool = True

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
        """Whether it is of TCP or UDP, where no call waits for anything but its peer."""
        return self.domain in (AF_INET, AF_INET6) and self.kind in (SOCK_STREAM, SOCK_DGRAM)

    @property
    def binds_quickly(self) -> bool:
        """Whether bind(2) does not wait, but for another call that has locked the socket."""
        return self.is_plain

    @property
    def connects_quickly(self) -> bool:
        """The same of connect(2). No stream's: who has the socket too could clear O_NONBLOCK."""
        return self.is_plain and not self.is_stream

    def sends_quickly(self, flags: int) -> bool:
        """The same of sending one message with MSG_DONTWAIT, where all or nothing is sent.

        Args:
            flags: those of the call itself.
        """
        if not self.is_plain:
            return False
        whole = not self.is_stream and not flags & MSG_MORE
        return whole or not self.waits(flags)

    def waits(self, flags: int) -> bool:
        """Whether a call with these flags waits until something can be sent."""
        return not flags & MSG_DONTWAIT and not self.never_waits

    @property
    def closes_at_once(self) -> bool:
        """Whether closing it never waits."""
        return closes_at_once(self.domain, self.kind)

    @property
    def never_waits(self) -> bool:
        """Whether it is O_NONBLOCK now; another thread can change that."""
        return not os.get_blocking(self.fd)

    @property
    def restarts(self) -> bool:
        """Whether a call that a signal ends begins again, if its handler has SA_RESTART."""
        if self.fd >= 0:
            self._for_ever = sends_for_ever(self.fd)
        return self._for_ever

    def close(self) -> None:
        """Close the copy; `restarts` is known afterwards, too."""
        self._for_ever = self.restarts
        os.close(self.fd)
        self.fd = -1


def check_is_socket(tid: int, number: int) -> None:
    """See that a descriptor of a thread is a socket, without taking it: it may be a served file.

    By its time of being taken it may be another. What then is no socket is closed elsewhere.

    Raises:
        TargetFault: ENOTSOCK, EBADF.
        OSError: it cannot be looked into; ENOENT also where the thread is gone.
    """
    try:
        # A path has a slash first.
        if os.readlink(f"/proc/{tid}/fd/{number}").startswith("socket:["):
            return
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
