"""Sockets and where they go: `Socket`, `Connect`, `Bind`, `Listen`, `Accept`, `SetSockOpt`.

On i386 all of these also come as socketcall(2), whose arguments lie in memory where the kernel's
filter cannot see them.
"""

from __future__ import annotations

from typing import Any

from notifyd.policy.address import SocketAddress
from notifyd.policy.bound import BoundCall
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum, Fd, Flags, Int
from notifyd.policy.names.socket import (
    FAMILIES,
    IP_PROTOCOLS,
    NETLINK_PROTOCOLS,
    SOCKET_FLAGS,
    SOCKET_LEVELS,
    SOCKET_TYPES,
)
from notifyd.policy.operations.layouts import SocketPath
from notifyd.policy.operations.reading import Watching
from notifyd.policy.sources import call, socketcall

__all__ = ["Accept", "Bind", "Connect", "Listen", "SetSockOpt", "Socket"]

AF_INET, AF_INET6, AF_NETLINK = 2, 10, 16


class _SocketType(Enum):
    """The type without its flags. Events show the flags with it."""

    def __init__(self, summary: str) -> None:
        # The kernel takes four bits for the type and refuses the four above them, so that eight
        # are the same to it, and whole bytes are what the filter tests.
        super().__init__(SOCKET_TYPES, summary, width=8)

    @property
    def shown_width(self) -> int:
        return 32  # the flags are shown with it

    def decode(self, call: BoundCall, raw: int) -> int:
        # Behind socketcall it lies in memory: type and flags come from one reading.
        call.seen["type and flags"] = raw & 0xFFFFFFFF
        return super().decode(call, raw)

    def render(self, call: BoundCall) -> Any:
        parts = [str(super().render(call))]
        flags = getattr(call, "flags", 0)
        parts += [name for name, bit in SOCKET_FLAGS.items() if flags & bit]
        rest = flags & ~sum(SOCKET_FLAGS.values())
        parts += [hex(rest)] if rest else []
        return "|".join(parts)


class _Protocol(Int):
    """A protocol, whose name depends on the family."""

    depends = True

    def render(self, call: BoundCall) -> Any:
        family = getattr(call, "family", 0)
        names = NETLINK_PROTOCOLS if family == AF_NETLINK else IP_PROTOCOLS
        value = super().render(call)
        if family not in (AF_INET, AF_INET6, AF_NETLINK):
            return value
        return next((name for name, number in names.items() if number == value), value)


class Socket(Call):
    """Make a socket, or a pair of them: socket(2), socketpair(2).

    `type` is the type alone, so a condition on it holds with and without SOCK_CLOEXEC. A socket
    can also be got from another process, and made by `IoUring`.
    """

    __slots__ = ()
    theme = "sockets"

    family = Enum(FAMILIES, "`AF_*`")
    type = _SocketType("`SOCK_*`, without the flags")
    protocol = _Protocol("`IPPROTO_*` or `NETLINK_*`; 0 for the family's own choice", signed=True)
    pair = Address("socketpair: where the two descriptors go")

    variants = (
        call("socket", family=0, type=1, protocol=2),
        call("socketpair", family=0, type=1, protocol=2, pair=3),
        socketcall(1, "family", "type", "protocol"),
        socketcall(8, "family", "type", "protocol", "pair"),
    )

    @property
    def flags(self) -> int:
        """`SOCK_CLOEXEC` and `SOCK_NONBLOCK`, as far as given."""
        _ = self.type  # reads it, if nobody has
        whole: int = self.seen["type and flags"]
        return whole & 0xFFFFFF00

    @property
    def is_pair(self) -> bool:
        """Whether two sockets are made that are connected to each other and nothing else."""
        return "pair" in self.variant.sources


class _Addressed(Watching):
    """A socket and an address."""

    __slots__ = ()
    theme = "sockets"

    fd = Fd("the socket")
    address = SocketAddress("the address; None where there is none")
    addrlen = Int("bytes of the address")


class Connect(_Addressed):
    """Connect a socket to an address: connect(2).

    A datagram can be sent, and with MSG_FASTOPEN a connection opened, without it: see `SendTo`. A
    host name is looked up before, so an address is all that there is to see. `path` is what an
    AF_UNIX address leads to; asking for it raises where the address is no path.
    """

    __slots__ = ()

    path = SocketPath("AF_UNIX: the socket's path, resolved", follow=True, written=False)

    variants = (
        call("connect", fd=0, address=1, addrlen=2),
        socketcall(3, "fd", "address", "addrlen"),
    )


class Bind(_Addressed):
    """Give a socket its own address: bind(2).

    An AF_UNIX path makes a file; `path` is where, and raises where the address is no path. A
    socket that listens without it gets a port of the kernel's.
    """

    __slots__ = ()

    path = SocketPath("AF_UNIX: the path that is made", follow=False, written=True)

    variants = (
        call("bind", fd=0, address=1, addrlen=2),
        socketcall(2, "fd", "address", "addrlen"),
    )


class Listen(Call):
    """Let others connect to a socket: listen(2)."""

    __slots__ = ()
    theme = "sockets"

    fd = Fd("the socket")
    backlog = Int("how many may wait", signed=True)

    variants = (
        call("listen", fd=0, backlog=1),
        socketcall(4, "fd", "backlog"),
    )


class Accept(Call):
    """Take a connection that waits: accept(2), accept4(2)."""

    __slots__ = ()
    theme = "sockets"

    fd = Fd("the listening socket")
    buffer = Address("where the peer's address goes, or null")
    buffer_size = Address("where the size of that room is, and the address's goes")
    flags = Flags(SOCKET_FLAGS, "of accept4")

    variants = (
        call("accept", fd=0, buffer=1, buffer_size=2),
        call("accept4", fd=0, buffer=1, buffer_size=2, flags=3),
        socketcall(5, "fd", "buffer", "buffer_size"),
        socketcall(18, "fd", "buffer", "buffer_size", "flags"),
    )


class SetSockOpt(Call):
    """Set an option of a socket: setsockopt(2).

    Some change where packets go, whatever the address says: source routes (IP_OPTIONS,
    IPV6_RTHDR), and the choice of an interface (SO_BINDTODEVICE).
    """

    __slots__ = ()
    theme = "sockets"

    fd = Fd("the socket")
    level = Enum(SOCKET_LEVELS, "the protocol that the option is of: `SOL_*`, `IPPROTO_*`")
    option = Int("which option; what a number means depends on the level", signed=True)
    value = Address("the option's value")
    size = Int("bytes of it", signed=True)

    variants = (
        call("setsockopt", fd=0, level=1, option=2, value=3, size=4),
        socketcall(14, "fd", "level", "option", "value", "size"),
    )
