"""Readonly: nothing below the directories given can be changed.

    notifyd run --rules readonly --option below=/srv/data --option below=/etc -- ./tool

No name there is made, removed or moved, no file is opened for writing, no mode, owner, time or
attribute changes, whichever way the path leads there: EROFS, as on a read-only mount. Reading costs
nothing, since it never leaves the kernel.

Refused everywhere, since it could come by: mounts, chroot, tracing, handles, io_uring, ioctl(2)s
that set a file's flags or type into the terminal. What was opened for writing before stays so; who
dies there may leave a core; root can write to the disk itself: give --user too.
"""

import errno
import os

from notifyd import (
    BYPASSES,
    FILE_REQUESTS,
    WRITING_OPERATIONS,
    Access,
    Allow,
    Call,
    Deny,
    Ioctl,
    Open,
    Rename,
    always,
    existing,
    has,
    has_any,
    on,
    option,
)

BELOW = option("below", (), convert=existing, summary="a place to protect", needed=True)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
always(Deny(errno.EPERM), *BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=FILE_REQUESTS)


@on(*[one for one in WRITING_OPERATIONS if one is not Open])
@on(Open, flags=has_any(WRITES))
@on(Access, wanted=has(os.W_OK))
def readonly(call: Call) -> Allow | Deny:
    """Every path that the call would change has to be elsewhere."""
    for path in (call.paths if isinstance(call, Access) else call.written_paths).values():
        for one in BELOW:
            # Who moves a directory above takes along what is below, to where it has another path.
            if path.is_relative_to(one) or (isinstance(call, Rename) and one.is_relative_to(path)):
                return Deny(errno.EROFS, reason=f"{path} is to stay as it is")
        if path.is_relative_to("/proc") and path.name == "mem":
            return Deny(errno.EACCES, reason="another process could be made to write")
    return Allow()
