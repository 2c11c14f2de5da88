"""Names of errno values. Owns which of two names for one number is written; knows no event."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

# Where Linux has two names for one number, the one that errno(3) lists first and strace prints.
_PREFERRED = {11: "EAGAIN", 35: "EDEADLK", 95: "EOPNOTSUPP"}
# The kernel's own: the call is repeated after the signal's handler, or becomes EINTR.
_INTERNAL = {512: "ERESTARTSYS"}

ERRNO_NAMES: Mapping[int, str] = MappingProxyType({**errno.errorcode, **_PREFERRED, **_INTERNAL})


def errno_name(number: int) -> str:
    """`EACCES` for 13. A number without a name, as 524, is `E524`; the sign does not matter."""
    return ERRNO_NAMES.get(number) or ERRNO_NAMES.get(-number) or f"E{abs(number)}"
