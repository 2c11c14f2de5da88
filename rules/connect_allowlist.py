"""Connect allowlist: connections and datagrams only to the addresses, networks and ports given.

    notifyd run --rules connect-allowlist --option to=192.0.2.0/24:443 --option to=localhost -- ./tool

`to` is an address, a network or a host name, with a port or without ([2001:db8::1]:443 for IPv6).
Host names are looked up once, when the rules are loaded. Sockets of one machine (AF_UNIX) are free.
All else gets EACCES. Name servers have to be allowed as anything else.
"""

import errno
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, AF_UNSPEC, getaddrinfo

from notifyd import Allow, Connect, Deny, IoUring, SendTo, Socket, Verdict, always, is_not, on, option

Place = tuple[IPv4Network | IPv6Network, int | None]


def places(text: str) -> list[Place]:
    """The networks and the port that one `to` means."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")) or text.endswith("]"):
        host, port = text, ""
    host = host.strip("[]")
    try:
        networks = [ip_network(host, strict=False)]
    except ValueError:
        networks = [ip_network(found[4][0]) for found in getaddrinfo(host, None)]
    return [(network, int(port) if port else None) for network in networks]


ALLOWED: list[Place] = sum(option("to", (), convert=places, summary="where to"), [])

always(Deny(errno.EPERM), IoUring)  # it connects with no system call
always(Deny(errno.EACCES), Socket, family=is_not(AF_UNIX, AF_INET, AF_INET6, AF_NETLINK))
always(Deny(errno.EACCES), Socket, protocol=132)  # SCTP connects by setsockopt(2) too


@on(Connect, SendTo)
def connect_allowlist(call: Connect | SendTo) -> Verdict:
    """Every destination of the call has to be allowed."""
    for address in call.addresses if isinstance(call, SendTo) else (call.address,):
        if address is None or address.family in (AF_UNIX, AF_UNSPEC, AF_NETLINK):
            continue
        host = getattr(address.host, "ipv4_mapped", None) or address.host
        if not any(
            host is not None and host in network and port in (None, address.port)
            for network, port in ALLOWED
        ):
            return Deny(errno.EACCES, reason=f"{address} is not on the list")
    return Allow()
