"""A rule that never comes back from one call, and refuses all others."""

import errno
from pathlib import Path

import trio

from notifyd import Deny, Mknod, on


@on(Mknod)
async def slow(call: Mknod) -> Deny:
    """With an errno that the kernel would not have given; a file in its root says that it waits."""
    if call.path.name == "waits":
        Path(f"/proc/{call.process.pid}/root/waiting").touch()
        await trio.sleep_forever()
    return Deny(errno.EXDEV)
