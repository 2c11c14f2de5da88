"""Listeners from container runtimes: `listenerPath` of the OCI runtime specification."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

from notifyd.errors import PeerError
from notifyd.intake.arrival import Arrival, ArrivalKind, Peer
from notifyd.intake.oci_wire import ProcessState, parse_process_state
from notifyd.intake.reception import (
    MESSAGE_TIMEOUT_S,
    Refuse,
    Welcome,
    discard,
    receive_message,
    reception,
)
from notifyd.kernel import seccomp

__all__ = ["OCI", "check_listener", "serve_oci"]

OCI = ArrivalKind("oci")

TakeLater = Callable[[Arrival], Awaitable[None]]
"""As `Take`, but it may look at the container's bundle first."""


async def serve_oci(
    server: socket.socket,
    take: TakeLater,
    refuse: Refuse,
    welcome: Welcome,
    *,
    patience: float = MESSAGE_TIMEOUT_S,
) -> None:
    """Take listeners from runtimes, for ever.

    Args:
        server: listening, SOCK_STREAM; it stays the caller's.
        take: gets each arrival.
        refuse: gets the refused ones.
        welcome: knows who may use the socket.
        patience: seconds that a message may take.
    """

    async def attend(connection: socket.socket, peer: Peer) -> None:
        received = await receive_message(connection, patience=patience)
        if received is None:
            return  # crun only checks that the socket is served
        message, fds = received
        try:
            state = parse_process_state(message, fds)
            check_listener(state.listener)
            fds.remove(state.listener)
        finally:
            await discard(fds)  # those of unknown names; all of them, if something is wrong
        await take(_arrival(state, peer))

    await reception(server, attend, refuse, welcome=welcome)


def check_listener(fd: int) -> None:
    """Check that a received descriptor is a listener.

    Raises:
        PeerError: it is something else.
    """
    if not seccomp.is_listener(fd):
        raise PeerError("expected a seccomp listener, got another kind of descriptor")


def _arrival(state: ProcessState, peer: Peer) -> Arrival:
    return Arrival(
        OCI,
        peer,
        state.id,
        state.listener,
        pid=state.pid or state.init,
        metadata=state.metadata,
        annotations=state.annotations,
        bundle=state.bundle if state.bundle.startswith("/") else "",
        joins=not state.creating,
        init=state.init,
    )
