"""Making the system call of a request about a socket, in a helper.

The arguments of such a request are the socket, a `Slot` of OWN, and then: of connect(2) and bind(2)
the address as bytes, or the number of the place that it leads to; of sendmsg(2) the flags, the
address (0 for none), the control data and the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from socket import AF_UNIX
from struct import Struct
from typing import Any

from notifyd.kernel import socket
from notifyd.perform.helper_request import HelperRequest

__all__ = ["SOCKET_CALLS", "on_socket"]

SOCKET_CALLS = frozenset({"bind", "connect", "sendmsg"})
_FAMILY = Struct("=H")


def on_socket(request: HelperRequest, fds: Sequence[int], *there: int) -> int:
    """Make it.

    Args:
        request: one of `SOCKET_CALLS`.
        fds: its descriptors.
        there: what is at its place, pinned; /proc/self/fd is the working directory then.

    Returns:
        What the call returns.

    Raises:
        OSError: as from the kernel; EINTR is not tried again.
    """
    args: Any = request.args
    own = fds[args[0].index]
    if request.call == "sendmsg":
        flags, to, control, data = args[1:]
        return socket.sendmsg(own, [data], flags, to if to != 0 else None, control)
    address = _FAMILY.pack(AF_UNIX) + b"%d\0" % there[args[1]] if there else args[1]
    (socket.connect if request.call == "connect" else socket.bind)(own, address)
    return 0
