"""Harmless devices: containers may make null, zero, full, random, urandom and tty, and no others.

    notifyd run --rules harmless-devices -- ./start-container

Making a device needs a power (CAP_MKNOD) that containers lack for good reason: with the node of a
disk, one reads the disk. These six hold nothing. The supervisor makes them with that power, as the
program's user and where the program says; it needs the power itself. All other devices are refused,
also to a program that has the power. A whiteout, the mark by which layered file systems hide a
file, is the kernel's own business. FIFOs, sockets and files never leave the kernel.
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
    """A block device with the same number is another thing: 1:3 is a disk in memory."""
    if not call.is_device:
        return None
    if call.kind == S_IFCHR and call.device in HARMLESS:
        return Allow(grant="devices")
    if call.kind == S_IFCHR and call.device == WHITEOUT:
        return Allow()
    return Deny(errno.EPERM, reason=f"device {call.device[0]}:{call.device[1]} is not harmless")
