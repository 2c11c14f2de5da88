"""Every open is refused, after its path was resolved as the target sees it."""

import errno

from notifyd import Deny, Open, on


@on(Open)
def resolves_path(call: Open) -> Deny:
    _ = call.path
    return Deny(errno.EACCES)
