"""Ask write: a person decides whether something below the directories given is changed.

    notifyd run --rules ask-write --option below=$HOME -- ./tool

The question goes to the terminal, or with a daemon to those who answer its questions. Where nobody
can be asked, the call is refused (EACCES). A question is about a file: making, writing, removing or
moving it, its mode, owner and times. Reading costs nothing, since it never leaves the kernel.

Refused everywhere, since they reach files by other ways: mounts, chroot, tracing, file handles,
io_uring, and ioctl(2) requests that set a file's flags or type into the terminal.

What it does not hold: a file that was opened for writing before stays open, a program that crashes
there may leave a core dump, and root can write to the disk itself: give --user too.
"""

import errno

from notifyd import (
    BYPASSES,
    FILE_REQUESTS,
    WRITING_OPERATIONS,
    Allow,
    Ask,
    Call,
    Deny,
    Ioctl,
    Open,
    always,
    existing,
    has_any,
    on,
    option,
)
from notifyd.rulekit import files

BELOW = option("below", (), convert=existing, summary="a place to ask about", needed=True)
OTHERS = [one for one in WRITING_OPERATIONS if one is not Open]

always(Deny(errno.EPERM), *BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=FILE_REQUESTS)


@on(*OTHERS)
@on(Open, flags=has_any(files.MAKES_OR_WRITES))
def ask_write(call: Call) -> Allow | Ask | Deny:
    """All that the call would change is in one question."""
    asked = []
    for path in call.written_paths.values():
        if files.is_process_memory(path):
            return Deny(errno.EACCES, reason="another process could be made to write")
        if files.changes_below(call, path, BELOW):
            asked.append(str(path))
    if not asked:
        return Allow()
    what = " and ".join(asked)
    question = f"{call.process.exe} wants to change {what} ({call.syscall})"
    return Ask(question, otherwise=Deny(errno.EACCES), key=what)
