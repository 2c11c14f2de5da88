"""The machine as a whole.

Owns `Reboot`, `Swap`, `SetHostname`, `Uname`, `SysInfo`, `IoPort` and `Syslog`.
"""

from __future__ import annotations

from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum, Flags, Int, Path, Pathname, Text
from notifyd.policy.names import machine as names
from notifyd.policy.sources import call

__all__ = ["IoPort", "Reboot", "SetHostname", "Swap", "SysInfo", "Syslog", "Uname"]

HOST_NAME_MAX = 64  # bytes; __NEW_UTS_LEN


class Reboot(Call):
    """Restart or stop the machine, or a pid namespace's init: reboot(2).

    In a pid namespace that is not the first, only that namespace ends.
    """

    __slots__ = ()
    theme = "system"

    magic1 = Int("has to be 0xfee1dead")
    magic2 = Int("has to be one of four numbers")
    command = Enum(names.REBOOT_COMMANDS, "`LINUX_REBOOT_CMD_*`")
    argument = Address("LINUX_REBOOT_CMD_RESTART2: a text for the firmware")

    variants = (call("reboot", magic1=0, magic2=1, command=2, argument=3),)


class Swap(Call):
    """Start or stop swapping to a file or device: swapon(2), swapoff(2)."""

    __slots__ = ()
    theme = "system"

    pathname = Pathname("the path as given")
    path = Path(dirfd=None)
    flags = Flags(names.SWAP_FLAGS, "of swapon; the low bits are the priority")

    variants = (
        call("swapon", pathname=0, flags=1),
        call("swapoff", pathname=0),
    )

    @property
    def starts(self) -> bool:
        """Whether swapping starts."""
        return self.syscall == "swapon"


class SetHostname(Call):
    """Name the machine, or its NIS domain: sethostname(2), setdomainname(2).

    Goes for the UTS namespace.
    """

    __slots__ = ()
    theme = "system"

    name = Text("the new name", length="size", limit=HOST_NAME_MAX)
    size = Int("bytes of it; more than 64 is EINVAL", signed=True)

    variants = (
        call("sethostname", name=0, size=1),
        call("setdomainname", name=0, size=1),
    )


class Uname(Call):
    """Ask for the names of machine and kernel: uname(2).

    Six texts of 65 bytes each: system, node, release, version, machine, domain. The two elder
    calls of i386 give five, of 65 and of 9 bytes.
    """

    __slots__ = ()
    theme = "system"

    buffer = Address("where the answer goes")

    variants = (
        call("uname", buffer=0),
        call("olduname", buffer=0),
        call("oldolduname", buffer=0),
    )


class SysInfo(Call):
    """Ask for memory, load and uptime: sysinfo(2).

    Programs ask /proc/meminfo too.
    """

    __slots__ = ()
    theme = "system"

    buffer = Address("where the struct sysinfo goes")

    variants = (call("sysinfo", buffer=0),)


class IoPort(Call):
    """Touch the machine's ports: iopl(2), ioperm(2). x86 only."""

    __slots__ = ()
    theme = "system"

    level = Int("iopl: the privilege level, 0 to 3")
    first = Int("ioperm: the first port", width=64)
    count = Int("ioperm: how many", width=64)
    turn_on = Int("ioperm: whether they may be touched", signed=True)

    variants = (
        call("iopl", level=0),
        call("ioperm", first=0, count=1, turn_on=2),
    )


class Syslog(Call):
    """Read or clear the kernel's messages: syslog(2), which is not syslog(3).

    /dev/kmsg gives the same.
    """

    __slots__ = ()
    theme = "system"

    action = Enum(names.SYSLOG_ACTIONS, "`SYSLOG_ACTION_*`")
    buffer = Address("where the messages go")
    size = Int("bytes of room there, or a log level", signed=True)

    variants = (call("syslog", action=0, buffer=1, size=2),)
