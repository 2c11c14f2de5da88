"""Keys, memory, random bytes and devices.

Owns `Keyctl`, `MemoryFd`, `UserfaultFd`, `GetRandom` and `Ioctl`.
"""

from __future__ import annotations

from typing import Any

from notifyd.policy.bound import BoundCall
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum, Fd, Flags, Int, Text
from notifyd.policy.names import process as names
from notifyd.policy.names.ioctl import IOCTLS
from notifyd.policy.names.keyctl import KEYCTL_COMMANDS
from notifyd.policy.sources import call

__all__ = ["GetRandom", "Ioctl", "Keyctl", "MemoryFd", "UserfaultFd"]


class Keyctl(Call):
    """Use the kernel's key rings: add_key(2), request_key(2), keyctl(2).

    Key rings of a user are not parted by containers unless user namespaces part them.
    """

    __slots__ = ()
    theme = "identity"

    command = Enum(KEYCTL_COMMANDS, "keyctl: `KEYCTL_*`")
    arg2 = Int("keyctl: depends on the command", width=64)
    arg3 = Int("keyctl: depends on the command", width=64)
    arg4 = Int("keyctl: depends on the command", width=64)
    arg5 = Int("keyctl: depends on the command", width=64)
    key_type = Text("add_key, request_key: the type of key", limit=32)
    description = Text("add_key, request_key: which key", limit=4096)
    payload = Address("add_key: what it holds; request_key: a text for the helper")
    size = Int("add_key: bytes of it", width=64)
    keyring = Int("add_key, request_key: where it goes; negative ones are special", signed=True)

    variants = (
        call("add_key", key_type=0, description=1, payload=2, size=3, keyring=4),
        call("request_key", key_type=0, description=1, payload=2, keyring=3),
        call("keyctl", command=0, arg2=1, arg3=2, arg4=3, arg5=4),
    )


class MemoryFd(Call):
    """Make a file that is only memory: memfd_create(2), memfd_secret(2).

    Such a file can be executed by execveat(2) or /proc/self/fd, and has no path to judge by.
    """

    __slots__ = ()
    theme = "files"

    name = Text("memfd_create: a name to show; it names nothing", limit=250)
    flags = Flags(names.MEMFD_FLAGS, "`MFD_*`; memfd_secret takes O_CLOEXEC")

    variants = (
        call("memfd_create", name=0, flags=1),
        call("memfd_secret", flags=0),
    )


class UserfaultFd(Call):
    """Handle one's own page faults: userfaultfd(2).

    With it a program can make the kernel, and whoever reads its memory, wait as long as it likes.
    /dev/userfaultfd gives the same by ioctl(2).
    """

    __slots__ = ()
    theme = "system"

    flags = Flags(names.USERFAULTFD_FLAGS, "`UFFD_USER_MODE_ONLY`, `O_CLOEXEC`, `O_NONBLOCK`")

    variants = (call("userfaultfd", flags=0),)


class GetRandom(Call):
    """Ask for random bytes: getrandom(2).

    Since Linux 6.11 the vDSO can answer it without a system call, and then no filter sees it.
    """

    __slots__ = ()
    theme = "system"

    buffer = Address("where they go")
    size = Int("how many", width=64)
    flags = Flags(names.RANDOM_FLAGS, "`GRND_*`")

    variants = (call("getrandom", buffer=0, size=1, flags=2),)


class _Request(Enum):
    """A request of a device; those without a name here in hexadecimal."""

    def render(self, call: BoundCall) -> Any:
        shown = super().render(call)
        return hex(shown) if isinstance(shown, int) else shown


class Ioctl(Call):
    """Ask something of a device or file: ioctl(2).

    What a request means is the driver's business. TIOCSTI puts words into the mouth of whoever
    reads the terminal, and TIOCLINUX pastes there: refuse both to a program that shares yours.
    """

    __slots__ = ()
    theme = "system"

    fd = Fd("the open device or file")
    request = _Request(IOCTLS, "the request")
    argument = Address("what it takes, a number or an address")

    variants = (call("ioctl", fd=0, request=1, argument=2),)
