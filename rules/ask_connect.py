"""Ask connect: a person decides about every new destination, and may have it remembered.

    notifyd run --rules ask-connect -- curl http://192.0.2.7/

The question goes to the terminal, or with a daemon to those who answer its questions. Where nobody
can be asked, the call is refused (EACCES). `to` names what is never asked about: an address or a
network, with a port or without. Name servers are asked about. Sockets that stay on the machine
(AF_UNIX, netlink) are not.

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
    Ask,
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


def destination(text: str) -> network.Destination:
    """The network and the port that one `to` means."""
    return network.Destination.parse(*network.host_and_port(text))


UNASKED = option("to", (), convert=destination, summary="where it may go unasked")

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
def ask_connect(call: Connect | SendTo) -> Allow | Ask | Deny:
    """All destinations of the call are in one question."""
    if network.bypasses_routes(call):
        return Deny(errno.EACCES, reason="past the routes, an address is another machine's")
    addresses = network.remote_addresses(call)
    asked = {str(one) for one in addresses if not network.is_listed(one, UNASKED)}
    if not asked:
        return Allow()
    where = ", ".join(sorted(asked))
    question = f"{call.process.exe} wants to connect to {where}"
    return Ask(question, otherwise=REFUSED, key=where)
