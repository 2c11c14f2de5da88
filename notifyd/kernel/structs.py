"""Structures of the kernel that several modules pack or read; on 64 bits unless it says else."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from types import MappingProxyType
from typing import Final

__all__ = ["CMSGHDR", "IOVEC", "MMSGHDR_BYTES", "MSGHDR", "OPEN_HOW", "SA_FAMILY", "UCRED"]

OPEN_HOW: Final = Struct("=QQQ")  # flags, mode, resolve: openat2(2)
IOVEC: Final = Struct("=QQ")  # base, length (bytes): iovec(3type)
UCRED: Final = Struct("=iII")  # pid, uid, gid: unix(7)
SA_FAMILY: Final = Struct("=H")  # what every struct sockaddr begins with
CMSGHDR: Final = Struct("=Qii")  # length (bytes), level, type: cmsg(3)

# By the size of the target's word: name, namelen, iov, iovlen, control, controllen, flags; and the
# bytes of a struct mmsghdr, which is this and what was sent. recv(2), sendmmsg(2)
MSGHDR: Final[Mapping[int, Struct]] = MappingProxyType(
    {8: Struct("<QI4xQQQQI4x"), 4: Struct("<7I")}
)
MMSGHDR_BYTES: Final[Mapping[int, int]] = MappingProxyType({8: 64, 4: 32})
