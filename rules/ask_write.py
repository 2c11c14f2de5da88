"""Ask write: a person decides whether something below the directories given is changed.

    notifyd run --rules ask-write --option below=$HOME -- ./tool

Asked is the terminal, or with a daemon whoever answers its questions; where nobody can be asked,
it is refused (EACCES). A question is about a file: making, writing, removing, moving it, its mode,
owner, times. Reading costs nothing, since it never leaves the kernel.

Refused everywhere, since it could come by: mounts, chroot, tracing, handles, io_uring, ioctl(2)s
that set a file's flags or type into the terminal. What was opened for writing before stays so, who
dies there may leave a core, and root can write to the disk itself: give --user too.
"""

import errno
import os

import notifyd as n
from notifyd import Allow, Ask, Call, Deny, Ioctl, Open, Rename, always, has_any, on

BELOW = n.option("below", (), convert=n.existing, summary="a place to ask about", needed=True)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
always(Deny(errno.EPERM), *n.BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=n.FILE_REQUESTS)


@on(*[one for one in n.WRITING_OPERATIONS if one is not Open])
@on(Open, flags=has_any(WRITES))
def ask_write(call: Call) -> Allow | Ask | Deny:
    """All that the call would change is in one question."""
    asked = []
    for path in call.written_paths.values():
        moved = isinstance(call, Rename) and any(one.is_relative_to(path) for one in BELOW)
        if moved or any(path.is_relative_to(one) for one in BELOW):
            asked.append(str(path))
        if path.is_relative_to("/proc") and path.name == "mem":
            return Deny(errno.EACCES, reason="another process could be made to write")
    if not asked:
        return Allow()
    what = " and ".join(asked)
    text = f"{call.process.exe} wants to change {what} ({call.syscall})"
    return Ask(text, otherwise=Deny(errno.EACCES), key=what)
