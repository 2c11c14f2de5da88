"""Fake hostname: uname(2) tells another host name.

    notifyd run --rules fake-hostname --option name=build-1 -- hostname

The result is emulated: the call never happens, and the supervisor writes the answer into the
program's memory.

What it does not change: /proc/sys/kernel/hostname, and names that a program keeps elsewhere. The
machine that personality(2) asks for is not shown, so setarch(1) does not work.
"""

import errno
import os
from pathlib import Path

from notifyd import Deny, Return, Uname, on, option

NAME = option("name", "sandbox", summary="the host name to show")
DOMAIN = Path("/proc/sys/kernel/domainname").read_bytes().strip()
FIELD_SIZE = 65  # bytes of each member of struct utsname, with its NUL: uname(2)


@on(Uname)
def fake_hostname(call: Uname) -> Return | Deny:
    """The real answer with another node name."""
    if call.syscall != "uname":
        return Deny(errno.ENOSYS, reason="the oldest forms of uname have another layout")
    real = os.uname()
    members = (real.sysname, NAME, real.release, real.version, real.machine)
    texts = [*(os.fsencode(one) for one in members), DOMAIN]
    utsname = b"".join(member(text) for text in texts)
    return Return(0, memory={call.buffer: utsname})


def member(text: bytes) -> bytes:
    """One member of struct utsname: cut to its size, ended and filled with NULs."""
    return text[: FIELD_SIZE - 1].ljust(FIELD_SIZE, b"\0")
