"""For rules about the network: destinations as a person writes them, and those of a call."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from notifyd.kernel.socket import SockAddr
from notifyd.policy.operations import Connect, SendTo

__all__ = [
    "INDIRECT_PROTOCOLS",
    "IP_FAMILIES",
    "LOCAL_FAMILIES",
    "PLAIN_TYPES",
    "Destination",
    "bypasses_routes",
    "host_and_port",
    "is_listed",
    "remote_addresses",
]

IP_FAMILIES: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)
LOCAL_FAMILIES: tuple[int, ...] = (socket.AF_UNIX, socket.AF_NETLINK)

PLAIN_TYPES: tuple[int, ...] = (socket.SOCK_STREAM, socket.SOCK_DGRAM)

# linux/in.h: L2TP, SCTP, SMC, MPTCP
INDIRECT_PROTOCOLS: frozenset[int] = frozenset({115, 132, 256, 262})

NETWORK_SUMMARIES = {
    "INDIRECT_PROTOCOLS": "Protocols in which a peer may lead the connection to other addresses, "
    "with no further call: L2TP, SCTP, SMC, MPTCP. For `always(Deny(EACCES), Socket, "
    "protocol=INDIRECT_PROTOCOLS)`.",
    "IP_FAMILIES": "The families of sockets that reach other machines by IP: AF_INET and AF_INET6.",
    "LOCAL_FAMILIES": "The families of sockets that stay on the machine: AF_UNIX and AF_NETLINK.",
    "PLAIN_TYPES": "The types of IP sockets whose headers the kernel writes: SOCK_STREAM and "
    "SOCK_DGRAM.",
}

MAX_PORT = 65535


class Destination(NamedTuple):
    """Where a connection may go: a network, and a port of it; None for any port."""

    network: IPv4Network | IPv6Network
    port: int | None

    @classmethod
    def parse(cls, host: str, port: int | None) -> Destination:
        """An address or a network as text. Host bits of a network are ignored.

        Raises:
            ValueError: it is neither.
        """
        return cls(ip_network(host, strict=False), port)


def host_and_port(text: str) -> tuple[str, int | None]:
    """What stands before and after the colon: `192.0.2.0/24:443`, `[2001:db8::1]:443`, `localhost`.

    Returns:
        The host without brackets; and the port, None where none is given.

    Raises:
        ValueError: the port is not a number from 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    is_bare_ipv6 = ":" in host and not host.endswith("]")
    if not colon or is_bare_ipv6 or text.endswith("]"):
        host, port = text, ""
    number = int(port) if port else None
    if number is not None and not 0 <= number <= MAX_PORT:
        raise ValueError(f"a port is a number from 0 to {MAX_PORT}")
    return host.strip("[]"), number


def remote_addresses(call: Connect | SendTo) -> Iterator[SockAddr]:
    """The addresses that a call connects or sends to, without those on the machine itself.

    A connect to AF_UNSPEC ends a connection and goes nowhere. A send to AF_UNSPEC goes to an IPv4
    address: udp_sendmsg() in Linux.
    """
    if isinstance(call, SendTo):
        given, local = call.addresses, LOCAL_FAMILIES
    else:
        given, local = (call.address,), (*LOCAL_FAMILIES, socket.AF_UNSPEC)
    return (one for one in given if one is not None and one.family not in local)


def is_listed(address: SockAddr, destinations: Iterable[Destination]) -> bool:
    """Whether a socket's address is one of the destinations.

    An IPv6 address that stands for an IPv4 address (`::ffff:192.0.2.1`) is judged as that one.
    """
    host = getattr(address.host, "ipv4_mapped", None) or address.host
    return host is not None and any(
        host in one.network and one.port in (None, address.port) for one in destinations
    )


def bypasses_routes(call: Connect | SendTo) -> bool:
    """Whether a send goes past the routing tables: there, an address may be another machine's."""
    return isinstance(call, SendTo) and bool(call.flags & socket.MSG_DONTROUTE)
