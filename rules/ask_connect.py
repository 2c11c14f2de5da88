"""Ask connect: a person decides about every new destination, and may have it remembered.

    notifyd run --rules ask-connect -- curl http://192.0.2.7/

Asked is the terminal, or with a daemon whoever answers its questions; where nobody can be asked,
it is refused (EACCES). `to` is free: an address or a network, with a port or without; name servers
are asked about, sockets of one machine (AF_UNIX, netlink) never.

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
from notifyd import Allow, Ask, Connect, Deny, SendTo, Socket, always, is_not, on

REFUSED = Deny(errno.EACCES)
INET = (socket.AF_INET, socket.AF_INET6)
L2TP, SCTP, SMC, MPTCP = 115, 132, 256, 262  # a peer may lead them elsewhere


def place(text: str) -> tuple:
    """The network and the port that one `to` means; None for any port."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text, ""
    number = range(1 << 16).index(int(port)) if port else None
    return ip_network(host.strip("[]"), strict=False), number


FREE = n.option("to", (), convert=place, summary="where it may go unasked")

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
def ask_connect(call: Connect | SendTo) -> Allow | Ask | Deny:
    """All destinations of the call are in one question."""
    sends, asked = isinstance(call, SendTo), set()
    if sends and call.flags & socket.MSG_DONTROUTE:
        return Deny(errno.EACCES, reason="past the routes, an address is another machine's")
    local = (socket.AF_UNIX, socket.AF_NETLINK, *([] if sends else [socket.AF_UNSPEC]))
    for to in call.addresses if sends else (call.address,):
        host = to and (getattr(to.host, "ipv4_mapped", None) or to.host)
        free = host and any(host in net and port in (None, to.port) for net, port in FREE)
        if to is not None and to.family not in local and not free:
            asked.add(str(to))
    where = ", ".join(sorted(asked))
    text = f"{call.process.exe} wants to connect to {where}"
    return Ask(text, otherwise=REFUSED, key=where) if asked else Allow()
