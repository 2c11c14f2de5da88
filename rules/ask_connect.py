"""Ask connect: a person decides about every new destination, and may have it remembered.

    notifyd run --rules ask-connect -- curl http://192.0.2.7/

Asked is the terminal, or with a daemon whoever answers its questions; where nobody can be asked,
it is refused (EACCES). `to` is free: an address or a network, with a port or without; name servers
are asked about, sockets of one machine (AF_UNIX, netlink) never. Raw sockets, SCTP, source routes
and io_uring are refused: nobody sees where they go. Root can change routes: give --user too.
"""

import errno
import platform
import socket
from ipaddress import ip_network

import notifyd as n
from notifyd import Allow, Ask, Connect, Deny, Raw, SendTo, Socket, always, is_not, on

REFUSED, INET = Deny(errno.EACCES), (socket.AF_INET, socket.AF_INET6)
ROUTES = {(0, 4), (41, 6), (41, 57)}  # IP_OPTIONS, IPV6_2292PKTOPTIONS, IPV6_RTHDR: their levels


def place(text: str) -> tuple:
    """The network and the port that one `to` means; None for any port."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text, ""
    number, host = range(1 << 16).index(int(port)) if port else None, host.strip("[]")
    return ip_network(host, strict=False), number


FREE = n.option("to", (), convert=place, summary="where it may go unasked")

always(Deny(errno.EPERM), n.IoUring)
always(REFUSED, Socket, family=is_not(*INET, socket.AF_UNIX, socket.AF_NETLINK))
always(REFUSED, Socket, family=INET, type=is_not(socket.SOCK_STREAM, socket.SOCK_DGRAM))
always(REFUSED, Socket, protocol=132)
if platform.machine() == "x86_64":
    always(REFUSED, Raw("socketcall"), arg0=14)


@on(Connect, SendTo)
def ask_connect(call: Connect | SendTo) -> Allow | Ask:
    """All destinations of the call are in one question."""
    sends, asked = isinstance(call, SendTo), set()
    local = (socket.AF_UNIX, socket.AF_NETLINK, *([] if sends else [socket.AF_UNSPEC]))
    for to in call.addresses if sends else (call.address,):
        host = to and (getattr(to.host, "ipv4_mapped", None) or to.host)
        free = host and any(host in net and port in (None, to.port) for net, port in FREE)
        if to is not None and to.family not in local and not free:
            asked.add(str(to))
    where = ", ".join(sorted(asked))
    text = f"{call.process.exe.name} wants to connect to {where}"
    return Ask(text, otherwise=REFUSED, key=where) if asked else Allow()


@on(Raw("setsockopt"))
def no_source_routes(call):
    """The kernel looks at 32 bits of level and name."""
    return REFUSED if tuple(arg & 0xFFFFFFFF for arg in call.args[1:3]) in ROUTES else None
