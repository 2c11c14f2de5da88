"""Harmless devices: containers may make null, zero, full, random, urandom and tty, and no others.

    notifyd run --rules harmless-devices -- ./start-container

Making a device needs a capability (CAP_MKNOD) that containers lack for good reason: a program with
the node of a disk can read the disk. These six hold no data. The supervisor makes them with that
capability, as the program's user and where the program says, so it needs the capability itself.

All other devices are refused, also to a program that has the capability. A whiteout, which layered
file systems use to hide a file, is left to the kernel. Calls for FIFOs, sockets and files never
leave the kernel.
"""

import errno

from notifyd import Allow, Deny, Mknod, has, on

S_IFCHR = 0o20000  # a block device has this bit too

HARMLESS = {
    (1, 3): "null",
    (1, 5): "zero",
    (1, 7): "full",
    (1, 8): "random",
    (1, 9): "urandom",
    (5, 0): "tty",
}
WHITEOUT = (0, 0)  # anybody may make it, since Linux 5.8


@on(Mknod, mode=has(S_IFCHR))
def harmless_devices(call: Mknod) -> Allow | Deny | None:
    """A block device with the same number is something else: 1:3 is a disk in memory."""
    if not call.is_device:
        return None
    if call.kind == S_IFCHR and call.device in HARMLESS:
        return Allow(grant="devices")
    if call.kind == S_IFCHR and call.device == WHITEOUT:
        return Allow()
    major, minor = call.device
    return Deny(errno.EPERM, reason=f"device {major}:{minor} is not harmless")
