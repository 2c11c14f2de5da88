"""How listeners arrive: the protocols, with the socket that each has and who serves it.

To add one, write its module and its row below; `SocketsConfig` has its key of the configuration.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from notifyd.intake.arrival import Arrival, ArrivalKind
from notifyd.intake.lxc import LXC, serve_lxc
from notifyd.intake.native import NATIVE, serve_native
from notifyd.intake.native_wire import Handover, Offer
from notifyd.intake.oci import OCI, serve_oci
from notifyd.intake.reception import Refuse, Welcome

__all__ = ["PROTOCOLS", "ArrivalProtocol", "Takes"]


class Takes(Protocol):
    """What takes arrivals over, or raises ArrivalRefused: each protocol uses what it needs."""

    def take(self, arrival: Arrival) -> object:
        """Take a listener: see `arrival.Take`."""

    async def take_container(self, arrival: Arrival) -> None:
        """Take a container's, whose bundle is looked at first."""

    def take_handover(self, arrival: Arrival, digest: str) -> Handover:
        """Take that of a program which installed the filter with this digest."""

    def offer(self, arrival: Arrival) -> Offer:
        """The program to install for what is going to arrive."""


@dataclass(frozen=True, slots=True)
class ArrivalProtocol:
    """A protocol of arrival.

    Attributes:
        socket_type: of its AF_UNIX socket, whether systemd makes that or we do.
        serve: serves the socket, which stays the caller's, until cancelled.
    """

    socket_type: socket.SocketKind
    serve: Callable[[socket.socket, Takes, Refuse, Welcome], Awaitable[None]]


PROTOCOLS: Mapping[ArrivalKind, ArrivalProtocol] = MappingProxyType(
    {
        OCI: ArrivalProtocol(
            socket.SOCK_STREAM,
            lambda server, to, refuse, welcome: serve_oci(
                server, to.take_container, refuse, welcome
            ),
        ),
        LXC: ArrivalProtocol(
            socket.SOCK_SEQPACKET,
            lambda server, to, refuse, _: serve_lxc(server, to.take, refuse),
        ),
        NATIVE: ArrivalProtocol(
            socket.SOCK_STREAM,
            lambda server, to, refuse, welcome: serve_native(
                server, to.take_handover, to.offer, refuse, welcome
            ),
        ),
    }
)
