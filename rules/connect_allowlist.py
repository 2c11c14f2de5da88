"""Connect allowlist: connections and datagrams only to the addresses, networks and ports given.

    notifyd run --rules connect-allowlist --option to=192.0.2.0/24:443 --option to=localhost -- CMD

`to` is an address, a network or a host name, with a port or without ([2001:db8::1]:443 for IPv6).
Host names are looked up once, when the rules are loaded. All else gets EACCES; name servers have to
be listed too. Sockets of one machine (AF_UNIX, netlink) are free.

Refused is what sends elsewhere than the address says: raw sockets, protocols that connect by
themselves (SCTP, MPTCP), source routes, the choice of an interface. So is what brings a socket from
elsewhere: io_uring, other processes' descriptors and memory, tracing, other namespaces, typing into
the terminal. What is open already, handed over (SCM_RIGHTS) or accepted goes on working, and a
daemon that AF_UNIX leads to may act for the program. Root can change routes: give --user too.
"""

import errno
import socket
from ipaddress import ip_network

import notifyd as n
from notifyd import Allow, Connect, Deny, SendTo, Socket, always, is_not, on

REFUSED = Deny(errno.EACCES)
INET = (socket.AF_INET, socket.AF_INET6)
L2TP, SCTP, SMC, MPTCP = 115, 132, 256, 262  # a peer may lead them elsewhere


def places(text: str) -> list:
    """The networks and the port that one `to` means; None for any port."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")) or text.endswith("]"):
        host, port = text, ""
    number = range(1 << 16).index(int(port)) if port else None
    host = host.strip("[]")
    known = [host] if "/" in host else [to[4][0] for to in socket.getaddrinfo(host, None)]
    return [(ip_network(one, strict=False), number) for one in known]


GIVEN = n.option("to", (), convert=places, summary="where it may go")
ALLOWED = [one for to in GIVEN for one in to]

# What brings a socket from elsewhere, or has another process connect.
always(Deny(errno.EPERM), *n.SOCKET_BYPASSES)
always(Deny(errno.EPERM), n.Ioctl, request=n.TYPING_REQUESTS)

# What sends elsewhere than the address says.
always(REFUSED, Socket, family=is_not(*INET, socket.AF_UNIX, socket.AF_NETLINK))
always(REFUSED, Socket, family=INET, type=is_not(socket.SOCK_STREAM, socket.SOCK_DGRAM))
always(REFUSED, Socket, protocol={L2TP, SCTP, SMC, MPTCP})
for level, options in n.ROUTING_OPTIONS.items():
    always(REFUSED, n.SetSockOpt, level=level, option=options)

# Sent to the socket's own peer, as write(2) is: no address is given, and so none can be judged.
always(Allow(), SendTo, destination=0, flags=n.lacks(socket.MSG_DONTROUTE))


@on(Connect, SendTo)
def connect_allowlist(call: Connect | SendTo) -> Allow | Deny:
    """Every destination of the call has to be allowed."""
    sends = isinstance(call, SendTo)
    if sends and call.flags & socket.MSG_DONTROUTE:
        return Deny(errno.EACCES, reason="past the routes, an address is another machine's")
    # AF_UNSPEC ends a connection, but in a send it means AF_INET: udp_sendmsg() in Linux.
    free = (socket.AF_UNIX, socket.AF_NETLINK, *([] if sends else [socket.AF_UNSPEC]))
    for to in call.addresses if sends else (call.address,):
        if to is None or to.family in free:
            continue
        host = getattr(to.host, "ipv4_mapped", None) or to.host
        if not any(host in net and port in (None, to.port) for net, port in ALLOWED if host):
            return Deny(errno.EACCES, reason=f"{to} is not on the list")
    return Allow()
