"""Every open is refused, after its path was read as the target wrote it."""

import errno

from notifyd import Deny, Open, on


@on(Open)
def reads_path(call: Open) -> Deny:
    _ = call.pathname
    return Deny(errno.EACCES)
