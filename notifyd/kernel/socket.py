"""socket(7): calls with the exact bytes of another process, and addresses made readable.

Owns the raw calls and the parsing of `struct sockaddr`. The standard library's socket module takes
apart and rebuilds addresses; here not a byte changes between what was looked at and what is done.
"""

from __future__ import annotations

import ctypes
import socket
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any

from notifyd.kernel.libc import LIBC, fail
from notifyd.kernel.structs import SA_FAMILY

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "NOSIGNAL",
    "SockAddr",
    "bind",
    "connect",
    "credentials",
    "parse_sockaddr",
    "sendmsg",
    "sends_for_ever",
    "sends_uncopied",
    "sendto",
    "socket_info",
]

NOSIGNAL = int(socket.MSG_NOSIGNAL)  # of a plain int: an enum costs a call of Python each time
_INET = Struct("!2xH4s")  # sockaddr_in: family, port, address; network byte order
_INET6_HEAD = Struct("!2xHI16s")  # sockaddr_in6: family, port, flow, address
_SCOPE = Struct("=24xI")  # ... and the scope, which is in the machine's order
_NETLINK = Struct("=4xII")  # sockaddr_nl: family and padding, port id, groups
_CREDENTIALS = Struct("@NiiiII4x")  # struct cmsghdr and struct ucred, padded
_SO_ZEROCOPY = 60  # asm-generic/socket.h

_NAMES = {int(family): family.name for family in socket.AddressFamily}


@dataclass(frozen=True, slots=True)
class SockAddr:
    """A socket address, as far as its bytes are long enough to say.

    Attributes:
        family: `AF_*`; 0 if there are fewer than two bytes.
        raw: The bytes it was read from.
        host: The address of AF_INET and AF_INET6.
        port: Their port; for AF_NETLINK the port id.
        path: AF_UNIX: a path, or NUL and an abstract name; empty when unnamed.
        flow: AF_INET6: the flow information.
        scope: AF_INET6: the interface's number.
        groups: AF_NETLINK: the multicast groups, one bit each.
    """

    family: int
    raw: bytes
    host: IPv4Address | IPv6Address | None = None
    port: int | None = None
    path: bytes | None = None
    flow: int = 0
    scope: int = 0
    groups: int = 0

    def __str__(self) -> str:
        if self.host is not None:
            scope = f"%{self.scope}" if self.scope else ""
            six = self.family == socket.AF_INET6
            return f"[{self.host}{scope}]:{self.port}" if six else f"{self.host}:{self.port}"
        if self.path is not None:
            return "unix:" + _readable(self.path)
        if self.family == socket.AF_NETLINK and self.port is not None:
            return f"netlink:{self.port}"
        return f"{_NAMES.get(self.family, self.family)}:{self.raw[2:].hex()}"


def _readable(path: bytes) -> str:
    name = b"@" + path[1:] if path[:1] == b"\0" else path
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def parse_sockaddr(data: bytes) -> SockAddr:
    """Read a `struct sockaddr`. Never raises: what is too short for its family stays raw."""
    if len(data) < SA_FAMILY.size:
        return SockAddr(0, data)
    family: int = SA_FAMILY.unpack_from(data)[0]
    if family == socket.AF_UNIX:
        return SockAddr(family, data, path=_unix_path(data[2:]))
    if family == socket.AF_INET and len(data) >= 16:  # the kernel wants the padding too
        return _parse_inet(data)
    if family == socket.AF_INET6 and len(data) >= 24:  # SIN6_LEN_RFC2133: without the scope
        return _parse_inet6(data)
    if family == socket.AF_NETLINK and len(data) >= _NETLINK.size:
        port, groups = _NETLINK.unpack_from(data)
        return SockAddr(family, data, port=port, groups=groups)
    return SockAddr(family, data)


def _unix_path(data: bytes) -> bytes:
    # unix(7): a pathname ends at a NUL or with the address; an abstract name uses every byte.
    return data if data[:1] == b"\0" else data.split(b"\0", 1)[0]


def _parse_inet(data: bytes) -> SockAddr:
    from ipaddress import IPv4Address  # costs start-up more than all of this module

    port, host = _INET.unpack_from(data)
    return SockAddr(socket.AF_INET, data, host=IPv4Address(host), port=port)


def _parse_inet6(data: bytes) -> SockAddr:
    from ipaddress import IPv6Address

    port, flow, host = _INET6_HEAD.unpack_from(data)
    scope: int = _SCOPE.unpack_from(data)[0] if len(data) >= _SCOPE.size else 0
    address = IPv6Address(host)
    return SockAddr(socket.AF_INET6, data, host=address, port=port, flow=flow, scope=scope)


