"""Texts of events back into what they were made of, where that can be done without a doubt.

The inverse of `policy.fields.text`, of `audit.harmless.cut` and of `str(SockAddr)`. What could have
been made of two things is refused with `Inexact`.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from notifyd.events.sanitize import MAX_TEXT_BYTES
from notifyd.kernel.socket import SockAddr
from notifyd.replay.missing import Missing

__all__ = ["Inexact", "RecordedAddress", "address_of", "bytes_of"]

_ESCAPE = re.compile(r"\\x[89a-f][0-9a-f]")  # a byte that was no UTF-8, or these four characters
_CUT = re.compile(r"… \(\d+ more bytes\)$")
_NEAR = 64  # bytes: what a cut text is shorter than the limit, at most
_ANY_ESCAPE = re.compile(r"\\x[0-9a-f]{2}")
UNREADABLE = "(unreadable)"
_NAMES = {family.name: int(family) for family in socket.AddressFamily}


class Inexact(ValueError):
    """What an event shows of a value does not say exactly what the value was."""


def bytes_of(shown: object) -> bytes:
    """The bytes that `text` showed as this.

    Raises:
        Inexact: there may be others; it was cut; it could not be read at the time.
    """
    if not isinstance(shown, str):
        raise Inexact("no text")
    if shown == UNREADABLE or _ESCAPE.search(shown):
        raise Inexact("several bytes read so")
    data = shown.encode("utf-8", "surrogatepass")
    if len(data) > MAX_TEXT_BYTES - _NEAR and _CUT.search(shown):
        raise Inexact("it was cut")
    return data


class RecordedAddress(SockAddr):
    """A socket address as far as its text tells it; all else raises NotRecorded.

    What the text does not tell has no value here, and Python asks `__getattr__` for it.
    """

    __slots__ = ("_missing", "_text")

    def __init__(self, text: str, missing: Missing, **known: Any) -> None:
        object.__setattr__(self, "_text", text)
        object.__setattr__(self, "_missing", missing)
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(SockAddr, name):
            raise AttributeError(f"a socket address has no attribute {name!r}")
        self._missing(f"address.{name}")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RecordedAddress) and other._text == self._text and other is not self:
            self._missing("address.raw")
        return self is other

    __hash__ = SockAddr.__hash__

    def __str__(self) -> str:
        return str(self._text)

    def __repr__(self) -> str:
        return f"RecordedAddress({self._text!r})"


def address_of(shown: object, missing: Missing) -> RecordedAddress:
    """The address that an event shows.

    Raises:
        Inexact: it shows less than a rule wants to know first: family, host and port, or path.
    """
    if not isinstance(shown, str) or shown == UNREADABLE:
        raise Inexact("no address")
    kind, _, rest = shown.partition(":")
    if kind == "unix":
        known = {**_nowhere(socket.AF_UNIX), "groups": 0, **_unix(rest)}
    elif kind == "netlink":
        known = {**_nowhere(socket.AF_NETLINK), "path": None, "port": _port(rest, 1 << 32)}
    elif kind in _NAMES or kind.isdecimal():
        known = _raw(shown, kind, rest)
    else:
        known = _internet(shown)
    return RecordedAddress(shown, missing, **known)


def _nowhere(family: int) -> dict[str, Any]:
    return {"family": int(family), "host": None, "port": None, "flow": 0, "scope": 0}


def _unix(shown: str) -> dict[str, bytes]:
    # SockAddr also escapes what is not printable, and shows the NUL of an abstract name as @.
    if _ANY_ESCAPE.search(shown) or not shown.isprintable() or shown.startswith("@"):
        return {}  # several names read so
    return {"path": bytes_of(shown)}


def _raw(shown: str, kind: str, rest: str) -> dict[str, Any]:
    """An address that `parse_sockaddr` left raw: every byte of it is shown."""
    bytes_of(shown)
    try:
        family = _NAMES[kind] if kind in _NAMES else int(kind)
        raw = family.to_bytes(2, "little") + bytes.fromhex(rest)
    except (ValueError, OverflowError) as error:
        raise Inexact("no bytes") from error
    known = {**_nowhere(family), "path": None, "groups": 0}
    return {**known, "raw": raw} if rest else known  # fewer than two bytes are called so, too


def _internet(shown: str) -> dict[str, Any]:
    host, _, port = shown.rpartition(":")
    number = _port(port, 1 << 16)
    try:
        if not host.startswith("["):
            known = {**_nowhere(socket.AF_INET), "host": IPv4Address(host)}
        else:
            name, _, scope = host[1:-1].partition("%")
            known = {**_nowhere(socket.AF_INET6), "host": IPv6Address(name)}
            known["scope"] = _port(scope or "0", 1 << 32)
            del known["flow"]
    except ValueError as error:
        raise Inexact("no host") from error
    return {**known, "port": number, "path": None, "groups": 0}


def _port(text: str, end: int) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text[:12]) >= end:
        raise Inexact("no port")
    return int(text[:12])
