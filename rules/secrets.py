"""Secrets: a file that is nowhere on disk; who opens it reads what the supervisor holds.

    notifyd run --rules secrets --option file=/run/token=./token -- ./tool

`file` is PATH=SOURCE: an open of PATH gets the bytes that SOURCE had when the rules were loaded, in
memory, read-only. The program's user need not be able to read SOURCE; nothing has to be at PATH.
Writing is refused (EACCES). A program that asks for size or owner before it opens the file is told
of what is really at PATH: put an empty file there for it. io_uring is refused.
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
    """PATH, with no symbolic link in it, and what it shall hold."""
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
    """All other files are opened as ever."""
    held = SECRETS.get(call.path)
    if held is None:
        return Allow()
    return Deny(errno.EACCES, reason="a secret can only be read") if call.writes else Supply(held)


@on(Access)
def may_be_read(call: Access) -> Allow | Deny | Return:
    """To one who asks beforehand."""
    if call.path not in SECRETS:
        return Allow()
    return Deny(errno.EACCES) if call.wanted & ~os.R_OK else Return(0)
