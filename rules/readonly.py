"""Readonly: nothing below the directories given can be changed.

    notifyd run --rules readonly --option below=/srv/data --option below=/etc -- ./tool

No name there is made, removed or moved, no file is opened for writing, and no mode, owner, time or
attribute changes, whichever way the path leads there: EROFS, as on a read-only mount. Reading costs
nothing, since it never leaves the kernel.

Refused everywhere, since they reach files by other ways: mounts, chroot, tracing, file handles,
io_uring, and ioctl(2) requests that set a file's flags or type into the terminal.

What it does not hold: a file that was opened for writing before stays open, a program that crashes
there may leave a core dump, and root can write to the disk itself: give --user too.
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
    always,
    existing,
    has,
    has_any,
    on,
    option,
)
from notifyd.rulekit import files

BELOW = option("below", (), convert=existing, summary="a place to protect", needed=True)
OTHERS = [one for one in WRITING_OPERATIONS if one is not Open]

always(Deny(errno.EPERM), *BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=FILE_REQUESTS)


@on(*OTHERS)
@on(Open, flags=has_any(files.MAKES_OR_WRITES))
@on(Access, wanted=has(os.W_OK))
def readonly(call: Call) -> Allow | Deny:
    """Every path that the call would change has to be elsewhere."""
    changed = call.paths if isinstance(call, Access) else call.written_paths
    for path in changed.values():
        if files.changes_below(call, path, BELOW):
            return Deny(errno.EROFS, reason=f"{path} is to stay as it is")
        if files.is_process_memory(path):
            return Deny(errno.EACCES, reason="another process could be made to write")
    return Allow()
