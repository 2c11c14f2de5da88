"""Connections to a socket: accepted, counted, bounded, and always closed."""

from __future__ import annotations

import errno
import socket
import traceback
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial

import trio

from notifyd.errors import PeerError
from notifyd.intake.arrival import Peer
from notifyd.intake.oci_wire import MAX_OCI_MESSAGE_BYTES, Assembly
from notifyd.intake.quota import UserQuota
from notifyd.kernel import unix
from notifyd.kernel.limits import READ_BYTES
from notifyd.perform import worker

__all__ = [
    "Attend",
    "Refuse",
    "Welcome",
    "discard",
    "hang_up",
    "our_fault",
    "receive_message",
    "reception",
    "send_all",
]

MAX_CONNECTIONS = 256  # connections at once
MAX_CONNECTIONS_PER_USER = 64  # of them from one user who is not root
MESSAGE_TIMEOUT_S = 10.0  # seconds for a whole message
_RETRY_INTERVAL_S = 0.1  # seconds, where the system has no descriptor or memory for us

Attend = Callable[[socket.socket, Peer], Awaitable[None]]
"""Speaks with one peer. The socket, which does not block, is closed when it returns or raises."""

Welcome = Callable[[Peer], None]
"""Raises PeerError for a peer that may not use the socket. Until then nothing of it is received."""

Refuse = Callable[[Peer, str], None]
"""Told of every connection that came to nothing, with the reason."""


async def reception(
    server: socket.socket,
    attend: Attend,
    refuse: Refuse,
    *,
    welcome: Welcome = lambda _: None,
    most: int = MAX_CONNECTIONS,
    most_per_user: int = MAX_CONNECTIONS_PER_USER,
) -> None:
    """Accept for ever; every connection gets a task. A peer's fault ends its connection only.

    Args:
        server: listening; it stays the caller's.
        attend: what to do with a connection.
        refuse: gets the refused ones.
        welcome: who may use the socket; by default everyone who can connect.
        most: how many connections at once; more are closed at once. Root and our own user each have
            as many of their own.
        most_per_user: how many of them one user may have, other than those two.
    """
    waiting = trio.socket.from_stdlib_socket(server.dup())
    present = UserQuota(most, most_per_user)

    async def one(connection: socket.socket, peer: Peer) -> None:
        try:
            welcome(peer)
            await attend(connection, peer)
        except (PeerError, OSError) as error:
            refuse(peer, str(error))
        except Exception as error:  # ours; but all others are to be served
            refuse(peer, our_fault(error))
        finally:
            await hang_up(connection)
            present.leave(peer.uid)

    async with trio.open_nursery() as nursery:
        with waiting:
            while True:
                connection = await _accept(waiting)
                if connection is None:
                    await trio.sleep(_RETRY_INTERVAL_S)
                    continue
                peer = Peer.of(connection)
                if not present.has_room(peer.uid):
                    nursery.start_soon(hang_up, connection)
                    refuse(peer, f"{present.crowd(peer.uid, 'connections')} are open already")
                    continue
                present.enter(peer.uid)
                nursery.start_soon(one, connection, peer)


async def _accept(server: trio.socket.SocketType) -> socket.socket | None:
    try:
        accepted, _ = await server.accept()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
            return None
        if error.errno == errno.ECONNABORTED:
            return None
        raise
    connection = socket.socket(fileno=accepted.detach())
    connection.setblocking(False)
    return connection


async def receive_message(
    connection: socket.socket,
    *,
    most: int = MAX_OCI_MESSAGE_BYTES,
    most_fds: int = unix.SCM_MAX_FD,
    patience: float = MESSAGE_TIMEOUT_S,
) -> tuple[bytes, list[int]] | None:
    """Receive one JSON object and the descriptors that came with its first byte.

    It does not wait for the end of the stream: a sender may keep the connection open.

    Args:
        connection: does not block; it stays the caller's.
        most: how many bytes are too many.
        most_fds: how many descriptors may be ours while the rest of a message is waited for.
        patience: seconds for all of it.

    Returns:
        The object and the descriptors, the caller's; None if the peer left without a word.

    Raises:
        PeerError: too long, too slow, cut short, too many descriptors, or some that came later.
    """
    assembly, owned = Assembly(most), list[int]()
    try:
        with trio.fail_after(patience):
            while True:
                await trio.lowlevel.wait_readable(connection)
                try:
                    data, fds, cut = unix.recv_fds(connection, READ_BYTES, unix.SCM_MAX_FD)
                except BlockingIOError:
                    continue
                late = bool(fds and len(assembly))
                owned += fds
                if late or cut:
                    raise PeerError("descriptors that were cut off, or came too late")
                if len(owned) > most_fds:
                    raise PeerError(f"{len(owned)} descriptors: too many")
                if not data:
                    break
                message = assembly.add(data)
                if message is not None:
                    found, owned = owned, []
                    return message, found
        if not len(assembly):
            return None
        raise PeerError(f"a message that ends after {len(assembly)} bytes")
    except trio.TooSlowError:
        raise PeerError(f"no whole message within {patience:g} seconds") from None
    finally:
        await discard(owned)


async def discard(fds: Collection[int]) -> None:
    """Close received descriptors.

    Where that may block: a close(2) asks the file system (FUSE: its server) to flush, and one
    of a TCP socket lingers (SO_LINGER), which a nudge ends. What waits holds a place among the
    connections of its user, and nothing else.
    """
    while fds:
        try:
            await worker.run(partial(unix.close_all, fds), disturbed=lambda: True)
            break
        except OSError:  # no thread can be had
            await trio.sleep(_RETRY_INTERVAL_S)


async def hang_up(connection: socket.socket) -> None:
    """Close a connection, and with it the descriptors that its peer sent and we did not receive.

    The kernel closes those within our close(2): as `discard`, that may block. Most peers have sent
    none, and a thread for each of many peers would be too many threads.
    """
    with suppress(OSError):  # ENOTCONN: the peer was quicker
        connection.shutdown(socket.SHUT_RDWR)
    if _is_drained(connection):
        connection.close()
    else:
        await discard([connection.detach()])


def _is_drained(connection: socket.socket) -> bool:
    """Whether nothing that was sent is left unread. Its peer cannot send any more.

    On a stream, descriptors come with at least one byte. An empty packet may have some: unknown.
    """
    if connection.type != socket.SOCK_STREAM:
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.ENOTCONN, errno.ECONNRESET)


def our_fault(error: Exception) -> str:
    """What is said of an error that is not the peer's: which, and where in the code."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"an error in notifyd itself: {error!r} ({at.filename}:{at.lineno})"


async def send_all(
    connection: socket.socket, data: bytes, *, patience: float = MESSAGE_TIMEOUT_S
) -> bool:
    """Send to a peer that may be slow, or gone already.

    Args:
        connection: does not block.
        data: what to send.
        patience: seconds that it may take.

    Returns:
        Whether all of it went.
    """
    left = memoryview(data)
    with trio.move_on_after(patience):
        while left:
            try:
                left = left[connection.send(left) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(connection)
            except OSError:
                return False
    return not left
