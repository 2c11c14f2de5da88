"""Fake hostname: uname(2) tells another host name.

    notifyd run --rules fake-hostname --option name=build-1 -- hostname

An emulated result: the call never happens, the supervisor writes the answer into the program's
memory. /proc/sys/kernel/hostname and what a program keeps elsewhere stay as they are. The machine
that personality(2) asks for is not shown, so setarch(1) does not work.
"""

import errno
import os
from pathlib import Path

from notifyd import Deny, Return, Uname, on, option

NAME = option("name", "sandbox", summary="the host name to show")
DOMAIN = Path("/proc/sys/kernel/domainname").read_bytes().strip()
FIELD = 65  # bytes of each member of struct utsname, with its NUL: uname(2)


@on(Uname)
def fake_hostname(call: Uname) -> Return | Deny:
    """The real answer with another node name."""
    if call.syscall != "uname":
        return Deny(errno.ENOSYS, reason="the oldest forms of uname have another layout")
    real = os.uname()
    members = (real.sysname, NAME, real.release, real.version, real.machine)
    texts = [*(os.fsencode(one) for one in members), DOMAIN]
    record = b"".join(text[: FIELD - 1].ljust(FIELD, b"\0") for text in texts)
    return Return(0, memory={call.buffer: record})
