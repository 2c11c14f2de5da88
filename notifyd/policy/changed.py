"""A call as a rule changed it: what the next rule file is shown, and what is performed.

Owns which changes can be made to a call. Knows nothing of how a changed call is done.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from notifyd.errors import CannotPerform
from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.limits import PATH_MAX
from notifyd.kernel.socket import parse_sockaddr
from notifyd.policy.address import SocketAddress
from notifyd.policy.call import Call
from notifyd.policy.fields import Field, Path, Pathname

__all__ = ["as_path", "changed", "check_changes"]

_UNIX = (1).to_bytes(2, "little")  # AF_UNIX, as a sockaddr begins; all our machines are such


def changed(call: Call, changes: Mapping[str, Any]) -> Call:
    """`call` with `changes` made to it. What a rule saw of the rest is the same copy.

    A changed path is absolute, so nothing that the target passed decides where it starts. What it
    leads to is not taken over from what was seen: whoever asks gets it resolved anew.

    Args:
        call: as a rule saw it; it stays as it is.
        changes: by field name. A name that the call has no field of is about its answer.

    Raises:
        CannotPerform: a change that cannot be made.
    """
    fields = {name: value for name, value in changes.items() if name in call.fields}
    check_changes(call, fields)
    new = type(call)(call.note, call.variant, call.origin)
    seen = new.seen
    for name in call.seen:
        field = call.fields.get(name)
        if field is None or not field.derived or isinstance(field, Path):
            seen[name] = call.seen[name]
    for name, value in fields.items():
        field = call.fields[name]
        if isinstance(field, Path):
            _lead(call, seen, field.pathname, as_path(name, value))
        elif isinstance(field, Pathname):
            _lead(call, seen, name, as_path(name, value))
        else:
            seen[name] = value
    new.looked = call.looked
    return new


def _lead(call: Call, seen: dict[str, Any], pathname: str, path: bytes) -> None:
    """Put an absolute path in place of a text, and forget what that text led to."""
    for name, other in call.fields.items():
        if isinstance(other, Path) and other.pathname == pathname:
            seen.pop(name, None)
            if other.dirfd and other.dirfd in call.fields:
                seen[other.dirfd] = AT_FDCWD
    field = call.fields.get(pathname)
    if isinstance(field, SocketAddress):
        address = seen[pathname] = parse_sockaddr(_UNIX + path)
        seen[field.length] = len(address.raw)
    else:
        seen[pathname] = path


def check_changes(call: Call, changes: Mapping[str, Any]) -> None:
    """See that changes are of arguments that there are, and can be.

    Raises:
        CannotPerform: they are not; the text says what there is.
    """
    for name, value in changes.items():
        field = call.fields.get(name)
        if field is None:
            known = ", ".join(sorted(one for one in call.fields if one in call.variant.sources))
            raise CannotPerform(f"{call.operation} has no argument {name!r}; it has {known}")
        _check_kind(call, name, field, value)


def _check_kind(call: Call, name: str, field: Field[Any], value: Any) -> None:
    if isinstance(field, (Path, Pathname)):
        as_path(name, value)
    elif name not in call.variant.sources:
        raise CannotPerform(f"{call.syscall} has no argument {name!r} that could be changed")
    elif field.kind == "device":
        if not (isinstance(value, tuple) and len(value) == 2):
            raise CannotPerform(f"{name}={value!r}: a device is (major, minor)")
    elif isinstance(value, bool) or not isinstance(value, (int, bytes)):
        raise CannotPerform(f"{name}={value!r} is neither a number nor bytes")


def as_path(name: str, value: Any) -> bytes:
    """A path that a rule gave in place of `name`; CannotPerform if it is none."""
    if not isinstance(value, (str, bytes, PurePath)):
        raise CannotPerform(f"{name}={value!r} is no path")
    text = os.fsencode(value)
    if b"\0" in text or len(text) >= PATH_MAX:
        raise CannotPerform(f"{name}={value!r} cannot be a path: a NUL in it, or too long")
    if not text.startswith(b"/"):
        raise CannotPerform(f"{name}={value!r} has to be absolute, as the target sees it")
    return text
