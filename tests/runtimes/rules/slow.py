"""A rule that never comes back from one call, and refuses all others."""

import errno

import trio

from notifyd import Deny, Mknod, on


@on(Mknod)
async def slow(call: Mknod) -> Deny:
    """With an errno that the kernel would not have given."""
    if call.path.name == "waits":
        await trio.sleep_forever()
    return Deny(errno.EXDEV)
