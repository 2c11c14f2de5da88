"""Connect allowlist: connections and datagrams only to the addresses, networks and ports given.

    notifyd run --rules connect-allowlist --option to=192.0.2.0/24:443 --option to=localhost -- CMD

`to` is an address, a network or a host name, with a port or without ([2001:db8::1]:443 for IPv6).
Host names are looked up once, when the rules are loaded. All other destinations get EACCES; name
servers have to be listed too. Sockets that stay on the machine (AF_UNIX, netlink) are free.

Calls that would send elsewhere than to the address are refused: raw sockets, protocols that connect
by themselves (SCTP, MPTCP), source routes, the choice of an interface. So are sockets from other
sources: io_uring, descriptors and memory of other processes, tracing, other namespaces, typing into
the terminal.

What it does not hold: sockets that are open already, handed over (SCM_RIGHTS) or accepted continue
to work, and a daemon that AF_UNIX leads to may act for the program. Root can change routes: give
--user too.
"""

import errno
import socket

from notifyd import (
    ROUTING_OPTIONS,
    SOCKET_BYPASSES,
    TYPING_REQUESTS,
    Allow,
    Connect,
    Deny,
    Ioctl,
    SendTo,
    SetSockOpt,
    Socket,
    always,
    is_not,
    lacks,
    on,
    option,
)
from notifyd.rulekit import network

REFUSED = Deny(errno.EACCES)


def destinations(text: str) -> list[network.Destination]:
    """The networks and the port that one `to` means. A host name may have several addresses."""
    host, port = network.host_and_port(text)
    is_network = "/" in host
    hosts = [host] if is_network else [to[4][0] for to in socket.getaddrinfo(host, None)]
    return [network.Destination.parse(one, port) for one in hosts]


GIVEN = option("to", (), convert=destinations, summary="where it may go")
ALLOWED = [destination for several in GIVEN for destination in several]

# Sockets from other sources, and ways to have another process connect.
always(Deny(errno.EPERM), *SOCKET_BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=TYPING_REQUESTS)

# Calls that would send elsewhere than to the address.
always(REFUSED, Socket, family=is_not(*network.IP_FAMILIES, *network.LOCAL_FAMILIES))
always(REFUSED, Socket, family=network.IP_FAMILIES, type=is_not(*network.PLAIN_TYPES))
always(REFUSED, Socket, protocol=network.INDIRECT_PROTOCOLS)
for level, options in ROUTING_OPTIONS.items():
    always(REFUSED, SetSockOpt, level=level, option=options)

# Sent to the socket's own peer, as write(2) does: no address is given, so there is none to judge.
always(Allow(), SendTo, destination=0, flags=lacks(socket.MSG_DONTROUTE))


@on(Connect, SendTo)
def connect_allowlist(call: Connect | SendTo) -> Allow | Deny:
    """Every destination of the call has to be listed."""
    if network.bypasses_routes(call):
        return Deny(errno.EACCES, reason="past the routes, an address is another machine's")
    for address in network.remote_addresses(call):
        if not network.is_listed(address, ALLOWED):
            return Deny(errno.EACCES, reason=f"{address} is not on the list")
    return Allow()
