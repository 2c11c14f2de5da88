"""Performers of what gives a socket an address: connecting, and binding to what is no path.

The socket is taken with pidfd_getfd(2), so what is done happens to the same open socket, and in the
network namespace that it is of. What bind(2) makes at a path is done elsewhere: see `stage`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from types import MappingProxyType

from notifyd.errors import CannotPerform, TargetFault
from notifyd.perform.helper_request import Arg, ArgumentUse, Slot
from notifyd.perform.performers.performer import Performer, PreparedCall
from notifyd.perform.request_builder import RequestBuilder
from notifyd.policy.address import MAX_ADDRESS
from notifyd.policy.call import Call
from notifyd.policy.operations import Bind, Connect

__all__ = ["MAX_UNIX", "SOCKET_CALL_PERFORMERS"]

MAX_UNIX = 110  # sizeof(struct sockaddr_un)


def _connect(builder: RequestBuilder) -> PreparedCall:
    own = builder.socket()
    return PreparedCall("connect", (own, _address(builder)))


def _bind(builder: RequestBuilder) -> PreparedCall:
    own = builder.socket()
    return PreparedCall("bind", (own, _address(builder)))


def _address(builder: RequestBuilder) -> Arg:
    """The address that the rule saw, and no other: its bytes, or the place of its path."""
    call = builder.call
    size, found = builder.number("addrlen"), builder.value("address")
    if not 0 <= size <= MAX_ADDRESS:
        raise TargetFault("no address is that long", errno.EINVAL)
    if builder.domain != socket.AF_UNIX:
        if builder.is_changed:
            raise CannotPerform("path: the socket is none of AF_UNIX, and has no path")
    elif has_path(call) and (builder.is_changed or size <= MAX_UNIX):  # else it is refused
        return Slot(ArgumentUse.ADDRESS, builder.address_place(found.path))
    return found.raw if found is not None else b""


def has_path(call: Call) -> bool:
    """Whether the address of a Connect or Bind is a path, if its socket is of AF_UNIX."""
    found = call.address  # type: ignore[attr-defined]
    return found is not None and (found.path or b"\0")[:1] != b"\0"


SOCKET_CALL_PERFORMERS: Mapping[type[Call], Performer] = MappingProxyType(
    {Bind: Performer(_bind, fits=lambda call: not has_path(call)), Connect: Performer(_connect)}
)