def socket_info(fd: int) -> tuple[int, int]:
    """Return domain and type of any socket: `AF_*`, `SOCK_*`.

    Raises:
        OSError: ENOTSOCK: `fd` is not a socket. EBADF.
    """
    return _option(fd, socket.SO_DOMAIN), _option(fd, socket.SO_TYPE)


def _option(fd: int, name: int) -> int:
    value, size = ctypes.c_int(), ctypes.c_uint(4)
    where = (ctypes.byref(value), ctypes.byref(size))
    if LIBC.getsockopt(fd, socket.SOL_SOCKET, name, *where) < 0:
        fail()
    return value.value


def sends_for_ever(fd: int) -> bool:
    """Whether connecting and sending wait without a limit: no SO_SNDTIMEO, socket(7)."""
    limit, size = ctypes.create_string_buffer(16), ctypes.c_uint(16)  # struct timeval
    where = (limit, ctypes.byref(size))
    if LIBC.getsockopt(fd, socket.SOL_SOCKET, socket.SO_SNDTIMEO, *where) < 0:
        fail()
    return not any(limit.raw)


def sends_uncopied(fd: int) -> bool:
    """Whether MSG_ZEROCOPY counts: the kernel reads what is sent after the call has returned."""
    try:
        return bool(_option(fd, _SO_ZEROCOPY))
    except OSError:  # a family that knows nothing of it
        return False


def credentials(pid: int, uid: int, gid: int) -> bytes:
    """Control data that names the sender (SCM_CREDENTIALS), for AF_UNIX sockets: unix(7).

    The kernel takes the caller's own process, and its real, effective or saved ids. Without such
    control data it reports the real ones.
    """
    length = _CREDENTIALS.size - 4
    return _CREDENTIALS.pack(length, socket.SOL_SOCKET, socket.SCM_CREDENTIALS, pid, uid, gid)


def connect(fd: int, sockaddr: bytes) -> None:
    """Connect to exactly this address.

    Raises:
        OSError: EINPROGRESS: an O_NONBLOCK socket has begun. EINTR: the kernel continues it.
            All others as in the man page, and just as the kernel gave them.
    """
    if LIBC.connect(fd, sockaddr, len(sockaddr)) < 0:
        fail()


def bind(fd: int, sockaddr: bytes) -> None:
    """Give the socket exactly this address.

    Raises:
        OSError: As in the man page. A path is resolved with our root, cwd and umask.
    """
    if LIBC.bind(fd, sockaddr, len(sockaddr)) < 0:
        fail()


_send: Any = LIBC.sendto
_send.restype = ctypes.c_ssize_t
_send_message: Any = LIBC.sendmsg
_send_message.restype = ctypes.c_ssize_t


def sendto(fd: int, data: bytes, flags: int, sockaddr: bytes | None) -> int:
    """Send to exactly this address, or to the connected peer.

    Returns:
        How many bytes went.

    Raises:
        OSError: As in the man page. EPIPE comes with SIGPIPE unless `flags` has MSG_NOSIGNAL.
    """
    length = ctypes.c_size_t(len(data))
    sent: int = _send(fd, data, length, flags, sockaddr, len(sockaddr or b""))
    if sent < 0:
        fail()
    return sent


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """`struct msghdr`, as the C library has it."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.POINTER(_Iovec)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_char_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


def sendmsg(
    fd: int, data_parts: list[bytes], flags: int, sockaddr: bytes | None, control: bytes
) -> int:
    """Send exactly these bytes with exactly this control data.

    Args:
        fd: The socket.
        data_parts: One iovec each.
        flags: `MSG_*`.
        sockaddr: Where to; None for the connected peer.
        control: Whole `struct cmsghdr` records, padded; descriptor numbers in them are ours.

    Returns:
        How many bytes went.

    Raises:
        OSError: As in the man page. EPIPE comes with SIGPIPE unless `flags` has MSG_NOSIGNAL.
    """
    vectors = (_Iovec * len(data_parts))(*[_Iovec(part, len(part)) for part in data_parts])
    name_length = len(sockaddr) if sockaddr is not None else 0
    message = _Message(
        sockaddr, name_length, vectors, len(data_parts), control or None, len(control), 0
    )
    sent: int = _send_message(fd, ctypes.byref(message), flags)
    if sent < 0:
        fail()
    return sent
