"""Connect allowlist: connections and datagrams only to the addresses, networks and ports given.

    notifyd run --rules connect-allowlist --option to=192.0.2.0/24:443 --option to=localhost -- CMD

`to` is an address, a network or a host name, with a port or without ([2001:db8::1]:443 for IPv6).
Host names are looked up once, when the rules are loaded. All else gets EACCES; name servers have to
be listed too. Sockets of one machine (AF_UNIX, netlink) are free. Raw sockets and source routes are
refused: they can send elsewhere than they say. Root can change routes: give --user too.
"""

import errno
import platform
import socket
from ipaddress import ip_network

from notifyd import Allow, Connect, Deny, IoUring, Raw, SendTo, Socket, always, is_not, on, option

REFUSED, INET = Deny(errno.EACCES), (socket.AF_INET, socket.AF_INET6)
ROUTES = {(0, 4), (41, 6), (41, 57)}  # IP_OPTIONS, IPV6_2292PKTOPTIONS, IPV6_RTHDR: their levels


def places(text: str) -> list:
    """The networks and the port that one `to` means."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")) or text.endswith("]"):
        host, port = text, ""
    number, host = range(1 << 16).index(int(port)) if port else None, host.strip("[]")
    known = [host] if "/" in host else [to[4][0] for to in socket.getaddrinfo(host, None)]
    return [(ip_network(one, strict=False), number) for one in known]


ALLOWED = [one for to in option("to", (), convert=places, summary="where it may go") for one in to]

always(Deny(errno.EPERM), IoUring)  # it connects with no system call
always(REFUSED, Socket, family=is_not(*INET, socket.AF_UNIX, socket.AF_NETLINK))
always(REFUSED, Socket, family=INET, type=is_not(socket.SOCK_STREAM, socket.SOCK_DGRAM))
always(REFUSED, Socket, protocol=132)  # SCTP, also as a stream: it connects by setsockopt(2) too
if platform.machine() == "x86_64":
    always(REFUSED, Raw("socketcall"), arg0=14)  # setsockopt of the oldest 32-bit programs


@on(Connect, SendTo)
def connect_allowlist(call: Connect | SendTo) -> Allow | Deny:
    """Every destination of the call has to be allowed."""
    sends = isinstance(call, SendTo)
    # AF_UNSPEC ends a connection, but in a send it means AF_INET: udp_sendmsg() in Linux.
    free = (socket.AF_UNIX, socket.AF_NETLINK, *([] if sends else [socket.AF_UNSPEC]))
    for to in call.addresses if sends else (call.address,):
        if to is None or to.family in free:
            continue
        host = getattr(to.host, "ipv4_mapped", None) or to.host
        if not any(host in net and port in (None, to.port) for net, port in ALLOWED if host):
            return Deny(errno.EACCES, reason=f"{to} is not on the list")
    return Allow()


@on(Raw("setsockopt"))
def no_source_routes(call):
    """The kernel looks at 32 bits of level and name."""
    return REFUSED if tuple(arg & 0xFFFFFFFF for arg in call.args[1:3]) in ROUTES else None
