"""Exec allowlist: only the programs given are executed, named by path or by content.

    notifyd run --rules exec-allowlist --option path=/bin/sh --option path=/bin/ls -- sh -c ls

`path` is a file; links to it count as the file. `sha256` is the digest of a file, wherever it lies.
The command itself has to be on the list. What was looked at is what runs: the file is compared
again before its first instruction, and a different program is killed. Refused outright: mounts,
chroot and io_uring, since they change what a path means, tracing, and typing into the terminal,
since a shell would obey it.

What it does not hold: a program on the list may load any code that it can read. So an interpreter
(a shell, Python, the dynamic loader) on the list runs every script; a script on the list also runs
its interpreter, which needs no entry. With `path`, users who may write the file decide what it
does: see `readonly`. Root can have the kernel execute other programs (core_pattern): give --user
too.
"""

import errno
import string

from notifyd import (
    BYPASSES,
    TYPING_REQUESTS,
    Allow,
    Deny,
    Exec,
    Ioctl,
    always,
    existing_file,
    on,
    option,
)

SHA256_DIGITS = 64  # hexadecimal


def digest(text: str) -> str:
    """64 hexadecimal digits, as sha256sum(1) prints them."""
    if len(text) != SHA256_DIGITS or not set(text) <= set(string.hexdigits):
        raise ValueError("a SHA-256 has 64 hexadecimal digits")
    return text.lower()


GIVEN = option("path", (), convert=existing_file, summary="a program that may be executed")
PATHS = frozenset(GIVEN)
DIGESTS = frozenset(option("sha256", (), convert=digest, summary="the digest of one"))

always(Deny(errno.EPERM), *BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=TYPING_REQUESTS)


@on(Exec)
def exec_allowlist(call: Exec) -> Allow | Deny:
    """The file is read only if its path is not on the list already."""
    if call.path in PATHS or (DIGESTS and call.sha256 in DIGESTS):
        return Allow()
    return Deny(errno.EACCES, reason=f"{call.path} is not on the list")
