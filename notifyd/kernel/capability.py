"""capabilities(7), capget(2): which powers a task has, and what they are called."""

from __future__ import annotations

import ctypes
import errno
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from notifyd.kernel.libc import LIBC, fail

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPABILITY_NUMBERS", "NAMES", "Capabilities", "get", "has", "names_of"]

# In the order of linux/capability.h, from 0 on. A new one goes to the end.
_SHORT = """
chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot
sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease
audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read
perfmon bpf checkpoint_restore
"""

NAMES: tuple[str, ...] = tuple("CAP_" + name.upper() for name in _SHORT.split())
"""Every name, at the place of its number."""

CAPABILITY_NUMBERS: Mapping[str, int] = MappingProxyType(
    {name: nr for nr, name in enumerate(NAMES)}
)

SYS_ADMIN = 1 << CAPABILITY_NUMBERS["CAP_SYS_ADMIN"]
CAPABILITY_VERSION_3 = 0x20080522  # since 2.6.26: 64 bits in two halves


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Three sets, as ints with bit n for capability n."""

    effective: int
    permitted: int
    inheritable: int


def get(pid: int = 0) -> Capabilities:
    """Return the sets of a thread; 0 for the calling one.

    Raises:
        ProcessLookupError: ESRCH: no such thread.
    """
    if pid < 0:
        raise OSError(errno.EINVAL, f"{pid} is not a thread id")
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, pid)
    data = (ctypes.c_uint32 * 6)()
    if LIBC.capget(header, data) < 0:
        fail()
    low, high = data[:3], data[3:]
    return Capabilities(*(a | b << 32 for a, b in zip(low, high, strict=True)))


def has(cap: int | str, pid: int = 0) -> bool:
    """Say whether a capability, by number or by name, is in the effective set of a thread.

    It counts in the thread's own user namespace, which need not be the one that owns a thing.
    """
    number = CAPABILITY_NUMBERS[cap] if isinstance(cap, str) else cap
    return bool(get(pid).effective >> number & 1)


def names_of(caps: int) -> list[str]:
    """Return the names of a set, lowest number first; a newer kernel's as `CAP_41` and so on."""
    present = [number for number in range(64) if caps >> number & 1]
    return [NAMES[n] if n < len(NAMES) else f"CAP_{n}" for n in present]
