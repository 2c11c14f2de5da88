"""Redirect home: paths below one directory lead below another, and the program does not notice.

    notifyd run --rules redirect-home --option from=$HOME --option to=/srv/trial -- ./tool

`to` has to exist; `from` need not. Links in `to` that lead below `from` lead below `to` again.
io_uring is refused, since it opens files with no system call.

What it does not do: it is for well-behaved programs, and no barrier for others; `only-below` is.
Programs are executed where they are. A program that changes its working directory gets the real
one, if there is one (so git does not clone or init there); from there, its relative paths lead
below `to` again.
"""

import errno
import os
from pathlib import Path, PurePosixPath

from notifyd import (
    PATH_OPERATIONS,
    Allow,
    Call,
    Deny,
    Exec,
    IoUring,
    always,
    existing_directory,
    on,
    option,
    redirected,
)


def anywhere(text: str) -> PurePosixPath:
    """An absolute path with no symbolic link in it, as `call.path` is; nothing has to be there."""
    if not text:
        raise ValueError("it is empty: give a path")
    return PurePosixPath(os.path.realpath(text))


HOME = PurePosixPath(Path.home().resolve())
EMPTY = PurePosixPath("/var/empty")
REDIRECTED = [one for one in PATH_OPERATIONS if one is not Exec]

FROM = option("from", HOME, convert=anywhere, summary="what to lead elsewhere")
TO = option("to", EMPTY, convert=existing_directory, summary="where it leads", needed=True)

always(Deny(errno.EPERM), IoUring)


@on(*REDIRECTED)
def redirect_home(call: Call) -> Allow:
    """Every path of the call: a rename and a link have two."""
    return Allow(**redirected(call, {FROM: TO}))
