"""Values that people write for texts and socket addresses, as the bytes that a target has."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from pathlib import PurePath
from struct import Struct

from notifyd.kernel.socket import SockAddr
from notifyd.kernel.structs import SA_FAMILY

__all__ = ["as_bytes", "as_sockaddr", "unix_sockaddr"]

_INET = Struct("!H4s8x")
_INET6 = Struct("!HI16s4x")
_NETLINK = Struct("=2xII")


def as_bytes(value: object) -> bytes:
    """A path or another text as bytes without a NUL.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, (str, PurePath)):
        return os.fsencode(value)
    raise TypeError(f"{value!r} is no text: give str, bytes or a path")


def as_sockaddr(value: object) -> bytes:
    """The bytes of a `struct sockaddr`.

    Args:
        value: a text as events show it (`192.0.2.1:80`, `[2001:db8::1]:80`, `unix:/run/x`,
            `unix:@abstract`, `netlink:0`), a `SockAddr`, or the bytes.

    Raises:
        TypeError: nothing of the kind.
    """
    if isinstance(value, SockAddr):
        return value.raw
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no socket address: give a text, bytes or a SockAddr")
    kind, _, rest = value.partition(":")
    if kind == "unix":
        name = os.fsencode(rest)
        return unix_sockaddr(b"\0" + name[1:] if name.startswith(b"@") else name)
    if kind == "netlink":
        return SA_FAMILY.pack(socket.AF_NETLINK) + _NETLINK.pack(int(rest or 0), 0)
    return _internet(value)


def unix_sockaddr(name: bytes) -> bytes:
    """The address of a path, of an abstract name (a NUL first), or of nothing."""
    end = b"\0" if name and not name.startswith(b"\0") else b""
    return SA_FAMILY.pack(socket.AF_UNIX) + name + end


def _internet(text: str) -> bytes:
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]"))
        number = int(port)
    except ValueError as error:
        raise TypeError(f"{text!r} is no socket address: write 192.0.2.1:80 or [::1]:80") from error
    if address.version == 4:
        return SA_FAMILY.pack(socket.AF_INET) + _INET.pack(number, address.packed)
    return SA_FAMILY.pack(socket.AF_INET6) + _INET6.pack(number, 0, address.packed)
