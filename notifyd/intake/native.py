"""Listeners from any program that installs its own filter: the native handover."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import MappingProxyType

from notifyd.errors import NotifydError
from notifyd.intake.arrival import Arrival, ArrivalKind, Peer
from notifyd.intake.native_wire import Handover, NativeReply, NativeRequest, Offer, parse_request
from notifyd.intake.oci import check_listener
from notifyd.intake.reception import (
    MESSAGE_TIMEOUT_S,
    Refuse,
    Welcome,
    discard,
    receive_message,
    reception,
    send_all,
)

__all__ = ["NATIVE", "serve_native"]

NATIVE = ArrivalKind("native")
MAX_NATIVE_REQUEST_BYTES = 1 << 16  # of a request; anybody may send one
# that come along; more than any request needs, and a crowd cannot use up all of ours
MAX_NATIVE_FDS = 8

TakeHandover = Callable[[Arrival, str], Handover]
"""As `Take`, with the digest of the program that is installed; returns the result."""

GiveOffer = Callable[[Arrival], Offer]
"""The program for what is going to arrive: `listener` is -1. Raises ArrivalRefused."""


async def serve_native(
    server: socket.socket,
    take: TakeHandover,
    give: GiveOffer,
    refuse: Refuse,
    welcome: Welcome,
    *,
    patience: float = MESSAGE_TIMEOUT_S,
) -> None:
    """Answer requests for ever. See `native_wire`.

    Args:
        server: listening, SOCK_STREAM; it stays the caller's.
        take: gets each listener.
        give: knows the programs.
        refuse: gets the refused requests.
        welcome: knows who may use the socket.
        patience: seconds that a request may take.
    """

    async def attend(connection: socket.socket, peer: Peer) -> None:
        try:
            welcome(peer)
            received = await receive_message(
                connection,
                most=MAX_NATIVE_REQUEST_BYTES,
                most_fds=MAX_NATIVE_FDS,
                patience=patience,
            )
            if received is None:
                return
            message, fds = received
            try:
                reply = answer(message, fds, peer)
            finally:
                await discard(fds)
        except NotifydError as error:
            await send_all(connection, NativeReply(error=str(error)).encode())
            raise
        await send_all(connection, reply.encode())

    def answer(message: bytes, fds: list[int], peer: Peer) -> NativeReply:
        request = parse_request(message, len(fds))
        if request.request == "program":
            return NativeReply(offer=give(_arrival(request, peer, -1)))
        check_listener(fds[0])
        arrival = _arrival(request, peer, fds.pop())
        return NativeReply(handover=take(arrival, request.program))

    # A peer that is not welcome is told so, and nothing is received from it.
    await reception(server, attend, refuse)


def _arrival(request: NativeRequest, peer: Peer, listener: int) -> Arrival:
    return Arrival(
        NATIVE,
        peer,
        request.id,
        listener,
        pid=request.pid,
        metadata=request.metadata,
        annotations=MappingProxyType(request.annotations),
        section=request.section,
        killable=request.killable,
    )
