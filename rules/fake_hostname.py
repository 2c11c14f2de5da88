"""Fake hostname: uname(2) tells another host name.

    notifyd run --rules fake-hostname --option name=build-1 -- hostname

An emulated result: the call never happens, the supervisor writes the answer into the program's
memory. /proc/sys/kernel/hostname and what a program keeps elsewhere stay as they are.
"""

import errno
import os

from notifyd import Deny, Return, Uname, Verdict, on, option

NAME = option("name", "sandbox", summary="the host name to show")
FIELD = 65  # bytes of each member of struct utsname, with its NUL: uname(2)


@on(Uname)
def fake_hostname(call: Uname) -> Verdict:
    """The real answer with another node name."""
    if call.syscall != "uname":
        return Deny(errno.ENOSYS, reason="the oldest forms of uname have another layout")
    real = os.uname()
    domain = "(none)"
    members = (real.sysname, NAME, real.release, real.version, real.machine, domain)
    record = b"".join(os.fsencode(one)[: FIELD - 1].ljust(FIELD, b"\0") for one in members)
    return Return(0, memory={call.buffer: record})
