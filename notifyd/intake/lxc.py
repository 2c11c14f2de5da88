"""LXC: monitors of containers that connect and ask about each call (`lxc.seccomp.notify.proxy`).

Owns the connections until they are taken over. A monitor connects when its container starts and
says nothing before the first call; it reconnects whenever it finds its connection closed. So no
connection is kept open for a container that may never call.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import trio

from notifyd.errors import PeerError
from notifyd.events.sanitize import printable
from notifyd.intake import lxc_peer
from notifyd.intake.arrival import Arrival, ArrivalKind, Peer, Take
from notifyd.intake.lxc_notifier import ANSWER_WITHIN, LxcConnection, LxcNotifier
from notifyd.intake.lxc_wire import MAX_PACKET, LxcRequest, decode
from notifyd.intake.quota import UserQuota
from notifyd.intake.reception import hang_up, our_fault
from notifyd.kernel import unix
from notifyd.threads import start_thread

__all__ = ["ANSWER_WITHIN", "FIRST_WITHIN", "MAX_LXC_CONNECTIONS", "MAX_PER_UID", "serve_lxc"]

LXC = ArrivalKind("lxc")
MAX_LXC_CONNECTIONS = 512  # two descriptors each while a request waits
MAX_PER_UID = 64  # of one user other than root and ours; one container has one connection
MAX_NAME = 200  # characters
FIRST_WITHIN = 5.0  # seconds; LXC asks at once when it reconnects
REQUEST_SCAN_INTERVAL_S = 0.5  # seconds between two looks for requests that wait for too long
FD_RETRY_INTERVAL_S = 0.1  # seconds until the next try when there are no descriptors left

_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Refuse = Callable[[Peer, str], None]
"""Told why a connection is refused or ended; in the loop's thread."""


async def serve_lxc(
    server: socket.socket,
    take: Take,
    refuse: Refuse,
    *,
    answer_within: float = ANSWER_WITHIN,
    first_within: float = FIRST_WITHIN,
    max_connections: int = MAX_LXC_CONNECTIONS,
    max_per_uid: int = MAX_PER_UID,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept monitors and hand over their connections, until cancelled.

    Args:
        server: a listening SOCK_SEQPACKET socket; stays the caller's.
        take: is given an arrival with its notifier for each connection, when its first request is
            there. What was taken outlives this function. An ArrivalRefused is reported.
        refuse: see there.
        answer_within: seconds in which a request has to be answered; then its connection is ended,
            and the target gets ENOSYS.
        first_within: seconds in which the first request has to come.
        max_connections: how many may be open at once.
        max_per_uid: how many of them may belong to one user other than root and ours.
        task_status: started when the first connection can be made.
    """
    with _TimeLimit() as limit:
        places = UserQuota(max_connections, max_per_uid)
        reception = _LxcReception(take, refuse, answer_within, first_within, places, limit)
        accepting = trio.socket.from_stdlib_socket(server)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                try:
                    accepted, _ = await accepting.accept()
                except OSError as error:
                    if error.errno in _FULL:
                        await trio.sleep(FD_RETRY_INTERVAL_S)
                    elif error.errno != errno.ECONNABORTED:
                        raise
                    continue
                nursery.start_soon(reception.receive, socket.socket(fileno=accepted.detach()))


class _LxcReception:
    """Where each connection is checked before it is passed on."""

    def __init__(
        self,
        take: Take,
        refuse: Refuse,
        answer_within: float,
        first_within: float,
        places: UserQuota,
        limit: _TimeLimit,
    ) -> None:
        self._take = take
        self._refuse = refuse
        self._answer_within = answer_within
        self._first_within = first_within
        self._places = places
        self._limit = limit

    def _enter(self, uid: int) -> None:
        if not self._places.has_room(uid):
            raise PeerError(f"{self._places.crowd(uid, 'connections')} are open already")
        self._places.enter(uid)

    async def receive(self, connection: socket.socket) -> None:
        """Wait for the first request of a connection, and hand it over or close it."""
        peer = Peer.of(connection)
        with ExitStack() as place:
            try:
                self._enter(peer.uid)
                place.callback(self._places.leave, peer.uid)
                unix.stamp_packets(connection)
                request = await self._first(connection)
                if request is not None:
                    lxc_peer.check_pids(peer)
                    self._hand_over(connection.detach(), peer, request, place.pop_all())
            except (PeerError, OSError) as error:
                self._refuse(peer, str(error))
            except Exception as error:  # ours; but all others are to be served
                self._refuse(peer, our_fault(error))
            finally:
                if connection.fileno() >= 0:  # it was not handed over
                    await hang_up(connection)

    async def _first(self, connection: socket.socket) -> LxcRequest | None:
        """The first request, which stays in the socket; None if the peer left without a word."""
        with trio.move_on_after(self._first_within) as waiting:
            await trio.lowlevel.wait_readable(connection)
        if waiting.cancelled_caught:
            raise PeerError(f"said nothing within {self._first_within:g} seconds")
        # Not with recvmsg(2) and room for descriptors: this peer is not yet known to be welcome,
        # and even closing a descriptor may wait for the server of its file system.
        try:
            data = connection.recv(MAX_PACKET + 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError as error:
            raise PeerError(f"cannot be read: {error.strerror}") from error
        return decode(data) if data else None

    def _hand_over(
        self, connection: int, peer: Peer, request: LxcRequest, place: ExitStack
    ) -> None:
        link = LxcConnection(
            self._answer_within,
            partial(self._refuse, peer),
            place.close,
            partial(lxc_peer.may_ask, peer),
        )
        notifier = LxcNotifier(connection, request.sender, link)
        self._limit.watch(notifier)
        place.callback(self._limit.forget, notifier)
        monitor = request.monitor_pid == peer.pid
        path, name = lxc_peer.title_of(peer.pid) if monitor else ("", "")
        arrival = Arrival(
            LXC,
            peer,
            printable(name, MAX_NAME) or f"lxc-{request.init_pid}",
            connection,
            notifier,
            pid=request.init_pid,
            metadata=request.cookie,
            bundle=printable(path, MAX_NAME),
            joins=True,
            init=request.init_pid,
        )
        try:
            self._take(arrival)
        except BaseException:
            notifier.close()
            raise


class _TimeLimit:
    """Ends connections whose request has waited for too long; a context manager.

    A thread, since a rule that holds up the loop must not hold up this.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        self._watched: set[LxcNotifier] = set()
        self._thread = threading.Thread(target=self._watch, name="notifyd-lxc", daemon=True)

    def __enter__(self) -> _TimeLimit:
        start_thread(self._thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def watch(self, notifier: LxcNotifier) -> None:
        """Keep the time of a notifier's requests from now on."""
        self._watched.add(notifier)

    def forget(self, notifier: LxcNotifier) -> None:
        """Keep it no longer."""
        self._watched.discard(notifier)

    def _watch(self) -> None:
        while not self._over.wait(REQUEST_SCAN_INTERVAL_S):
            for notifier in tuple(self._watched):
                notifier.expire()
