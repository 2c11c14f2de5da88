"""Listeners from any program that installs its own filter: the native handover."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import MappingProxyType

from notifyd.errors import NotifydError
from notifyd.kernel import unix
from notifyd.listen.arrival import Arrival, Kind, Peer
from notifyd.listen.native_wire import Handover, Offer, Reply, Request, parse_request
from notifyd.listen.oci import check_listener
from notifyd.listen.reception import PATIENCE, Refuse, receive_message, reception, send_all

__all__ = ["serve_native"]

MOST_BYTES = 1 << 16  # of a request; anybody may send one

TakeHandover = Callable[[Arrival, str], Handover]
"""As `Take`, with the digest of the program that is installed; tells what became of it."""

GiveOffer = Callable[[Arrival], Offer]
"""The program for what is going to arrive: `listener` is -1. Raises Refused."""


async def serve_native(
    server: socket.socket,
    take: TakeHandover,
    give: GiveOffer,
    refuse: Refuse,
    *,
    patience: float = PATIENCE,
) -> None:
    """Answer requests for ever. See `native_wire`.

    Args:
        server: listening, SOCK_STREAM; it stays the caller's.
        take: gets each listener.
        give: knows the programs.
        refuse: is told of requests that came to nothing.
        patience: seconds that a request may take.
    """

    async def attend(connection: socket.socket, peer: Peer) -> None:
        try:
            received = await receive_message(connection, most=MOST_BYTES, patience=patience)
            if received is None:
                return
            reply = answer(*received, peer)
        except NotifydError as error:
            await send_all(connection, Reply(error=str(error)).encode())
            raise
        await send_all(connection, reply.encode())

    def answer(message: bytes, fds: list[int], peer: Peer) -> Reply:
        try:
            request = parse_request(message, len(fds))
            if request.request == "program":
                return Reply(offer=give(_arrival(request, peer, -1)))
            check_listener(fds[0])
            arrival = _arrival(request, peer, fds.pop())
        finally:
            unix.close_all(fds)
        return Reply(handover=take(arrival, request.program))

    await reception(server, attend, refuse)


def _arrival(request: Request, peer: Peer, listener: int) -> Arrival:
    return Arrival(
        Kind.NATIVE,
        peer,
        request.id,
        listener,
        pid=request.pid,
        metadata=request.metadata,
        annotations=MappingProxyType(request.annotations),
        section=request.section,
        killable=request.killable,
    )
