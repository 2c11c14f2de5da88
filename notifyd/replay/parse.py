"""The arguments of an event back into values: the inverse of every field's `render`.

One function for each kind of field; one that has none reads as not recorded. To add a kind of field
with a `render` of its own, add its inverse here: the tests hold it against the render.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import singledispatch
from pathlib import PurePosixPath
from typing import Any

from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.limits import PATH_MAX
from notifyd.policy import fields as kinds
from notifyd.policy.address import SocketAddress
from notifyd.policy.call import Call
from notifyd.policy.fields import Field
from notifyd.policy.names.limits import QUOTA_COMMANDS, QUOTA_TYPES
from notifyd.policy.names.socket import IP_PROTOCOLS, NETLINK_PROTOCOLS, SOCKET_FLAGS
from notifyd.policy.operations.executing import Digest
from notifyd.policy.operations.identity import CapabilitySets, Groups
from notifyd.policy.operations.layouts import MAX_SHOWN_ITEMS
from notifyd.policy.operations.resource_limits import Quota
from notifyd.policy.operations.sending import Destinations, Headers
from notifyd.policy.operations.sockets import AF_NETLINK, Socket
from notifyd.replay.missing import Missing
from notifyd.replay.texts import Inexact, address_of, bytes_of

__all__ = ["number_of", "value_of"]

_HEX = re.compile(r"0x[0-9a-f]{1,16}")
_DIGEST = re.compile(r"[0-9a-f]{64}|")


@singledispatch
def value_of(field: Field[Any], shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    """The value of a field, as a rule sees it.

    Args:
        field: which field.
        shown: what the event has for it.
        call: the call, with the fields before this one already in `seen`.
        missing: called when a rule reads parts of the value that are not shown.

    Raises:
        Inexact: `shown` does not say exactly what the value was.
    """
    raise Inexact(f"a {field.kind} is not recorded")


def number_of(field: Field[Any], value: Any, call: Call) -> int:
    """The raw argument of a field that lies in a register."""
    if isinstance(field, kinds.Device):
        major, minor = value
        return int((minor & 0xFF) | (major << 8) | (minor & ~0xFF) << 12)  # new_encode_dev()
    if field is Socket.type:
        return int(call.seen["type and flags"])
    return int(value)


@value_of.register
def _number(field: kinds.Int, shown: Any, call: Call, missing: Missing) -> int:  # noqa: ARG001
    if field in _ODD:
        return _ODD[field](shown, call)
    return _whole(shown)


def _whole(shown: Any) -> int:
    if type(shown) is not int:
        raise Inexact("no number")
    return shown


@value_of.register
def _directory(field: kinds.DirFd, shown: Any, call: Call, missing: Missing) -> int:  # noqa: ARG001
    return AT_FDCWD if shown == "AT_FDCWD" else _whole(shown)


@value_of.register
def _named(field: kinds.Enum, shown: Any, call: Call, missing: Missing) -> int:  # noqa: ARG001
    if field in _ODD:
        return _ODD[field](shown, call)
    return _by_name(shown, field.table(call))


def _by_name(shown: Any, names: Mapping[str, int]) -> int:
    if not isinstance(shown, str):
        return _whole(shown)
    return names[shown] if shown in names else _hex(shown)


@value_of.register
def _flags(field: kinds.Flags, shown: Any, call: Call, missing: Missing) -> int:  # noqa: ARG001
    names, _, base = field.table(call)
    return _bits(shown, {**names, **base})


def _bits(shown: Any, names: Mapping[str, int]) -> int:
    if not isinstance(shown, str):
        raise Inexact("no flags")
    value = 0
    for part in shown.split("|"):
        value |= names[part] if part in names else 0 if part == "0" else _hex(part)
    return value


def _hex(shown: Any) -> int:
    if not isinstance(shown, str) or not _HEX.fullmatch(shown):
        raise Inexact("no number")
    return int(shown, 16)


@value_of.register
def _mode(field: kinds.Mode, shown: Any, call: Call, missing: Missing) -> int:  # noqa: ARG001
    if not isinstance(shown, str) or not re.fullmatch(r"[0-7]{4,22}", shown):
        raise Inexact("no mode")
    return int(shown, 8)


@value_of.register
def _pointer(field: kinds.Address, shown: Any, call: Call, missing: Missing) -> int:  # noqa: ARG001
    return _hex(shown)


@value_of.register
def _device(field: kinds.Device, shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    found = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,7})", str(shown))
    if not found or int(found[1]) >= 1 << 12 or int(found[2]) >= 1 << 20:
        raise Inexact("no device")
    return int(found[1]), int(found[2])


@value_of.register(kinds.Pathname)
@value_of.register(kinds.Text)
def _text(field: Field[Any], shown: Any, call: Call, missing: Missing) -> bytes:  # noqa: ARG001
    return bytes_of(shown)


@value_of.register
def _path(field: kinds.Path, shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    data = bytes_of(shown)
    if not data.startswith(b"/"):
        raise Inexact("no absolute path")
    return PurePosixPath(os.fsdecode(data))


@value_of.register
def _digest(field: Digest, shown: Any, call: Call, missing: Missing) -> str:  # noqa: ARG001
    if not isinstance(shown, str) or not _DIGEST.fullmatch(shown):
        raise Inexact("no digest")
    return shown


@value_of.register
def _strings(field: kinds.Strings, shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    found = tuple(map(bytes_of, _items(shown, field.SHOWN)))
    if any(len(one) >= PATH_MAX for one in found):
        raise Inexact("a text may continue")  # each is shown up to here
    return found


def _items(shown: Any, most: int) -> list[Any]:
    if not isinstance(shown, list) or len(shown) > most:
        raise Inexact("no whole list")
    return shown


@value_of.register
def _address(field: SocketAddress, shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    return address_of(shown, missing)


@value_of.register
def _goals(field: Destinations, shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    items = _items(shown, MAX_SHOWN_ITEMS)
    return tuple(None if one is None else address_of(one, missing) for one in items)


@value_of.register
def _headers(field: Headers, shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    if shown == 0 and type(shown) is int:
        return ()
    raise Inexact("headers are only counted")


@value_of.register
def _groups(field: Groups, shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    return tuple(map(_whole, _items(shown, MAX_SHOWN_ITEMS)))


@value_of.register
def _sets(field: CapabilitySets, shown: Any, call: Call, missing: Missing) -> Any:  # noqa: ARG001
    if len(_items(shown, 3)) != 3:
        raise Inexact("no three sets")
    return tuple(map(_hex, shown))


def _socket_type(shown: Any, call: Call) -> int:
    kind, bar, flags = str(shown).partition("|")
    number = int(kind) if re.fullmatch(r"[0-9]{1,3}", kind) else _by_name(kind, Socket.type.names)
    # The value is eight bits, and what is shown with it are the bits above them.
    call.seen["type and flags"] = number | (_bits(flags, SOCKET_FLAGS) if bar else 0)
    return number


def _protocol(shown: Any, call: Call) -> int:
    if "family" not in call.seen:
        raise Inexact("whose protocol?")
    netlink = call.seen["family"] == AF_NETLINK
    return _by_name(shown, NETLINK_PROTOCOLS if netlink else IP_PROTOCOLS)


def _quota(shown: Any, call: Call) -> int:  # noqa: ARG001
    command, bar, kind = str(shown).partition("|")
    if not bar:
        raise Inexact("no command")
    low = int(kind) if re.fullmatch(r"[0-9]{1,3}", kind) else _by_name(kind, QUOTA_TYPES)
    return _by_name(command, QUOTA_COMMANDS) << 8 | low


_ODD: Mapping[Field[Any], Callable[[Any, Call], int]] = {
    Socket.type: _socket_type,
    Socket.protocol: _protocol,
    Quota.command: _quota,
}
