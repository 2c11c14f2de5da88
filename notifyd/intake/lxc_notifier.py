"""LXC's connection as a listener: requests are received from it, answers are sent on it.

Owns the one call that is pending, with its listener, and the order of check and answer. LXC waits
30 s for an answer. Then it gives its own (ENOSYS), forgets that it asked, and takes the next packet
for the answer to its next request. So a late answer lets another call through than the one that was
decided, and there must never be one.

Here is what prevents it. A request has a deadline, well before LXC's own, counted from when the
kernel got the packet. An answer is sent only before that, and only if the listener says that the
call still waits; then LXC waits, too. Where either does not hold, the connection is ended: LXC
answers ENOSYS at once, and reconnects for its next request.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from notifyd.errors import PeerError
from notifyd.intake.lxc_wire import FDS, LISTENER_INDEX, MAX_PACKET, LxcRequest, decode, encode
from notifyd.kernel import seccomp, unix
from notifyd.kernel.unotify import Notifier
from notifyd.policy.note import ID, PID, Note

__all__ = ["ANSWER_WITHIN", "LxcConnection", "LxcNotifier"]

ANSWER_WITHIN = 25.0  # seconds; LXC waits 30 (seccomp.c, lxc_socket_set_timeout)

_OVER = select.POLLHUP
_LATE = "no answer within {:g} seconds: LXC waits 30, and takes a later one for another call's"


class LxcConnection(NamedTuple):
    """What a notifier needs to know of its connection.

    Attributes:
        within: seconds in which a request has to be answered.
        tell: called once with the reason if we end the connection; in the loop's thread.
        closed: called once at the end; in the loop's thread.
        may_ask: says whether the peer may ask about calls of a thread.
    """

    within: float
    tell: Callable[[str], None]
    closed: Callable[[], None]
    may_ask: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request without an answer. Owns its listener."""

    request: LxcRequest
    listener: int
    notifier: Notifier
    deadline: float  # of time.monotonic()


