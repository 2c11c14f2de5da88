"""Performers of connecting, of binding to what is no path, and of sending one message.

The socket is taken with pidfd_getfd(2), so what is done happens to the same open socket, and in the
network namespace that it is of.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from types import MappingProxyType

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel.socket import NOSIGNAL
from notifyd.perform.helper_request import Arg
from notifyd.perform.messages import copy_messages, has_rights, message_flags
from notifyd.perform.performers.performer import ByThread, Performer, PreparedCall
from notifyd.perform.request_builder import RequestBuilder
from notifyd.perform.sender import Sender
from notifyd.perform.taken_socket import MAX_UNIX, UDP, TakenSocket
from notifyd.policy.address import MAX_ADDRESS
from notifyd.policy.call import Call
from notifyd.policy.operations import Bind, Connect, SendTo

__all__ = ["SOCKET_PERFORMERS"]

_SENT = UDP | {b"TCP", b"TCPv6", b"MPTCP", b"MPTCPv6"}
MAX_SENT_BYTES = 1 << 16  # of a message that a helper sends; UDP has none that are longer


# Invariant: what a thread does is not taken here, too: closing that copy may wait.
def _connect(builder: RequestBuilder) -> PreparedCall:
    builder.protocol()
    taken, own = builder.socket()
    return PreparedCall("connect", (own, _address(builder, taken)))


def _bind(builder: RequestBuilder) -> PreparedCall:
    if builder.protocol().startswith(b"UNIX") and _has_path(builder):
        raise ByThread  # getsockname(2) tells the very text, which is walked on a stage
    taken, own = builder.socket()
    address = _address(builder, taken)
    if builder.places:
        raise ByThread  # it was exchanged meanwhile
    return PreparedCall("bind", (own, address))


def _has_path(builder: RequestBuilder) -> bool:
    """Whether the address is a path, for a socket of AF_UNIX."""
    found = builder.value("address")
    return found is not None and (found.path or b"\0")[:1] != b"\0"


def _address(builder: RequestBuilder, taken: TakenSocket) -> Arg:
    """The address that the rule saw, and no other: its bytes, or the number of its path's place."""
    size, found = builder.number("addrlen"), builder.value("address")
    if not 0 <= size <= MAX_ADDRESS:
        raise TargetFault("no address is that long", errno.EINVAL)
    if taken.domain != socket.AF_UNIX:
        if builder.is_changed:
            raise CannotPerform("path: the socket is none of AF_UNIX, and has no path")
    elif _has_path(builder):
        is_short = size <= MAX_UNIX  # else the kernel refuses it
        return builder.address_place(found.path) if is_short or builder.is_changed else found.raw
    return found.raw if found is not None else b""


def _send(builder: RequestBuilder) -> PreparedCall:
    call = builder.call
    assert isinstance(call, SendTo)
    protocol = builder.protocol()
    if call.is_several or protocol not in _SENT:
        raise ByThread  # AF_UNIX names the sender, and a path
    sender = Sender.of(builder.directory) if call.carries_control else None
    whole = protocol in UDP
    (message,) = copy_messages(call, builder.task, sender, builder.stack, whole=whole)
    data = b"".join(message.pieces)
    if len(data) + len(message.control) > MAX_SENT_BYTES or has_rights(message.control):
        raise ByThread
    taken, own = builder.socket()
    if taken.domain not in (socket.AF_INET, socket.AF_INET6):
        raise ByThread  # it was exchanged meanwhile
    flags = message_flags(call, taken.fd)
    taken.pipe = not call.flags & NOSIGNAL
    to: Arg = message.address if message.address is not None else 0
    return PreparedCall("sendmsg", (own, flags, to, message.control, data))


SOCKET_PERFORMERS: Mapping[type[Call], Performer] = MappingProxyType(
    {Bind: Performer(_bind), Connect: Performer(_connect), SendTo: Performer(_send)}
)
