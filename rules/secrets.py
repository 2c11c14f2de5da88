"""Secrets: a file that is nowhere on disk; a program that opens it reads what the supervisor holds.

    notifyd run --rules secrets --option file=/run/token=./token -- ./tool

`file` is PATH=SOURCE: an open of PATH gets the bytes that SOURCE had when the rules were loaded, in
memory, read-only. The program's user need not be able to read SOURCE, and nothing has to exist at
PATH. Writing is refused (EACCES). io_uring is refused, since it opens files with no system call.

What it does not do: a program that asks for size or owner before it opens the file is told about
what is really at PATH. Put an empty file there for it.
"""

import errno
import os
from pathlib import Path, PurePosixPath

from notifyd import (
    Access,
    Allow,
    Deny,
    IoUring,
    Open,
    Return,
    Supply,
    always,
    existing,
    on,
    option,
)


def secret(text: str) -> tuple[PurePosixPath, bytes]:
    """PATH, with no symbolic link in it, and its bytes."""
    path, _, source = text.partition("=")
    if not path.startswith("/") or not source:
        raise ValueError("write file=/PATH=SOURCE")
    if os.path.isdir(path):
        raise ValueError(f"{path} is a directory: name a file in it")
    return PurePosixPath(os.path.realpath(path)), Path(existing(source)).read_bytes()


SECRETS = dict(option("file", (), convert=secret, summary="PATH=SOURCE, what to show", needed=True))

always(Deny(errno.EPERM), IoUring)


@on(Open)
def secrets(call: Open) -> Allow | Deny | Supply:
    """All other files are opened as usual."""
    held = SECRETS.get(call.path)
    if held is None:
        return Allow()
    if call.writes:
        return Deny(errno.EACCES, reason="a secret can only be read")
    return Supply(held)


@on(Access)
def may_be_read(call: Access) -> Allow | Deny | Return:
    """access(2) has to agree with what an open does."""
    if call.path not in SECRETS:
        return Allow()
    wants_more = call.wanted & ~os.R_OK
    return Deny(errno.EACCES) if wants_more else Return(0)