class LxcNotifier(Notifier):
    """Stands for a connection of LXC, as `Notifier` stands for a listener.

    The connection itself is the caller's, who closes it after `close`. Everything is for the loop's
    thread, but for `id_valid` and `expire`, which may come from any.

    Args:
        connection: a connected SOCK_SEQPACKET socket, with `unix.stamp_packets`.
        sender: whose requests it carries, as the first of them says; see `LxcRequest.sender`.
        link: see there.
    """

    __slots__ = (
        "_answered",
        "_link",
        "_lock",
        "_over",
        "_pending",
        "_poll",
        "_reason",
        "_sender",
        "_socket",
    )

    def __init__(self, connection: int, sender: tuple[int, int, str], link: LxcConnection) -> None:
        super().__init__(connection)
        self._socket = socket.socket(fileno=connection)
        self._sender = sender
        self._link = link
        # Held for what takes no time: the descriptors of a pending call come and go with each
        # request, and helper threads ask for them by number.
        self._lock = threading.Lock()
        self._pending: _Pending | None = None
        self._answered = False
        self._over = False
        self._reason = ""
        self._poll, self.poll = self.poll, self._look
        self.receive, self.respond = self._take, self._answer

    def close(self) -> None:
        """The connection is about to be closed; a call that is pending gets ENOSYS from LXC."""
        with self._lock:
            if self._fd < 0:
                return
            self._fd = -1
            self._over = True
            self._drop()
            self._socket.detach()
        self._tell()
        self._link.closed()

    # -- receiving

    def _look(self, timeout: int) -> list[tuple[int, int]]:
        """As `poll`; after the end without POLLIN, which a closed connection has for ever."""
        events = self._poll(timeout)
        if events and self._over:
            self._tell()
            return [(self._fd, _OVER)]
        return events

    def _tell(self) -> None:
        reason, self._reason = self._reason, ""
        if reason:
            self._link.tell(reason)

    def _take(self) -> Note:
        """Take one request; FileNotFoundError if that was the end, which `poll` then says."""
        try:
            return self._receive()
        except BlockingIOError as nothing:
            raise InterruptedError(errno.EINTR, "nothing is pending") from nothing
        except (EOFError, ConnectionError):  # the container has ended
            self._end("")
        except (PeerError, OSError) as error:
            self._end(str(error))
        raise FileNotFoundError(errno.ENOENT, "the connection is over")

    def _receive(self) -> Note:
        data, fds, cut, arrived = unix.recv_packet(self._socket, MAX_PACKET, FDS)
        try:
            if not data and not fds and not cut:
                raise EOFError
            self._check_fds(fds, cut)
            request = decode(data)
            self._check(request)
            listener = fds.pop(LISTENER_INDEX)
        finally:
            unix.close_all(fds)  # the other two show what we look up by ourselves
        age = max(0.0, time.time() - arrived) if arrived is not None else 0.0
        deadline = time.monotonic() + self._link.within - age
        self._pending = _Pending(request, listener, Notifier(listener), deadline)
        return request.note

    def _check_fds(self, fds: list[int], cut: bool) -> None:
        if cut:
            raise PeerError(f"too many descriptors, or a packet of more than {MAX_PACKET} bytes")
        if len(fds) != FDS:
            raise PeerError(f"{len(fds)} descriptors; LXC sends {FDS}")
        if not seccomp.is_listener(fds[LISTENER_INDEX]):
            raise PeerError("the last descriptor is not a seccomp listener")

    def _check(self, request: LxcRequest) -> None:
        if self._pending is not None:
            raise PeerError("a request before the answer to the one before it")
        if request.sender != self._sender:
            raise PeerError("a request of another container than the first one")
        if not self._link.may_ask(request.note[PID]):
            raise PeerError(f"asks about thread {request.note[PID]}, which is not the peer's")

    # -- answering

    def _answer(self, id: int, value: int, error: int, flags: int) -> bool:  # noqa: A002
        """Answer the pending request; False if the target is gone, or it is too late."""
        with self._lock:
            pending = self._pending_of(id)
            if pending is None:
                return False
            packet = encode(pending.request, value, error, flags)
            # Invariant: nothing waits between this check and the answer.
            valid = not self._is_late(pending) and pending.notifier.id_valid(id)
            self._drop()
            if not valid:
                self._release(pending)
                return False
            return self._send(packet)

    def gone(self, id: int) -> None:  # noqa: A002
        """The target is gone; LXC does not notice, and serves no other call until it is told."""
        with self._lock:
            pending = self._pending_of(id)
            if pending is not None:
                self._drop()
                self._release(pending)

    def _release(self, pending: _Pending) -> None:
        """Let LXC continue after a call that does not wait any more."""
        # Such a call is gone, or LXC has given up. Only the clock tells which, and of a packet that
        # came before we listened the clock knows too little.
        if self._is_late(pending) or not self._answered:
            self._shut_down("")
        else:
            self._send(encode(pending.request, 0, -errno.ENOSYS, 0))

    def _send(self, packet: bytes) -> bool:
        try:
            self._socket.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except ConnectionError:  # the container has ended
            self._shut_down("")
            return False
        except OSError as failure:
            self._shut_down(f"cannot be answered: {failure.strerror}")
            return False
        self._answered = True
        return True

    def _is_late(self, pending: _Pending) -> bool:
        if not self._over and time.monotonic() > pending.deadline:
            self._shut_down(_LATE.format(self._link.within))
        return self._over

    def expire(self) -> None:
        """End the connection if its request has waited for too long."""
        pending = self._pending
        if pending is not None and time.monotonic() > pending.deadline:
            with self._lock:
                if self._pending is pending:
                    self._is_late(pending)

    # -- what the listener does

    def id_valid(self, id: int) -> bool:  # noqa: A002
        with self._lock:
            pending = self._pending_of(id)
            return pending is not None and not self._over and pending.notifier.id_valid(id)

    def add_fd(self, id: int, srcfd: int, flags: int) -> int:  # noqa: A002
        """As `Notifier.add_fd`, by the pending request's listener; none once it is too late."""
        with self._lock:
            pending = self._pending_of(id)
            if pending is None or self._is_late(pending):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        try:
            return pending.notifier.add_fd(id, srcfd, flags)
        except (FileNotFoundError, ProcessLookupError):
            self.gone(id)
            raise

    def set_sync_wake_up(self) -> bool:
        """No: it is LXC that the target waits for."""
        return False

    # -- the pending call and the end; with the lock held

    def _pending_of(self, id: int) -> _Pending | None:  # noqa: A002
        pending = self._pending
        return pending if pending is not None and pending.request.note[ID] == id else None

    def _drop(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            os.close(pending.listener)

    def _end(self, reason: str) -> None:
        with self._lock:
            self._shut_down(reason)

    def _shut_down(self, reason: str) -> None:
        """No answer leaves any more, LXC sees the end, and so does `poll`."""
        if not self._over:
            self._over = True
            self._reason = reason
            with contextlib.suppress(OSError):  # ENOTCONN: LXC was quicker
                self._socket.shutdown(socket.SHUT_RDWR)
