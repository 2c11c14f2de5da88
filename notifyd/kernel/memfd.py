"""Files that are only memory: memfd_create(2), and the seals of fcntl(2)."""

from __future__ import annotations

import fcntl
import os

__all__ = ["sealed"]

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed(name: str, data: bytes) -> int:
    """A file with `data` that nobody can change any more.

    Returns:
        Its descriptor, close-on-exec; the caller owns it.

    Raises:
        OSError: there is no memory.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
