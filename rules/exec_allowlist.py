"""Exec allowlist: only the programs given are executed, named by path or by content.

    notifyd run --rules exec-allowlist --option path=/bin/sh --option path=/bin/ls -- sh -c ls

`path` is a file; links to it are as good. `sha256` is the digest of a file, wherever it lies. The
command itself has to be on the list. What was looked at is what runs: it is compared again before
the first instruction, and another program is killed.

A program on the list may load any code that it can read. So an interpreter (a shell, Python, the
dynamic loader) on the list runs every script; a script on the list also runs its interpreter, which
needs no entry. By path, who may write the file decides what it holds: see `readonly`. Root can have
the kernel execute others (core_pattern): give --user too. Refused are mounts, chroot and io_uring,
since they change what a path means, tracing, and typing into the terminal, for a shell to obey.
"""

import errno
import string

import notifyd as n
from notifyd import Allow, Deny, Exec, Ioctl, always, on


def digest(text: str) -> str:
    """64 hexadecimal digits, as sha256sum(1) prints them."""
    if len(text) != 64 or not set(text) <= set(string.hexdigits):
        raise ValueError("a SHA-256 has 64 hexadecimal digits")
    return text.lower()


PROGRAMS = n.option("path", (), convert=n.existing_file, summary="a program that may be executed")
PATHS = frozenset(PROGRAMS)
DIGESTS = frozenset(n.option("sha256", (), convert=digest, summary="the digest of one"))

always(Deny(errno.EPERM), *n.BYPASSES)
always(Deny(errno.EPERM), Ioctl, request=n.TYPING_REQUESTS)


@on(Exec)
def exec_allowlist(call: Exec) -> Allow | Deny:
    """The file is read only if its path is not on the list already."""
    if call.path in PATHS or (DIGESTS and call.sha256 in DIGESTS):
        return Allow()
    return Deny(errno.EACCES, reason=f"{call.path} is not on the list")
